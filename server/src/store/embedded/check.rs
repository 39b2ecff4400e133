//! Check: the projections of a room are compared with what its log says, and mended where that is wanted.
//!
//! Rows are compared as the bytes that they are stored as, since the fold that makes them anew is the one that made them.

use super::append::SentRow;
use super::keys;
use super::tables::{Overlay, Table, View, decode_event};
use crate::limits::WORD_BLOCK_MESSAGES;
use crate::store::StoreError;
use crate::store::blocks::{Gathered, place_of};
use crate::store::check::{Folded, RoomCheck};
use crate::store::words::{body_now, tell_words_of};
use client_protocol::codec;
use client_protocol::room::kind;
use client_protocol::{Encode, RoomId};
use components::rows::RoomRow;
use std::collections::{BTreeMap, BTreeSet};
use systems::fold::blanked;

/// Rows by key, as bytes.
type Expected = BTreeMap<Vec<u8>, Vec<u8>>;

/// A check under way; with an overlay it mends.
struct Check<'a, 'b> {
    view: &'a View<'a>,
    overlay: Option<&'a mut Overlay<'b>>,
    room: RoomId,
    found: RoomCheck,
}

/// Compares the projections of a room with its log. With an overlay, what is not as the log says is written into it as it should be.
pub(super) fn room<'a>(
    view: &'a View<'a>,
    overlay: Option<&'a mut Overlay<'_>>,
    room: RoomId,
) -> Result<RoomCheck, StoreError> {
    let mut check = Check { view, overlay, room, found: RoomCheck::default() };
    let mut folded = Folded::new(room);
    let mut places = Expected::new();
    for item in view.prefix(Table::Events, room.bytes()) {
        let event = decode_event(&item.value()?)?;
        places.extend(
            keys::place_after(room, &event).map(|(next_message, its_seq)| (next_message.to_vec(), its_seq.to_vec())),
        );
        folded.push(&event, &mut check.found);
    }
    check.row(&folded)?;
    check.members(&folded)?;
    let row = |key: &dyn Fn(u64) -> [u8; 24], seq: u64, bytes: Vec<u8>| (key(seq).to_vec(), bytes);
    let by_number = |number| keys::room_number(room, number);
    let nows = folded.nows.iter().map(|(seq, now)| row(&by_number, *seq, codec::encode(now)));
    check.table(Table::Nows, room.bytes(), nows.collect())?;
    check.table(Table::Messages, room.bytes(), places)?;
    let sent = folded.keys.iter().map(|((actor, key), (seq, time_ms))| {
        (keys::sent(room, *actor, *key).to_vec(), codec::encode(&SentRow { seq: *seq, time_ms: *time_ms }))
    });
    check.table(Table::Keys, room.bytes(), sent.collect())?;
    if folded.row.kind == kind::SELF {
        let owner = client_protocol::UserId(room.0);
        let marks = folded.marks.iter().map(|(of, mark)| (keys::user_room(owner, *of).to_vec(), codec::encode(mark)));
        check.table(Table::Marks, room.bytes(), marks.collect())?;
    }
    check.bodies(&folded)?;
    check.words(&folded)?;
    Ok(check.found)
}

fn shown(key: &[u8]) -> String {
    use std::fmt::Write;
    key.iter().skip(16).fold(String::new(), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}

impl Check<'_, '_> {
    fn mend(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        match (&mut self.overlay, value) {
            (Some(overlay), Some(value)) => overlay.put(table, key, value),
            (Some(overlay), None) => overlay.remove(table, key),
            (None, _) => {}
        }
    }

    /// One row, or none, stands under a key.
    fn one(&mut self, table: Table, key: &[u8], expected: Option<&[u8]>) -> Result<(), StoreError> {
        let found = self.view.value(table, key)?;
        if found.as_deref() != expected {
            let what = match (found.is_some(), expected.is_some()) {
                (true, true) => "is another one",
                (true, false) => "should not be there",
                _ => "is missing",
            };
            self.found.differs(|| format!("row {} of {table:?} {what}", shown(key)));
            self.mend(table, key, expected);
        }
        Ok(())
    }

    /// Exactly these rows stand under a prefix.
    fn table(&mut self, table: Table, prefix: &[u8], mut expected: Expected) -> Result<(), StoreError> {
        for item in self.view.prefix(table, prefix) {
            let (key, value) = item.into_inner()?;
            let wanted = expected.remove(&*key);
            if wanted.as_deref() != Some(&*value) {
                self.one(table, &key, wanted.as_deref())?;
            }
        }
        for (key, wanted) in expected {
            self.one(table, &key, Some(&wanted))?;
        }
        Ok(())
    }

    fn row(&mut self, folded: &Folded) -> Result<(), StoreError> {
        let room = self.room;
        let stored: Option<RoomRow> = self.view.row(Table::Rooms, self.room.bytes())?;
        // How far followers are is theirs to say, not the log's.
        let notified_seq = stored.map_or(0, |row| row.notified_seq).min(folded.row.head);
        let expected = RoomRow { notified_seq, ..folded.row.clone() };
        let expected = (folded.row.head > 0).then(|| codec::encode(&expected));
        self.one(Table::Rooms, room.bytes(), expected.as_deref())?;
        let listed = (folded.row.kind == kind::PUBLIC).then(|| folded.row.name.to_lowercase());
        self.one(Table::Public, room.bytes(), listed.as_deref().map(str::as_bytes))
    }

    fn members(&mut self, folded: &Folded) -> Result<(), StoreError> {
        fn bytes(row: &impl Encode) -> Vec<u8> {
            codec::encode(row)
        }
        let room = self.room;
        let rows = folded.members.values();
        let rows: Expected = rows.map(|row| (keys::room_user(self.room, row.user).to_vec(), bytes(row))).collect();
        self.table(Table::Members, room.bytes(), rows)?;
        for member in folded.members.values() {
            let key = keys::user_room(member.user, self.room);
            self.one(Table::RoomsOf, &key, member.is_member().then_some(&[]))?;
            self.one(Table::RoomsEver, &key, Some(&[]))?;
        }
        Ok(())
    }

    /// Bodies that must be blank.
    fn bodies(&mut self, folded: &Folded) -> Result<(), StoreError> {
        for &seq in folded.blank.iter() {
            let Some(event) = self.view.event(self.room, seq)? else { continue };
            if let Some(blank) = blanked(&event).filter(|blank| *blank != event) {
                self.found.differs(|| format!("the body of event {seq} should be blank"));
                self.mend(Table::Events, &keys::room_number(self.room, seq), Some(&blank.record()));
            }
        }
        Ok(())
    }

    /// The words of each block that is complete; those that wait to be indexed have none yet.
    fn words(&mut self, folded: &Folded) -> Result<(), StoreError> {
        let mut expected = BTreeSet::new();
        let (mut block, mut gathered, mut count) = (0, Gathered::default(), 0);
        for seq in folded.messages() {
            let Some(event) = self.view.event(self.room, seq)? else { continue };
            let (its_block, place) = place_of(event.head.message_no);
            if its_block != block {
                (block, gathered, count) = (its_block, Gathered::default(), 0);
            }
            if let Some(body) = body_now(&event, folded.nows.get(&seq)) {
                tell_words_of(body, |word| gathered.push(place, word));
            }
            count += 1;
            // One of which a message is missing is not indexed.
            if count == WORD_BLOCK_MESSAGES {
                let row = std::mem::take(&mut gathered).encode();
                self.block(block, row.as_deref())?;
                expected.insert(keys::room_number(self.room, block));
            }
        }
        for item in self.view.prefix(Table::Words, self.room.bytes()) {
            let key = item.key()?;
            if !key.first_chunk().is_some_and(|key| expected.contains(key)) {
                self.one(Table::Words, &key, None)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, block: u64, expected: Option<&[u8]>) -> Result<(), StoreError> {
        let key = keys::room_number(self.room, block);
        let waits = self.view.has(Table::Unindexed, &key)? && !self.view.has(Table::Words, &key)?;
        if waits { Ok(()) } else { self.one(Table::Words, &key, expected) }
    }
}
