//! The newest messages of a room, kept until they are a block whose words can be indexed: its log need not be read for that.

use crate::limits::{MONGO_GATHERED_BYTES_MAX, MONGO_GATHERED_RECORD_BYTES, MONGO_GATHERED_ROW_BYTES, WORD_BLOCK_MESSAGES};
use crate::store::blocks::{completed_by, place_of};
use bytes::Bytes;
use client_protocol::RoomId;
use components::edge::Record;

/// A block of messages that is complete, and to be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unindexed {
    pub(super) room: RoomId,
    /// The number of the block.
    pub(super) block: u64,
    /// The seq of its last message.
    pub(super) last_seq: u64,
    /// The records of its messages as they were posted; `None` where the log is to be read.
    pub(super) records: Option<Vec<Bytes>>,
}

/// Messages of the block that a room is at: all so far, or none.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathering {
    records: Vec<Bytes>,
    bytes: usize,
    complete: Vec<Unindexed>,
}

impl Gathering {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { records: Vec::new(), bytes: 0, complete: Vec::new() }
    }

    /// Takes the next event of the room.
    pub(super) fn push(&mut self, room: RoomId, record: &Record) {
        if !record.event.body.is_message() {
            return;
        }
        let head = &record.event.head;
        let (_, place) = place_of(head.message_no);
        let follows = self.records.len() == usize::from(place);
        // What a buffer has more than its bytes, and what keeps it.
        let bytes = 2 * record.bytes.len() + MONGO_GATHERED_RECORD_BYTES;
        if follows && self.bytes + bytes <= MONGO_GATHERED_BYTES_MAX {
            self.bytes += bytes;
            self.records.push(record.bytes.clone());
        } else {
            self.forget();
        }
        if let Some(block) = completed_by(head.message_no) {
            let is_whole = self.records.len() as u64 == WORD_BLOCK_MESSAGES;
            let records = is_whole.then(|| std::mem::take(&mut self.records));
            self.complete.push(Unindexed { room, block, last_seq: head.seq, records });
            self.forget();
        }
    }

    fn forget(&mut self) {
        (self.records, self.bytes) = (Vec::new(), 0);
    }

    /// The blocks that are complete since the last call.
    pub(super) fn take_complete(&mut self) -> Vec<Unindexed> {
        std::mem::take(&mut self.complete)
    }

    /// As how many rows of a cache it counts.
    pub(super) const fn rows(&self) -> usize {
        self.bytes / MONGO_GATHERED_ROW_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::*;

    const ROOM: RoomId = RoomId::from_bytes([7; 16]);

    fn gather(gathering: &mut Gathering, numbers: impl Iterator<Item = u64>, bytes: usize) -> Vec<Unindexed> {
        numbers.for_each(|number| gathering.push(ROOM, &message(number * 2, number, &"x".repeat(bytes))));
        gathering.take_complete()
    }

    #[test]
    fn a_block_of_which_all_was_seen_comes_with_its_messages() {
        let mut gathering = Gathering::new();
        let blocks = gather(&mut gathering, 1..=256, 10);
        let records = |block: &Unindexed| block.records.as_ref().map(Vec::len);
        assert_eq!(blocks.iter().map(|block| (block.block, block.last_seq)).collect::<Vec<_>>(), [(0, 256), (1, 512)]);
        assert!(blocks.iter().all(|block| records(block) == Some(128)), "{blocks:?}");
        assert_eq!(gather(&mut gathering, 257..=383, 10), []);
    }

    #[test]
    fn of_others_it_is_said_that_they_are_complete() {
        // From the middle of one on, with the next whole.
        let mut gathering = Gathering::new();
        let blocks = gather(&mut gathering, 100..=256, 10);
        assert_eq!(blocks.iter().map(|block| block.records.is_some()).collect::<Vec<_>>(), [false, true]);
        // One with a hole, which another server filled.
        let blocks = gather(&mut gathering, (257..=300).chain(310..=384), 10);
        assert_eq!(blocks.iter().map(|block| block.records.is_some()).collect::<Vec<_>>(), [false]);
        // One of very long messages.
        let blocks = gather(&mut gathering, 385..=512, 2 * MONGO_GATHERED_BYTES_MAX / 128);
        assert_eq!(blocks.iter().map(|block| block.records.is_some()).collect::<Vec<_>>(), [false]);
        assert_eq!(gathering.rows(), 0);
    }
}
