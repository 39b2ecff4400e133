//! Keys of the embedded store: ids as their 16 bytes, numbers big-endian, so that byte order is the order of the log.

use crate::store::StoreError;
use client_protocol::{Event, Key, RoomId, SessionId, UserId};

/// (room, seq), (room, message number), and (room, number of a block).
pub(super) fn room_number(room: RoomId, number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(room.bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// (room, number of the next message), and the seq that it has if it comes next; `None` after a message, which needs no such row.
pub(super) fn place_after(room: RoomId, event: &Event) -> Option<([u8; 24], [u8; 8])> {
    let head = &event.head;
    (!event.body.is_message()).then(|| (room_number(room, head.message_no + 1), (head.seq + 1).to_be_bytes()))
}

/// The room at the start of a key.
pub(super) fn room(key: &[u8]) -> Result<RoomId, StoreError> {
    let room = key.first_chunk().map(|room| RoomId::from_bytes(*room));
    room.ok_or_else(|| StoreError::Corrupt(format!("a key of {} bytes", key.len())))
}

/// The number at the end of a key of [`room_number`].
pub(super) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().copied().map(u64::from_be_bytes)
}

/// (room, user).
pub(super) fn room_user(room: RoomId, user: UserId) -> [u8; 32] {
    pair(room.bytes(), user.bytes())
}

/// (user, room).
pub(super) fn user_room(user: UserId, room: RoomId) -> [u8; 32] {
    pair(user.bytes(), room.bytes())
}

/// (user, login).
pub(super) fn user_login(user: UserId, login: SessionId) -> [u8; 32] {
    pair(user.bytes(), login.bytes())
}

/// (room, actor, key): unique for ever.
pub(super) fn sent(room: RoomId, actor: UserId, key: Key) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(room.bytes());
    bytes[16..32].copy_from_slice(actor.bytes());
    bytes[32..].copy_from_slice(key.bytes());
    bytes
}

/// (login, how often its token was renewed).
pub(super) fn login_generation(login: SessionId, generation: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(login.bytes());
    key[16..].copy_from_slice(&generation.to_be_bytes());
    key
}

/// (name, user): no name has a byte 0.
pub(super) fn name_user(name: &str, user: UserId) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 17);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key.extend_from_slice(user.bytes());
    key
}

/// Name and user of an entry.
pub(super) fn parse_name(key: &[u8]) -> Option<(&str, UserId)> {
    let (rest, user) = key.split_last_chunk::<16>()?;
    Some((std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?, UserId::from_bytes(*user)))
}

fn pair(first: &[u8; 16], second: &[u8; 16]) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(first);
    key[16..].copy_from_slice(second);
    key
}

/// The id in the last 16 bytes of a key.
pub(super) fn last_id(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk::<16>().copied()
}

/// A number that is a whole value.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}
