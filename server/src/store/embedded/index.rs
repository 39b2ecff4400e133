//! The index of words and names: written with what it is about, in the same batch.

use super::keys;
use super::tables::{Overlay, Table};
use crate::store::{StoreError, words};
use client_protocol::chat::Body;
use client_protocol::{Event, EventBody, RoomId, UserId};
use components::rows::NowRow;
use std::collections::BTreeSet;

fn put(overlay: &mut Overlay<'_>, room: RoomId, seq: u64, words: &BTreeSet<String>) {
    for word in words {
        overlay.put(Table::Words, &keys::word_seq(room, word, seq), &[]);
    }
}

fn remove<'w>(overlay: &mut Overlay<'_>, room: RoomId, seq: u64, words: impl Iterator<Item = &'w String>) {
    for word in words {
        overlay.remove(Table::Words, &keys::word_seq(room, word, seq));
    }
}

/// An event is new.
pub(super) fn message_posted(overlay: &mut Overlay<'_>, room: RoomId, event: &Event) {
    if let EventBody::MessagePosted(posted) = &event.body {
        put(overlay, room, event.head.seq, &words::words_of(&posted.body));
    }
}

/// What a message is now is about to be written.
pub(super) fn message_changed(overlay: &mut Overlay<'_>, room: RoomId, seq: u64, now: &NowRow) -> Result<(), StoreError> {
    let key = keys::room_number(room, seq);
    let before = overlay.row::<NowRow>(Table::Nows, &key)?.unwrap_or_default();
    if before.body == now.body && before.deleted == now.deleted {
        return Ok(());
    }
    let first = match overlay.event(room, seq)?.map(|event| event.body) {
        Some(EventBody::MessagePosted(posted)) => posted.body,
        _ => Body::default(),
    };
    let words_of = |row: &NowRow| match row.deleted {
        true => BTreeSet::new(),
        false => words::words_of(row.body.as_ref().unwrap_or(&first)),
    };
    let (old, new) = (words_of(&before), words_of(now));
    remove(overlay, room, seq, old.difference(&new));
    put(overlay, room, seq, &new);
    Ok(())
}

/// The body of an event is about to be blanked: where it is a message, none of its words may stay.
pub(super) fn message_blanked(overlay: &mut Overlay<'_>, room: RoomId, event: &Event) -> Result<(), StoreError> {
    let EventBody::MessagePosted(posted) = &event.body else { return Ok(()) };
    let seq = event.head.seq;
    let now = overlay.row::<NowRow>(Table::Nows, &keys::room_number(room, seq))?.unwrap_or_default();
    remove(overlay, room, seq, words::words_of(&posted.body).iter());
    remove(overlay, room, seq, now.body.map(|body| words::words_of(&body)).unwrap_or_default().iter());
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
