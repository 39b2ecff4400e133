//! The writer: one thread, through which every event goes. What waits when it comes round becomes one commit with one sync (group
//! commit): the busier the store, the larger the commits.

use super::append::{stage, stage_level};
use super::disk::Durable;
use super::projection::Projection;
use super::tables::{Overlay, Table, last_id_of};
use super::unindexed::{Unindexed, blocks_put};
use super::{Shared, check};
use crate::limits::{STORE_COMMIT_BYTES_MAX, STORE_COMMIT_EVENTS_MAX, STORE_LEVEL_INTERVAL, STORE_LOOK_INTERVAL};
use crate::store::StoreError;
use crate::store::check::RoomCheck;
use client_protocol::{RoomId, UserId};
use components::edge::{AppendReply, AppendRequest, AppendThen, StoreReply};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

/// What the writer is asked to do.
pub(super) enum Job {
    /// Add events to logs. Bounded by the rooms in memory: each has one append open at most.
    Append(Vec<AppendRequest>),
    /// Followers of these rooms are done up to these seqs.
    Levels(Vec<(RoomId, u64)>),
    /// Blank what a user posted.
    Erase(Erase),
    /// Make the projections of a room anew where they differ from its log.
    Mend(RoomId, tokio::sync::oneshot::Sender<Result<RoomCheck, StoreError>>),
    /// Finish and end.
    Close,
}

/// Events of a user to blank.
pub(super) struct Erase {
    /// The room.
    pub(super) room: RoomId,
    /// Whose events.
    pub(super) user: UserId,
    /// Which ones.
    pub(super) seqs: Vec<u64>,
    /// The event that erases the user.
    pub(super) erased_seq: u64,
    /// Told when it is durable.
    pub(super) done: tokio::sync::oneshot::Sender<Result<(), StoreError>>,
}

/// The writer's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Rooms that are marked dirty on the disk.
    dirty: HashSet<RoomId>,
    waiting: VecDeque<AppendRequest>,
    /// Levels that are not written yet; bounded by the rooms that are dirty.
    levels: BTreeMap<RoomId, u64>,
    /// Blocks of messages that are to be indexed.
    unindexed: Unindexed,
    looked: Instant,
    closing: bool,
}

impl Writer {
    /// A writer for an open database.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let dirty = dirty_rooms(&shared)?.into_iter().collect();
        let (waiting, levels) = (VecDeque::new(), BTreeMap::new());
        Ok(Self { shared, dirty, waiting, levels, unindexed: Unindexed::default(), looked: Instant::now(), closing: false })
    }

    /// Works until it is told to close.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let _stop = crate::stop::StopOnPanic("a thread of the store");
        while !self.closing || !self.waiting.is_empty() {
            if self.waiting.is_empty() {
                let tend_in = if self.levels.is_empty() { STORE_LOOK_INTERVAL } else { STORE_LEVEL_INTERVAL };
                let index_in = self.unindexed.due_in(Instant::now());
                match jobs.recv_timeout(index_in.map_or(tend_in, |index_in| index_in.min(tend_in))) {
                    Ok(job) => self.take(job),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => self.closing = true,
                }
            }
            while let Ok(job) = jobs.try_recv() {
                self.take(job);
            }
            if !self.waiting.is_empty() {
                self.commit_some();
            }
            self.unindexed.work(&self.shared);
            self.tend();
        }
        if let Err(error) = self.shared.tables.sync() {
            tracing::error!(%error, "the last sync failed");
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Append(requests) => self.waiting.extend(requests),
            Job::Levels(levels) => {
                for (room, seq) in levels {
                    let level = self.levels.entry(room).or_default();
                    *level = seq.max(*level);
                }
            }
            Job::Erase(erase) => {
                let done = self.erase(&erase);
                // Whoever asked may have gone.
                let _gone = erase.done.send(done);
            }
            Job::Mend(room, done) => {
                let _gone = done.send(self.mend(room));
            }
            Job::Close => self.closing = true,
        }
    }

    /// Commits what waits, cut so that no commit stalls the others for long, and answers it.
    fn commit_some(&mut self) {
        let mut overlay = Overlay::new(&self.shared.tables);
        let mut replies = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        while let Some(request) = self.waiting.front() {
            let request_bytes: usize = request.records.iter().map(|record| record.bytes.len()).sum();
            let full =
                events + request.records.len() > STORE_COMMIT_EVENTS_MAX || bytes + request_bytes > STORE_COMMIT_BYTES_MAX;
            if full && !replies.is_empty() {
                break;
            }
            events += request.records.len();
            bytes += request_bytes;
            replies.push(stage(&mut overlay, request, self.dirty.contains(&request.room)));
            self.waiting.pop_front();
        }
        let unindexed = blocks_put(&overlay);
        match overlay.commit(&self.shared.disk, Durable::Synced) {
            Ok(()) => {
                self.dirty.extend(replies.iter().filter(|reply| reply.appended > 0).map(|reply| reply.room));
                self.unindexed.extend(unindexed);
            }
            Err(error) => {
                tracing::debug!(%error, "a commit was refused");
                // What was known before this commit is true without it.
                let staged = |reply: &&mut AppendReply| reply.appended > 0 || reply.then == AppendThen::Done;
                for reply in replies.iter_mut().filter(staged) {
                    reply.appended = 0;
                    reply.then = AppendThen::Unavailable;
                }
            }
        }
        self.shared.answer(replies.into_iter().map(StoreReply::Append).collect());
    }

    fn erase(&mut self, erase: &Erase) -> Result<(), StoreError> {
        let mut overlay = Overlay::new(&self.shared.tables);
        for &seq in &erase.seqs {
            let Some(event) = overlay.event(erase.room, seq)? else { continue };
            if event.head.actor == erase.user && seq < erase.erased_seq {
                let mut projection = Projection::new(&mut overlay, erase.room);
                systems::fold::erase(&event, &mut projection, erase.erased_seq);
                projection.finish()?;
                overlay.keep();
            }
        }
        let unindexed = blocks_put(&overlay);
        overlay.commit(&self.shared.disk, Durable::Synced)?;
        self.unindexed.extend(unindexed);
        Ok(())
    }

    fn mend(&self, room: RoomId) -> Result<RoomCheck, StoreError> {
        let mut overlay = Overlay::new(&self.shared.tables);
        let found = check::room(&self.shared.tables.view(), Some(&mut overlay), room)?;
        overlay.commit(&self.shared.disk, Durable::Synced)?;
        Ok(found)
    }

    /// Work that is done now and then: levels are written together, since a busy room would be marked and unmarked with every append.
    fn tend(&mut self) {
        if self.looked.elapsed() < STORE_LEVEL_INTERVAL && !self.closing {
            return;
        }
        self.looked = Instant::now();
        self.unindexed.try_again();
        self.shared.disk.look();
        if !self.levels.is_empty() {
            self.store_levels();
        }
    }

    fn store_levels(&mut self) {
        let mut overlay = Overlay::new(&self.shared.tables);
        let mut clean = Vec::new();
        for (&room, &seq) in &self.levels {
            match stage_level(&mut overlay, room, seq) {
                Ok(true) => clean.push(room),
                Ok(false) => {}
                Err(error) => tracing::error!(%room, %error, "a room cannot be marked as level"),
            }
        }
        // Losing this means that followers look at the same events again: no reason for a sync.
        if overlay.commit(&self.shared.disk, Durable::Later).is_ok() {
            self.levels.clear();
            for room in clean {
                self.dirty.remove(&room);
            }
        }
    }
}

/// The rooms that are marked dirty.
pub(super) fn dirty_rooms(shared: &Shared) -> Result<Vec<RoomId>, StoreError> {
    let view = shared.tables.view();
    view.all(Table::Dirty).map(|item| Ok(RoomId::from_bytes(last_id_of(item)?))).collect()
}
