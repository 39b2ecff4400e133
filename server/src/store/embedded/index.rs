//! The index of words and names.
//!
//! Names are written with what they are about. Words are indexed block by block ([`crate::store::blocks`]), in the background, once a block of a
//! room's messages is complete: until then a search reads its messages. What changes a message that is indexed removes the row of its
//! block in the same batch, so that no word of a deleted message stays, and has the block indexed anew.

use super::tables::{Overlay, Table, View, decode_event, decode_row};
use super::{history, keys};
use crate::limits::{INDEX_SCAN_EVENTS_MAX, WORD_BLOCK_MESSAGES};
use crate::store::blocks::{Gathered, completed_by, first_of, place_of};
use crate::store::{StoreError, words};
use client_protocol::{Event, RoomId, UserId};
use components::rows::NowRow;
use std::collections::{BTreeMap, BTreeSet};

/// An event is new: where it completes a block, the block is to be indexed.
pub(super) fn event_appended(overlay: &mut Overlay<'_>, room: RoomId, event: &Event) {
    if let Some(block) = completed_by(event.head.message_no).filter(|_| event.body.is_message()) {
        overlay.put(Table::Unindexed, &keys::room_number(room, block), &[]);
    }
}

/// The row of a block of messages, with their words as they are now; `None` where it is to have none.
pub(super) fn block(view: &View<'_>, room: RoomId, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let first = first_of(number);
    let first_seq = history::seq_of(view, room, first)?;
    let last_seq = history::seq_of(view, room, first + WORD_BLOCK_MESSAGES - 1)?;
    let (from, to) = (keys::room_number(room, first_seq), keys::room_number(room, last_seq));
    let mut nows = BTreeMap::new();
    for item in view.range(Table::Nows, &from, &to) {
        let (key, row) = item.into_inner()?;
        nows.insert(keys::last_number(&key), decode_row::<NowRow>(Table::Nows, &row)?);
    }
    let mut gathered = Gathered::default();
    let mut take = |event: Event, place| {
        let now = nows.get(&Some(event.head.seq));
        if let Some(body) = words::body_now(&event, now) {
            words::tell_words_of(body, |word| gathered.push(place, word));
        }
    };
    // Messages mostly follow each other.
    if last_seq.saturating_sub(first_seq) < INDEX_SCAN_EVENTS_MAX {
        let events = view.range(Table::Events, &from, &to).map(|item| decode_event(&item.value()?));
        let messages = events.filter(|event| event.as_ref().map_or(true, |event| event.body.is_message()));
        let mut expected = first..first + WORD_BLOCK_MESSAGES;
        for event in messages {
            let event = event?;
            let message_no = event.head.message_no;
            if expected.next() != Some(message_no) {
                return Err(history::missing(room, message_no));
            }
            take(event, place_of(message_no).1);
        }
        if let Some(missing) = expected.next() {
            return Err(history::missing(room, missing));
        }
    } else {
        for place in 0..WORD_BLOCK_MESSAGES {
            take(history::posted(view, room, first + place, None)?, place as u8);
        }
    }
    Ok(gathered.encode())
}

/// What a message is now is about to be written.
pub(super) fn message_changed(overlay: &mut Overlay<'_>, room: RoomId, seq: u64, now: &NowRow) -> Result<(), StoreError> {
    let before = overlay.row::<NowRow>(Table::Nows, &keys::room_number(room, seq))?.unwrap_or_default();
    if before.body == now.body && before.deleted == now.deleted {
        return Ok(());
    }
    match overlay.event(room, seq)? {
        Some(event) => index_anew(overlay, room, &event),
        None => Ok(()),
    }
}

/// The body of an event is about to be blanked: where it is a message, none of its words may stay.
pub(super) fn message_blanked(overlay: &mut Overlay<'_>, room: RoomId, event: &Event) -> Result<(), StoreError> {
    match event.body.is_message() {
        true => index_anew(overlay, room, event),
        false => Ok(()),
    }
}

fn index_anew(overlay: &mut Overlay<'_>, room: RoomId, event: &Event) -> Result<(), StoreError> {
    let key = keys::room_number(room, place_of(event.head.message_no).0);
    if overlay.value(Table::Words, &key)?.is_some() {
        overlay.remove(Table::Words, &key);
        overlay.put(Table::Unindexed, &key, &[]);
    }
    Ok(())
}

/// The names of an account changed.
pub(super) fn names_changed(overlay: &mut Overlay<'_>, user: UserId, old: &BTreeSet<String>, new: &BTreeSet<String>) {
    for name in old.difference(new) {
        overlay.remove(Table::Names, &keys::name_user(name, user));
    }
    for name in new {
        overlay.put(Table::Names, &keys::name_user(name, user), &[]);
    }
}
