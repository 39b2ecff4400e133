//! The cache of rooms that appends need, as of the last event that this node has seen in them.

use super::projection::Cached;
use crate::limits::MONGO_CACHED_ROWS_MAX;
use client_protocol::RoomId;
use std::collections::{BTreeMap, HashMap};

/// Rooms that were worked with lately. The older half is forgotten when there are too many.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<RoomId, Cached>,
    old: HashMap<RoomId, Cached>,
    young_rows: usize,
}

impl Cache {
    /// Takes a room out.
    pub(super) fn take(&mut self, room: RoomId) -> Option<Cached> {
        let cached = self.young.remove(&room);
        self.young_rows -= cached.as_ref().map_or(0, rows_of);
        cached.or_else(|| self.old.remove(&room))
    }

    /// Puts a room in.
    pub(super) fn put(&mut self, room: RoomId, cached: Cached) {
        self.young_rows += rows_of(&cached);
        self.young.insert(room, cached);
        if self.young_rows > MONGO_CACHED_ROWS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_rows = 0;
        }
    }
}

fn rows_of(cached: &Cached) -> usize {
    1 + cached.members.as_ref().map_or(0, BTreeMap::len) + cached.gathering.rows()
}
