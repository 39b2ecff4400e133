//! Dump and load. A dump walks the collections in the order of [`crate::store::dump`]; a load takes that into an empty database, folding as
//! it goes. Nobody else may use the database while it is loaded.

use super::documents::{DirtyDoc, EventDoc, IdDoc, RoomDoc};
use super::fault::Fault;
use super::ids::{dirty_id, id};
use super::link::Link;
use super::projection::{self, Cached, Logged};
use super::queries::{Collection, DIRTY, LOADING, LOG, LOGIN_PAGES, ROOM_PAGES, USER_PAGES};
use super::read::log_piece;
use super::writes::put_empty;
use super::{accounts, erase, index, logins, query, schema};
use crate::limits::{DUMP_PAGE_ITEMS, ERASE_LOT_EVENTS};
use crate::store::dump::{DumpCursor, DumpPage, Filling, Item, Part};
use crate::store::{SentQuery, StoreError};
use bytes::Bytes;
use client_protocol::{Event, EventBody, NodeId, RoomId, UserId};
use components::edge::Record;
use components::rows::RoomRow;
use mongodb::bson::Bson;

/// The id at the start of a cursor, as it is stored.
fn id_of(cursor: &[u8]) -> Option<([u8; 16], Bson)> {
    cursor.first_chunk::<16>().map(|bytes| (*bytes, Bson::String(id(bytes))))
}

/// A page that is being filled.
struct Page<'a> {
    link: &'a Link,
    filling: Filling,
}

/// A page of everything.
pub(super) async fn page(link: &Link, after: Option<&DumpCursor>) -> Result<DumpPage, Fault> {
    let mut page = Page { link, filling: Filling::default() };
    for (part, start) in DumpCursor::parts(after)? {
        let next = match part {
            Part::Rooms | Part::OwnLogs => page.logs(part, start).await?,
            Part::Logins => page.logins(start).await?,
            Part::Accounts => page.accounts(start).await?,
        };
        if let Some(next) = next {
            return Ok(page.filling.page(Some(DumpCursor::new(part, &next))));
        }
    }
    Ok(page.filling.page(None))
}

impl Page<'_> {
    /// Rooms or own logs from (room, next seq) on; seq 0 is one that is done.
    async fn logs(&mut self, part: Part, start: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let mut after = None;
        if let Some((bytes, stored)) = id_of(start) {
            let seq = start.get(16..).and_then(|seq| seq.try_into().ok()).map_or(0, u64::from_be_bytes);
            if seq > 0
                && let Some(next) = self.events(RoomId::from_bytes(bytes), seq).await?
            {
                return Ok(Some(next));
            }
            after = Some(stored);
        }
        loop {
            let filter = ROOM_PAGES.equal([]).within(after.take(), None);
            let lot: Vec<RoomDoc> = self.link.many(filter, false, DUMP_PAGE_ITEMS).await?;
            let is_last = lot.len() < DUMP_PAGE_ITEMS;
            for row in lot.into_iter().map(|doc| self.link.late.row(doc)) {
                let row = row?;
                after = Some(id(row.room.bytes()).into());
                if !part.holds(row.kind) {
                    continue;
                }
                self.filling.push(Item::Room { room: row.room, notified_seq: row.notified_seq });
                if let Some(next) = self.events(row.room, 1).await? {
                    return Ok(Some(next));
                }
            }
            if is_last {
                return Ok(None);
            }
        }
    }

    /// The events of a room from `seq` on; where the page is full, the place to go on.
    async fn events(&mut self, room: RoomId, mut seq: u64) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            let lot: Vec<EventDoc> =
                self.link.many(log_piece(&LOG, room, seq - 1, u64::MAX), false, DUMP_PAGE_ITEMS).await?;
            let is_last = lot.len() < DUMP_PAGE_ITEMS;
            for event in lot {
                if self.filling.is_full() {
                    return Ok(Some([&room.bytes()[..], &event.seq.to_be_bytes()[..]].concat()));
                }
                seq = event.seq + 1;
                self.filling.push(Item::Event { room, record: event.record.bytes });
            }
            if is_last {
                // What follows is another room: the page may end here.
                return Ok(self.filling.is_full().then(|| [&room.bytes()[..], &0_u64.to_be_bytes()[..]].concat()));
            }
        }
    }

    async fn logins(&mut self, start: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let mut after = id_of(start);
        loop {
            let filter = LOGIN_PAGES.equal([]).within(after.take().map(|(_, stored)| stored), None);
            let lot = logins::page(self.link, filter, DUMP_PAGE_ITEMS).await?;
            let is_last = lot.len() < DUMP_PAGE_ITEMS;
            for (login, tokens) in lot {
                let bytes = *login.login.bytes();
                self.filling.push(Item::Login { login, tokens });
                if self.filling.is_full() {
                    return Ok(Some(bytes.to_vec()));
                }
                after = Some((bytes, id(&bytes).into()));
            }
            if is_last {
                return Ok(None);
            }
        }
    }

    async fn accounts(&mut self, start: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let mut after = id_of(start).map(|(bytes, _)| UserId::from_bytes(bytes));
        loop {
            let lot = accounts::list(self.link, after, DUMP_PAGE_ITEMS).await?;
            let is_last = lot.len() < DUMP_PAGE_ITEMS;
            for account in lot {
                after = Some(account.user);
                let bytes = account.user.bytes().to_vec();
                self.filling.push(Item::Account(account));
                if self.filling.is_full() {
                    return Ok(Some(bytes));
                }
            }
            if is_last {
                return Ok(None);
            }
        }
    }
}

/// Whether a load was begun and did not come to its end.
pub(super) async fn is_loading(link: &Link) -> Result<bool, Fault> {
    Ok(link.one::<IdDoc>(LOADING.equal([schema::LOADING_ID.into()])).await?.is_some())
}

async fn is_empty(link: &Link) -> Result<bool, Fault> {
    for shape in [ROOM_PAGES, USER_PAGES, LOGIN_PAGES] {
        if !link.many::<IdDoc>(shape.equal([]), false, 1).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes pieces into a database that was empty before the first of them; `last` says that these are all.
pub(super) async fn load(link: &Link, node: NodeId, epoch: u64, items: Vec<Item>, last: bool) -> Result<(), StoreError> {
    if !is_loading(link).await? {
        if !is_empty(link).await? {
            return Err(StoreError::NotEmpty);
        }
        schema::begin_load(link).await?;
    }
    let mut logs: Vec<(RoomId, Vec<Logged>)> = Vec::new();
    for item in items {
        match item {
            Item::Room { room, notified_seq } => {
                put_empty(link, &RoomRow { notified_seq, ..RoomRow::empty(room) }).await?;
            }
            Item::Event { room, record } => {
                let logged = (decode(room, record)?, None);
                match logs.last_mut().filter(|(same, _)| *same == room) {
                    Some((_, events)) => events.push(logged),
                    None => logs.push((room, vec![logged])),
                }
            }
            Item::Login { login, tokens } => logins::load(link, login, &tokens).await?,
            Item::Account(account) => accounts::load(link, account).await?,
        }
    }
    for (room, events) in logs {
        load_events(link, node, room, events).await?;
    }
    if last {
        schema::end_load(link, epoch).await?;
    }
    Ok(())
}

fn decode(room: RoomId, bytes: Vec<u8>) -> Result<Record, StoreError> {
    let bytes = Bytes::from(bytes);
    match Event::decode_record(&bytes) {
        Ok((event, used)) if used == bytes.len() => Ok(Record { event, bytes }),
        Ok(_) => Err(StoreError::Corrupt(format!("bytes after the record of an event of room {room}"))),
        Err(error) => Err(StoreError::Corrupt(format!("the record of an event of room {room}: {error}"))),
    }
}

/// Takes the next events of a room. Where one erases a user, what they sent before is erased before what follows is taken.
async fn load_events(link: &Link, node: NodeId, room: RoomId, events: Vec<Logged>) -> Result<(), StoreError> {
    let mut rest = &events[..];
    while !rest.is_empty() {
        let erased = rest.iter().position(|(record, _)| matches!(record.event.body, EventBody::UserErased(_)));
        let (lot, after) = rest.split_at(erased.map_or(rest.len(), |at| at + 1));
        let docs: Vec<EventDoc> = lot.iter().map(|(record, _)| EventDoc::new(room, record)).collect();
        if !link.insert_new(Collection::Events, &docs).await? {
            return Err(StoreError::Corrupt(format!("room {room} has an event or a key twice")));
        }
        let row = query::room(link, room).await?;
        let row = row.ok_or_else(|| StoreError::Corrupt(format!("an event of room {room} comes before the room")))?;
        let (mut cached, writes) = projection::advance(link, Cached::of_row(row), lot).await?;
        if !writes.send(link).await? {
            return Err(StoreError::Unavailable(format!("somebody else writes to room {room}")));
        }
        if let Some((Record { event, .. }, _)) = erased.and_then(|at| rest.get(at))
            && let EventBody::UserErased(body) = &event.body
        {
            erase_before(link, room, body.user, event.head.seq).await?;
        }
        index::index(link, &cached.gathering.take_complete()).await?;
        mark(link, node, &cached.row).await?;
        rest = after;
    }
    Ok(())
}

/// Marks a room as dirty whose followers have something left to do.
async fn mark(link: &Link, node: NodeId, row: &RoomRow) -> Result<(), Fault> {
    if row.head > row.notified_seq {
        link.insert_new(Collection::Dirty, &[DirtyDoc::new(row.room, node)]).await.map(|_| ())
    } else {
        link.delete(DIRTY.equal([dirty_id(row.room, node).into()])).await.map(|_| ())
    }
}

/// What a user sent to a room before they were erased is deleted, as far as it was taken so far: that is all of it.
async fn erase_before(link: &Link, room: RoomId, user: UserId, erased_seq: u64) -> Result<(), Fault> {
    let sent = erase::sent(link, &SentQuery { room, user, after: None, limit: usize::MAX }).await?;
    let seqs: Vec<u64> = sent.into_iter().map(|(_, seq)| seq).filter(|seq| *seq < erased_seq).collect();
    for lot in seqs.chunks(ERASE_LOT_EVENTS) {
        erase::erase(link, room, user, lot, erased_seq).await?;
    }
    Ok(())
}
