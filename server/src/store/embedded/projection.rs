//! Projections: the rows of a room, as the fold reads and writes them, on top of an overlay.

use super::tables::{Overlay, Table};
use super::{index, keys};
use crate::store::StoreError;
use client_protocol::{RoomId, UserId};
use components::rows::{MarkRow, MemberRow, NowRow};
use systems::fold::{Rows, blanked};

/// The rows of one room. The fold cannot be told that a read failed, so the first failure is kept and [`Projection::finish`] gives
/// it: then nothing of what the fold wrote may stay.
pub(super) struct Projection<'a, 'b> {
    overlay: &'a mut Overlay<'b>,
    room: RoomId,
    failure: std::cell::Cell<Option<StoreError>>,
}

impl<'a, 'b> Projection<'a, 'b> {
    /// The rows of `room`.
    pub(super) fn new(overlay: &'a mut Overlay<'b>, room: RoomId) -> Self {
        Self { overlay, room, failure: std::cell::Cell::new(None) }
    }

    /// Whether everything could be read.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn read<T>(&self, result: Result<Option<T>, StoreError>) -> Option<T> {
        result.unwrap_or_else(|error| {
            self.failure.set(Some(error));
            None
        })
    }

    /// The owner of this log, if it is a user's own: it has their id.
    const fn owner(&self) -> UserId {
        UserId(self.room.0)
    }
}

impl Rows for Projection<'_, '_> {
    fn member(&self, user: UserId) -> Option<MemberRow> {
        self.read(self.overlay.row(Table::Members, &keys::room_user(self.room, user)))
    }

    fn put_member(&mut self, row: MemberRow) {
        let listed = keys::user_room(row.user, self.room);
        self.overlay.put(Table::RoomsEver, &listed, &[]);
        if row.is_member() {
            self.overlay.put(Table::RoomsOf, &listed, &[]);
        } else {
            self.overlay.remove(Table::RoomsOf, &listed);
        }
        self.overlay.put_row(Table::Members, &keys::room_user(self.room, row.user), &row);
    }

    fn message(&self, seq: u64) -> Option<NowRow> {
        let event = self.read(self.overlay.event(self.room, seq))?;
        if !event.body.is_message() {
            return None;
        }
        Some(self.read(self.overlay.row(Table::Nows, &keys::room_number(self.room, seq))).unwrap_or_default())
    }

    fn put_message(&mut self, seq: u64, now: NowRow) {
        let indexed = index::message_changed(self.overlay, self.room, seq, &now);
        let _indexed = self.read(indexed.map(Some));
        self.overlay.put_row(Table::Nows, &keys::room_number(self.room, seq), &now);
    }

    fn blank(&mut self, seq: u64) {
        let event = self.read(self.overlay.event(self.room, seq));
        if let Some(event) = &event {
            let indexed = index::message_blanked(self.overlay, self.room, event);
            let _indexed = self.read(indexed.map(Some));
        }
        if let Some(event) = event.as_ref().and_then(blanked) {
            self.overlay.put(Table::Events, &keys::room_number(self.room, seq), &event.record());
        }
    }

    fn mark(&self, room: RoomId) -> Option<MarkRow> {
        self.read(self.overlay.row(Table::Marks, &keys::user_room(self.owner(), room)))
    }

    fn put_mark(&mut self, room: RoomId, mark: MarkRow) {
        self.overlay.put_row(Table::Marks, &keys::user_room(self.owner(), room), &mark);
    }
}
