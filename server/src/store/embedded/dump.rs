//! Dump and load. A dump walks the tables in the order of [`crate::store::dump`]; a load takes that into an empty store, folding as it goes.

use super::append::{self, Staged};
use super::disk::Durable;
use super::logins::{self, LoginRow};
use super::projection::Projection;
use super::tables::{Overlay, Table, View, decode_event, row_of};
use super::{Shared, accounts, erase, keys};
use crate::clock::now_ms;
use crate::store::dump::{DumpCursor, DumpPage, Filling, Item, Part};
use crate::store::{SentQuery, StoreError};
use bytes::Bytes;
use client_protocol::{EventBody, RoomId, SessionId, UserId};
use components::edge::Record;
use components::rows::RoomRow;
use std::sync::PoisonError;

/// In the table of meta while a load is under way.
pub(super) const LOADING: &str = "loading";

/// A page of everything.
pub(super) fn page(view: &View<'_>, after: Option<&DumpCursor>) -> Result<DumpPage, StoreError> {
    let mut page = Filling::default();
    for (part, start) in DumpCursor::parts(after)? {
        let next = match part {
            Part::Rooms | Part::OwnLogs => logs(view, &mut page, part, start)?,
            Part::Logins => logins(view, &mut page, start)?,
            Part::Accounts => accounts(view, &mut page, start)?,
        };
        if let Some(next) = next {
            return Ok(page.page(Some(DumpCursor::new(part, &next))));
        }
    }
    Ok(page.page(None))
}

/// Rooms or own logs from (room, next seq) on.
fn logs(view: &View<'_>, page: &mut Filling, part: Part, start: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let begun = start.first_chunk::<16>().map(|room| RoomId::from_bytes(*room));
    let seq = start.get(16..).and_then(keys::number).unwrap_or(0);
    let first = begun.unwrap_or_default();
    for item in view.range(Table::Rooms, first.bytes(), &[0xff; 16]) {
        let row: RoomRow = row_of(Table::Rooms, item)?;
        if !part.holds(row.kind) {
            continue;
        }
        let mut next = if begun == Some(row.room) { seq } else { 0 };
        if next == 0 {
            page.push(Item::Room { room: row.room, notified_seq: row.notified_seq });
            next = 1;
        }
        let last = keys::room_number(row.room, u64::MAX);
        for item in view.range(Table::Events, &keys::room_number(row.room, next), &last) {
            if page.is_full() {
                return Ok(Some(keys::room_number(row.room, next).to_vec()));
            }
            let record = item.value()?.to_vec();
            page.push(Item::Event { room: row.room, record });
            next += 1;
        }
    }
    Ok(None)
}

/// Logins from an id on.
fn logins(view: &View<'_>, page: &mut Filling, start: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    for item in view.range(Table::Logins, start, &[0xff; 16]) {
        let (key, row) = item.into_inner()?;
        if page.is_full() {
            return Ok(Some(key.to_vec()));
        }
        let id = keys::last_id(&key).map(SessionId::from_bytes);
        let id = id.ok_or_else(|| StoreError::Corrupt("the key of a login".to_owned()))?;
        let row: LoginRow =
            client_protocol::codec::decode(&row).map_err(|error| StoreError::Corrupt(format!("a login: {error}")))?;
        let tokens = logins::tokens(view, id)?;
        page.push(Item::Login { login: row.into_login(id), tokens });
    }
    Ok(None)
}

/// Accounts from an id on.
fn accounts(view: &View<'_>, page: &mut Filling, start: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    for item in view.range(Table::Users, start, &[0xff; 16]) {
        if page.is_full() {
            return Ok(Some(item.key()?.to_vec()));
        }
        let account = accounts::decode(row_of(Table::Users, item)?);
        page.push(Item::Account(account));
    }
    Ok(None)
}

/// Takes pieces into a store that was empty before the first of them; `last` says that these are all.
pub(super) fn load(shared: &Shared, items: Vec<Item>, last: bool) -> Result<(), StoreError> {
    let view = shared.tables.view();
    let mut overlay = Overlay::new(&shared.tables);
    if !view.has(Table::Meta, LOADING.as_bytes())? {
        for table in [Table::Rooms, Table::Users, Table::Logins] {
            if view.all(table).next().is_some() {
                return Err(StoreError::NotEmpty);
            }
        }
        overlay.put(Table::Meta, LOADING.as_bytes(), &[]);
    }
    for item in items {
        match item {
            Item::Room { room, notified_seq } => {
                overlay.put_row(Table::Rooms, room.bytes(), &RoomRow { notified_seq, ..RoomRow::empty(room) });
            }
            Item::Event { room, record } => {
                if let Some((user, seq)) = load_event(&mut overlay, room, record)? {
                    std::mem::replace(&mut overlay, Overlay::new(&shared.tables)).commit(&shared.disk, Durable::Later)?;
                    erase_before(shared, room, user, seq)?;
                }
            }
            Item::Login { login, tokens } => logins::load(&mut overlay, login, &tokens),
            Item::Account(account) => {
                let _one_at_a_time = shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
                accounts::put(&mut overlay, account)?;
            }
        }
    }
    if last {
        // Later than every epoch that the marks in it may have.
        let epoch = now_ms().max(shared.meta.epoch + 1);
        overlay.put(Table::Meta, b"epoch", &epoch.to_be_bytes());
        overlay.remove(Table::Meta, LOADING.as_bytes());
    }
    overlay.commit(&shared.disk, if last { Durable::Synced } else { Durable::Later })
}

/// Takes the next event of a room; answers whom it erases.
fn load_event(overlay: &mut Overlay<'_>, room: RoomId, record: Vec<u8>) -> Result<Option<(UserId, u64)>, StoreError> {
    let event = decode_event(&record)?;
    let erased = match &event.body {
        EventBody::UserErased(erased) => Some((erased.user, event.head.seq)),
        _ => None,
    };
    let before: Option<RoomRow> = overlay.row(Table::Rooms, room.bytes())?;
    let row = before.clone().ok_or_else(|| StoreError::Corrupt(format!("an event of room {room} comes before the room")))?;
    let wrong = |why: String| StoreError::Corrupt(format!("event {} of room {room}: {why}", event.head.seq));
    let record = Record { bytes: Bytes::from(record), event: event.clone() };
    match append::stage_record(overlay, room, &row, &record) {
        Ok(Staged::In(next)) => {
            append::put_room(overlay, before.as_ref(), &next);
            match next.head > next.notified_seq {
                true => overlay.put(Table::Dirty, room.bytes(), &[]),
                false => overlay.remove(Table::Dirty, room.bytes()),
            }
            overlay.keep();
            Ok(erased)
        }
        Ok(Staged::Duplicate(sent)) => Err(wrong(format!("has the key of event {}", sent.seq))),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// What a user sent to a room before they were erased is deleted, as far as it was taken so far: that is all of it.
fn erase_before(shared: &Shared, room: RoomId, user: UserId, erased_seq: u64) -> Result<(), StoreError> {
    let query = SentQuery { room, user, after: None, limit: usize::MAX };
    let sent = erase::sent(&shared.tables.view(), &query)?;
    for lot in sent.chunks(crate::limits::ERASE_LOT_EVENTS) {
        let mut overlay = Overlay::new(&shared.tables);
        for (_, seq) in lot.iter().filter(|(_, seq)| *seq < erased_seq) {
            let Some(event) = overlay.event(room, *seq)? else { continue };
            let mut projection = Projection::new(&mut overlay, room);
            systems::fold::erase(&event, &mut projection, erased_seq);
            projection.finish()?;
        }
        overlay.commit(&shared.disk, Durable::Later)?;
    }
    Ok(())
}
