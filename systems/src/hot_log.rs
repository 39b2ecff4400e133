//! The hot log: recent durable events of a room, encoded once, shared by everyone who reads it.
//!
//! Plain functions. Events wait in `pending` until a flush cuts them into chunks; a chunk is a whole frame, so that sending it to
//! one more session costs a reference count.

use bevy_ecs::entity::Entity;
use client_protocol::frame::events_frame;
use client_protocol::limits::CHUNK_BYTES_MAX;
use client_protocol::{Event, EventBody, RoomId, UserId};
use components::edge::Record;
use components::limits::{HOT_LOG_BYTES_MAX, HOT_LOG_ROOM_BYTES_MAX, RECENT_DELETES_MAX};
use components::room::{Chunk, HotLog, RoomIndex};

/// An event with its record.
#[must_use]
pub fn record(event: Event) -> Record {
    let bytes = event.record().into();
    Record { event, bytes }
}

/// Adds the next event.
pub fn push(hot: &mut HotLog, record: Record) {
    hot.pending_bytes += record.bytes.len();
    hot.bytes += record.bytes.len();
    hot.pending.push(record);
}

/// The newest of these records, as many as a room's hot log may hold.
#[must_use]
pub fn newest(mut records: Vec<Record>) -> Vec<Record> {
    let mut bytes = 0;
    let fit = records.iter().rev().take_while(|record| {
        bytes += record.bytes.len();
        bytes <= HOT_LOG_ROOM_BYTES_MAX
    });
    let keep = fit.count();
    records.split_off(records.len() - keep)
}

/// Seq of the oldest event that is kept; `None` if none is.
#[must_use]
pub fn first_seq(hot: &HotLog) -> Option<u64> {
    let pending = || hot.pending.first().map(|record| record.event.head.seq);
    hot.chunks.front().map(|chunk| chunk.first_seq).or_else(pending)
}

/// Makes chunks of consecutive records: as few frames as the bound allows.
#[must_use]
pub fn chunks_of(room: RoomId, records: &[Record]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest.iter().take_while(|record| {
            bytes += record.bytes.len();
            bytes <= CHUNK_BYTES_MAX
        });
        let count = fit.count().max(1);
        let (now, later) = rest.split_at(count);
        chunks.push(chunk_of(room, now));
        rest = later;
    }
    chunks
}

fn chunk_of(room: RoomId, records: &[Record]) -> Chunk {
    let mut body = Vec::with_capacity(records.iter().map(|record| record.bytes.len()).sum());
    for record in records {
        body.extend_from_slice(&record.bytes);
    }
    let first_seq = records[0].event.head.seq;
    let frame = events_frame(room, first_seq, records.len() as u32, &body);
    let mut at = (frame.len() - body.len()) as u32;
    let mut offsets = Vec::with_capacity(records.len() + 1);
    offsets.push(at);
    for record in records {
        at += record.bytes.len() as u32;
        offsets.push(at);
    }
    Chunk { first_seq, offsets, frame }
}

/// Makes chunks of what is pending.
pub fn cut(hot: &mut HotLog, room: RoomId) {
    if hot.pending.is_empty() {
        return;
    }
    let chunks = chunks_of(room, &hot.pending);
    hot.bytes -= hot.pending_bytes;
    hot.bytes += chunks.iter().map(|chunk| chunk.frame.len()).sum::<usize>();
    hot.chunks.extend(chunks);
    hot.pending.clear();
    hot.pending_bytes = 0;
}

/// Notes that the hot log of a room grew, or was made: others are dropped before it.
pub fn note_growth(hot: &mut HotLog, room: Entity, index: &mut RoomIndex) {
    index.hot_order.remove(&(hot.stamp, room));
    index.hot_stamp += 1;
    hot.stamp = index.hot_stamp;
    index.hot_order.insert((hot.stamp, room));
}

/// The room whose hot log is to be dropped, since all together are above their bound: the one that has not grown for longest.
pub fn above_bound(index: &mut RoomIndex) -> Option<Entity> {
    if index.hot_bytes <= HOT_LOG_BYTES_MAX {
        return None;
    }
    index.hot_order.pop_first().map(|(_, room)| room)
}

/// Counts the hot log of a room no more: it goes, or is made anew.
pub fn forget(hot: &HotLog, room: Entity, index: &mut RoomIndex) {
    index.hot_order.remove(&(hot.stamp, room));
    index.hot_bytes -= hot.bytes;
}

/// Drops what a hot log holds; its readers read pages of the store.
pub fn clear(hot: &mut HotLog, index: &mut RoomIndex) {
    index.hot_bytes -= hot.bytes;
    hot.chunks.clear();
    hot.pending.clear();
    (hot.pending_bytes, hot.bytes, hot.stamp) = (0, 0, 0);
}

/// Drops the oldest chunks above the bound of the room.
pub fn trim(hot: &mut HotLog) {
    while hot.chunks.len() > 1 && hot.bytes > HOT_LOG_ROOM_BYTES_MAX {
        if let Some(chunk) = hot.chunks.pop_front() {
            hot.bytes -= chunk.frame.len();
        }
    }
}

/// The events from `next_seq` on, as one frame, none after `last_seq`; and the seq after them. `None` if no chunk has `next_seq`.
#[must_use]
pub fn frame_from<'a>(
    mut chunks: impl DoubleEndedIterator<Item = &'a Chunk>,
    room: RoomId,
    next_seq: u64,
    last_seq: u64,
) -> Option<(bytes::Bytes, u64)> {
    // Readers are near the head: look from there.
    let chunk = chunks.rfind(|chunk| chunk.first_seq <= next_seq)?;
    let end = chunk.end_seq().min(last_seq.saturating_add(1));
    if next_seq >= end {
        return None;
    }
    if next_seq == chunk.first_seq && end == chunk.end_seq() {
        return Some((chunk.frame.clone(), end));
    }
    let from = chunk.offsets[(next_seq - chunk.first_seq) as usize] as usize;
    let to = chunk.offsets[(end - chunk.first_seq) as usize] as usize;
    Some((events_frame(room, next_seq, (end - next_seq) as u32, &chunk.frame[from..to]), end))
}

/// Takes the body of event `seq` out of the hot log.
pub fn blank(hot: &mut HotLog, room: RoomId, seq: u64) {
    if let Some(record) = hot.pending.iter_mut().find(|record| record.event.head.seq == seq) {
        if let Some(event) = crate::fold::blanked(&record.event) {
            hot.pending_bytes -= record.bytes.len();
            hot.bytes -= record.bytes.len();
            *record = self::record(event);
            hot.pending_bytes += record.bytes.len();
            hot.bytes += record.bytes.len();
        }
        return;
    }
    let found = hot.chunks.iter_mut().find(|chunk| (chunk.first_seq..chunk.end_seq()).contains(&seq));
    if let Some(chunk) = found {
        let before = chunk.frame.len();
        if let Some(blanked) = blanked_chunk(chunk, room, seq) {
            *chunk = blanked;
            hot.bytes = hot.bytes + chunk.frame.len() - before;
        }
    }
}

fn blanked_chunk(chunk: &Chunk, room: RoomId, seq: u64) -> Option<Chunk> {
    let start = *chunk.offsets.first()? as usize;
    let mut records: Vec<Record> = Event::decode_records(&chunk.frame[start..]).ok()?.into_iter().map(record).collect();
    let target = records.get_mut((seq - chunk.first_seq) as usize)?;
    *target = record(crate::fold::blanked(&target.event)?);
    Some(chunk_of(room, &records))
}

/// The body of a deleted message leaves the hot log, and those of its edits.
pub fn blank_message(hot: &mut HotLog, room: RoomId, target: u64) {
    blank(hot, room, target);
    for edit in edits_of(hot, target) {
        blank(hot, room, edit);
    }
    if hot.deleted.len() >= RECENT_DELETES_MAX {
        hot.deleted.pop_front();
    }
    hot.deleted.push_back(target);
}

/// The bodies of everything that a user posted leave the hot log.
pub fn blank_user(hot: &mut HotLog, room: RoomId, user: UserId) {
    let pending = std::mem::take(&mut hot.pending);
    hot.bytes -= hot.pending_bytes;
    hot.pending = pending.into_iter().map(|record| without_body_of(user, record)).collect();
    hot.pending_bytes = hot.pending.iter().map(|record| record.bytes.len()).sum();
    hot.bytes += hot.pending_bytes;
    for chunk in &mut hot.chunks {
        let start = chunk.offsets.first().map_or(0, |start| *start as usize);
        let events = Event::decode_records(&chunk.frame[start..]).unwrap_or_default();
        if events.iter().any(|event| event.head.actor == user && crate::fold::blanked(event).is_some()) {
            let records: Vec<Record> = events.into_iter().map(|event| without_body_of(user, record(event))).collect();
            hot.bytes -= chunk.frame.len();
            *chunk = chunk_of(room, &records);
            hot.bytes += chunk.frame.len();
        }
    }
}

fn without_body_of(user: UserId, record: Record) -> Record {
    match crate::fold::blanked(&record.event).filter(|event| event.head.actor == user) {
        Some(event) => self::record(event),
        None => record,
    }
}

/// Records of a store that may not have done yet what an erase among them says.
#[must_use]
pub fn without_erased(mut records: Vec<Record>) -> Vec<Record> {
    let erased = |record: &Record| match &record.event.body {
        EventBody::UserErased(erased) => Some((record.event.head.seq, erased.user)),
        _ => None,
    };
    for (seq, user) in records.iter().filter_map(erased).collect::<Vec<_>>() {
        for record in records.iter_mut().filter(|record| record.event.head.seq < seq) {
            *record = without_body_of(user, record.clone());
        }
    }
    records
}

/// An edit that was on its way when its message was deleted loses its body.
#[must_use]
pub fn without_late_body(hot: &HotLog, late: &Record) -> Record {
    match &late.event.body {
        EventBody::MessageEdited(edit) if hot.deleted.contains(&edit.target) => {
            crate::fold::blanked(&late.event).map_or_else(|| late.clone(), record)
        }
        _ => late.clone(),
    }
}

/// Seqs of the edits of message `target` that are still here.
fn edits_of(hot: &HotLog, target: u64) -> Vec<u64> {
    let is_edit = |event: &Event| matches!(&event.body, EventBody::MessageEdited(edit) if edit.target == target);
    let in_chunks = hot.chunks.iter().filter(|chunk| chunk.end_seq() > target).flat_map(|chunk| {
        let start = chunk.offsets.first().map_or(0, |start| *start as usize);
        Event::decode_records(&chunk.frame[start..]).unwrap_or_default()
    });
    let in_pending = hot.pending.iter().map(|record| record.event.clone());
    in_chunks.chain(in_pending).filter(is_edit).map(|event| event.head.seq).collect()
}
