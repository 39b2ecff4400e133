//! Schemas: data of an older version is brought up to this one's when it is opened.
//!
//! | schema | what it added |
//! |---|---|
//! | 1 | the first |
//! | 2 | the indexes of words and names, and of all rooms that a user ever was in |
//! | 3 | the places of messages: a row for each event that is no message, in place of one for each message |
//! | 4 | the words of messages by blocks, in place of a row for each word of each message |
//!
//! Each step can be done again from its start: the schema moves only when it is done, so a crash in between costs its time.

use super::disk::{Disk, Durable};
use super::tables::{Overlay, Table, Tables, View, decode_event, row_of};
use super::{accounts, index, keys};
use crate::limits::INDEX_BATCH_ROWS;
use crate::store::StoreError;
use crate::store::blocks;
use crate::store::words::names_of;
use client_protocol::{Event, RoomId};
use components::rows::{MemberRow, RoomRow};
use std::collections::BTreeSet;

/// The schema that this version reads and writes.
pub(super) const SCHEMA: u64 = 4;

/// Brings data of `schema` up to [`SCHEMA`].
pub(super) fn migrate(tables: &Tables, disk: &Disk, schema: u64) -> Result<(), StoreError> {
    if schema < 2 {
        tracing::info!(schema, "the data is of an older version: the indexes for search are made");
        index_names(tables, disk)?;
        index_memberships(tables, disk)?;
    }
    if schema < 3 {
        tracing::info!(schema, "the data is of an older version: the places of messages are made");
        place_messages(tables, disk)?;
    }
    if schema < 4 {
        tracing::info!(schema, "the data is of an older version: messages will be indexed anew");
        tables.drop_old("words")?;
        list_blocks(tables, disk)?;
    }
    if schema < SCHEMA {
        let mut overlay = Overlay::new(tables);
        overlay.put(Table::Meta, b"schema", &SCHEMA.to_be_bytes());
        overlay.commit(disk, Durable::Synced)?;
    }
    Ok(())
}

/// Writes which blocks of messages there are: the writer indexes them.
fn list_blocks(tables: &Tables, disk: &Disk) -> Result<(), StoreError> {
    let view = tables.view();
    let mut overlay = Overlay::new(tables);
    let mut n = 0;
    for item in view.all(Table::Rooms) {
        let row: RoomRow = row_of(Table::Rooms, item)?;
        for block in 0..blocks::complete(row.message_no) {
            overlay.put(Table::Unindexed, &keys::room_number(row.room, block), &[]);
            commit_lot(&mut overlay, tables, disk, n)?;
            n += 1;
        }
    }
    overlay.commit(disk, Durable::Later)
}

/// Writes where the next message stands after each event that is none, and drops the row that each other message had.
fn place_messages(tables: &Tables, disk: &Disk) -> Result<(), StoreError> {
    let view = tables.view();
    let mut overlay = Overlay::new(tables);
    let mut follows_message_in = None;
    for (n, found) in events(&view).enumerate() {
        let (room, event) = found?;
        if let Some((next_message, its_seq)) = keys::place_after(room, &event) {
            overlay.put(Table::Messages, &next_message, &its_seq);
            follows_message_in = None;
        } else if follows_message_in.replace(room) == Some(room) || event.head.seq == 1 {
            overlay.remove(Table::Messages, &keys::room_number(room, event.head.message_no));
        }
        commit_lot(&mut overlay, tables, disk, n)?;
    }
    overlay.commit(disk, Durable::Later)
}

/// All events, log by log.
fn events<'a>(view: &'a View<'_>) -> impl Iterator<Item = Result<(RoomId, Event), StoreError>> + 'a {
    view.all(Table::Events).map(|item| {
        let (key, bytes) = item.into_inner()?;
        Ok((keys::room(&key)?, decode_event(&bytes)?))
    })
}

/// Commits what was gathered if `n` is the last row of a lot.
fn commit_lot<'a>(overlay: &mut Overlay<'a>, tables: &'a Tables, disk: &Disk, n: usize) -> Result<(), StoreError> {
    if n % INDEX_BATCH_ROWS == INDEX_BATCH_ROWS - 1 {
        std::mem::replace(overlay, Overlay::new(tables)).commit(disk, Durable::Later)?;
    }
    Ok(())
}

fn index_names(tables: &Tables, disk: &Disk) -> Result<(), StoreError> {
    let view = tables.view();
    let mut overlay = Overlay::new(tables);
    for (n, item) in view.all(Table::Users).enumerate() {
        let account = accounts::decode(row_of(Table::Users, item)?);
        index::names_changed(&mut overlay, account.user, &BTreeSet::new(), &names_of(&account));
        commit_lot(&mut overlay, tables, disk, n)?;
    }
    overlay.commit(disk, Durable::Later)
}

fn index_memberships(tables: &Tables, disk: &Disk) -> Result<(), StoreError> {
    let view = tables.view();
    let mut overlay = Overlay::new(tables);
    for (n, item) in view.all(Table::Members).enumerate() {
        let member: MemberRow = row_of(Table::Members, item)?;
        overlay.put(Table::RoomsEver, &keys::user_room(member.user, member.room), &[]);
        commit_lot(&mut overlay, tables, disk, n)?;
    }
    overlay.commit(disk, Durable::Later)
}
