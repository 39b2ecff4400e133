//! Check: what a log says its projections are, made anew in memory; for every store alike.
//!
//! [`Folded`] takes the events of one room in their order and keeps what follows from them. A store compares that with what it has. One room
//! at a time; memory in proportion to what was done in it.

use client_protocol::{Event, EventBody, Key, RoomId, UserId};
use components::rows::{MarkRow, MemberRow, NowRow, RoomRow};
use std::collections::{BTreeMap, BTreeSet};
use systems::fold::{self, Rows};

/// What was found out about a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomCheck {
    /// Events of the log.
    pub events: u64,
    /// Messages among them.
    pub messages: u64,
    /// What is not as the log says, at most [`crate::limits::CHECK_DIFFERENCES_MAX`] of it, in words.
    pub differences: Vec<String>,
    /// How many differences there are.
    pub count: u64,
}

impl RoomCheck {
    /// Notes a difference.
    pub fn differs(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.differences.len() < crate::limits::CHECK_DIFFERENCES_MAX {
            self.differences.push(what());
        }
    }
}

/// What follows from a room's log.
#[derive(Debug, Clone)]
pub struct Folded {
    /// The room.
    pub row: RoomRow,
    /// Everybody who ever was a member.
    pub members: BTreeMap<UserId, MemberRow>,
    /// Messages to which something happened.
    pub nows: BTreeMap<u64, NowRow>,
    /// Read marks, of an own log.
    pub marks: BTreeMap<RoomId, MarkRow>,
    /// Seq and time of each key.
    pub keys: BTreeMap<(UserId, Key), (u64, u64)>,
    /// Events whose body must be blank.
    pub blank: BTreeSet<u64>,
    /// Who sent the messages and edits.
    bodies: BTreeMap<u64, (UserId, bool)>,
}

impl Folded {
    /// Before the first event of `room`.
    #[must_use]
    pub const fn new(room: RoomId) -> Self {
        Self {
            row: RoomRow::empty(room),
            members: BTreeMap::new(),
            nows: BTreeMap::new(),
            marks: BTreeMap::new(),
            keys: BTreeMap::new(),
            blank: BTreeSet::new(),
            bodies: BTreeMap::new(),
        }
    }

    /// Takes the next event. What is wrong with the log itself goes into `check`: seqs that are not dense (P2), message numbers, time, keys
    /// that stand twice (P3), targets that are not there.
    pub fn push(&mut self, event: &Event, check: &mut RoomCheck) {
        let head = &event.head;
        let seq = head.seq;
        let is_message = event.body.is_message();
        check.events += 1;
        check.messages += u64::from(is_message);
        if seq != self.row.head + 1 {
            check.differs(|| format!("event {seq} follows event {}", self.row.head));
        }
        if head.message_no != self.row.message_no + u64::from(is_message) {
            check.differs(|| format!("event {seq} counts {} messages after {}", head.message_no, self.row.message_no));
        }
        if head.time_ms < self.row.time_ms {
            check.differs(|| format!("event {seq} is older than the one before"));
        }
        if let Some((first, _)) = self.keys.insert((head.actor, head.key), (seq, head.time_ms)) {
            check.differs(|| format!("events {first} and {seq} have the same actor and key"));
        }
        if let Some(target) = fold::target_of(&event.body).filter(|target| !self.is_message(*target)) {
            check.differs(|| format!("event {seq} is about {target}, which is no message before it"));
        }
        if is_message || matches!(event.body, EventBody::MessageEdited(_)) {
            self.bodies.insert(seq, (head.actor, is_message));
        }
        let mut row = self.row.clone();
        row.head = seq - 1;
        if let Err(error) = fold::apply(event, &mut row, self) {
            check.differs(|| format!("event {seq}: {error}"));
            row.head = seq;
        }
        self.row = row;
        if let EventBody::UserErased(erased) = &event.body {
            self.erase(erased.user, seq);
        }
    }

    /// Seqs of the messages.
    pub fn messages(&self) -> impl Iterator<Item = u64> {
        self.bodies.iter().filter(|(_, (_, is_message))| *is_message).map(|(seq, _)| *seq)
    }

    fn is_message(&self, seq: u64) -> bool {
        self.bodies.get(&seq).is_some_and(|(_, is_message)| *is_message)
    }

    /// As [`fold::erase`] for each event of the user.
    fn erase(&mut self, user: UserId, erased_seq: u64) {
        let theirs = self.bodies.iter().filter(|(_, (actor, _))| *actor == user);
        for (seq, is_message) in theirs.map(|(seq, (_, is_message))| (*seq, *is_message)).collect::<Vec<_>>() {
            self.blank.insert(seq);
            if is_message {
                fold::erase_message(seq, self, erased_seq);
            }
        }
    }
}

impl Rows for Folded {
    fn member(&self, user: UserId) -> Option<MemberRow> {
        self.members.get(&user).cloned()
    }
    fn put_member(&mut self, row: MemberRow) {
        self.members.insert(row.user, row);
    }
    fn message(&self, seq: u64) -> Option<NowRow> {
        self.is_message(seq).then(|| self.nows.get(&seq).cloned().unwrap_or_default())
    }
    fn put_message(&mut self, seq: u64, now: NowRow) {
        self.nows.insert(seq, now);
    }
    fn blank(&mut self, seq: u64) {
        self.blank.insert(seq);
    }
    fn mark(&self, room: RoomId) -> Option<MarkRow> {
        self.marks.get(&room).copied()
    }
    fn put_mark(&mut self, room: RoomId, mark: MarkRow) {
        self.marks.insert(room, mark);
    }
}
