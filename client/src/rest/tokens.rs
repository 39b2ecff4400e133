//! Tokens that renew themselves over REST.

use super::{Rest, RestError, Tokens};
use crate::error::TokenError;
use crate::token::{AccessToken, TokenFuture, TokenProvider, TokenRequest};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

#[derive(Debug)]
struct Held {
    tokens: Tokens,
    since: Instant,
}

/// Tokens that renew themselves; made by [`Rest::tokens`]. Clones share them: give one clone to the session and use another for
/// calls over REST. Two programs must not do so with the same tokens, since a refresh token works once.
#[derive(Debug, Clone)]
pub struct RestTokens {
    rest: Rest,
    held: Arc<Mutex<Held>>,
}

impl RestTokens {
    pub(super) fn new(rest: Rest, tokens: Tokens) -> Self {
        Self { rest, held: Arc::new(Mutex::new(Held { tokens, since: Instant::now() })) }
    }

    /// An access token that is good for a while.
    ///
    /// # Errors
    ///
    /// [`TokenError::Denied`] once the login has ended, [`TokenError::Temporary`] while the server cannot be reached.
    pub async fn access(&self, fresh: bool) -> Result<AccessToken, TokenError> {
        /// A token that ends within this time is renewed before it is given out.
        const LEAST_LIFE: Duration = Duration::from_secs(20);
        let mut held = self.held.lock().await;
        let life = Duration::from_secs(held.tokens.expires_in);
        let left = life.saturating_sub(held.since.elapsed());
        if !fresh && left > LEAST_LIFE.min(life / 5) {
            return Ok(AccessToken { token: held.tokens.access_token.clone(), valid_for: Some(left) });
        }
        let tokens = self.rest.refresh(&held.tokens.refresh_token).await.map_err(|error| match error {
            RestError::Refused { status: 400..=403, .. } => TokenError::Denied(error.to_string()),
            other => TokenError::Temporary(other.to_string()),
        })?;
        *held = Held { tokens, since: Instant::now() };
        let valid_for = Some(Duration::from_secs(held.tokens.expires_in));
        Ok(AccessToken { token: held.tokens.access_token.clone(), valid_for })
    }
}

impl TokenProvider for RestTokens {
    fn token(&self, request: TokenRequest) -> TokenFuture<'_> {
        Box::pin(self.access(request.fresh))
    }
}
