//! Accounts, logins and access tokens: who somebody is, and how they show it.
//!
//! [`accounts`] is the front: register, log in, renew, log out, and [`Accounts::authenticate`], which REST and QUIC ask about every
//! token. Below it: [`password`] (hashes, on threads of their own), [`token`] (signed access tokens), [`ratelimit`] (budgets by
//! address), [`fields`] (what an account's fields may be). What a user may do in a room is not decided here: that follows from the
//! room's log.

pub mod accounts;
pub mod fields;
mod known;
mod live;
pub mod password;
pub mod ratelimit;
pub mod token;

pub use crate::clock::now_ms;
pub use accounts::{Accounts, Identity, Rates, Session};
pub use password::{PasswordError, PasswordPool};
pub use token::{Claims, TokenError, Tokens};

use crate::store::StoreError;
use client_protocol::Code;

/// Why a call about accounts was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A field is not what it may be.
    #[error("{field}: {allowed}")]
    InvalidField {
        /// Which.
        field: &'static str,
        /// What it may be.
        allowed: String,
    },
    /// The username is taken.
    #[error("the username is taken")]
    UsernameTaken,
    /// The e-mail address is taken.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// No such account, or another password: not said which.
    #[error("the login or the password is wrong")]
    InvalidCredentials,
    /// The token is missing, forged or of another server.
    #[error("the token is not valid")]
    Unauthenticated,
    /// The access token has expired.
    #[error("the access token has expired")]
    TokenExpired,
    /// The login was ended.
    #[error("the login was ended")]
    SessionRevoked,
    /// The account is disabled or erased.
    #[error("the account is disabled")]
    AccountDisabled,
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The address is above its rate.
    #[error("too many attempts from this address")]
    RateLimited {
        /// When it makes sense to try again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// Too many passwords wait to be checked.
    #[error("too many requests wait")]
    Overloaded {
        /// When it makes sense to try again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The store does not answer.
    #[error("the store is unavailable")]
    Unavailable,
    /// A fault of the server; the text is for the log only.
    #[error("internal: {0}")]
    Internal(String),
}

impl AuthError {
    /// The code of the protocol that says the same.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidField { .. } => Code::InvalidField,
            Self::UsernameTaken | Self::EmailTaken => Code::Conflict,
            Self::InvalidCredentials | Self::Unauthenticated => Code::Unauthenticated,
            Self::TokenExpired => Code::TokenExpired,
            Self::SessionRevoked => Code::SessionRevoked,
            Self::AccountDisabled => Code::AccountDisabled,
            Self::NotFound(_) => Code::NotFound,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::Overloaded { .. } => Code::Overloaded,
            Self::Unavailable => Code::Unavailable,
            Self::Internal(_) => Code::Internal,
        }
    }
}

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UsernameTaken => Self::UsernameTaken,
            StoreError::EmailTaken => Self::EmailTaken,
            StoreError::Unavailable(why) => {
                tracing::warn!(%why, "the store is unavailable");
                Self::Unavailable
            }
            error @ (StoreError::Corrupt(_) | StoreError::NotEmpty) => Self::Internal(error.to_string()),
        }
    }
}

impl From<TokenError> for AuthError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::Unauthenticated,
            TokenError::Expired => Self::TokenExpired,
        }
    }
}

impl From<PasswordError> for AuthError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy { retry_after_ms } => Self::Overloaded { retry_after_ms },
            PasswordError::Failed(why) => Self::Internal(why),
        }
    }
}
