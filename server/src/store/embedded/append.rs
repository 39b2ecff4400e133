//! Appends: the one write. Takes requests into an overlay, event by event; what is committed is decided by the writer.

use super::projection::Projection;
use super::tables::{Overlay, Table};
use super::{index, keys};
use crate::store::StoreError;
use client_protocol::room::kind;
use client_protocol::{Decode, Encode, RoomId};
use components::edge::{AppendReply, AppendRequest, AppendThen, Record};
use components::rows::RoomRow;
use systems::fold::{self, FoldError};

/// What is kept of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub(super) struct SentRow {
    /// The event that has it.
    pub(super) seq: u64,
    /// The time of that event, Unix time in milliseconds.
    pub(super) time_ms: u64,
}

/// Why an event cannot be taken, though its place is free: all of these are faults, of ours or of the disk.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fold(#[from] FoldError),
    #[error("the log ends at {head}, and an event {expected} was to follow")]
    Gap { head: u64, expected: u64 },
    #[error("event {seq} stands where {expected} should, or counts {message_no} messages")]
    Misnumbered { seq: u64, expected: u64, message_no: u64 },
}

/// What became of an event.
pub(super) enum Staged {
    /// It is in; the room as it is now.
    In(Box<RoomRow>),
    /// Its key is there already.
    Duplicate(SentRow),
}

/// Takes the events of `request` into the overlay, as many as can be, and says what to answer once the overlay is committed.
/// `dirty` says that the room is known to be marked dirty.
pub(super) fn stage(overlay: &mut Overlay<'_>, request: &AppendRequest, dirty: bool) -> AppendReply {
    let mut appended = 0;
    let then = stage_records(overlay, request, dirty, &mut appended).unwrap_or_else(|error| {
        tracing::error!(room = %request.room, expected_seq = request.expected_seq, %error, "an append cannot be taken");
        overlay.forget();
        AppendThen::Unavailable
    });
    AppendReply { room: request.room, token: request.token, appended, then }
}

fn stage_records(
    overlay: &mut Overlay<'_>,
    request: &AppendRequest,
    dirty: bool,
    appended: &mut usize,
) -> Result<AppendThen, StageError> {
    let before: Option<RoomRow> = overlay.row(Table::Rooms, request.room.bytes())?;
    let mut row = before.clone().unwrap_or_else(|| RoomRow::empty(request.room));
    if row.head >= request.expected_seq {
        return Ok(AppendThen::Conflict { log: overlay.records(request.room, request.expected_seq, row.head)? });
    }
    if row.head + 1 != request.expected_seq {
        return Err(StageError::Gap { head: row.head, expected: request.expected_seq });
    }
    let mut then = AppendThen::Done;
    for record in &request.records {
        match stage_record(overlay, request.room, &row, record) {
            Ok(Staged::In(next)) => {
                overlay.keep();
                row = *next;
                *appended += 1;
            }
            Ok(Staged::Duplicate(sent)) => {
                then = AppendThen::Duplicate { seq: sent.seq, time_ms: sent.time_ms };
                break;
            }
            Err(error) => {
                tracing::error!(room = %request.room, seq = record.event.head.seq, %error, "an event cannot be taken");
                overlay.forget();
                then = AppendThen::Unavailable;
                break;
            }
        }
    }
    if *appended > 0 {
        put_room(overlay, before.as_ref(), &row);
        if !dirty {
            overlay.put(Table::Dirty, request.room.bytes(), &[]);
        }
        overlay.keep();
    }
    Ok(then)
}

/// Writes one event and everything that follows from it; the room's row as it is afterwards is handed back.
pub(super) fn stage_record(
    overlay: &mut Overlay<'_>,
    room: RoomId,
    row: &RoomRow,
    record: &Record,
) -> Result<Staged, StageError> {
    let head = &record.event.head;
    let is_message = record.event.body.is_message();
    if head.seq != row.head + 1 || head.message_no != row.message_no + u64::from(is_message) {
        return Err(StageError::Misnumbered { seq: head.seq, expected: row.head + 1, message_no: head.message_no });
    }
    let sent_key = keys::sent(room, head.actor, head.key);
    if let Some(sent) = overlay.row(Table::Keys, &sent_key)? {
        return Ok(Staged::Duplicate(sent));
    }
    // Before the fold: an edit that comes after a delete is blanked by it at once.
    overlay.put(Table::Events, &keys::room_number(room, head.seq), &record.bytes);
    overlay.put_row(Table::Keys, &sent_key, &SentRow { seq: head.seq, time_ms: head.time_ms });
    if let Some((next_message, its_seq)) = keys::place_after(room, &record.event) {
        overlay.put(Table::Messages, &next_message, &its_seq);
    }
    index::event_appended(overlay, room, &record.event);
    let mut next = Box::new(row.clone());
    let mut projection = Projection::new(overlay, room);
    fold::apply(&record.event, &mut next, &mut projection)?;
    projection.finish()?;
    Ok(Staged::In(next))
}

/// Writes the row of a room.
pub(super) fn put_room(overlay: &mut Overlay<'_>, before: Option<&RoomRow>, row: &RoomRow) {
    overlay.put_row(Table::Rooms, row.room.bytes(), row);
    let listed = before.is_some_and(|before| before.kind == kind::PUBLIC && before.name == row.name);
    if row.kind == kind::PUBLIC && !listed {
        overlay.put(Table::Public, row.room.bytes(), row.name.to_lowercase().as_bytes());
    }
}

/// Writes that a room's followers are done up to `seq`. Answers whether they are level with its log, which makes it clean.
pub(super) fn stage_level(overlay: &mut Overlay<'_>, room: RoomId, seq: u64) -> Result<bool, StoreError> {
    let Some(mut row) = overlay.row::<RoomRow>(Table::Rooms, room.bytes())? else { return Ok(false) };
    let level = seq >= row.head;
    let notified_seq = seq.min(row.head);
    if notified_seq > row.notified_seq {
        row.notified_seq = notified_seq;
        overlay.put_row(Table::Rooms, room.bytes(), &row);
    }
    if level {
        overlay.remove(Table::Dirty, room.bytes());
    }
    Ok(level)
}
