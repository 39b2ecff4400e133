//! Erase and export: what a user did, room by room. Blanking itself is the writer's work, which all events go through.

use super::append::SentRow;
use super::disk::Durable;
use super::tables::{Overlay, Table, View, last_id_of};
use super::{Shared, history, keys, query};
use crate::limits::ERASING_MAX;
use crate::store::shown::Sight;
use crate::store::{SentQuery, StoreError};
use client_protocol::chat::Message;
use client_protocol::{Key, RoomId, UserId};
use std::sync::PoisonError;

/// Accounts that were erased, and whose rooms may not know it yet.
pub(super) fn erasing(view: &View<'_>) -> Result<Vec<(UserId, Key)>, StoreError> {
    let entry = |item: fjall::Guard| {
        let (user, key) = item.into_inner()?;
        Ok((UserId::from_bytes(id_of(&user)?), Key::from_bytes(id_of(&key)?)))
    };
    view.all(Table::Erasing).take(ERASING_MAX).map(entry).collect()
}

/// The key of the erase of an account, unless it is finished.
pub(super) fn key_of(view: &View<'_>, user: UserId) -> Result<Option<Key>, StoreError> {
    let key = view.value(Table::Erasing, user.bytes())?;
    key.map(|key| Ok(Key::from_bytes(id_of(&key)?))).transpose()
}

fn id_of(bytes: &[u8]) -> Result<[u8; 16], StoreError> {
    keys::last_id(bytes).ok_or_else(|| StoreError::Corrupt("an erase of nobody, or without a key".to_owned()))
}

/// An account is erased: its rooms are to know.
pub(super) fn begin(overlay: &mut Overlay<'_>, user: UserId) -> Result<(), StoreError> {
    if overlay.value(Table::Erasing, user.bytes())?.is_none() {
        overlay.put(Table::Erasing, user.bytes(), Key(uuid::Uuid::new_v4()).bytes());
    }
    Ok(())
}

/// All rooms of an erased account know it.
pub(super) fn finish(shared: &Shared, user: UserId) -> Result<(), StoreError> {
    let _one_at_a_time = shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut overlay = Overlay::new(&shared.tables);
    overlay.remove(Table::Erasing, user.bytes());
    overlay.commit(&shared.disk, Durable::Synced)
}

/// Rooms that a user is or was a member of, by id above `after`.
pub(super) fn rooms_ever(
    view: &View<'_>,
    user: UserId,
    after: Option<RoomId>,
    limit: usize,
) -> Result<Vec<RoomId>, StoreError> {
    let first = keys::user_room(user, after.unwrap_or_default());
    let last = keys::user_room(user, RoomId::from_bytes([0xff; 16]));
    let rooms = view.range(Table::RoomsEver, &first, &last).map(|item| Ok(RoomId::from_bytes(last_id_of(item)?)));
    rooms.filter(|room| !matches!((room, after), (Ok(room), Some(after)) if *room == after)).take(limit).collect()
}

/// Events of a user in a room, in the order of their keys.
pub(super) fn sent(view: &View<'_>, query: &SentQuery) -> Result<Vec<(Key, u64)>, StoreError> {
    let first = keys::sent(query.room, query.user, query.after.unwrap_or_default());
    let last = keys::sent(query.room, query.user, Key::from_bytes([0xff; 16]));
    let mut found = Vec::new();
    for item in view.range(Table::Keys, &first, &last) {
        if found.len() == query.limit {
            break;
        }
        let (key, row) = item.into_inner()?;
        let key = keys::last_id(&key).map(Key::from_bytes);
        let row: SentRow =
            client_protocol::codec::decode(&row).map_err(|error| StoreError::Corrupt(format!("a key's row: {error}")))?;
        found.extend(key.filter(|key| query.after != Some(*key)).map(|key| (key, row.seq)));
    }
    Ok(found)
}

/// The messages among these events, as they are now.
pub(super) fn messages(view: &View<'_>, room: RoomId, viewer: UserId, seqs: &[u64]) -> Result<Vec<Message>, StoreError> {
    let Some(row) = query::room(view, room)? else { return Ok(Vec::new()) };
    let sight = Sight { viewer, last_seq: u64::MAX, head: row.head };
    let found = seqs.iter().map(|&seq| history::message_at(view, room, seq, &sight));
    found.filter_map(Result::transpose).collect()
}
