//! The rows of one room in memory, folded by the same fold: what a store must say too.

use client_protocol::{Event, RoomId, UserId};
use components::rows::{MarkRow, MemberRow, NowRow, RoomRow};
use std::collections::BTreeMap;
use systems::fold::{Rows, apply, blanked};

#[derive(Default)]
struct ModelRows {
    events: Vec<Event>,
    members: BTreeMap<UserId, MemberRow>,
    nows: BTreeMap<u64, NowRow>,
    marks: BTreeMap<RoomId, MarkRow>,
}

pub struct Model {
    pub row: RoomRow,
    rows: ModelRows,
}

impl Model {
    pub fn new(room: RoomId) -> Self {
        Self { row: RoomRow::empty(room), rows: ModelRows::default() }
    }

    pub fn fold(&mut self, event: &Event) {
        self.rows.events.push(event.clone());
        apply(event, &mut self.row, &mut self.rows).unwrap();
    }

    /// By id, as stores give them.
    pub fn members(&self) -> Vec<MemberRow> {
        self.rows.members.values().cloned().collect()
    }

    pub fn event(&self, seq: u64) -> Event {
        self.rows.events[seq as usize - 1].clone()
    }

    pub fn now(&self, seq: u64) -> NowRow {
        self.rows.nows.get(&seq).cloned().unwrap_or_default()
    }
}

impl Rows for ModelRows {
    fn member(&self, user: UserId) -> Option<MemberRow> {
        self.members.get(&user).cloned()
    }

    fn put_member(&mut self, row: MemberRow) {
        self.members.insert(row.user, row);
    }

    fn message(&self, seq: u64) -> Option<NowRow> {
        let event = self.events.get((seq as usize).checked_sub(1)?)?;
        event.body.is_message().then(|| self.nows.get(&seq).cloned().unwrap_or_default())
    }

    fn put_message(&mut self, seq: u64, now: NowRow) {
        self.nows.insert(seq, now);
    }

    fn blank(&mut self, seq: u64) {
        let event = &mut self.events[seq as usize - 1];
        *event = blanked(event).unwrap();
    }

    fn mark(&self, room: RoomId) -> Option<MarkRow> {
        self.marks.get(&room).copied()
    }

    fn put_mark(&mut self, room: RoomId, mark: MarkRow) {
        self.marks.insert(room, mark);
    }
}
