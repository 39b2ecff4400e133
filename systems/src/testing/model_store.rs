//! The model store: logs and projections in memory, as a real store would have them. What it says is the truth; faults are added
//! by [`super::FaultyStore`].

use crate::fold::{self, Rows};
use crate::hot_log;
use client_protocol::limits::{REPLAY_EVENTS_MAX, ROOMS_PAGE_MAX};
use client_protocol::room::{RoomEntry, kind};
use client_protocol::{Event, EventBody, EventHead, Key, NodeId, RoomId, SessionId, UserId};
use components::edge::{
    AppendReply, AppendRequest, AppendThen, Found, Read, ReadRequest, Record, RoomSnapshot, StoreReply, Target,
};
use components::limits::HYDRATE_TAIL_EVENTS;
use components::rows::{AccountRow, MarkRow, MemberRow, NowRow, RoomRow, account};
use std::collections::{BTreeMap, BTreeSet};

/// What another node writes.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Who acts there.
    pub actor: UserId,
    /// Its key.
    pub key: Key,
    /// What happens.
    pub body: EventBody,
}

/// A room's log and what follows from it.
#[derive(Debug, Clone)]
pub struct RoomLog {
    /// The fold.
    pub row: RoomRow,
    /// Everyone who ever was a member.
    pub members: BTreeMap<UserId, MemberRow>,
    /// The log, dense from 1.
    pub events: Vec<Event>,
    /// Messages to which something happened.
    pub nows: BTreeMap<u64, NowRow>,
    /// Read marks, of an own log.
    pub marks: BTreeMap<RoomId, MarkRow>,
    /// Seq by actor and key.
    pub keys: BTreeMap<(UserId, Key), u64>,
}

struct Projections<'a> {
    members: &'a mut BTreeMap<UserId, MemberRow>,
    events: &'a mut Vec<Event>,
    nows: &'a mut BTreeMap<u64, NowRow>,
    marks: &'a mut BTreeMap<RoomId, MarkRow>,
}

fn at(events: &[Event], seq: u64) -> Option<&Event> {
    events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
}

impl Rows for Projections<'_> {
    fn member(&self, user: UserId) -> Option<MemberRow> {
        self.members.get(&user).cloned()
    }
    fn put_member(&mut self, row: MemberRow) {
        self.members.insert(row.user, row);
    }
    fn message(&self, seq: u64) -> Option<NowRow> {
        at(self.events, seq).filter(|event| event.body.is_message())?;
        Some(self.nows.get(&seq).cloned().unwrap_or_default())
    }
    fn put_message(&mut self, seq: u64, now: NowRow) {
        self.nows.insert(seq, now);
    }
    fn blank(&mut self, seq: u64) {
        if let Some(blanked) = at(self.events, seq).and_then(fold::blanked) {
            self.events[(seq - 1) as usize] = blanked;
        }
    }
    fn mark(&self, room: RoomId) -> Option<MarkRow> {
        self.marks.get(&room).copied()
    }
    fn put_mark(&mut self, room: RoomId, mark: MarkRow) {
        self.marks.insert(room, mark);
    }
}

impl RoomLog {
    fn new(room: RoomId) -> Self {
        Self {
            row: RoomRow::empty(room),
            members: BTreeMap::new(),
            events: Vec::new(),
            nows: BTreeMap::new(),
            marks: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    /// The event with this seq.
    #[must_use]
    pub fn event(&self, seq: u64) -> Option<&Event> {
        at(&self.events, seq)
    }

    fn push(&mut self, event: Event) {
        self.keys.insert((event.head.actor, event.head.key), event.head.seq);
        self.events.push(event.clone());
        let Self { row, members, events, nows, marks, .. } = self;
        let folded = fold::apply(&event, row, &mut Projections { members, events, nows, marks });
        if folded.is_err() {
            // A store keeps what it cannot fold; only readers mind.
            row.head = event.head.seq;
            row.time_ms = event.head.time_ms;
            row.message_no = event.head.message_no;
        }
    }
}

/// Logs, projections and accounts in memory.
#[derive(Debug, Clone, Default)]
pub struct ModelStore {
    /// Rooms with at least one event.
    pub rooms: BTreeMap<RoomId, RoomLog>,
    /// Accounts.
    pub accounts: BTreeMap<UserId, AccountRow>,
    /// Logins that have ended.
    pub ended: BTreeSet<SessionId>,
    /// Reads answered so far.
    pub reads: u64,
}

impl ModelStore {
    /// Adds an active account.
    pub fn add_account(&mut self, user: UserId) {
        self.accounts.insert(user, AccountRow { user, status: account::ACTIVE });
    }

    /// A room's log.
    ///
    /// # Panics
    ///
    /// If it is empty.
    #[must_use]
    pub fn log(&self, room: RoomId) -> &RoomLog {
        self.rooms.get(&room).expect("a room with a log")
    }

    /// Seq of a room's last event; 0 if it has none.
    #[must_use]
    pub fn head(&self, room: RoomId) -> u64 {
        self.rooms.get(&room).map_or(0, |log| log.row.head)
    }

    /// Adds events: the one write.
    pub fn append(&mut self, request: &AppendRequest) -> AppendReply {
        let room = request.room;
        let mut appended = 0;
        let then = loop {
            let Some(record) = request.records.get(appended) else { break AppendThen::Done };
            let head = &record.event.head;
            assert_eq!(head.seq, request.expected_seq + appended as u64, "an append is dense");
            assert_eq!(record.bytes, record.event.record(), "a record is the encoding of its event");
            let log = self.rooms.entry(room).or_insert_with(|| RoomLog::new(room));
            assert!(head.seq <= log.row.head + 1, "an append leaves no gap");
            if head.seq <= log.row.head {
                break AppendThen::Conflict { log: records_of(&log.events[(head.seq - 1) as usize..]) };
            }
            if let Some(&seq) = log.keys.get(&(head.actor, head.key)) {
                let time_ms = log.event(seq).map_or(0, |event| event.head.time_ms);
                break AppendThen::Duplicate { seq, time_ms };
            }
            assert!(head.time_ms >= log.row.time_ms, "time never goes back in a log");
            let counted = log.row.message_no + u64::from(record.event.body.is_message());
            assert_eq!(head.message_no, counted, "messages are counted without a gap");
            log.push(record.event.clone());
            appended += 1;
        };
        AppendReply { room, token: request.token, appended, then }
    }

    /// Another node appends an event; answers its seq, or the seq that its key has already.
    pub fn append_foreign(&mut self, room: RoomId, foreign: Foreign, wall_ms: u64) -> u64 {
        let log = self.rooms.entry(room).or_insert_with(|| RoomLog::new(room));
        if let Some(&seq) = log.keys.get(&(foreign.actor, foreign.key)) {
            return seq;
        }
        let head = EventHead {
            seq: log.row.head + 1,
            time_ms: wall_ms.max(log.row.time_ms),
            actor: foreign.actor,
            key: foreign.key,
            node: NodeId(99),
            message_no: log.row.message_no + u64::from(foreign.body.is_message()),
        };
        let seq = head.seq;
        log.push(Event { head, body: foreign.body });
        seq
    }

    /// Blanks what a user sent to a room before event `erased_seq`, which erases them.
    pub fn erase(&mut self, room: RoomId, user: UserId, erased_seq: u64) {
        let Some(RoomLog { members, events, nows, marks, .. }) = self.rooms.get_mut(&room) else { return };
        let theirs: Vec<Event> =
            events.iter().filter(|e| e.head.actor == user && e.head.seq < erased_seq).cloned().collect();
        for event in theirs {
            fold::erase(&event, &mut Projections { members, events, nows, marks }, erased_seq);
        }
    }

    /// Answers a read.
    pub fn read(&mut self, request: &ReadRequest) -> StoreReply {
        self.reads += 1;
        StoreReply::Read(request.token, self.find(&request.read))
    }

    fn find(&self, read: &Read) -> Found {
        match read {
            Read::Room { room } => Found::Room(Box::new(self.snapshot(*room))),
            Read::Account { user } => {
                let is_there = |log: &&RoomLog| log.members.get(user).is_some_and(MemberRow::is_member);
                let rooms = self.rooms.values().filter(is_there).count();
                Found::Account(self.accounts.get(user).copied(), rooms as u32)
            }
            Read::Target { room, seq } => Found::Target(self.rooms.get(room).and_then(|log| {
                let event = log.event(*seq)?.clone();
                Some(Box::new(Target { event, now: log.nows.get(seq).cloned().unwrap_or_default() }))
            })),
            Read::Key { room, actor, key } => Found::Key(self.rooms.get(room).and_then(|log| {
                let seq = *log.keys.get(&(*actor, *key))?;
                Some((seq, log.event(seq)?.head.time_ms))
            })),
            Read::Page { room, first_seq, last_seq } => {
                let events = self.rooms.get(room).map_or(&[][..], |log| &log.events);
                let skip = first_seq.saturating_sub(1) as usize;
                let count = (last_seq + 1 - first_seq) as usize;
                Found::Page(events.iter().skip(skip).take(count).cloned().map(hot_log::record).collect())
            }
            Read::Heads { rooms } => {
                let ahead = |(room, known): &(RoomId, u64)| Some((*room, self.head(*room))).filter(|(_, head)| head > known);
                Found::Heads(rooms.iter().filter_map(ahead).collect())
            }
            Read::Accounts { accounts, logins } => {
                let now = |row: &AccountRow| self.accounts.get(&row.user).copied().filter(|now| now != row);
                let ended = logins.iter().copied().filter(|login| self.ended.contains(login));
                Found::Accounts(accounts.iter().filter_map(now).collect(), ended.collect())
            }
            Read::Rooms { user } => {
                let mut entries = self.entries_of(*user);
                let next = if entries.len() > ROOMS_PAGE_MAX { ROOMS_PAGE_MAX as u32 } else { 0 };
                entries.truncate(ROOMS_PAGE_MAX);
                Found::Rooms(entries, next)
            }
        }
    }

    fn snapshot(&self, room: RoomId) -> RoomSnapshot {
        let Some(log) = self.rooms.get(&room) else {
            return RoomSnapshot { row: None, members: Vec::new(), tail: Vec::new() };
        };
        let row = &log.row;
        let wanted = (row.head - row.notified_seq).clamp(HYDRATE_TAIL_EVENTS, REPLAY_EVENTS_MAX).min(row.head);
        RoomSnapshot {
            row: Some(row.clone()),
            members: log.members.values().cloned().collect(),
            tail: records_of(&log.events[(row.head - wanted) as usize..]),
        }
    }

    /// The rooms that a user is a member of, newest event first.
    #[must_use]
    pub fn entries_of(&self, user: UserId) -> Vec<RoomEntry> {
        let own = self.rooms.get(&RoomId::self_log(user));
        let mut entries: Vec<_> = self
            .rooms
            .values()
            .filter_map(|log| {
                let member = log.members.get(&user).filter(|member| member.is_member())?;
                let row = &log.row;
                let mark = own.and_then(|own| own.marks.get(&row.room)).copied().unwrap_or_default();
                let peer = log.members.keys().find(|other| row.kind == kind::DIRECT && **other != user).copied();
                Some(row.clone().entry(member, mark, mark.epoch, peer))
            })
            .collect();
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.time_ms), entry.room));
        entries
    }

    /// A room's followers are level with the log up to `seq`.
    pub fn level(&mut self, room: RoomId, seq: u64) {
        if let Some(log) = self.rooms.get_mut(&room) {
            assert!(seq <= log.row.head, "level with what is not there");
            log.row.notified_seq = log.row.notified_seq.max(seq);
        }
    }

    /// Rooms whose followers may not have finished.
    #[must_use]
    pub fn dirty_rooms(&self) -> Vec<RoomId> {
        self.rooms.values().filter(|log| log.row.notified_seq < log.row.head).map(|log| log.row.room).collect()
    }
}

fn records_of(events: &[Event]) -> Vec<Record> {
    events.iter().cloned().map(hot_log::record).collect()
}
