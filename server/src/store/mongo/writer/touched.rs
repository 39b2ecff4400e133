//! Rooms that are to be settled: when each is due, and whether it is quiet.

use crate::limits::{MONGO_ROW_LATE, MONGO_ROW_LATE_MAX};
use crate::store::mongo::settle::Unsettled;
use client_protocol::RoomId;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

#[derive(Debug)]
struct Touched {
    since: Instant,
    level: u64,
    /// When it was last appended to.
    appended: Option<Instant>,
}

impl Default for Touched {
    fn default() -> Self {
        Self { since: Instant::now(), level: 0, appended: None }
    }
}

/// Rooms that are to be settled. Bounded by the rooms that are dirty.
#[derive(Debug, Default)]
pub(super) struct TouchedRooms(BTreeMap<RoomId, Touched>);

impl TouchedRooms {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Followers of a room are done up to this seq.
    pub(super) fn level(&mut self, room: RoomId, seq: u64) {
        let touched = self.0.entry(room).or_default();
        touched.level = seq.max(touched.level);
    }

    /// Something was appended to a room.
    pub(super) fn appended(&mut self, room: RoomId) {
        self.0.entry(room).or_default().appended = Some(Instant::now());
    }

    /// A room that something is always under way in would never be settled: when it is overdue, what is next waits for that.
    pub(super) fn is_overdue(&self, room: RoomId) -> bool {
        self.0.get(&room).is_some_and(|touched| touched.since.elapsed() >= MONGO_ROW_LATE_MAX)
    }

    /// Takes the rooms that are due and not `busy`; all of them before the end.
    pub(super) fn take_due(&mut self, busy: &HashSet<RoomId>, is_end: bool) -> Vec<(RoomId, Unsettled)> {
        let is_due = |room: &RoomId, touched: &mut Touched| {
            !busy.contains(room) && (is_end || touched.since.elapsed() >= MONGO_ROW_LATE)
        };
        let taken = self.0.extract_if(.., is_due).map(|(room, Touched { level, appended, .. })| {
            let is_quiet = is_end || appended.is_none_or(|at| at.elapsed() >= MONGO_ROW_LATE);
            (room, Unsettled { level, is_quiet })
        });
        let taken: Vec<_> = taken.collect();
        for (room, Unsettled { level, .. }) in taken.iter().filter(|(_, unsettled)| !unsettled.is_quiet) {
            // Its mark may go when it is.
            self.level(*room, *level);
        }
        taken
    }
}
