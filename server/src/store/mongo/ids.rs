//! Ids, as they are stored: texts of 32 hexadecimal digits, since every server of the protocol has an index for a text.

use crate::store::StoreError;
use client_protocol::{Key, NodeId, RoomId, UserId};

fn hex(bytes: &[u8]) -> String {
    // Each event has four: formatting would cost more than all else in its document.
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

/// An id as it is stored.
pub(super) fn id(bytes: &[u8; 16]) -> String {
    hex(bytes)
}

/// The hash of a token as it is stored.
pub(super) fn hash(bytes: &[u8; 32]) -> String {
    hex(bytes)
}

/// The 32 bytes of a stored hash.
pub(super) fn hash_bytes(text: &str) -> Result<[u8; 32], StoreError> {
    let mut bytes = [0; 32];
    let byte = |at: usize| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok();
    for (at, place) in bytes.iter_mut().enumerate() {
        *place = byte(at).ok_or_else(|| StoreError::Corrupt("a token's hash is none".to_owned()))?;
    }
    Ok(bytes)
}

/// Two ids in one.
pub(super) fn pair(first: &[u8; 16], second: &[u8; 16]) -> String {
    format!("{}:{}", hex(first), hex(second))
}

/// The id of an event: its room, and its seq as 20 decimal digits, so that their order as texts is that of the log.
pub(super) fn event_id(room: RoomId, seq: u64) -> String {
    format!("{}:{seq:020}", hex(room.bytes()))
}

/// The room and seq of an event's id.
pub(super) fn parse_event_id(text: &str) -> Result<(RoomId, u64), StoreError> {
    let corrupt = || StoreError::Corrupt(format!("`{text}` is no id of an event"));
    let (in_room, seq) = text.split_once(':').ok_or_else(corrupt)?;
    Ok((room(in_room)?, seq.parse().map_err(|_| corrupt())?))
}

/// The id of a block of messages: its room, and its number as 20 decimal digits.
pub(super) fn block_id(room: RoomId, block: u64) -> String {
    event_id(room, block)
}

/// The first and last possible second id of a [`pair`].
pub(super) fn pairs_of(first: &[u8; 16]) -> (String, String) {
    let first = hex(first);
    (format!("{first}:"), format!("{first}:g"))
}

/// The 16 bytes of a stored id.
pub(super) fn id_bytes(text: &str) -> Result<[u8; 16], StoreError> {
    let corrupt = || StoreError::Corrupt(format!("`{text}` is no id"));
    uuid::Uuid::try_parse(text).map(uuid::Uuid::into_bytes).map_err(|_| corrupt())
}

/// The user of a stored id.
pub(super) fn user(text: &str) -> Result<UserId, StoreError> {
    id_bytes(text).map(UserId::from_bytes)
}

/// The room of a stored id.
pub(super) fn room(text: &str) -> Result<RoomId, StoreError> {
    id_bytes(text).map(RoomId::from_bytes)
}

/// The key that is stored as an id.
pub(super) fn key(text: &str) -> Result<Key, StoreError> {
    id_bytes(text).map(Key::from_bytes)
}

/// The id of a membership.
pub(super) fn member_id(room: RoomId, user: UserId) -> String {
    pair(room.bytes(), user.bytes())
}

/// The id of a mark.
pub(super) fn mark_id(user: UserId, room: RoomId) -> String {
    pair(user.bytes(), room.bytes())
}

/// The id of a node's mark.
pub(super) fn dirty_id(room: RoomId, node: NodeId) -> String {
    format!("{}:{:010}", hex(room.bytes()), node.0)
}

/// What an event is known by in a log.
pub(super) fn key_of(actor: UserId, key: Key) -> (String, String) {
    (id(actor.bytes()), id(key.bytes()))
}

/// Above every text that goes on from `start`.
pub(super) fn above_start(start: &str) -> String {
    format!("{start}{}", char::MAX)
}
