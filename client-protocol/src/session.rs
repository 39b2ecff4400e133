//! Session: hello, welcome, renewal, replies, goodbye.

use crate::codec::{Decode, Encode};
use crate::codes::Code;
use crate::ids::{DeviceId, RoomId, SessionId, UserId};
use crate::tail;
use crate::tail::EmptyTail;

/// First frame of a session, alone before authentication.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Minor version that the client speaks.
    pub minor: u16,
    /// Optional features that the client asks for, a bit set; none is defined yet.
    pub features: u64,
    /// The installation. A new connection of it replaces the one before.
    pub device: DeviceId,
    /// Access token.
    pub token: String,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// Minor version that the server speaks; the lower one of both holds.
    pub minor: u16,
    /// Optional features that the server grants of those asked for.
    pub features: u64,
    /// The store's epoch. It changes when a backup is restored; cursors of another epoch are worth nothing.
    pub epoch: u64,
    /// Who the session is.
    pub user: UserId,
    /// The login that the token belongs to.
    pub session: SessionId,
    /// When the access token ends, Unix time in milliseconds. Send [`Reauth`] before.
    pub expires_ms: u64,
    /// The server's clock, Unix time in milliseconds.
    pub now_ms: u64,
    /// Rooms that the session may be subscribed to at a time.
    pub subscriptions_max: u32,
    /// Requests that may be open at a time.
    pub open_requests_max: u32,
    /// Bytes of a message body.
    pub body_bytes_max: u32,
    /// Lost connections should be retried after a random time in this range, in milliseconds.
    pub reconnect_after_ms: (u32, u32),
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Renews the access token of a live session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reauth {
    /// A new access token of the same user.
    pub token: String,
    /// What later versions add.
    pub tail: EmptyTail,
}

tail! {
    /// What a reply may say besides.
    pub struct ReplyTail {
        /// When it makes sense to try again, in milliseconds from now.
        pub retry_after_ms: u64,
        /// What is wrong, for people: which field, which bound.
        pub detail: String,
        /// The room that was made or found, for commands that name none.
        pub room: RoomId,
        /// Entry of the log that the answer is about; the time of that event, Unix time in milliseconds.
        pub time_ms: u64,
    }
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reply {
    /// [`Code`] as a number; 0 is done.
    pub code: u16,
    /// The seq of the event that the command made, now or the first time it was sent; 0 where there is none.
    pub seq: u64,
    /// What else there is to say.
    pub tail: ReplyTail,
}

impl Reply {
    /// Done, as event `seq`.
    #[must_use]
    pub fn done(seq: u64) -> Self {
        Self { code: 0, seq, tail: ReplyTail::default() }
    }

    /// Refused.
    #[must_use]
    pub fn refused(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let detail = (!detail.is_empty()).then_some(detail);
        Self { code: code.number(), seq: 0, tail: ReplyTail { detail, ..ReplyTail::default() } }
    }

    /// Refused for now.
    #[must_use]
    pub fn retry_after(code: Code, retry_after_ms: u64) -> Self {
        Self {
            code: code.number(),
            seq: 0,
            tail: ReplyTail { retry_after_ms: Some(retry_after_ms), ..ReplyTail::default() },
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::from_number(self.code)
    }
}

/// The server will close soon; reconnect, after a random time in the range.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Goaway {
    /// Reconnect after a random time in this range, in milliseconds.
    pub reconnect_after_ms: (u32, u32),
    /// What later versions add.
    pub tail: EmptyTail,
}
