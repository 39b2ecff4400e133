//! The edges of the world: what comes in and what goes out, as bounded queues of plain data.
//!
//! No type of a transport, a store driver or a broker crosses them, so that each can be replaced, and a test can stand in for all.

use crate::rows::{AccountRow, MemberRow, NowRow, RoomRow};
use bevy_ecs::prelude::Resource;
use bytes::Bytes;
use client_protocol::room::RoomEntry;
use client_protocol::session::Reply;
use client_protocol::{CloseCode, Code, Command, DeviceId, Event, EventBody, Key, RoomId, SessionId, UserId};
use std::collections::VecDeque;

/// Names a connection at an edge. A slot is used again; its generation is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionHandle {
    /// Which edge.
    pub edge: u16,
    /// Which slot of the edge's table.
    pub slot: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// Who waits for the answer of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A session, and its number for the request.
    Session {
        /// The connection.
        session: SessionHandle,
        /// The request.
        request: u64,
    },
    /// A REST request, named by a number that its edge made.
    Rest {
        /// The number.
        token: u64,
    },
    /// The server itself, which may do what no user may, named by a number that its edge made.
    Server {
        /// The number.
        token: u64,
    },
    /// The world itself.
    World {
        /// The event whose followers do this, if it follows from one: its room and seq.
        follows: Option<(RoomId, u64)>,
    },
    /// Nobody any more: who asked was told that the outcome is unknown.
    Nobody,
}

/// A command as it comes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// A frame of a session, not decoded yet.
    Frame {
        /// The connection.
        session: SessionHandle,
        /// Kind of the frame.
        kind: u16,
        /// What follows the kind.
        rest: Bytes,
    },
    /// A datagram of a session, not decoded yet, its kind included.
    Datagram {
        /// The connection.
        session: SessionHandle,
        /// The bytes.
        bytes: Bytes,
    },
    /// A command that came over REST, from a user whose token was checked.
    Rest {
        /// Names the waiting request.
        token: u64,
        /// Who asks.
        user: UserId,
        /// What they ask.
        command: Box<Command>,
    },
    /// An event that the server itself wants: an operator's doing, or an erase.
    Server {
        /// Names the waiting call.
        token: u64,
        /// The room.
        room: RoomId,
        /// The event's actor.
        actor: UserId,
        /// Its key.
        key: Key,
        /// What happens.
        body: Box<EventBody>,
    },
}

/// What happens to sessions and accounts.
#[derive(Debug, Clone)]
pub enum Control {
    /// A connection said hello and its token was good.
    Opened {
        /// The connection.
        session: SessionHandle,
        /// Who.
        account: AccountRow,
        /// The login.
        login: SessionId,
        /// The installation.
        device: DeviceId,
        /// When the token ends, Unix time in milliseconds.
        expires_ms: u64,
        /// The client's minor version.
        minor: u16,
    },
    /// The connection is gone.
    Closed {
        /// The connection.
        session: SessionHandle,
    },
    /// The connection takes no more for now.
    Blocked {
        /// The connection.
        session: SessionHandle,
    },
    /// It does again.
    Writable {
        /// The connection.
        session: SessionHandle,
    },
    /// The edge checked the token of a `Reauth` request.
    Reauthed {
        /// The connection.
        session: SessionHandle,
        /// The request to answer.
        request: u64,
        /// The new end of the token, or why it was refused.
        outcome: Result<u64, CloseCode>,
    },
    /// A login was ended: its sessions are closed.
    LoginRevoked {
        /// The user.
        user: UserId,
        /// The login; `None` ends them all.
        login: Option<SessionId>,
    },
    /// An account was changed.
    AccountChanged(AccountRow),
    /// A room whose followers may not have finished before the last stop.
    Sweep {
        /// The room.
        room: RoomId,
    },
    /// The server drains: tell every session, take no new work.
    Drain,
}

/// An event with its record, encoded once: what the store keeps is what subscribers get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The event.
    pub event: Event,
    /// Its record ([`client_protocol::event`]).
    pub bytes: Bytes,
}

/// Asks the store to add events to a room's log. At most one is open for a room.
#[derive(Debug, Clone)]
pub struct AppendRequest {
    /// The room.
    pub room: RoomId,
    /// Comes back with the reply: an old one is dropped.
    pub token: u64,
    /// The seq of the first of these events; the log must end right before it.
    pub expected_seq: u64,
    /// The events, at most [`crate::limits::APPEND_EVENTS_MAX`].
    pub records: Vec<Record>,
}

/// The answer to an [`AppendRequest`]: the first `appended` are durable; `then` speaks of the next one.
#[derive(Debug, Clone)]
pub struct AppendReply {
    /// The room.
    pub room: RoomId,
    /// Of the request.
    pub token: u64,
    /// So many of the events are durable.
    pub appended: usize,
    /// What became of the next one.
    pub then: AppendThen,
}

/// What became of the first event that is not known to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendThen {
    /// All are in.
    Done,
    /// Another node was faster: these events stand in the log from `expected_seq + appended` on.
    Conflict {
        /// What the log holds there, as it is stored: fields that this version does not know are kept. At least one event, dense; a
        /// store may leave out later ones.
        log: Vec<Record>,
    },
    /// Its (room, actor, key) is in the log already.
    Duplicate {
        /// At this seq.
        seq: u64,
        /// Appended then, Unix time in milliseconds.
        time_ms: u64,
    },
    /// Not known yet. The store edge goes on until it is, and answers the same token again.
    InDoubt,
    /// The store takes no writes; nothing more of this append is in, nor will be.
    Unavailable,
}

/// Asks the store for something. Answered exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// Comes back with the reply.
    pub token: u64,
    /// What is asked for.
    pub read: Read,
}

/// What the world asks of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A room with its members and last events.
    Room {
        /// The room.
        room: RoomId,
    },
    /// An account.
    Account {
        /// The user.
        user: UserId,
    },
    /// An event and, if it is a message, what it is now.
    Target {
        /// The room.
        room: RoomId,
        /// The event.
        seq: u64,
    },
    /// The seq that a key has.
    Key {
        /// The room.
        room: RoomId,
        /// Who sent it.
        actor: UserId,
        /// The key.
        key: Key,
    },
    /// Events `first_seq..=last_seq`, as far as there are any.
    Page {
        /// The room.
        room: RoomId,
        /// First wanted.
        first_seq: u64,
        /// Last wanted.
        last_seq: u64,
    },
    /// The newest rooms of a user, one page.
    Rooms {
        /// The user.
        user: UserId,
    },
    /// Which of these logs go on after what is known here: other nodes on the same store may have written to them.
    Heads {
        /// Rooms, each once, and the seq up to which their logs are known; at most [`crate::limits::HEADS_ROOMS_MAX`].
        rooms: Vec<(RoomId, u64)>,
    },
    /// Which of these accounts are not as they are known here, and which of these logins have ended.
    Accounts {
        /// Accounts as they are known here; at most [`crate::limits::CHECKED_USERS_MAX`].
        accounts: Vec<AccountRow>,
        /// Logins that live here; at most [`crate::limits::CHECKED_LOGINS_MAX`].
        logins: Vec<SessionId>,
    },
}

/// A room as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSnapshot {
    /// The room; `None` if its log is empty.
    pub row: Option<RoomRow>,
    /// Every member row.
    pub members: Vec<MemberRow>,
    /// The last events, dense up to `row.head`; at least those after `row.notified_seq`, up to
    /// [`client_protocol::limits::REPLAY_EVENTS_MAX`].
    pub tail: Vec<Record>,
}

/// An event and, if it is a message, what it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The event.
    pub event: Event,
    /// The message now; default where nothing happened to it.
    pub now: NowRow,
}

/// What the store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// For [`Read::Room`].
    Room(Box<RoomSnapshot>),
    /// For [`Read::Account`]: the account, and in how many rooms the user is
    /// (counted up to [`client_protocol::limits::USER_ROOMS_MAX`]).
    Account(Option<AccountRow>, u32),
    /// For [`Read::Target`].
    Target(Option<Box<Target>>),
    /// For [`Read::Key`]: seq and time of the event.
    Key(Option<(u64, u64)>),
    /// For [`Read::Page`]: dense from `first_seq`.
    Page(Vec<Record>),
    /// For [`Read::Rooms`]: entries, and where the next page starts (0: nowhere).
    Rooms(Vec<RoomEntry>, u32),
    /// For [`Read::Heads`]: the rooms whose logs go on after the seq that was given, and the seq of their last events, or of ones before
    /// that: whoever reads on finds the rest.
    Heads(Vec<(RoomId, u64)>),
    /// For [`Read::Accounts`]: the accounts that are different, as they are now; and the logins that have ended or that nobody knows.
    Accounts(Vec<AccountRow>, Vec<SessionId>),
    /// The store could not read.
    Unavailable,
}

/// What the store says.
#[derive(Debug, Clone)]
pub enum StoreReply {
    /// To an append.
    Append(AppendReply),
    /// To a read: its token and the answer.
    Read(u64, Found),
}

/// Everything that comes in, one queue each: store replies never wait behind commands.
#[derive(Resource, Debug, Default)]
pub struct Inbox {
    /// Commands, at most [`crate::limits::INBOX_COMMANDS_MAX`].
    pub commands: VecDeque<Input>,
    /// Sessions and accounts. Bounded by the sessions that there may be.
    pub control: VecDeque<Control>,
    /// Store replies. Bounded by the requests that are open.
    pub store: VecDeque<StoreReply>,
}

/// Out: appends for the store.
#[derive(Resource, Debug, Default)]
pub struct Appends(pub Vec<AppendRequest>);

/// Out: reads for the store.
#[derive(Resource, Debug, Default)]
pub struct Reads(pub Vec<ReadRequest>);

/// Out: rooms whose followers are level with the log up to a seq; the store may forget that they are dirty.
#[derive(Resource, Debug, Default)]
pub struct Levels(pub Vec<(RoomId, u64)>);

/// Out: committed events for other services (the bus). Bounded by the appends of a tick.
#[derive(Resource, Debug, Default)]
pub struct Notices(pub Vec<(RoomId, Record)>);

/// Out: what an edge sends. Filled only when the edge has emptied it.
#[derive(Resource, Debug, Default)]
pub struct Slot {
    /// Frames, each encoded once.
    pub frames: Vec<Bytes>,
    /// Who gets which frame (index into `frames`), in order; at most [`crate::limits::SLOT_SENDS_MAX`] of room events.
    pub sends: Vec<(SessionHandle, u32)>,
    /// Datagrams: may be dropped.
    pub datagrams: Vec<(SessionHandle, u32)>,
    /// Answers to REST requests and calls of the server itself.
    pub rest: Vec<(u64, Reply)>,
    /// Connections to close, after what was sent before.
    pub closes: Vec<(SessionHandle, CloseCode)>,
    /// The code of each command that was refused, to be counted.
    pub refused: Vec<Code>,
    /// Sessions whose request window has room again are found by counting replies; this many sends were room events.
    pub events_sent: usize,
}
