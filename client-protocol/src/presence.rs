//! Presence and typing: never stored, the latest state wins, states in between may be lost.

use crate::codec::{Decode, Encode};
use crate::ids::{RoomId, UserId};
use crate::tail::EmptyTail;

/// States of presence.
pub mod state {
    /// No session.
    pub const OFFLINE: u8 = 0;
    /// A session, and the user is there.
    pub const ONLINE: u8 = 1;
    /// A session, and the user said that they are away.
    pub const AWAY: u8 = 2;
}

/// Command: watches the presence of these users instead of those before; current states follow. Only members of rooms
/// that the session is subscribed to are reported; others read as offline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WatchPresence {
    /// At most [`crate::limits::PRESENCE_WATCH_MAX`] users.
    pub users: Vec<UserId>,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Command: sets the state of this session's user.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SetPresence {
    /// [`state::ONLINE`] or [`state::AWAY`].
    pub state: u8,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Pushed: what changed since the last one, at most one a second.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Presence {
    /// Users and their [`state`]. Closed: more about a user would be a list of its own in the tail.
    pub users: Vec<(UserId, u8)>,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Datagram to the server: the user is typing in a room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Typing {
    /// The room, which the session is subscribed to.
    pub room: RoomId,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Datagram from the server: someone is typing; forget it after [`crate::limits::TYPING_EXPIRES_MS`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TypingNotice {
    /// The room.
    pub room: RoomId,
    /// Who.
    pub user: UserId,
    /// What later versions add.
    pub tail: EmptyTail,
}
