//! The index of words and names.
//!
//! Names are written with what they are about. Words are indexed block by block ([`super::blocks`]), in the background, once a block of a
//! room's messages is complete: until then a search reads its messages. What changes a message that is indexed changes its block in the
//! same batch, so that no word of a deleted message stays.

use super::blocks::{Block, Gathered, completed_by, first_of, place_of};
use super::tables::{Overlay, Table, View, decode_event, decode_row};
use super::{history, keys};
use crate::limits::{INDEX_SCAN_EVENTS_MAX, WORD_BLOCK_MESSAGES};
use crate::store::{StoreError, words};
use client_protocol::chat::Body;
use client_protocol::{Event, EventBody, RoomId, UserId};
use components::rows::NowRow;
use std::collections::{BTreeMap, BTreeSet};

/// An event is new: where it completes a block, the block is to be indexed.
pub(super) fn event_appended(overlay: &mut Overlay<'_>, room: RoomId, event: &Event) {
    if let Some(block) = block_completed(event) {
        overlay.put(Table::Unindexed, &keys::room_number(room, block), &[]);
    }
}

/// The block that an event completes.
pub(super) fn block_completed(event: &Event) -> Option<u64> {
    completed_by(event.head.message_no).filter(|_| event.body.is_message())
}

/// The row of a block of messages, with their words as they are now.
pub(super) fn block(view: &View<'_>, room: RoomId, number: u64) -> Result<Vec<u8>, StoreError> {
    let first = first_of(number);
    let seqs = history::seq_of(view, room, first)?..=history::seq_of(view, room, first + WORD_BLOCK_MESSAGES - 1)?;
    let (from, to) = (keys::room_number(room, *seqs.start()), keys::room_number(room, *seqs.end()));
    let mut nows = BTreeMap::new();
    for item in view.range(Table::Nows, &from, &to) {
        let (key, row) = item.into_inner()?;
        nows.insert(keys::last_number(&key), decode_row::<NowRow>(Table::Nows, &row)?);
    }
    let mut gathered = Gathered::default();
    let mut take = |event: Event, place| {
        let now = nows.get(&Some(event.head.seq));
        if let Some(body) = body_now(&event, now) {
            words::tell_words_of(body, |word| gathered.push(place, word));
        }
    };
    // Messages mostly follow each other.
    if seqs.end().saturating_sub(*seqs.start()) < INDEX_SCAN_EVENTS_MAX {
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

/// The body that a message has now; `None` for other events, and for a message that was deleted.
fn body_now<'a>(event: &'a Event, now: Option<&'a NowRow>) -> Option<&'a Body> {
    match (&event.body, now) {
        (EventBody::MessagePosted(_), Some(now)) if now.deleted => None,
        (EventBody::MessagePosted(posted), now) => Some(now.and_then(|now| now.body.as_ref()).unwrap_or(&posted.body)),
        _ => None,
    }
}

/// What a message is now is about to be written.
pub(super) fn message_changed(overlay: &mut Overlay<'_>, room: RoomId, seq: u64, now: &NowRow) -> Result<(), StoreError> {
    let before = overlay.row::<NowRow>(Table::Nows, &keys::room_number(room, seq))?.unwrap_or_default();
    if before.body == now.body && before.deleted == now.deleted {
        return Ok(());
    }
    let Some(event) = overlay.event(room, seq)? else { return Ok(()) };
    let words = body_now(&event, Some(now)).map(words::words_of).unwrap_or_default();
    set_words(overlay, room, event.head.message_no, words)
}

/// The body of an event is about to be blanked: where it is a message, none of its words may stay.
pub(super) fn message_blanked(overlay: &mut Overlay<'_>, room: RoomId, event: &Event) -> Result<(), StoreError> {
    match event.body.is_message() {
        true => set_words(overlay, room, event.head.message_no, BTreeSet::new()),
        false => Ok(()),
    }
}

/// Gives a message other words, where its block is indexed.
fn set_words(overlay: &mut Overlay<'_>, room: RoomId, message_no: u64, words: BTreeSet<String>) -> Result<(), StoreError> {
    let (block, place) = place_of(message_no);
    let key = keys::room_number(room, block);
    if let Some(row) = overlay.value(Table::Words, &key)? {
        let mut block = Block::decode(&row)?;
        block.set(place, words);
        overlay.put(Table::Words, &key, &block.encode());
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
