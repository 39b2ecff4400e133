//! The writer: one task, through which all changes of logs go. What waits when a batch may start becomes that batch (group commit by
//! itself): the slower the database, the larger the batches. An append whose outcome is not known holds up its own room only.

mod indexing;
mod touched;

use super::Shared;
use super::append::{self, Open};
use super::cache::Cache;
use super::gather::Unindexed;
use super::projection::Cached;
use super::resolve;
use super::settle::{Unsettled, settle};
use crate::limits::{
    MONGO_BATCH_EVENTS_MAX, MONGO_BATCH_EVENTS_MIN, MONGO_BATCH_SLOW, MONGO_CLOSE_TIMEOUT, MONGO_SETTLE_INTERVAL,
    MONGO_UPDATES_MAX,
};
use client_protocol::RoomId;
use components::edge::AppendRequest;
use indexing::{Indexed, Indexing};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use touched::TouchedRooms;

/// What the writer is asked to do, or told.
#[derive(Debug)]
pub(super) enum Job {
    /// Add events to logs. Bounded by the rooms in memory: each has one append open at most.
    Append(Vec<AppendRequest>),
    /// Followers of these rooms are done up to these seqs.
    Levels(Vec<(RoomId, u64)>),
    /// Write what follows from the log of this room and was not written.
    Heal(RoomId),
    /// A batch has ended after this time; whatever is to be resolved has been handed on.
    BatchEnded(Duration),
    /// Nothing is under way in these rooms any more.
    Free(Vec<Freed>),
    /// These rooms could not be settled yet.
    Left(BTreeMap<RoomId, Unsettled>),
    /// Index a block of messages.
    Index(Unindexed),
    /// This became of blocks that were to be indexed.
    Indexed(Indexed),
    /// The marks of this node may be gone.
    Unmarked,
    /// Finish and end.
    Close,
}

/// A room in which nothing is under way any more.
#[derive(Debug)]
pub(super) struct Freed {
    room: RoomId,
    cached: Option<Cached>,
    /// Whether this node has marked it as dirty now; `None`: as before.
    is_marked: Option<bool>,
    /// Whether something was appended to it.
    is_changed: bool,
}

impl From<Open> for Freed {
    fn from(open: Open) -> Self {
        let is_changed = open.appended > 0;
        Self { room: open.request.room, cached: open.cached, is_marked: Some(open.is_marked), is_changed }
    }
}

/// The writer's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    sender: UnboundedSender<Job>,
    cache: Cache,
    /// Rooms that this node has marked as dirty.
    marked: HashSet<RoomId>,
    /// Rooms in which something is under way.
    busy: HashSet<RoomId>,
    waiting: VecDeque<AppendRequest>,
    touched: TouchedRooms,
    indexing: Indexing,
    heals: HashSet<RoomId>,
    batches: usize,
    batch_events: usize,
    settled: Instant,
    closing: Option<Instant>,
}

impl Writer {
    /// A writer; `marked` are the rooms that this node has marked before.
    pub(super) fn new(shared: Arc<Shared>, sender: UnboundedSender<Job>, marked: HashSet<RoomId>) -> Self {
        Self {
            shared,
            sender,
            cache: Cache::default(),
            marked,
            busy: HashSet::new(),
            waiting: VecDeque::new(),
            touched: TouchedRooms::default(),
            indexing: Indexing::default(),
            heals: HashSet::new(),
            batches: 0,
            batch_events: MONGO_BATCH_EVENTS_MAX,
            settled: Instant::now(),
            closing: None,
        }
    }

    /// Works until it is told to close.
    pub(super) async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => self.take(job),
                    None => return,
                },
                () = tokio::time::sleep(MONGO_SETTLE_INTERVAL), if self.is_waiting() => {}
            }
            while let Ok(job) = jobs.try_recv() {
                self.take(job);
            }
            while self.batches < self.shared.link.kind.waves() && self.begin_batch() {}
            // First: what heals is busy, and a room that is healed again and again would never be settled.
            if self.settled.elapsed() >= MONGO_SETTLE_INTERVAL || self.closing.is_some() {
                self.begin_settles();
            }
            self.begin_heals();
            self.begin_indexing();
            if let Some(since) = self.closing {
                let idle = self.busy.is_empty() && self.waiting.is_empty() && self.touched.is_empty();
                if idle || since.elapsed() > MONGO_CLOSE_TIMEOUT {
                    if !idle {
                        tracing::error!(
                            rooms = self.busy.len(),
                            "the store was closed while the outcome of appends was not known"
                        );
                    }
                    return;
                }
            }
        }
    }

    /// Whether time alone brings something to do.
    fn is_waiting(&self) -> bool {
        !self.touched.is_empty() || self.indexing.is_waiting() || self.closing.is_some()
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Append(requests) => self.waiting.extend(requests),
            Job::Levels(levels) => levels.into_iter().for_each(|(room, seq)| self.touched.level(room, seq)),
            Job::Left(rooms) => rooms.into_iter().for_each(|(room, left)| self.touched.level(room, left.level)),
            Job::Heal(room) => {
                self.heals.insert(room);
            }
            Job::BatchEnded(took) => {
                self.batches -= 1;
                self.batch_events = batch_events_after(self.batch_events, took);
            }
            Job::Free(rooms) => rooms.into_iter().for_each(|freed| self.free(freed)),
            Job::Index(block) => self.indexing.push(block),
            Job::Indexed(ended) => self.indexing.ended(ended),
            Job::Unmarked => self.marked.clear(),
            Job::Close => self.closing = Some(Instant::now()),
        }
    }

    fn free(&mut self, freed: Freed) {
        let Freed { room, cached, is_marked, is_changed } = freed;
        if is_changed {
            self.touched.appended(room);
        }
        self.busy.remove(&room);
        if let Some(mut cached) = cached {
            cached.gathering.take_complete().into_iter().for_each(|block| self.indexing.push(block));
            self.cache.put(room, cached);
        }
        match is_marked {
            Some(true) => {
                self.marked.insert(room);
            }
            Some(false) => {
                self.marked.remove(&room);
            }
            None => {}
        }
    }

    /// Starts a batch with what waits, cut so that no batch stalls the others for long. Answers whether there was anything to start.
    fn begin_batch(&mut self) -> bool {
        let mut batch = Vec::new();
        let mut events = 0;
        let mut later = VecDeque::new();
        while let Some(request) = self.waiting.pop_front() {
            if !batch.is_empty() && events + request.records.len() > self.batch_events {
                later.push_back(request);
                break;
            }
            if self.busy.contains(&request.room) || self.touched.is_overdue(request.room) {
                later.push_back(request);
                continue;
            }
            events += request.records.len();
            self.busy.insert(request.room);
            let cached = self.cache.take(request.room);
            let is_marked = self.marked.contains(&request.room);
            batch.push(Open::new(request, cached, is_marked));
        }
        while let Some(request) = later.pop_back() {
            self.waiting.push_front(request);
        }
        if batch.is_empty() {
            return false;
        }
        self.batches += 1;
        let rooms = batch.len();
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        self.spawn(async move {
            let began = Instant::now();
            let ended = if shared.link.health.is_ready() {
                append::append(&shared, batch).await
            } else {
                append::refuse(&shared, batch)
            };
            tell(&sender, Job::Free(ended.answered.into_iter().map(Freed::from).collect()));
            for open in ended.unresolved {
                let (shared, sender) = (Arc::clone(&shared), sender.clone());
                shared.clone().spawn(async move {
                    let open = resolve::resolve(&shared, open).await;
                    tell(&sender, Job::Free(vec![open.into()]));
                });
            }
            let took = began.elapsed();
            tracing::trace!(rooms, events, ?took, "a batch of appends");
            tell(&sender, Job::BatchEnded(took));
        });
        true
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.shared.spawn(work);
    }

    fn begin_heals(&mut self) {
        let ready: Vec<RoomId> = self.heals.iter().copied().filter(|room| !self.busy.contains(room)).collect();
        for room in ready {
            self.heals.remove(&room);
            self.busy.insert(room);
            self.cache.take(room);
            let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
            self.spawn(async move {
                let turn = shared.resolves.acquire().await;
                let healed = resolve::heal(&shared.link, room).await;
                drop(turn);
                let cached = healed.inspect_err(|fault| {
                    // Whoever reads the room next asks again.
                    tracing::warn!(%room, %fault, "what follows from the log of a room cannot be written yet");
                });
                tell(&sender, Job::Free(vec![Freed { room, cached: cached.ok(), is_marked: None, is_changed: false }]));
            });
        }
    }

    /// Settles rooms that are due, many together: a busy room would be written with every append.
    fn begin_settles(&mut self) {
        self.settled = Instant::now();
        for rooms in self.touched.take_due(&self.busy, self.closing.is_some()).chunks(MONGO_UPDATES_MAX) {
            self.busy.extend(rooms.iter().map(|(room, _)| room));
            self.settle(rooms.iter().copied().collect());
        }
    }

    fn settle(&self, rooms: BTreeMap<RoomId, Unsettled>) {
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        let is_closing = self.closing.is_some();
        self.spawn(async move {
            let mut freed: HashMap<RoomId, Option<bool>> = rooms.keys().map(|room| (*room, None)).collect();
            match settle(&shared, &rooms).await {
                Ok(clean) => freed.extend(clean.into_iter().map(|room| (room, Some(false)))),
                Err(fault) => {
                    tracing::debug!(%fault, "rooms cannot be settled yet");
                    // Whether the marks are there is not known: the next append makes them anew.
                    freed.values_mut().for_each(|is_marked| *is_marked = Some(false));
                    if !is_closing {
                        tell(&sender, Job::Left(rooms));
                    }
                }
            }
            let freed = freed.into_iter();
            let freed = freed.map(|(room, is_marked)| Freed { room, cached: None, is_marked, is_changed: false });
            tell(&sender, Job::Free(freed.collect()));
        });
    }
}

/// How many events the next batch may have, after one that took so long. A call that takes too long leaves everything in it in doubt, and
/// finding out costs more than the call: where the database is slow, batches shrink long before that.
fn batch_events_after(events: usize, took: Duration) -> usize {
    if took > MONGO_BATCH_SLOW {
        (events / 2).max(MONGO_BATCH_EVENTS_MIN)
    } else if took < MONGO_BATCH_SLOW / 2 {
        (events + MONGO_BATCH_EVENTS_MIN).min(MONGO_BATCH_EVENTS_MAX)
    } else {
        events
    }
}

/// Tells the writer; after its end there is nobody to tell.
fn tell(sender: &UnboundedSender<Job>, job: Job) {
    let _ended = sender.send(job);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_shrink_where_the_database_is_slow_and_grow_again() {
        let mut events = MONGO_BATCH_EVENTS_MAX;
        for _ in 0..10 {
            events = batch_events_after(events, MONGO_BATCH_SLOW * 2);
        }
        assert_eq!(events, MONGO_BATCH_EVENTS_MIN);
        assert_eq!(batch_events_after(events, MONGO_BATCH_SLOW), events, "as it should be");
        for _ in 0..MONGO_BATCH_EVENTS_MAX {
            events = batch_events_after(events, Duration::ZERO);
        }
        assert_eq!(events, MONGO_BATCH_EVENTS_MAX);
    }
}
