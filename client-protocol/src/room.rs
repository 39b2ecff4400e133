//! Room: what makes and changes rooms and memberships, room lists, subscriptions.

use crate::codec::{Decode, Encode};
use crate::ids::{Key, RoomId, UserId};
use crate::tail;
use crate::tail::EmptyTail;

/// What kind of room it is: a number, since kinds may be added.
pub mod kind {
    /// Two users, made once (see [`crate::RoomId::direct`]); nobody joins or is removed.
    pub const DIRECT: u8 = 1;
    /// Members come by being added; outsiders cannot see it.
    pub const GROUP: u8 = 2;
    /// Everybody may find and join it.
    pub const PUBLIC: u8 = 3;
    /// A user's own log.
    pub const SELF: u8 = 4;
}

/// What a member may do; a higher number may do all that a lower one may.
pub mod role {
    /// May read, post, react, edit and delete what is theirs, add members to a group.
    pub const MEMBER: u8 = 1;
    /// May delete any message, pin, kick, ban and unban members below them.
    pub const MODERATOR: u8 = 2;
    /// May change settings and the roles below their own.
    pub const ADMIN: u8 = 3;
    /// May do everything, also give the role of owner.
    pub const OWNER: u8 = 4;
}

/// What each command to a room's log says first. Closed: commands grow in their tails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct CommandHead {
    /// The room.
    pub room: RoomId,
    /// Idempotency key: the same one for every retry of the same command.
    pub key: Key,
    /// This may have been sent before: look the key up before refusing.
    pub retry: bool,
}

tail! {
    /// Settings, where they are given.
    pub struct SettingsTail {
        /// Name; empty removes it.
        pub name: String,
        /// Topic; empty removes it.
        pub topic: String,
        /// Lowest role that may post ([`role`]).
        pub post_role: u8,
        /// For how long an author may edit a message, in seconds; 0 is for ever.
        pub edit_window_s: u32,
    }
}

/// Command: makes a room. The reply's tail has its id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreateRoom {
    /// Idempotency key; the room's id follows from it.
    pub key: Key,
    /// See [`kind`].
    pub kind: u8,
    /// First members besides the creator. A direct room has exactly one.
    pub members: Vec<UserId>,
    /// Settings and what later versions add.
    pub settings: SettingsTail,
}

/// Command: joins a public room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinRoom {
    /// Room and key.
    pub head: CommandHead,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Command: leaves a room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LeaveRoom {
    /// Room and key.
    pub head: CommandHead,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Command: does something to another user's membership. Add, kick, ban and unban have a kind each and this body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChangeMember {
    /// Room and key.
    pub head: CommandHead,
    /// The user that it is about.
    pub user: UserId,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Command: gives a member another role.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SetRole {
    /// Room and key.
    pub head: CommandHead,
    /// The member.
    pub user: UserId,
    /// See [`role`].
    pub role: u8,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Command: changes settings; those not given stay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UpdateRoom {
    /// Room and key.
    pub head: CommandHead,
    /// The settings to change.
    pub settings: SettingsTail,
}

/// Command: sends the events after a cursor, then live ones, until [`Unsubscribe`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subscribe {
    /// The room, or the user's own log.
    pub room: RoomId,
    /// The epoch of the cursor ([`crate::session::Welcome::epoch`]).
    pub epoch: u64,
    /// Last seq that the client has; 0 has nothing, [`LIVE`] wants none of the past.
    pub after_seq: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// As a cursor: from the head on.
pub const LIVE: u64 = u64::MAX;

/// Command: ends a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Unsubscribe {
    /// The room.
    pub room: RoomId,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Query: the rooms that the user is a member of, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ListRooms {
    /// Entries to skip: 0, then [`Rooms::next`].
    pub offset: u32,
    /// Entries wanted, at most [`crate::limits::ROOMS_PAGE_MAX`].
    pub limit: u32,
    /// What later versions add.
    pub tail: EmptyTail,
}

tail! {
    /// What else a room list says of a room.
    pub struct RoomEntryTail {
        /// Name.
        pub name: String,
        /// Topic.
        pub topic: String,
        /// The other user of a direct room.
        pub peer: UserId,
        /// Number of members.
        pub members: u32,
    }
}

/// A room, as its member sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RoomEntry {
    /// The room.
    pub room: RoomId,
    /// See [`kind`].
    pub kind: u8,
    /// The member's role, see [`role`].
    pub role: u8,
    /// Seq of the last event.
    pub head: u64,
    /// Number of the last message.
    pub message_no: u64,
    /// When the last event was appended, Unix time in milliseconds.
    pub time_ms: u64,
    /// Read up to this seq.
    pub read_seq: u64,
    /// The message number there: unread = `message_no - read_message_no`.
    pub read_message_no: u64,
    /// Name, topic and what later versions add.
    pub tail: RoomEntryTail,
}

impl RoomEntry {
    /// Messages after the read mark.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.message_no.saturating_sub(self.read_message_no)
    }
}

/// A page of the user's rooms: sent after `Welcome`, and as the answer to [`ListRooms`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rooms {
    /// The rooms, newest first.
    pub rooms: Vec<RoomEntry>,
    /// Where the next page starts; 0 when this is the last.
    pub next: u32,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Query: the members of a room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ListMembers {
    /// The room.
    pub room: RoomId,
    /// Members with ids above this one; all zero starts.
    pub after: UserId,
    /// Entries wanted, at most [`crate::limits::MEMBERS_PAGE_MAX`].
    pub limit: u32,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MemberEntry {
    /// Who.
    pub user: UserId,
    /// See [`role`].
    pub role: u8,
    /// The event by which they came.
    pub joined_seq: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// A page of members, by ascending id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Members {
    /// The members.
    pub members: Vec<MemberEntry>,
    /// Whether there are more.
    pub more: bool,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Something happened in rooms that the session is not subscribed to; at most one a second and room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Bump {
    /// The room.
    pub room: RoomId,
    /// Seq of its last event.
    pub head: u64,
    /// Number of its last message.
    pub message_no: u64,
    /// The user was mentioned since the last bump.
    pub mentioned: bool,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// The cursor cannot be served from: what the client has of this room is void. Read history, go on after `head`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reset {
    /// The room.
    pub room: RoomId,
    /// The epoch from now on.
    pub epoch: u64,
    /// Live events follow after this seq.
    pub head: u64,
    /// See [`reset_reason`].
    pub reason: u8,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Why a cursor was refused.
pub mod reset_reason {
    /// More than [`crate::limits::REPLAY_EVENTS_MAX`] behind.
    pub const TOO_FAR_BEHIND: u8 = 1;
    /// Another epoch.
    pub const EPOCH: u8 = 2;
    /// Ahead of the log.
    pub const AHEAD: u8 = 3;
}

/// A subscription ended, by the user's own leaving or by the server; events up to `last_seq` were sent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SubscriptionEnded {
    /// The room.
    pub room: RoomId,
    /// The last seq that the user may see.
    pub last_seq: u64,
    /// [`crate::Code`] as a number: `not_found` after leaving or being removed, `banned` after a ban, `unavailable` if the room fails.
    pub code: u16,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event: the room began.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RoomCreated {
    /// See [`kind`].
    pub kind: u8,
    /// First members besides the actor, who is the owner.
    pub members: Vec<UserId>,
    /// First settings and what later versions add.
    pub settings: SettingsTail,
}

/// Event: someone's membership changed; who is the actor and what happened follow from the kind.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MemberChanged {
    /// Whose membership.
    pub user: UserId,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event: a member has another role.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RoleChanged {
    /// The member.
    pub user: UserId,
    /// See [`role`].
    pub role: u8,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event: settings changed; those not given stay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SettingsChanged {
    /// The changed ones.
    pub settings: SettingsTail,
}

tail! {
    /// What else follows from the erase of a user.
    pub struct ErasedTail {
        /// The member who is an owner from now on, where the last owner went and others are there.
        pub heir: UserId,
    }
}

/// Event: a user was erased. If they were a member they went; every message that they posted in this room before is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UserErased {
    /// Who.
    pub user: UserId,
    /// The heir and what later versions add.
    pub tail: ErasedTail,
}
