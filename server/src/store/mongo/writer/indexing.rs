//! Blocks of messages that are to be indexed: a few at a time, and not all the time. What is forgotten here is asked for by the first search
//! that comes by.

use super::{Job, Writer, tell};
use crate::limits::{INDEX_QUEUE_MAX, MONGO_GATHERED_BLOCKS_MAX, MONGO_INDEX_BLOCKS_AT_ONCE, MONGO_RETRY_MAX};
use crate::store::mongo::fault::Fault;
use crate::store::mongo::gather::Unindexed;
use crate::store::mongo::index::index;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What became of some blocks.
#[derive(Debug)]
pub(in crate::store::mongo) struct Indexed {
    took: Duration,
    /// Those that could not be indexed.
    failed: Vec<Unindexed>,
}

/// Blocks that wait.
#[derive(Debug, Default)]
pub(super) struct Indexing {
    queue: VecDeque<Unindexed>,
    is_working: bool,
    rests_until: Option<Instant>,
}

impl Indexing {
    /// Whether something is to be done now or later.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_working && !self.queue.is_empty()
    }

    pub(super) fn push(&mut self, mut block: Unindexed) {
        if self.queue.len() >= INDEX_QUEUE_MAX {
            return;
        }
        if self.queue.len() >= MONGO_GATHERED_BLOCKS_MAX {
            block.records = None;
        }
        self.queue.push_back(block);
    }

    fn take_due(&mut self, now: Instant) -> Vec<Unindexed> {
        if self.is_working || self.rests_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        self.queue.drain(..self.queue.len().min(MONGO_INDEX_BLOCKS_AT_ONCE)).collect()
    }

    /// Rests as long as it worked: appends use the same database.
    pub(super) fn ended(&mut self, Indexed { took, failed }: Indexed) {
        self.is_working = false;
        let rest = if failed.is_empty() { took } else { took.max(MONGO_RETRY_MAX) };
        self.rests_until = Some(Instant::now() + rest);
        failed.into_iter().for_each(|block| self.push(block));
    }
}

impl Writer {
    /// Indexes some blocks, if it is time for it.
    pub(super) fn begin_indexing(&mut self) {
        let blocks = self.indexing.take_due(Instant::now());
        if blocks.is_empty() {
            return;
        }
        self.indexing.is_working = true;
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        self.spawn(async move {
            let began = Instant::now();
            let failed = match index(&shared.link, &blocks).await {
                Ok(()) => Vec::new(),
                Err(Fault::Corrupt(why)) => {
                    tracing::error!(why, "messages cannot be indexed for search");
                    Vec::new()
                }
                Err(fault) => {
                    tracing::debug!(%fault, "messages cannot be indexed for search now");
                    blocks
                }
            };
            tell(&sender, Job::Indexed(Indexed { took: began.elapsed(), failed }));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client_protocol::RoomId;

    fn block(block: u64) -> Unindexed {
        Unindexed { room: RoomId::from_bytes([1; 16]), block, last_seq: block * 128, records: Some(Vec::new()) }
    }

    #[test]
    fn blocks_wait_in_bounds_and_are_tried_again() {
        let mut indexing = Indexing::default();
        (0..INDEX_QUEUE_MAX as u64 + 10).for_each(|number| indexing.push(block(number)));
        assert_eq!(indexing.queue.len(), INDEX_QUEUE_MAX);
        let with_records = indexing.queue.iter().filter(|block| block.records.is_some()).count();
        assert_eq!(with_records, MONGO_GATHERED_BLOCKS_MAX);
        let now = Instant::now();
        let lot = indexing.take_due(now);
        assert_eq!((lot.len(), lot[0].block), (MONGO_INDEX_BLOCKS_AT_ONCE, 0));
        indexing.is_working = true;
        assert!(indexing.take_due(now).is_empty() && !indexing.is_waiting());
        indexing.ended(Indexed { took: Duration::ZERO, failed: lot });
        assert!(indexing.is_waiting() && indexing.take_due(now).is_empty(), "after a failure it rests");
        let later = now + MONGO_RETRY_MAX * 2;
        assert_eq!(indexing.take_due(later).len(), MONGO_INDEX_BLOCKS_AT_ONCE);
        assert_eq!(indexing.queue.back().map(|block| block.block), Some(MONGO_INDEX_BLOCKS_AT_ONCE as u64 - 1));
    }
}
