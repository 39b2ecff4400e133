//! Rows: what stores keep beside the log. All but [`AccountRow`] are projections: they follow from the log and can be made anew.
//!
//! Every row carries the seq that it was made from; a write with a lower one does nothing.

use client_protocol::chat::Body;
use client_protocol::room::{RoomEntry, RoomEntryTail};
use client_protocol::{Decode, Encode, RoomId, UserId};

/// A room as of its event `head`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct RoomRow {
    /// The room.
    pub room: RoomId,
    /// See [`client_protocol::room::kind`]; 0 until the room was created.
    pub kind: u8,
    /// Name; empty where it has none.
    pub name: String,
    /// Topic; empty where it has none.
    pub topic: String,
    /// Lowest role that may post.
    pub post_role: u8,
    /// For how long an author may edit, in seconds; 0 is for ever.
    pub edit_window_s: u32,
    /// Who made it.
    pub creator: UserId,
    /// When it was made, Unix time in milliseconds.
    pub created_ms: u64,
    /// Seq of the last event.
    pub head: u64,
    /// Number of the last message.
    pub message_no: u64,
    /// Time of the last event, Unix time in milliseconds.
    pub time_ms: u64,
    /// Members now.
    pub members: u32,
    /// Members now whose role is owner.
    pub owners: u32,
    /// Up to which event Notify has done its work. Kept by the follower, not by the fold.
    pub notified_seq: u64,
}

impl RoomRow {
    /// A log before its first event.
    #[must_use]
    pub const fn empty(room: RoomId) -> Self {
        Self {
            room,
            kind: 0,
            name: String::new(),
            topic: String::new(),
            post_role: client_protocol::room::role::MEMBER,
            edit_window_s: 0,
            creator: UserId(room.0),
            created_ms: 0,
            head: 0,
            message_no: 0,
            time_ms: 0,
            members: 0,
            owners: 0,
            notified_seq: 0,
        }
    }

    /// The room as it stands in the list of `member`, who has read it up to `mark`; `epoch` is the store's now. In a direct room,
    /// `peer` is the other user.
    #[must_use]
    pub fn entry(self, member: &MemberRow, mark: MarkRow, epoch: u64, peer: Option<UserId>) -> RoomEntry {
        // A mark of another epoch may be of a log that was longer than this one.
        let (read_seq, read_message_no) = if mark.epoch == epoch {
            (mark.seq, mark.message_no)
        } else {
            (mark.seq.min(self.head), mark.message_no.min(self.message_no))
        };
        let given = |text: String| (!text.is_empty()).then_some(text);
        RoomEntry {
            room: self.room,
            kind: self.kind,
            role: member.role,
            head: self.head,
            message_no: self.message_no,
            time_ms: self.time_ms,
            read_seq,
            read_message_no,
            tail: RoomEntryTail { name: given(self.name), topic: given(self.topic), peer, members: Some(self.members) },
        }
    }
}

/// States of membership. A row is never deleted.
pub mod membership {
    /// Is a member.
    pub const MEMBER: u8 = 1;
    /// Left by their own will.
    pub const LEFT: u8 = 2;
    /// Was removed.
    pub const KICKED: u8 = 3;
    /// Was banned.
    pub const BANNED: u8 = 4;
}

/// A user's membership of a room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct MemberRow {
    /// The room.
    pub room: RoomId,
    /// The user.
    pub user: UserId,
    /// See [`membership`].
    pub state: u8,
    /// See [`client_protocol::room::role`].
    pub role: u8,
    /// The event by which they came the last time; 0 for one who was banned without having been a member.
    pub joined_seq: u64,
    /// The event by which they went: the last one that they may see. 0 while they are a member.
    pub left_seq: u64,
    /// They may not post before this time, Unix time in milliseconds.
    pub muted_until_ms: u64,
    /// The event that this row was made from.
    pub seq: u64,
}

impl MemberRow {
    /// Whether they are a member now.
    #[must_use]
    pub const fn is_member(&self) -> bool {
        self.state == membership::MEMBER
    }
}

/// A message as it is now: the second part of its record. A message without one is as it was posted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct NowRow {
    /// The body after the last edit; `None` while it is the first one, and once deleted.
    pub body: Option<Body>,
    /// When it was last edited, Unix time in milliseconds; 0 is never.
    pub edited_ms: u64,
    /// The edits, so that a delete can blank them.
    pub edits: Vec<u64>,
    /// It was deleted.
    pub deleted: bool,
    /// It is pinned.
    pub pinned: bool,
    /// Reactions, in the order in which they came.
    pub reactions: Vec<(String, UserId)>,
    /// The last event that this row was made from.
    pub as_of: u64,
}

/// How far a user has read a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct MarkRow {
    /// Store epoch in which it was set.
    pub epoch: u64,
    /// Read up to this seq.
    pub seq: u64,
    /// The message number there.
    pub message_no: u64,
}

/// States of an account.
pub mod account {
    /// May log in and act.
    pub const ACTIVE: u8 = 1;
    /// May not, for now.
    pub const DISABLED: u8 = 2;
    /// Was erased; only the id remains.
    pub const ERASED: u8 = 3;

    /// What people call a state.
    #[must_use]
    pub const fn name(status: u8) -> &'static str {
        match status {
            ACTIVE => "active",
            DISABLED => "disabled",
            _ => "erased",
        }
    }
}

/// What the world knows of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct AccountRow {
    /// The user.
    pub user: UserId,
    /// See [`account`].
    pub status: u8,
}
