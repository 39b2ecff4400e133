//! Projections: what a log makes of rooms, members, messages and marks. The rules are the fold's; here is how its rows are read
//! and written so that several servers may do it at once, and a crash between any two writes heals.
//!
//! - Every row carries the event that it was made from. A row is replaced only if it is still the one that was read; events up to it
//!   are skipped for it when a log is folded again.
//! - Order: blanked bodies, then rows, then the room with the last event applied. What was not finished is found by that number.
//! - The numbers of members and owners are counted anew whenever rows were read, since rows may be further than their room.

use super::documents::{
    EventDoc, MarkDoc, MemberDoc, NowDoc, RoomFold, event_id, id, mark_id, member_id, pairs_of, record_bytes, words_now,
};
use super::link::{Fault, Link, Statement};
use super::queries::{Collection, EVENT, Filter, MARK, MEMBER, MEMBERS, ROOM};
use crate::store::StoreError;
use client_protocol::room::role;
use client_protocol::{Event, EventBody, RoomId, UserId};
use components::edge::Record;
use components::rows::{MarkRow, MemberRow, NowRow, RoomRow};
use mongodb::bson::{Bson, doc, serialize_to_document};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use systems::fold::{self, Rows, blanked};

/// The members of a room; each with the event that its stored row was made from.
pub(super) type Members = BTreeMap<UserId, MemberRow>;

/// A room as of its event `row.head`. Whatever the database says: it follows from the log alone.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    /// The room.
    pub(super) row: RoomRow,
    /// All member rows, once they were needed.
    pub(super) members: Option<Members>,
}

impl Cached {
    /// A log before its first event.
    pub(super) const fn empty(room: RoomId) -> Self {
        Self { row: RoomRow::empty(room), members: Some(BTreeMap::new()) }
    }
}

/// An event that is to be folded, and what the database says that its message is now.
pub(super) type Logged = (Record, Option<NowRow>);

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
struct Sheet {
    room: RoomId,
    /// The event that is being folded.
    seq: u64,
    /// As stored, or as folded.
    members: Members,
    /// Rows that were changed, and the event of the row that is stored.
    put_members: BTreeMap<UserId, Option<u64>>,
    messages: BTreeMap<u64, Message>,
    put_messages: BTreeSet<u64>,
    marks: BTreeMap<RoomId, (MarkRow, u64)>,
    put_marks: BTreeMap<RoomId, Option<u64>>,
    blanks: BTreeSet<u64>,
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

/// Rows that are made, and rows that are put in the place of those that were read.
#[derive(Debug)]
struct Rewrites<T> {
    new: Vec<T>,
    replaced: Vec<Statement>,
}

impl<T> Default for Rewrites<T> {
    fn default() -> Self {
        Self { new: Vec::new(), replaced: Vec::new() }
    }
}

impl<T: Serialize + Send + Sync> Rewrites<T> {
    /// Puts a row in the place of that of the event `stored`; where there is none, it must not be there.
    fn put(&mut self, filter: Filter<'_>, field: &str, stored: Option<u64>, row: T) -> Result<(), Fault> {
        match stored {
            None => self.new.push(row),
            Some(stored) => {
                let change = serialize_to_document(&row).map_err(|error| Fault::Corrupt(error.to_string()))?;
                let filter = filter.and(field, stored as i64).document();
                self.replaced.push(Statement { filter, change, upsert: false });
            }
        }
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.new.append(&mut other.new);
        self.replaced.append(&mut other.replaced);
    }

    /// Answers whether all rows were as they had been read.
    async fn send(&self, link: &Link, collection: Collection) -> Result<bool, Fault> {
        let all_new = link.insert_new(collection, &self.new).await?;
        Ok(link.update(collection, &self.replaced).await?.all && all_new)
    }
}

/// What is to be written after a fold.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Events whose bodies are blanked.
    blanks: Vec<Statement>,
    /// Messages as they are now.
    nows: Vec<Statement>,
    members: Rewrites<MemberDoc>,
    marks: Rewrites<MarkDoc>,
    /// Rooms, with the last event applied.
    rooms: Vec<Statement>,
}

impl Writes {
    /// Takes the writes of another room along.
    pub(super) fn append(&mut self, mut other: Self) {
        self.blanks.append(&mut other.blanks);
        self.nows.append(&mut other.nows);
        self.members.append(other.members);
        self.marks.append(other.marks);
        self.rooms.append(&mut other.rooms);
    }

    /// Sends all of it, in order. Answers whether every row was as it had been read; if not, look again.
    pub(super) async fn send(self, link: &Link) -> Result<bool, Fault> {
        link.update(Collection::Events, &self.blanks).await?;
        let mut all = link.update(Collection::Events, &self.nows).await?.all;
        all &= self.members.send(link, Collection::Members).await?;
        all &= self.marks.send(link, Collection::Marks).await?;
        if !all {
            return Ok(false);
        }
        link.update(Collection::Rooms, &self.rooms).await?;
        Ok(true)
    }
}

/// Whether the fold of this event looks at members.
const fn is_about_members(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::RoomCreated(_)
            | EventBody::MemberJoined(_)
            | EventBody::MemberAdded(_)
            | EventBody::MemberLeft(_)
            | EventBody::MemberKicked(_)
            | EventBody::MemberBanned(_)
            | EventBody::MemberUnbanned(_)
            | EventBody::RoleChanged(_)
            | EventBody::UserErased(_)
    )
}

/// All member rows of a room.
pub(super) async fn read_members(link: &Link, room: RoomId) -> Result<Members, Fault> {
    let (first, last) = pairs_of(room.bytes());
    let filter = MEMBERS.equal([]).within(Some(first.into()), Some(last.into()));
    let found: Vec<MemberDoc> = link.many(filter, false, usize::MAX).await?;
    let rows = found.into_iter().map(|doc| MemberRow::try_from(doc).map(|row| (row.user, row)));
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Events by their seqs; those that are not there are left out.
pub(super) async fn read_events(link: &Link, room: RoomId, seqs: &[u64]) -> Result<Vec<Logged>, Fault> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let ids = seqs.iter().map(|seq| Bson::String(event_id(room, *seq))).collect();
    let found: Vec<EventDoc> = link.many(EVENT.one_of(ids), false, seqs.len()).await?;
    Ok(found.into_iter().map(EventDoc::into_parts).collect::<Result<_, StoreError>>()?)
}

/// Folds events that follow `cached` onto it, and says what is to be written.
pub(super) async fn advance(link: &Link, cached: Cached, events: &[Logged]) -> Result<(Cached, Writes), Fault> {
    let Cached { mut row, members } = cached;
    let room = row.room;
    let mut sheet = Sheet { room, ..Sheet::default() };
    let needs_members = events.iter().any(|(record, _)| is_about_members(&record.event.body));
    let counts_anew = members.is_none() && needs_members;
    let knows_members = members.is_some() || needs_members;
    sheet.members = match members {
        Some(known) => known,
        None if needs_members => read_members(link, room).await?,
        None => Members::new(),
    };
    sheet.read_messages(link, events).await?;
    sheet.read_marks(link, events).await?;
    if counts_anew {
        // Rows may be further than the room: only the sum at the end is right, and the way there must not go below zero.
        (row.members, row.owners) = (u32::MAX / 2, u32::MAX / 2);
    }
    for (record, _) in events {
        sheet.seq = record.event.head.seq;
        fold::apply(&record.event, &mut row, &mut sheet).map_err(|error| Fault::Corrupt(format!("room {room}: {error}")))?;
    }
    if counts_anew {
        recount(&mut row, &sheet.members);
    }
    let writes = sheet.writes(link, &row).await?;
    let members = knows_members.then_some(sheet.members);
    Ok((Cached { row, members }, writes))
}

/// Counts members and owners.
pub(super) fn recount(row: &mut RoomRow, members: &Members) {
    let count = |what: &dyn Fn(&MemberRow) -> bool| u32::try_from(members.values().filter(|row| what(row)).count());
    row.members = count(&MemberRow::is_member).unwrap_or(u32::MAX);
    row.owners = count(&|member| member.is_member() && member.role == role::OWNER).unwrap_or(u32::MAX);
}

/// Folds events onto a room and all its members, for one who only looks: nothing is to be written.
pub(super) fn fold_members(row: &mut RoomRow, members: &mut Members, events: &[Record]) -> Result<(), Fault> {
    let room = row.room;
    let mut sheet = Sheet { room, members: std::mem::take(members), ..Sheet::default() };
    (row.members, row.owners) = (u32::MAX / 2, u32::MAX / 2);
    for record in events {
        sheet.seq = record.event.head.seq;
        fold::apply(&record.event, row, &mut sheet).map_err(|error| Fault::Corrupt(format!("room {room}: {error}")))?;
    }
    *members = sheet.members;
    recount(row, members);
    Ok(())
}

/// What is to be written where a user's events are erased ([`fold::erase`]).
pub(super) async fn erase(link: &Link, room: RoomId, events: &[Logged], erased_seq: u64) -> Result<Writes, Fault> {
    // No row is further than an erase, which has a meaning of its own.
    let mut sheet = Sheet { room, seq: u64::MAX, ..Sheet::default() };
    sheet.messages.extend(events.iter().map(message_of));
    for (record, _) in events {
        fold::erase(&record.event, &mut sheet, erased_seq);
    }
    sheet.message_writes(link).await
}

fn message_of((record, now): &Logged) -> (u64, Message) {
    (record.event.head.seq, Message { event: record.event.clone(), stored: now.clone(), now: now.clone() })
}

impl Sheet {
    /// Reads the messages that events are about, and those that the events are themselves.
    async fn read_messages(&mut self, link: &Link, events: &[Logged]) -> Result<(), Fault> {
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
    async fn read_marks(&mut self, link: &Link, events: &[Logged]) -> Result<(), Fault> {
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
    async fn writes(&self, link: &Link, row: &RoomRow) -> Result<Writes, Fault> {
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
    async fn message_writes(&self, link: &Link) -> Result<Writes, Fault> {
        let mut writes = Writes { blanks: self.blanked_events(link).await?, ..Writes::default() };
        for seq in &self.put_messages {
            let Some(Message { event, stored, now: Some(now) }) = self.messages.get(seq) else { continue };
            let doc =
                serialize_to_document(&NowDoc::from(now.clone())).map_err(|error| Fault::Corrupt(error.to_string()))?;
            let mut set = doc! { "now": doc };
            // With the row, in one write: search is never behind it, nor ahead.
            let before = stored.clone().unwrap_or_default();
            if (&before.body, before.deleted) != (&now.body, now.deleted) {
                set.insert("words", words_now(event, Some(now)).into_iter().collect::<Vec<_>>());
            }
            let filter = EVENT.equal([event_id(self.room, *seq).into()]);
            let filter = match stored {
                Some(stored) => filter.and("now.as_of", stored.as_of as i64),
                None => filter.and("now", doc! { "$exists": false }),
            };
            writes.nows.push(Statement { filter: filter.document(), change: doc! { "$set": set }, upsert: false });
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
            let filter = EVENT.equal([event_id(self.room, event.head.seq).into()]).document();
            let mut set = doc! { "record": record_bytes(&blanked(event)?) };
            if event.body.is_message() {
                set.insert("words", Vec::<String>::new());
            }
            Some(Statement { filter, change: doc! { "$set": set }, upsert: false })
        };
        Ok(events.filter_map(statement).collect())
    }
}

/// Writes a room before its first event, with what followers are to have done of its log.
pub(super) async fn put_empty(link: &Link, row: &RoomRow) -> Result<(), Fault> {
    link.update(Collection::Rooms, &[room_statement(row)?]).await.map(|_| ())
}

/// A statement that brings the stored room up to `row`, if it is not that far already.
fn room_statement(row: &RoomRow) -> Result<Statement, Fault> {
    let fold = serialize_to_document(&RoomFold::from(row)).map_err(|error| Fault::Corrupt(error.to_string()))?;
    Ok(Statement {
        filter: ROOM.equal([id(row.room.bytes()).into()]).and("head", doc! { "$lt": row.head as i64 }).document(),
        change: doc! { "$set": fold, "$setOnInsert": { "notified_seq": row.notified_seq as i64 } },
        upsert: true,
    })
}
