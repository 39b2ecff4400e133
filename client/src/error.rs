//! Errors by cause: what a caller can do about it is one `match`.

use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::session::Reply;
use client_protocol::{CloseCode, Code, FrameError, Key, RoomId};
use std::time::Duration;

/// Why a call had no success, or a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused. Nothing was done, now or earlier under the same key.
    #[error("refused: {code}{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Refused {
        /// The cause.
        code: Code,
        /// What is wrong, for people; may be empty.
        detail: String,
        /// When it makes sense to try again.
        retry_after: Option<Duration>,
    },
    /// The command was sent, and no final answer came before the deadline: it may or may not have been done. Sending it again with
    /// the same key is safe.
    #[error("the outcome is unknown{}", key.map(|key| format!(" (key {})", key.0)).unwrap_or_default())]
    Unknown {
        /// The idempotency key, for commands that have one.
        key: Option<Key>,
    },
    /// The deadline passed before anything was sent, or a query had no answer. Nothing was done.
    #[error("timed out")]
    Timeout,
    /// The connection was closed, or lost where there is no code.
    #[error("connection closed: {}", closed_because(*code, reason))]
    Closed {
        /// [`CloseCode`] as a number, if the server or the client closed it.
        code: Option<u64>,
        /// What the other side or the transport said.
        reason: String,
    },
    /// The server's certificate or the handshake was refused, on either side.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The token provider has no token.
    #[error("no access token: {0}")]
    Token(#[from] TokenError),
    /// The server broke the protocol.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The client follows this room already; drop the other stream first.
    #[error("room {0} is subscribed to already")]
    AlreadySubscribed(RoomId),
    /// The builder was given something that cannot work.
    #[error("configuration: {0}")]
    Config(String),
}

/// Why a token provider has no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not now: try again.
    #[error("{0}")]
    Temporary(String),
    /// Not without a new login.
    #[error("{0}")]
    Denied(String),
}

fn closed_because(code: Option<u64>, reason: &str) -> String {
    match code {
        None => reason.to_owned(),
        Some(code) => format!("{} ({code:#05x}){}{reason}", close_name(code), if reason.is_empty() { "" } else { ": " }),
    }
}

fn close_name(code: u64) -> &'static str {
    [
        (CloseCode::Normal, "done"),
        (CloseCode::GoingAway, "the server goes away"),
        (CloseCode::Overloaded, "the server is overloaded"),
        (CloseCode::Internal, "a fault of the server"),
        (CloseCode::HelloTimeout, "no hello in time"),
        (CloseCode::TokenExpired, "the token has expired"),
        (CloseCode::ProtocolError, "protocol error"),
        (CloseCode::FrameTooLarge, "frame too large"),
        (CloseCode::Unauthenticated, "the token was refused"),
        (CloseCode::SessionRevoked, "the login was ended"),
        (CloseCode::AccountDisabled, "the account is disabled"),
        (CloseCode::Replaced, "another connection of this device took over"),
    ]
    .into_iter()
    .find(|(known, _)| *known as u64 == code)
    .map_or("an unknown cause", |(_, name)| name)
}

impl ClientError {
    /// The refusal in a reply.
    #[must_use]
    pub fn refused(reply: &Reply) -> Self {
        Self::Refused {
            code: reply.code(),
            detail: reply.tail.detail.clone().unwrap_or_default(),
            retry_after: reply.tail.retry_after_ms.map(Duration::from_millis),
        }
    }

    /// The application closed the session.
    pub(crate) fn closed_here() -> Self {
        Self::Closed { code: Some(CloseCode::Normal as u64), reason: "closed by the application".into() }
    }

    /// A frame above the bound of the protocol, refused before it is sent.
    pub(crate) fn too_large(bytes: usize) -> Self {
        Self::Refused {
            code: Code::TooLarge,
            detail: format!("a frame of {bytes} bytes is above {FRAME_BYTES_MAX}"),
            retry_after: None,
        }
    }

    /// Whether the same may go well later, without anybody doing anything else.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused { code, .. } => is_transient(*code) || leaves_open(*code),
            Self::Closed { code, .. } => code.is_none_or(CloseCode::may_reconnect),
            Self::Unknown { .. } | Self::Timeout | Self::Connect(_) | Self::Token(TokenError::Temporary(_)) => true,
            Self::Token(TokenError::Denied(_))
            | Self::Tls(_)
            | Self::Protocol(_)
            | Self::AlreadySubscribed(_)
            | Self::Config(_) => false,
        }
    }

    /// Whether a new login is needed.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(code, Code::Unauthenticated | Code::TokenExpired | Code::AccountDisabled | Code::SessionRevoked)
            }
            Self::Closed { code: Some(code), .. } => {
                [CloseCode::Unauthenticated, CloseCode::TokenExpired, CloseCode::SessionRevoked, CloseCode::AccountDisabled]
                    .into_iter()
                    .any(|known| known as u64 == *code)
            }
            Self::Token(TokenError::Denied(_)) => true,
            _ => false,
        }
    }
}

/// Codes of a server that has no means now: nothing was written, and nothing is said about an earlier try of the same command. Unknown
/// codes go by their hundred.
pub(crate) const fn is_transient(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Other(400..500)) || matches!(code, Code::Overloaded | Code::RateLimited)
}

/// Codes that leave open whether the command was done: only the same key, sent again, tells.
pub(crate) const fn leaves_open(code: Code) -> bool {
    matches!(code, Code::OutcomeUnknown | Code::Internal | Code::Other(500..600))
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<&quinn::ConnectionError> for ClientError {
    fn from(error: &quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as E;
        let transport = |code: u64, reason: String| match code {
            0x100..0x200 => Self::Tls(reason),
            _ => Self::Closed { code: None, reason },
        };
        match error {
            E::ApplicationClosed(close) => Self::Closed {
                code: Some(close.error_code.into_inner()),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            E::TransportError(error) => transport(error.code.into(), error.to_string()),
            E::ConnectionClosed(close) => transport(close.error_code.into(), close.to_string()),
            E::LocallyClosed => Self::closed_here(),
            other => Self::Closed { code: None, reason: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_well() {
        let closed = |code, reason: &str| ClientError::Closed { code, reason: reason.into() }.to_string();
        assert_eq!(closed(Some(0x203), ""), "connection closed: the login was ended (0x203)");
        assert_eq!(closed(Some(0x100), "bye"), "connection closed: the server goes away (0x100): bye");
        assert_eq!(closed(Some(0x1ff), ""), "connection closed: an unknown cause (0x1ff)");
        assert_eq!(closed(None, "timed out"), "connection closed: timed out");
        let refused = |detail: &str| {
            ClientError::Refused { code: Code::Forbidden, detail: detail.into(), retry_after: None }.to_string()
        };
        assert_eq!((refused(""), refused("no")), ("refused: forbidden".into(), "refused: forbidden: no".into()));
    }

    #[test]
    fn causes_say_what_can_be_done() {
        let closed = |code: CloseCode| ClientError::Closed { code: Some(code as u64), reason: String::new() };
        assert!(closed(CloseCode::GoingAway).is_temporary() && !closed(CloseCode::Replaced).is_temporary());
        assert!(closed(CloseCode::SessionRevoked).is_unauthenticated() && !closed(CloseCode::Replaced).is_unauthenticated());
        assert!(ClientError::Closed { code: None, reason: String::new() }.is_temporary());
        assert!(is_transient(Code::from_number(455)) && leaves_open(Code::from_number(599)));
        assert!(!is_transient(Code::from_number(399)) && !leaves_open(Code::Unavailable));
    }
}
