//! Check: the projections of a room are compared with what its log says, and mended where that is wanted.
//!
//! Other servers may write to the room meanwhile, so what is compared is read until the room stood still; and each row is mended only
//! if it is still the one that was read.

use super::accounts;
use super::documents::{EventDoc, IdDoc, MarkDoc, MemberDoc, NowDoc, RoomFold, record_bytes};
use super::fault::Fault;
use super::ids::{block_id, event_id, id, mark_id, member_id, pairs_of};
use super::index::{self, BlockDoc, Messages};
use super::link::Link;
use super::projection::{self, Logged, Members};
use super::queries::{BLOCK, BLOCKS, Collection, EVENT, LOG, MARK, MARKS, MEMBER, ROOM};
use super::query;
use super::read::log_piece;
use super::retry::Pauses;
use super::update::{Statement, document};
use crate::limits::{CHECK_ROUNDS_MAX, DUMP_PAGE_ITEMS, MONGO_MEMBERS_SERVER_TIME, MONGO_ROW_LATE_MAX};
use crate::store::blocks::{complete, completed_by};
use crate::store::check::{Folded, RoomCheck};
use client_protocol::room::kind;
use client_protocol::{RoomId, UserId};
use components::rows::{NowRow, RoomRow};
use mongodb::bson::{Document, doc};
use std::collections::BTreeMap;
use std::time::Instant;
use systems::fold::blanked;

/// The rows that the database has of a room. Its log is read lot by lot, once to fold it, and once to be compared: a log may be larger
/// than the memory.
struct Stored {
    row: Option<RoomRow>,
    members: Members,
    marks: Vec<MarkDoc>,
}

/// Compares the projections of a room with its log; with `mend`, what is not as the log says is written as it should be.
pub(super) async fn room(link: &Link, room: RoomId, mend: bool) -> Result<RoomCheck, Fault> {
    let mut pauses = Pauses::new();
    let mut stood_since = (Instant::now(), None);
    for _ in 0..CHECK_ROUNDS_MAX {
        let (check, row_head, log_head) = compare(link, room).await?;
        let head = query::room(link, room).await?.map(|row| row.head);
        if stood_since.1 != Some((head, log_head)) {
            stood_since = (Instant::now(), Some((head, log_head)));
        }
        // A row that is behind its log may be one that another server writes late.
        let is_settled = head == log_head || stood_since.0.elapsed() > 2 * MONGO_ROW_LATE_MAX;
        let is_level = row_head == head && log_at(link, room, log_head).await?;
        if is_level && is_settled {
            if mend {
                check.send(link).await?;
            }
            return Ok(check.found);
        }
        pauses.pause().await;
    }
    Err(Fault::NotDone(format!("room {room} is written to all the time; try again")))
}

/// Compares a room as far as its log goes now; answers what was found, and the heads of its row and of its log.
async fn compare(link: &Link, room: RoomId) -> Result<(Check, Option<u64>, Option<u64>), Fault> {
    let mut check = Check {
        room,
        found: RoomCheck::default(),
        events: Vec::new(),
        rows: Vec::new(),
        blocks: BTreeMap::new(),
        unindexed: Vec::new(),
        is_block_touched: false,
    };
    let row = query::room(link, room).await?;
    let mut folded = Folded::new(room);
    let mut log = Lots::new(room);
    while let Some(lot) = log.next(link).await? {
        for (record, _) in &lot {
            folded.push(&record.event, &mut check.found);
        }
    }
    let log_head = (log.after > 0).then_some(log.after);
    let members = projection::read_members(link, room).await?;
    let (first, last) = pairs_of(room.bytes());
    let marks = match row.as_ref().is_some_and(|row| row.kind == kind::SELF) {
        true => link.all(MARKS.equal([]).within(Some(first.into()), Some(last.into())), MONGO_MEMBERS_SERVER_TIME).await?,
        false => Vec::new(),
    };
    let stored = Stored { row, members, marks };
    check.row(&stored, &folded)?;
    check.members(&stored, &folded)?;
    check.marks(&stored, &folded)?;
    let (mut log, mut messages) = (Lots::new(room), Messages::default());
    while let Some(lot) = log.next(link).await? {
        // What came since: the room is looked at again.
        for (record, now) in lot.iter().filter(|(record, _)| Some(record.event.head.seq) <= log_head) {
            check.event(record, now.as_ref(), &folded)?;
            let head = &record.event.head;
            if record.event.body.is_message() {
                messages.push(&record.event, folded.nows.get(&head.seq));
            }
            if let Some(block) = completed_by(head.message_no).filter(|_| record.event.body.is_message()) {
                check.block(link, block, head.seq, std::mem::take(&mut messages)).await?;
            }
        }
    }
    let complete = complete(folded.row.message_no);
    if std::mem::take(&mut check.is_block_touched) {
        check.blocks.insert(complete, None);
    }
    check.blocks_from(link, complete).await?;
    Ok((check, stored.row.map(|row| row.head), log_head))
}

/// Whether the log still ends there.
async fn log_at(link: &Link, room: RoomId, head: Option<u64>) -> Result<bool, Fault> {
    Ok(link.many::<IdDoc>(log_piece(&LOG, room, head.unwrap_or(0), u64::MAX), false, 1).await?.is_empty())
}

/// A log, lot by lot.
struct Lots {
    room: RoomId,
    /// The last seq that was read.
    after: u64,
    ended: bool,
}

impl Lots {
    const fn new(room: RoomId) -> Self {
        Self { room, after: 0, ended: false }
    }

    async fn next(&mut self, link: &Link) -> Result<Option<Vec<Logged>>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let lot: Vec<EventDoc> = link.many(log_piece(&LOG, self.room, self.after, u64::MAX), false, DUMP_PAGE_ITEMS).await?;
        self.ended = lot.len() < DUMP_PAGE_ITEMS;
        self.after = lot.last().map_or(self.after, |event| event.seq);
        Ok(Some(lot.into_iter().map(EventDoc::into_parts).collect::<Result<_, _>>()?))
    }
}

/// A check under way, and what would mend it.
struct Check {
    room: RoomId,
    found: RoomCheck,
    events: Vec<Statement>,
    rows: Vec<(Collection, Statement)>,
    /// Blocks whose words are wrong, and the seq of the last message of those that are to be indexed anew.
    blocks: BTreeMap<u64, Option<u64>>,
    /// Blocks that are not indexed, with the seq of their last message.
    unindexed: Vec<(u64, u64)>,
    /// Something is wrong with a message of the block that is being looked at.
    is_block_touched: bool,
}

impl Check {
    fn row(&mut self, stored: &Stored, folded: &Folded) -> Result<(), Fault> {
        // How far followers are is theirs to say, not the log's.
        let notified_seq = stored.row.as_ref().map_or(0, |row| row.notified_seq).min(folded.row.head);
        let expected = RoomRow { notified_seq, ..folded.row.clone() };
        if folded.row.head == 0 || stored.row.as_ref() == Some(&expected) {
            return Ok(());
        }
        self.found.differs(|| "the room is another one than its log says".to_owned());
        let filter = ROOM.equal([id(self.room.bytes()).into()]);
        let filter = match &stored.row {
            // Less, if it is one that this server writes late.
            Some(row) => filter.and("head", doc! { "$lte": row.head as i64 }),
            None => filter,
        };
        let mut set = document(&RoomFold::from(&expected))?;
        set.insert("notified_seq", notified_seq as i64);
        self.rows.push((Collection::Rooms, Statement::set(filter, set).or_insert(stored.row.is_none())));
        Ok(())
    }

    fn members(&mut self, stored: &Stored, folded: &Folded) -> Result<(), Fault> {
        for (user, row) in &folded.members {
            let found = stored.members.get(user);
            if found == Some(row) {
                continue;
            }
            self.found.differs(|| format!("the membership of {user} is another one than the log says"));
            let filter = MEMBER.equal([member_id(self.room, *user).into()]);
            let filter = match found {
                Some(found) => filter.and("seq", found.seq as i64),
                None => filter,
            };
            let statement = Statement::replace(filter, &MemberDoc::from(row))?.or_insert(found.is_none());
            self.rows.push((Collection::Members, statement));
        }
        for user in stored.members.keys().filter(|user| !folded.members.contains_key(user)) {
            // Never removed by anybody: it is told, and left to people.
            self.found.differs(|| format!("there is a membership of {user}, of whom the log knows nothing"));
        }
        Ok(())
    }

    fn marks(&mut self, stored: &Stored, folded: &Folded) -> Result<(), Fault> {
        let owner = UserId(self.room.0);
        let mut found = BTreeMap::new();
        for mark in &stored.marks {
            let (room, row) = mark.row()?;
            found.insert(room, (row, mark.as_of));
        }
        for (room, mark) in &folded.marks {
            let there = found.get(room);
            if there.is_some_and(|(there, _)| there == mark) {
                continue;
            }
            self.found.differs(|| format!("the read mark of room {room} is another one than the log says"));
            let filter = MARK.equal([mark_id(owner, *room).into()]);
            let filter = match there {
                Some((_, as_of)) => filter.and("as_of", *as_of as i64),
                None => filter,
            };
            let row = MarkDoc::new(owner, *room, *mark, folded.row.head);
            let statement = Statement::replace(filter, &row)?.or_insert(there.is_none());
            self.rows.push((Collection::Marks, statement));
        }
        Ok(())
    }

    /// One event: its body, and what it is now.
    fn event(&mut self, record: &components::edge::Record, now: Option<&NowRow>, folded: &Folded) -> Result<(), Fault> {
        let (event, seq) = (&record.event, record.event.head.seq);
        let mut set = Document::new();
        let blank = folded.blank.contains(&seq).then(|| blanked(event)).flatten().filter(|blank| blank != event);
        if let Some(blank) = &blank {
            self.found.differs(|| format!("the body of event {seq} should be blank"));
            set.insert("record", record_bytes(blank));
        }
        let expected = folded.nows.get(&seq);
        if now != expected {
            self.found.differs(|| format!("message {seq} is now another one than the log says"));
            if let Some(expected) = expected {
                set.insert("now", document(&NowDoc::from(expected.clone()))?);
            }
        }
        let mut change = Document::new();
        if now.is_some() && expected.is_none() {
            change.insert("$unset", doc! { "now": "" });
        }
        if !set.is_empty() {
            change.insert("$set", set);
        }
        if !change.is_empty() {
            let filter = EVENT.equal([event_id(self.room, seq).into()]);
            let filter = match now {
                Some(now) => filter.and("now.as_of", now.as_of as i64),
                None => filter.and("now", doc! { "$exists": false }),
            };
            self.events.push(Statement { filter: filter.document(), change, upsert: false });
            self.is_block_touched |= event.body.is_message();
        }
        Ok(())
    }

    /// The words of a block that is complete. One that is not indexed is not wrong, since a search reads its messages, but is
    /// indexed where things are mended.
    async fn block(&mut self, link: &Link, block: u64, last_seq: u64, messages: Messages) -> Result<(), Fault> {
        if std::mem::take(&mut self.is_block_touched) {
            self.blocks.insert(block, Some(last_seq));
        }
        let found: Option<BlockDoc> = link.one(BLOCK.equal([block_id(self.room, block).into()])).await?;
        // Of one that lacks messages the log says what is wrong, and search what it finds.
        let Some(expected) = messages.into_indexed() else { return Ok(()) };
        let is_wrong = match found.map(BlockDoc::indexed).transpose() {
            Ok(None | Some(None)) => {
                self.unindexed.push((block, last_seq));
                false
            }
            Ok(Some(Some(found))) => found != expected,
            Err(_) => true,
        };
        if is_wrong {
            self.found.differs(|| format!("messages of block {block} are not found by the words that they have"));
            self.blocks.insert(block, Some(last_seq));
        }
        Ok(())
    }

    /// Blocks from this one on are not complete.
    async fn blocks_from(&mut self, link: &Link, first: u64) -> Result<(), Fault> {
        let (above, last) = match first.checked_sub(1) {
            Some(before) => (block_id(self.room, before), pairs_of(self.room.bytes()).1),
            None => pairs_of(self.room.bytes()),
        };
        let filter = BLOCKS.equal([]).within(Some(above.into()), Some(last.into()));
        for doc in link.many::<BlockDoc>(filter, false, DUMP_PAGE_ITEMS).await? {
            let block = doc.block()?;
            if !matches!(doc.indexed(), Ok(None)) {
                self.found.differs(|| format!("block {block} of messages is not complete, and is indexed"));
                self.blocks.insert(block, None);
            }
        }
        Ok(())
    }

    /// Writes what was found wrong. A row that somebody changed meanwhile stays as they made it: the next check looks at it.
    async fn send(&self, link: &Link) -> Result<(), Fault> {
        link.update(Collection::Events, &self.events).await?;
        for (collection, statement) in &self.rows {
            link.update(*collection, std::slice::from_ref(statement)).await?;
        }
        let changes: Vec<Statement> = self.blocks.keys().map(|block| index::change(self.room, *block)).collect();
        if !link.update(Collection::Words, &changes).await? {
            return Err(Fault::NotDone("somebody else writes to the words of the room; try again".to_owned()));
        }
        let changed = self.blocks.iter().filter_map(|(block, last_seq)| last_seq.map(|last_seq| (*block, last_seq)));
        for (block, last_seq) in changed.chain(self.unindexed.iter().copied()) {
            index::anew(link, self.room, block, last_seq).await?;
        }
        Ok(())
    }
}

/// How many documents there are of each sort, as the database says without counting; after a crash of it that may be a little off.
pub(super) async fn stats(link: &Link) -> Result<Vec<(String, u64)>, Fault> {
    let counted = [
        (Collection::Users, "accounts"),
        (Collection::Logins, "logins"),
        (Collection::Rooms, "rooms_and_own_logs"),
        (Collection::Events, "events_estimate"),
    ];
    let mut stats = Vec::new();
    for (collection, name) in counted {
        let count = link.call(link.collection::<Document>(collection).estimated_document_count().into_future()).await?;
        stats.push((name.to_owned(), count));
    }
    stats.push(("erases_under_way".to_owned(), accounts::erasing(link).await?.len() as u64));
    Ok(stats)
}
