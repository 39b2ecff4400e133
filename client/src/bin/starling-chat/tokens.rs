//! Access tokens of a profile. Several programs of one profile share a login; its refresh token works once, so only one of them at a
//! time renews, and the others take what it left.

use crate::failure::Failure;
use crate::profile::{Profile, Saved};
use starling_client::rest::{Rest, RestError};
use starling_client::{AccessToken, TokenError, TokenFuture, TokenProvider, TokenRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A token that ends within this time is renewed before it is used.
const LEAST_LIFE: Duration = Duration::from_secs(20);

/// The tokens of a profile, renewed when needed.
#[derive(Debug, Clone)]
pub(crate) struct ProfileTokens {
    profile: Profile,
    rest: Rest,
    /// The token that was given out last.
    given: Arc<Mutex<Option<String>>>,
}

impl ProfileTokens {
    pub(crate) fn new(profile: Profile, rest: Rest) -> Self {
        Self { profile, rest, given: Arc::default() }
    }

    /// A token that is good for a while; another one than the last if `fresh`.
    pub(crate) async fn access(&self, fresh: bool) -> Result<AccessToken, TokenError> {
        let mut given = self.given.lock().await;
        let used = given.clone().filter(|_| fresh);
        let saved = self.load()?;
        let saved = if good(&saved, used.as_deref()) { saved } else { self.renew(used.as_deref()).await? };
        *given = Some(saved.tokens.access_token.clone());
        Ok(AccessToken { valid_for: Some(saved.left()), token: saved.tokens.access_token })
    }

    async fn renew(&self, used: Option<&str>) -> Result<Saved, TokenError> {
        let _lock = self.profile.lock().await.map_err(temporary)?;
        // Another program may have renewed while we waited.
        let mut saved = self.load()?;
        if good(&saved, used) {
            return Ok(saved);
        }
        let tokens = self.rest.refresh(&saved.tokens.refresh_token).await.map_err(|error| match error {
            RestError::Refused { status: 400..=403, .. } => TokenError::Denied("the login has ended".into()),
            other => TokenError::Temporary(other.to_string()),
        })?;
        saved.renew(tokens);
        self.profile.save(&saved).map_err(temporary)?;
        Ok(saved)
    }

    fn load(&self) -> Result<Saved, TokenError> {
        let saved = self.profile.load().map_err(temporary)?;
        saved.ok_or_else(|| TokenError::Denied("not logged in".into()))
    }
}

fn good(saved: &Saved, used: Option<&str>) -> bool {
    used != Some(saved.tokens.access_token.as_str()) && saved.left() > LEAST_LIFE
}

fn temporary(failure: Failure) -> TokenError {
    TokenError::Temporary(match failure {
        Failure::Usage(what) | Failure::Unknown(what) => what,
        other => format!("{other:?}"),
    })
}

impl TokenProvider for ProfileTokens {
    fn token(&self, request: TokenRequest) -> TokenFuture<'_> {
        Box::pin(self.access(request.fresh))
    }
}
