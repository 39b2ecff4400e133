//! Where access tokens come from. Tokens end after minutes; a session lives longer, so the client asks for new ones by itself.

use crate::error::TokenError;
use std::pin::Pin;
use std::time::Duration;

/// A token that a server takes in `Hello` and `Reauth`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token, at most [`client_protocol::limits::TOKEN_BYTES_MAX`] bytes.
    pub token: String,
    /// How long it is good for from now, if that is known.
    pub valid_for: Option<Duration>,
}

impl AccessToken {
    /// A token of unknown end.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into(), valid_for: None }
    }
}

// Tokens do not belong into logs.
impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken").field("valid_for", &self.valid_for).finish_non_exhaustive()
    }
}

/// What kind of token is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The token given before was refused or ends soon: another one is needed.
    pub fresh: bool,
}

impl TokenRequest {
    /// A token; another one than before if `fresh`.
    #[must_use]
    pub const fn new(fresh: bool) -> Self {
        Self { fresh }
    }
}

/// The answer of a [`TokenProvider`], later.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send + 'a>>;

/// Gives access tokens: to connect, and to renew a live session. One call at a time.
///
/// Every `Fn(TokenRequest) -> impl Future<Output = Result<AccessToken, TokenError>>` is one; so is a fixed [`AccessToken`], which is
/// enough for programs that live shorter than their token.
pub trait TokenProvider: Send + Sync + 'static {
    /// A token. [`TokenError::Denied`] ends the session, [`TokenError::Temporary`] is tried again.
    fn token(&self, request: TokenRequest) -> TokenFuture<'_>;
}

impl<F, Answer> TokenProvider for F
where
    F: Fn(TokenRequest) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<AccessToken, TokenError>> + Send + 'static,
{
    fn token(&self, request: TokenRequest) -> TokenFuture<'_> {
        Box::pin(self(request))
    }
}

impl TokenProvider for AccessToken {
    fn token(&self, request: TokenRequest) -> TokenFuture<'_> {
        let answer = match request.fresh {
            false => Ok(self.clone()),
            true => Err(TokenError::Denied("the token is a fixed one".into())),
        };
        Box::pin(std::future::ready(answer))
    }
}
