//! What is to be indexed: the list of blocks of messages that are complete, and working it off between commits.

use super::disk::Durable;
use super::dump::LOADING;
use super::tables::{Overlay, Table, View};
use super::{Shared, index, keys};
use crate::limits::{INDEX_BLOCKS_AT_ONCE, INDEX_QUEUE_MAX, INDEX_REST};
use crate::store::StoreError;
use client_protocol::RoomId;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Blocks of messages that are complete and not indexed. The store knows them all ([`Table::Unindexed`]).
pub(super) struct Unindexed {
    queue: VecDeque<(RoomId, u64)>,
    /// There may be more in the store than in the queue.
    more: bool,
    /// What follows this key in the store was not looked at.
    looked_up_to: [u8; 24],
    /// The last attempt failed: after a while there is another one.
    failed: bool,
    /// Nothing is done before.
    rests_until: Option<Instant>,
}

impl Default for Unindexed {
    /// What was left over is looked for.
    fn default() -> Self {
        Self { queue: VecDeque::new(), more: true, looked_up_to: [0; 24], failed: false, rests_until: None }
    }
}

impl Unindexed {
    /// Takes blocks that a commit listed.
    pub(super) fn extend(&mut self, blocks: Vec<(RoomId, u64)>) {
        for block in blocks {
            if self.queue.len() < INDEX_QUEUE_MAX {
                self.queue.push_back(block);
            } else {
                (self.more, self.looked_up_to) = (true, [0; 24]);
            }
        }
    }

    /// After a failure, some time has passed.
    pub(super) const fn try_again(&mut self) {
        self.failed = false;
    }

    /// Time until there is something to do; `None` if there is nothing, or it cannot be done.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        let has_work = !self.failed && (self.more || !self.queue.is_empty());
        has_work.then(|| self.rests_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)))
    }

    /// Indexes a few blocks, if it is time for it.
    pub(super) fn work(&mut self, shared: &Shared) {
        let start = Instant::now();
        if self.due_in(start) != Some(Duration::ZERO) {
            return;
        }
        match self.index_some(shared) {
            Ok(()) => {}
            Err(StoreError::Corrupt(error)) => {
                tracing::error!(error, "messages are not indexed for search until the next start");
                (self.more, self.queue) = (false, VecDeque::new());
            }
            Err(error) => {
                tracing::debug!(%error, "messages cannot be indexed for search now");
                self.failed = true;
            }
        }
        self.rests_until = Some(Instant::now() + start.elapsed() * INDEX_REST);
    }

    fn index_some(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let view = shared.tables.view();
        if self.queue.is_empty() {
            self.look(&view)?;
        }
        let count = self.queue.len().min(INDEX_BLOCKS_AT_ONCE);
        let mut overlay = Overlay::new(&shared.tables);
        for &(room, block) in self.queue.iter().take(count) {
            let key = keys::room_number(room, block);
            // It may have been listed twice.
            if !view.has(Table::Unindexed, &key)? {
                continue;
            }
            match index::block(&view, room, block) {
                Ok(Some(words)) => overlay.put(Table::Words, &key, &words),
                Ok(None) => overlay.remove(Table::Words, &key),
                // A search reads the messages, and a check of the room says what is wrong.
                Err(StoreError::Corrupt(error)) => tracing::error!(%room, block, error, "messages cannot be indexed"),
                Err(error) => return Err(error),
            }
            overlay.remove(Table::Unindexed, &key);
        }
        // Synced: of what the end of a journal may look like after a power cut, only its last commit can be repaired.
        overlay.commit(&shared.disk, Durable::Synced)?;
        self.queue.drain(..count);
        Ok(())
    }

    /// Looks for more in the store, but not while it is being loaded: then nothing is searched.
    fn look(&mut self, view: &View<'_>) -> Result<(), StoreError> {
        self.more = false;
        if view.has(Table::Meta, LOADING.as_bytes())? {
            return Ok(());
        }
        for item in view.range(Table::Unindexed, &self.looked_up_to, &[0xff; 24]).take(INDEX_QUEUE_MAX) {
            let key = item.key()?;
            self.queue.push_back(block_of(&key)?);
            self.looked_up_to = *key.first_chunk().unwrap_or(&[0xff; 24]);
        }
        self.more = self.queue.len() == INDEX_QUEUE_MAX;
        Ok(())
    }
}

/// The blocks that a commit lists as to be indexed.
pub(super) fn blocks_put(overlay: &Overlay<'_>) -> Vec<(RoomId, u64)> {
    overlay.keys_put(Table::Unindexed).filter_map(|key| block_of(key).ok()).collect()
}

fn block_of(key: &[u8]) -> Result<(RoomId, u64), StoreError> {
    let number = keys::last_number(key).ok_or_else(|| StoreError::Corrupt(format!("a key of {} bytes", key.len())))?;
    Ok((keys::room(key)?, number))
}
