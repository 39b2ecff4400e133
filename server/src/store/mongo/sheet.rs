//! The sheet that a fold works on: the rows that it may look at, read before, and what it changed.

use super::documents::{MarkDoc, MemberDoc, NowDoc, record_bytes};
use super::fault::Fault;
use super::ids::{event_id, mark_id, member_id};
use super::index;
use super::link::Link;
use super::projection::{Logged, Members, read_events, recount};
use super::queries::{EVENT, MARK, MEMBER};
use super::update::{Statement, document};
use super::writes::{Writes, room_statement};
use crate::store::blocks::place_of;
use client_protocol::{Event, EventBody, RoomId, UserId};
use components::edge::Record;
use components::rows::{MarkRow, MemberRow, NowRow, RoomRow};
use mongodb::bson::{Bson, doc};
use std::collections::{BTreeMap, BTreeSet};
use systems::fold::{self, FoldError, Rows, blanked};

/// A message that events are about.
#[derive(Debug, Clone)]
struct Message {
    event: Event,
    /// As stored.
    stored: Option<NowRow>,
    /// As folded.
    now: Option<NowRow>,
}

/// Everything that the fold of some events reads and writes.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    room: RoomId,
    /// The event that is being folded.
    seq: u64,
    /// As stored, or as folded.
    pub(super) members: Members,
    /// Rows that were changed, and the event of the row that is stored.
    put_members: BTreeMap<UserId, Option<u64>>,
    messages: BTreeMap<u64, Message>,
    put_messages: BTreeSet<u64>,
    marks: BTreeMap<RoomId, (MarkRow, u64)>,
    put_marks: BTreeMap<RoomId, Option<u64>>,
    blanks: BTreeSet<u64>,
    /// Blocks of messages whose words may be others now.
    changed_blocks: BTreeSet<u64>,
}

impl Message {
    /// The block that it stands in.
    const fn block(&self) -> u64 {
        place_of(self.event.head.message_no).0
    }
}

impl Rows for Sheet {
    fn member(&self, user: UserId) -> Option<MemberRow> {
        self.members.get(&user).cloned()
    }

    fn put_member(&mut self, row: MemberRow) {
        let stored = self.members.get(&row.user).map(|old| old.seq);
        // A row that is further than this event has it in already.
        if stored.is_some_and(|stored| stored >= row.seq) {
            return;
        }
        self.put_members.entry(row.user).or_insert(stored);
        self.members.insert(row.user, row);
    }

    fn message(&self, seq: u64) -> Option<NowRow> {
        let message = self.messages.get(&seq).filter(|message| message.event.body.is_message())?;
        // As above.
        if message.stored.as_ref().is_some_and(|stored| stored.as_of >= self.seq) {
            return None;
        }
        Some(message.now.clone().unwrap_or_default())
    }

    fn put_message(&mut self, seq: u64, now: NowRow) {
        if let Some(message) = self.messages.get_mut(&seq) {
            message.now = Some(now);
            self.put_messages.insert(seq);
        }
    }

    fn blank(&mut self, seq: u64) {
        self.blanks.insert(seq);
    }

    fn mark(&self, room: RoomId) -> Option<MarkRow> {
        self.marks.get(&room).map(|(mark, _)| *mark)
    }

    fn put_mark(&mut self, room: RoomId, mark: MarkRow) {
        let stored = self.marks.get(&room).map(|(_, as_of)| *as_of);
        if stored.is_some_and(|stored| stored >= self.seq) {
            return;
        }
        self.put_marks.entry(room).or_insert(stored);
        self.marks.insert(room, (mark, self.seq));
    }
}

fn message_of((record, now): &Logged) -> (u64, Message) {
    (record.event.head.seq, Message { event: record.event.clone(), stored: now.clone(), now: now.clone() })
}

impl Sheet {
    /// One of a room whose members are known, or are not asked for.
    pub(super) fn new(room: RoomId, members: Members) -> Self {
        Self { room, members, ..Self::default() }
    }

    /// Folds events onto `row`. With `counts_anew`, members and owners are counted from the rows at the end.
    pub(super) fn fold<'a>(
        &mut self,
        row: &mut RoomRow,
        events: impl IntoIterator<Item = &'a Record>,
        counts_anew: bool,
    ) -> Result<(), Fault> {
        if counts_anew {
            // Rows may be further than the room: only the sum at the end is right, and the way there must not go below zero.
            (row.members, row.owners) = (u32::MAX / 2, u32::MAX / 2);
        }
        let room = self.room;
        for record in events {
            self.seq = record.event.head.seq;
            let failed = |error: FoldError| Fault::Corrupt(format!("room {room}: {error}"));
            fold::apply(&record.event, row, self).map_err(failed)?;
            self.note_changed_block(&record.event.body);
        }
        if counts_anew {
            recount(row, &self.members);
        }
        Ok(())
    }

    /// Also where the message has the change in it already: whoever wrote that may have ended before the words were taken out.
    fn note_changed_block(&mut self, body: &EventBody) {
        let changes_words = matches!(body, EventBody::MessageEdited(_) | EventBody::MessageDeleted(_));
        let target = fold::target_of(body).filter(|_| changes_words).and_then(|seq| self.messages.get(&seq));
        self.changed_blocks.extend(target.filter(|target| target.event.body.is_message()).map(Message::block));
    }

    /// Makes of a user's events what their erase by event `erased_seq` makes of them.
    pub(super) fn erase(&mut self, events: &[Logged], erased_seq: u64) {
        // No row is further than an erase, which has a meaning of its own.
        self.seq = u64::MAX;
        self.messages.extend(events.iter().map(message_of));
        for (record, _) in events {
            fold::erase(&record.event, self, erased_seq);
        }
        let messages = self.messages.values().filter(|message| message.event.body.is_message());
        self.changed_blocks.extend(messages.map(Message::block));
    }

    /// Reads the messages that events are about, and those that the events are themselves.
    pub(super) async fn read_messages(&mut self, link: &Link, events: &[Logged]) -> Result<(), Fault> {
        let mut targets: BTreeSet<u64> =
            events.iter().filter_map(|(record, _)| fold::target_of(&record.event.body)).collect();
        if targets.is_empty() {
            return Ok(());
        }
        self.messages.extend(events.iter().map(message_of));
        targets.retain(|seq| !self.messages.contains_key(seq));
        let found = read_events(link, self.room, &targets.into_iter().collect::<Vec<_>>()).await?;
        self.messages.extend(found.iter().map(message_of));
        Ok(())
    }

    /// Reads the marks that events of an own log are about.
    pub(super) async fn read_marks(&mut self, link: &Link, events: &[Logged]) -> Result<(), Fault> {
        let owner = UserId(self.room.0);
        let rooms: BTreeSet<RoomId> = events
            .iter()
            .filter_map(|(record, _)| match &record.event.body {
                EventBody::ReadMarked(marked) => Some(marked.room),
                _ => None,
            })
            .collect();
        if rooms.is_empty() {
            return Ok(());
        }
        let limit = rooms.len();
        let ids = rooms.into_iter().map(|room| Bson::String(mark_id(owner, room))).collect();
        let found: Vec<MarkDoc> = link.many(MARK.one_of(ids), false, limit).await?;
        for mark in found {
            let (room, row) = mark.row()?;
            self.marks.insert(room, (row, mark.as_of));
        }
        Ok(())
    }

    /// What is to be written.
    pub(super) async fn writes(&self, link: &Link, row: &RoomRow) -> Result<Writes, Fault> {
        let mut writes = self.message_writes(link).await?;
        for (user, stored) in &self.put_members {
            if let Some(member) = self.members.get(user) {
                let filter = MEMBER.equal([member_id(self.room, *user).into()]);
                writes.members.put(filter, "seq", *stored, MemberDoc::from(member))?;
            }
        }
        let owner = UserId(self.room.0);
        for (room, stored) in &self.put_marks {
            if let Some((mark, as_of)) = self.marks.get(room) {
                let filter = MARK.equal([mark_id(owner, *room).into()]);
                writes.marks.put(filter, "as_of", *stored, MarkDoc::new(owner, *room, *mark, *as_of))?;
            }
        }
        writes.rooms.push(room_statement(row)?);
        Ok(writes)
    }

    /// What is to be written of messages.
    pub(super) async fn message_writes(&self, link: &Link) -> Result<Writes, Fault> {
        let words = self.changed_blocks.iter().map(|block| index::change(self.room, *block)).collect();
        let mut writes = Writes { blanks: self.blanked_events(link).await?, words, ..Writes::default() };
        for seq in &self.put_messages {
            let Some(Message { stored, now: Some(now), .. }) = self.messages.get(seq) else { continue };
            let set = doc! { "now": document(&NowDoc::from(now.clone()))? };
            let filter = EVENT.equal([event_id(self.room, *seq).into()]);
            let filter = match stored {
                Some(stored) => filter.and("now.as_of", stored.as_of as i64),
                None => filter.and("now", doc! { "$exists": false }),
            };
            writes.nows.push(Statement::set(filter, set));
        }
        Ok(writes)
    }

    /// Statements that blank the bodies of events.
    async fn blanked_events(&self, link: &Link) -> Result<Vec<Statement>, Fault> {
        let unread: Vec<u64> = self.blanks.iter().copied().filter(|seq| !self.messages.contains_key(seq)).collect();
        let read = read_events(link, self.room, &unread).await?;
        let known = self.blanks.iter().filter_map(|seq| self.messages.get(seq)).map(|message| &message.event);
        let events = known.chain(read.iter().map(|(record, _)| &record.event));
        let statement = |event: &Event| {
            let set = doc! { "record": record_bytes(&blanked(event)?) };
            Some(Statement::set(EVENT.equal([event_id(self.room, event.head.seq).into()]), set))
        };
        Ok(events.filter_map(statement).collect())
    }
}
