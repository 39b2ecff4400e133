//! Codes: why a request was refused, and why a connection was closed. A number keeps its meaning for ever.

/// The result of a request. `Ok` apart, each names one cause; [`Code::name`] is the stable name that REST uses in the `code` of a
/// problem document (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Done.
    Ok,
    /// The outcome is not known yet: send the same key again.
    OutcomeUnknown,
    /// The body of the frame cannot be decoded.
    Malformed,
    /// A field is outside its bounds.
    InvalidField,
    /// No such command in this version.
    UnknownKind,
    /// A body, name, list or frame is larger than its bound.
    TooLarge,
    /// The access token is missing, forged or of another server.
    Unauthenticated,
    /// The access token has expired.
    TokenExpired,
    /// The account is disabled or erased.
    AccountDisabled,
    /// The login was ended.
    SessionRevoked,
    /// There is no such thing, or none that the user may know of.
    NotFound,
    /// The user may know of it, but may not do this.
    Forbidden,
    /// The user is banned from the room.
    Banned,
    /// The user is muted in the room at this time.
    Muted,
    /// The state asked for is not the state there is (already a member, not banned, the last owner leaves).
    Conflict,
    /// The room has all the members that it may have.
    RoomFull,
    /// The user is in all the rooms that one may be in.
    TooManyRooms,
    /// The message was deleted.
    MessageDeleted,
    /// A bound of one message is reached: edits, reactions.
    LimitReached,
    /// The session has all the subscriptions that it may have.
    TooManySubscriptions,
    /// The server sheds load; `retry_after_ms` says when to come back.
    Overloaded,
    /// The user, address or room is above its rate; `retry_after_ms` says when to come back.
    RateLimited,
    /// The store cannot take writes now. Nothing was written.
    Unavailable,
    /// A fault of the server.
    Internal,
    /// A code that this version does not know.
    Other(u16),
}

macro_rules! codes {
    ($($code:ident = $number:literal, $name:literal;)*) => {
        impl Code {
            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$code => $number,)* Self::Other(number) => number }
            }

            /// The code with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Self {
                match number { $($number => Self::$code,)* other => Self::Other(other) }
            }

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* Self::Other(_) => "other" }
            }

            /// Every code that has a name, for documents and tests.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];
        }
    };
}

codes! {
    Ok = 0, "ok";
    OutcomeUnknown = 1, "outcome_unknown";
    Malformed = 100, "malformed";
    InvalidField = 101, "invalid_field";
    UnknownKind = 102, "unknown_kind";
    TooLarge = 103, "too_large";
    Unauthenticated = 200, "unauthenticated";
    TokenExpired = 201, "token_expired";
    AccountDisabled = 202, "account_disabled";
    SessionRevoked = 203, "session_revoked";
    NotFound = 300, "not_found";
    Forbidden = 301, "forbidden";
    Banned = 302, "banned";
    Muted = 303, "muted";
    Conflict = 304, "conflict";
    RoomFull = 305, "room_full";
    TooManyRooms = 306, "too_many_rooms";
    MessageDeleted = 307, "message_deleted";
    LimitReached = 308, "limit_reached";
    TooManySubscriptions = 309, "too_many_subscriptions";
    Overloaded = 400, "overloaded";
    RateLimited = 401, "rate_limited";
    Unavailable = 500, "unavailable";
    Internal = 501, "internal";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Other(number) => write!(f, "code {number}"),
            code => f.write_str(code.name()),
        }
    }
}

/// Why a connection was closed: the application error code of QUIC `CONNECTION_CLOSE` (RFC 9000 section 20.2).
///
/// The hundreds say what to do: `0x1xx` reconnect and resume, `0x2xx` do not come back with the same credentials or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// The client or server is done.
    Normal = 0x000,
    /// The server stops or drains: reconnect.
    GoingAway = 0x100,
    /// The server sheds load: reconnect later.
    Overloaded = 0x101,
    /// A fault of the server: reconnect.
    Internal = 0x102,
    /// No complete `Hello` came in time.
    HelloTimeout = 0x103,
    /// The access token has expired: renew it, then reconnect.
    TokenExpired = 0x104,
    /// The peer broke the protocol: a frame that cannot be decoded, a stream or frame that must not come.
    ProtocolError = 0x200,
    /// The peer announced a frame above the limit.
    FrameTooLarge = 0x201,
    /// The access token was refused.
    Unauthenticated = 0x202,
    /// The login was ended: log in again.
    SessionRevoked = 0x203,
    /// The account is disabled or erased.
    AccountDisabled = 0x204,
    /// Another connection of the same device took over.
    Replaced = 0x205,
}

impl CloseCode {
    /// Whether a client may reconnect by itself after this code. Codes that it does not know follow the same rule.
    #[must_use]
    pub const fn may_reconnect(code: u64) -> bool {
        code & 0xf00 == 0x100
    }
}
