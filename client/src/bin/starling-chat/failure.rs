//! How the program ends when something goes wrong.

use serde_json::json;
use starling_client::rest::RestError;
use starling_client::{ClientError, TokenError};
use std::process::ExitCode;
use std::time::Duration;

/// What went wrong, by exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 1: the server refused.
    Refused { code: String, message: String, retry_after_ms: Option<u64> },
    /// 2: what was asked for makes no sense.
    Usage(String),
    /// 3: nobody is logged in, or not any more.
    LoggedOut(String),
    /// 4: the server cannot be reached or trusted.
    Connect(String),
    /// 5: it may or may not have been done, or there was no answer in time.
    Unknown(String),
    /// 0: whoever read the output has gone.
    OutputClosed,
}

impl Failure {
    /// The server refused, perhaps for a while.
    pub(crate) fn refused(code: String, message: String, retry_after: Option<Duration>) -> Self {
        let retry_after_ms = retry_after.and_then(|time| u64::try_from(time.as_millis()).ok());
        Self::Refused { code, message, retry_after_ms }
    }

    /// Prints the failure to standard error and says how to exit.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let (exit, code, message, retry_after_ms) = match self {
            Self::Refused { code, message, retry_after_ms } => (1, code.as_str(), message.as_str(), *retry_after_ms),
            Self::Usage(message) => (2, "usage", message.as_str(), None),
            Self::LoggedOut(message) => (3, "unauthenticated", message.as_str(), None),
            Self::Connect(message) => (4, "connect", message.as_str(), None),
            Self::Unknown(message) => (5, "outcome_unknown", message.as_str(), None),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        if json {
            let line =
                json!({ "type": "error", "exit": exit, "code": code, "message": message, "retry_after_ms": retry_after_ms });
            eprintln!("{line}");
        } else {
            eprintln!("starling-chat: {}", crate::text::clean(message));
        }
        ExitCode::from(exit)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        if error.is_unauthenticated() {
            return Self::LoggedOut(format!("{message}; log in with `starling-chat login`"));
        }
        match error {
            ClientError::Refused { code, retry_after, .. } => Self::refused(code.name().to_owned(), message, retry_after),
            ClientError::Unknown { .. } | ClientError::Timeout => Self::Unknown(message),
            ClientError::Config(_) | ClientError::AlreadySubscribed(_) => Self::Usage(message),
            _ => Self::Connect(message),
        }
    }
}

impl From<RestError> for Failure {
    fn from(error: RestError) -> Self {
        let message = error.to_string();
        match error {
            error if error.is_unauthenticated() => Self::LoggedOut(message),
            RestError::Refused { code, retry_after, .. } => Self::refused(code, message, retry_after),
            _ => Self::Connect(message),
        }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Denied(message) => Self::LoggedOut(format!("{message}; log in with `starling-chat login`")),
            other => Self::Connect(other.to_string()),
        }
    }
}
