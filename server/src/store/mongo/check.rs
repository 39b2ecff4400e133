//! Check: the projections of a room are compared with what its log says, and mended where that is wanted.
//!
//! Other servers may write to the room meanwhile, so what is compared is read until the room stood still; and each row is mended only
//! if it is still the one that was read.

use super::accounts;
use super::documents::{EventDoc, IdDoc, MarkDoc, MemberDoc, NowDoc, RoomFold, record_bytes, words_now};
use super::fault::Fault;
use super::ids::{event_id, id, mark_id, member_id, pairs_of};
use super::link::Link;
use super::projection::{self, Logged, Members};
use super::queries::{Collection, EVENT, LOG, MARK, MARKS, MEMBER, ROOM, WORDS_OF_LOG};
use super::query;
use super::read::log_piece;
use super::retry::Pauses;
use super::update::{Statement, document};
use crate::limits::{CHECK_ROUNDS_MAX, DUMP_PAGE_ITEMS, MONGO_ROW_LATE_MAX};
use crate::store::check::{Folded, RoomCheck};
use client_protocol::room::kind;
use client_protocol::{RoomId, UserId};
use components::rows::{NowRow, RoomRow};
use mongodb::bson::{Document, doc};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use systems::fold::blanked;

/// Everything that the database has of a room, as of one event.
struct Stored {
    row: Option<RoomRow>,
    events: Vec<Logged>,
    words: BTreeMap<u64, BTreeSet<String>>,
    members: Members,
    marks: Vec<MarkDoc>,
}

/// Compares the projections of a room with its log; with `mend`, what is not as the log says is written as it should be.
pub(super) async fn room(link: &Link, room: RoomId, mend: bool) -> Result<RoomCheck, Fault> {
    let mut pauses = Pauses::new();
    let mut stood_since = (Instant::now(), None);
    for _ in 0..CHECK_ROUNDS_MAX {
        let stored = read(link, room).await?;
        let head = query::room(link, room).await?.map(|row| row.head);
        let log_head = stored.events.last().map(|(record, _)| record.event.head.seq);
        if stood_since.1 != Some((head, log_head)) {
            stood_since = (Instant::now(), Some((head, log_head)));
        }
        // A row that is behind its log may be one that another server writes late.
        let is_settled = head == log_head || stood_since.0.elapsed() > 2 * MONGO_ROW_LATE_MAX;
        let is_level = stored.row.as_ref().map(|row| row.head) == head && log_at(link, room, log_head).await?;
        if is_level && is_settled {
            let mut check = Check { room, found: RoomCheck::default(), events: Vec::new(), rows: Vec::new() };
            check.compare(&stored)?;
            if mend {
                check.send(link).await?;
            }
            return Ok(check.found);
        }
        pauses.pause().await;
    }
    Err(Fault::NotDone(format!("room {room} is written to all the time; try again")))
}

/// Whether the log still ends there.
async fn log_at(link: &Link, room: RoomId, head: Option<u64>) -> Result<bool, Fault> {
    Ok(link.many::<IdDoc>(log_piece(&LOG, room, head.unwrap_or(0), u64::MAX), false, 1).await?.is_empty())
}

async fn read(link: &Link, room: RoomId) -> Result<Stored, Fault> {
    #[derive(Deserialize)]
    struct WordsDoc {
        seq: u64,
        #[serde(default)]
        words: Vec<String>,
    }
    let row = query::room(link, room).await?;
    let (mut events, mut words) = (Vec::new(), BTreeMap::new());
    let mut next = 0;
    loop {
        let lot: Vec<EventDoc> = link.many(log_piece(&LOG, room, next, u64::MAX), false, DUMP_PAGE_ITEMS).await?;
        let words_of_lot = log_piece(&WORDS_OF_LOG, room, next, u64::MAX);
        let found: Vec<WordsDoc> = link.many(words_of_lot, false, lot.len().max(1)).await?;
        words.extend(found.into_iter().map(|found| (found.seq, found.words.into_iter().collect())));
        let count = lot.len();
        for event in lot {
            next = event.seq;
            events.push(event.into_parts()?);
        }
        if count < DUMP_PAGE_ITEMS {
            break;
        }
    }
    let members = projection::read_members(link, room).await?;
    let (first, last) = pairs_of(room.bytes());
    let marks = match row.as_ref().is_some_and(|row| row.kind == kind::SELF) {
        true => link.many(MARKS.equal([]).within(Some(first.into()), Some(last.into())), false, usize::MAX).await?,
        false => Vec::new(),
    };
    Ok(Stored { row, events, words, members, marks })
}

/// A check under way, and what would mend it.
struct Check {
    room: RoomId,
    found: RoomCheck,
    events: Vec<Statement>,
    rows: Vec<(Collection, Statement)>,
}

impl Check {
    fn compare(&mut self, stored: &Stored) -> Result<(), Fault> {
        let mut folded = Folded::new(self.room);
        for (record, _) in &stored.events {
            folded.push(&record.event, &mut self.found);
        }
        self.row(stored, &folded)?;
        self.members(stored, &folded)?;
        self.marks(stored, &folded)?;
        for (record, now) in &stored.events {
            self.event(record, now.as_ref(), stored, &folded)?;
        }
        Ok(())
    }

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

    /// One event: its body, what it is now, its words.
    fn event(
        &mut self,
        record: &components::edge::Record,
        now: Option<&NowRow>,
        stored: &Stored,
        folded: &Folded,
    ) -> Result<(), Fault> {
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
        let words = words_now(blank.as_ref().unwrap_or(event), expected);
        if stored.words.get(&seq).cloned().unwrap_or_default() != words {
            self.found.differs(|| format!("message {seq} is not found by the words that it has"));
            set.insert("words", words.into_iter().collect::<Vec<_>>());
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
        }
        Ok(())
    }

    /// Writes what was found wrong. A row that somebody changed meanwhile stays as they made it: the next check looks at it.
    async fn send(&mut self, link: &Link) -> Result<(), Fault> {
        link.update(Collection::Events, &self.events).await?;
        for (collection, statement) in std::mem::take(&mut self.rows) {
            link.update(collection, &[statement]).await?;
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
