//! Room: a log, and what the node keeps of it while someone uses it.

use crate::edge::{AppendRequest, Record, SessionHandle};
use crate::rows::{MemberRow, RoomRow};
use bevy_ecs::prelude::*;
use bytes::Bytes;
use client_protocol::{RoomId, UserId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A room in memory.
#[derive(Component, Debug)]
#[require(
    HotLog,
    AppendState,
    Subscribers,
    Waiting,
    crate::nodes::Freshness,
    crate::user::RateBudget,
    crate::notification::Unbumped
)]
pub struct Room {
    /// Which.
    pub id: RoomId,
    /// When it was last of use, monotonic microseconds.
    pub used_us: u64,
    /// When the store was last asked for it, monotonic microseconds.
    pub asked_us: u64,
    /// What it is.
    pub hydration: Hydration,
}

/// Whether the room can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hydration {
    /// The store was asked.
    Loading,
    /// Its log is in memory as far as needed.
    Ready,
    /// The store could not be read, or the log does not fold: asked again at this time, monotonic microseconds.
    Failed {
        /// When.
        retry_us: u64,
    },
}

/// The fold of the log up to its durable head: who is what in the room.
#[derive(Component, Debug, Clone, PartialEq, Eq)]
pub struct RoomState {
    /// Settings and head.
    pub row: RoomRow,
    /// Everyone who ever was a member.
    pub members: BTreeMap<UserId, MemberRow>,
}

impl RoomState {
    /// Whether `user` is a member now.
    #[must_use]
    pub fn has_member(&self, user: UserId) -> bool {
        self.members.get(&user).is_some_and(MemberRow::is_member)
    }
}

/// Recent durable events, encoded, shared by all who read the room.
#[derive(Component, Debug, Default)]
pub struct HotLog {
    /// Frames of consecutive events, oldest first, dense.
    pub chunks: VecDeque<Chunk>,
    /// Events after the last chunk: the next flush makes a chunk of them.
    pub pending: Vec<Record>,
    /// Bytes of `pending`.
    pub pending_bytes: usize,
    /// Bytes of chunks and pending together.
    pub bytes: usize,
    /// Its place in [`RoomIndex::hot_order`]; 0 while it has none.
    pub stamp: u64,
    /// Messages deleted lately: an edit that was on its way when they were does not keep its body.
    pub deleted: VecDeque<u64>,
}

/// Consecutive events as one frame.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Seq of the first one.
    pub first_seq: u64,
    /// Where each record starts in `frame`, and where the last one ends.
    pub offsets: Vec<u32>,
    /// The whole frame.
    pub frame: Bytes,
}

impl Chunk {
    /// Seq after the last event.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        self.first_seq + self.offsets.len() as u64 - 1
    }
}

/// Whether an append is open.
#[derive(Component, Debug, Default)]
pub enum AppendState {
    /// None is.
    #[default]
    Idle,
    /// Handed to the store; the entities are the messages, one for each record.
    InFlight {
        /// What was asked.
        request: AppendRequest,
        /// Who waits for it.
        messages: Vec<Entity>,
    },
    /// As `InFlight`; the store does not know the outcome yet.
    InDoubt {
        /// What was asked.
        request: AppendRequest,
        /// Who waits for it.
        messages: Vec<Entity>,
    },
}

/// Commands of this room that have no seq yet, in order.
#[derive(Component, Debug, Default)]
pub struct Waiting {
    /// Message entities.
    pub queue: VecDeque<Entity>,
    /// Commands that would be refused as far as this node knows, while it asks whether other nodes changed that. In order.
    pub aside: VecDeque<Entity>,
    /// Who sent those: what they send after them waits too.
    pub aside_users: BTreeSet<UserId>,
    /// Until when the room's commands wait for more to share their append, monotonic microseconds; set once for each append.
    pub gather_until_us: Option<u64>,
    /// Appends in a row that another node won.
    pub conflicts: u32,
}

impl Waiting {
    /// What was set aside has its turn again, before everything that came later.
    pub fn bring_back(&mut self) {
        self.aside_users.clear();
        while let Some(message) = self.aside.pop_back() {
            self.queue.push_front(message);
        }
    }
}

/// Who reads the room.
#[derive(Component, Debug, Default)]
pub struct Subscribers {
    /// One for each session.
    pub list: Vec<Subscriber>,
    /// Sessions that asked while the room was loading: cursor and request.
    pub asked: Vec<SubscribeAsked>,
    /// Where the next hand-over goes on in `list`, if the last one did not come to its end: a pass is under way.
    pub resume_at: usize,
    /// Somebody who had their turn in the pass under way is to be looked at again.
    pub again: bool,
    /// The head of the log when the pass began.
    pub pass_head: u64,
    /// Readers who got something in the pass under way.
    pub pass_served: usize,
    /// When the last pass that came to its end began, monotonic microseconds.
    pub flushed_us: u64,
    /// When the pass under way began, monotonic microseconds.
    pub pass_us: u64,
    /// How much was said lately, events a second.
    pub events_per_s: u64,
    /// From when on that is counted anew, monotonic microseconds, and the head of the log then.
    pub counted: (u64, u64),
    /// When the next flush is due, while one is queued.
    pub due_us: Option<u64>,
}

/// A session that reads a room: a cursor.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// The session.
    pub session: Entity,
    /// Its connection.
    pub handle: SessionHandle,
    /// Whose it is.
    pub user: UserId,
    /// The next seq to send.
    pub next_seq: u64,
    /// The last seq that the user may see, once they left.
    pub end_seq: Option<u64>,
}

/// A session that asked to read a room.
#[derive(Debug, Clone)]
pub struct SubscribeAsked {
    /// The session.
    pub session: Entity,
    /// Its connection.
    pub handle: SessionHandle,
    /// Whose it is.
    pub user: UserId,
    /// The request to answer.
    pub request: u64,
    /// The cursor's epoch.
    pub epoch: u64,
    /// The cursor.
    pub after_seq: u64,
    /// When it came, monotonic microseconds.
    pub asked_us: u64,
}

/// What a read was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFor {
    /// A room to hydrate.
    Room(Entity),
    /// A user to hydrate.
    User(Entity),
    /// An event that a message refers to.
    Target(Entity),
    /// The key of a message that is about to be refused.
    Key(Entity),
    /// A page for sessions that catch up.
    Page {
        /// The room.
        room: Entity,
        /// The page.
        first_seq: u64,
    },
    /// The room list of a new session.
    Rooms(Entity),
    /// The message number at a read mark.
    Mark(Entity),
    /// Events whose followers did not finish, of a room.
    Followed(Entity),
    /// The key of a follow-up that another node may have done: see [`crate::nodes::Others::lookups`].
    FollowUp,
    /// What other nodes appended to a room after its head.
    Missed(Entity),
    /// The heads of rooms in memory.
    LoadedHeads,
    /// The heads of rooms that are listed for users who are here.
    ListedHeads,
    /// The rooms of a user who is here, to be looked at.
    Listed(Entity),
    /// Accounts and logins that other nodes may have changed.
    Accounts,
}

/// Reads that are open, by token.
#[derive(Resource, Debug, Default)]
pub struct OpenReads {
    /// What for.
    pub by_token: BTreeMap<u64, ReadFor>,
    /// The last token given, to reads and appends alike.
    pub last_token: u64,
}

impl OpenReads {
    /// A token that nothing else that the store is asked for has.
    pub const fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// Opens a read; answers its token.
    pub fn open(&mut self, purpose: ReadFor) -> u64 {
        let token = self.next_token();
        self.by_token.insert(token, purpose);
        token
    }
}

/// Rooms in memory, and which of them have work.
#[derive(Resource, Debug, Default)]
pub struct RoomIndex {
    /// By id.
    pub by_id: BTreeMap<RoomId, Entity>,
    /// Rooms that may have something to sequence in this tick.
    pub to_sequence: BTreeSet<Entity>,
    /// Rooms whose logs may go on after their heads: the store is asked in this tick.
    pub to_look: BTreeSet<Entity>,
    /// Rooms that append nothing until then, for other nodes to have a turn or for more to share the append: (monotonic microseconds, room).
    pub held: BTreeSet<(u64, Entity)>,
    /// Rooms that sessions asked to read.
    pub asked: BTreeSet<Entity>,
    /// Rooms in which a message waits for an account.
    pub awaiting_users: BTreeSet<Entity>,
    /// Flushes: (monotonic microseconds, room).
    pub flushes: BTreeSet<(u64, Entity)>,
    /// When to look whether one is still needed: (monotonic microseconds, room).
    pub idle_checks: BTreeSet<(u64, Entity)>,
    /// Bytes of all hot logs.
    pub hot_bytes: usize,
    /// Rooms with a hot log, the one that grew last at the end: (stamp, room).
    pub hot_order: BTreeSet<(u64, Entity)>,
    /// The last stamp given.
    pub hot_stamp: u64,
}
