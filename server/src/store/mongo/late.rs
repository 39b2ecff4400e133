//! Rows of rooms that are written late. Most events change nothing of their room but how far its log goes: the append is answered once
//! they are on a majority, and the row follows within about [`crate::limits::MONGO_ROW_LATE_MAX`], one write for all that came meanwhile.
//!
//! This node shows such a room as of its newest event at once, since all that is missing in the row is kept here. Another one may
//! show it as it was, in lists of rooms; logs, history and members are never behind. After a crash the row heals as any other does,
//! since its mark as dirty stays until it is written.

use super::documents::RoomDoc;
use super::ids::id;
use super::queries::ROOM;
use super::update::Statement;
use crate::limits::MONGO_CALL_TIMEOUT;
use crate::store::StoreError;
use client_protocol::RoomId;
use components::rows::RoomRow;
use mongodb::bson::{Document, doc};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Reads that began before a row was written have ended after this time.
const READS_END: Duration = MONGO_CALL_TIMEOUT.saturating_mul(2);

/// How far a log goes. Each of the three only grows, so the greater of two is the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    head: u64,
    message_no: u64,
    time_ms: u64,
}

#[derive(Debug)]
struct Late {
    reach: Reach,
    /// When the stored row was seen to be that far.
    written: Option<Instant>,
}

/// Rooms whose rows this node writes later. Bounded by the rooms that it appended to lately.
#[derive(Debug, Default)]
pub(super) struct LateRows(Mutex<HashMap<RoomId, Late>>);

/// How far a room is now, if nothing else about it is different: then the row may wait. A room that is not stored yet may not.
pub(super) fn may_wait(before: RoomRow, now: &RoomRow) -> Option<Reach> {
    let RoomRow { head, message_no, time_ms, .. } = *now;
    let grows = before.head > 0 && time_ms >= before.time_ms;
    (grows && RoomRow { head, message_no, time_ms, ..before } == *now).then_some(Reach { head, message_no, time_ms })
}

impl LateRows {
    fn rows(&self) -> MutexGuard<'_, HashMap<RoomId, Late>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps how far a room is whose row waits.
    pub(super) fn put(&self, room: RoomId, reach: Reach) {
        self.rows().insert(room, Late { reach, written: None });
    }

    /// The row of a stored document, as far as it is known here.
    pub(super) fn row(&self, doc: RoomDoc) -> Result<RoomRow, StoreError> {
        let mut row = doc.stored_row()?;
        if let Some(Late { reach: Reach { head, message_no, time_ms }, .. }) = self.rows().get(&row.room)
            && *head > row.head
        {
            (row.head, row.message_no, row.time_ms) = (*head, *message_no, *time_ms);
        }
        Ok(row)
    }

    /// The last event of a room whose row waited lately; 0 of others.
    pub(super) fn head(&self, room: RoomId) -> u64 {
        self.rows().get(&room).map_or(0, |late| late.reach.head)
    }

    /// How far the row of a room is to go, if it waits.
    pub(super) fn waiting(&self, room: RoomId) -> Option<Reach> {
        self.rows().get(&room).filter(|late| late.written.is_none()).map(|late| late.reach)
    }

    /// The stored rows are that far.
    pub(super) fn written(&self, rows: &BTreeMap<RoomId, Reach>) {
        let mut late = self.rows();
        for (room, reach) in rows {
            if let Some(late) = late.get_mut(room).filter(|late| late.reach == *reach) {
                late.written = Some(Instant::now());
            }
        }
        late.retain(|_, late| late.written.is_none_or(|at| at.elapsed() < READS_END));
    }
}

impl Reach {
    /// Brings the stored row of a room up to it, and to where followers are.
    pub(super) fn statement(self, room: RoomId, level: u64) -> Statement {
        let Self { head, message_no, time_ms } = self;
        let mut reached = doc! { "head": head as i64, "message_no": message_no as i64, "time_ms": time_ms as i64 };
        if level > 0 {
            reached.insert("notified_seq", level.min(head) as i64);
        }
        room_reaches(room, reached)
    }
}

/// Brings fields of a stored room up to these numbers, where they are less.
pub(super) fn room_reaches(room: RoomId, reached: Document) -> Statement {
    let filter = ROOM.equal([id(room.bytes()).into()]).document();
    Statement { filter, change: doc! { "$max": reached }, upsert: false }
}
