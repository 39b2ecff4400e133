//! Notification: read marks, and the events of a user's own log.

use crate::codec::{Decode, Encode};
use crate::ids::RoomId;
use crate::tail::EmptyTail;

/// Command: the user has read a room up to a seq. Marks are merged by the maximum.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MarkRead {
    /// The room.
    pub room: RoomId,
    /// Read up to here; above the head counts as the head.
    pub seq: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event of the own log: a room came to the list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RoomListed {
    /// The room.
    pub room: RoomId,
    /// The event of the room by which the user came.
    pub seq: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event of the own log: a room left the list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RoomUnlisted {
    /// The room.
    pub room: RoomId,
    /// The event of the room by which the user left.
    pub seq: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event of the own log: read up to here.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReadMarked {
    /// The room.
    pub room: RoomId,
    /// The store's epoch in which the mark was set.
    pub epoch: u64,
    /// Read up to this seq.
    pub seq: u64,
    /// The message number there.
    pub message_no: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Why a user was notified.
pub mod notified {
    /// Mentioned by a message.
    pub const MENTION: u8 = 1;
    /// A message in a direct room.
    pub const DIRECT: u8 = 2;
}

/// Event of the own log: something the user should know of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Notified {
    /// The room.
    pub room: RoomId,
    /// The message.
    pub seq: u64,
    /// See [`notified`].
    pub kind: u8,
    /// What later versions add.
    pub tail: EmptyTail,
}
