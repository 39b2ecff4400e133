//! What is measured while the load runs: the clock and its window, counters and histograms of a worker, the state of a session.

use super::wire::{Carried, Wire};
use crate::control::Aside;
use crate::histogram::Latencies;
use crate::limits::{FAULTS_MAX, OPEN_SENDS_MAX};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Locks; a thread that panicked while it held the lock has ended the run anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one clock of senders and receivers, and which due times are measured.
#[derive(Debug)]
pub struct Clock {
    base: Instant,
    window: OnceLock<Range<u64>>,
    /// The run is over: connections end because this process ends them.
    pub stopping: AtomicBool,
}

impl Default for Clock {
    fn default() -> Self {
        Self { base: Instant::now(), window: OnceLock::new(), stopping: AtomicBool::new(false) }
    }
}

impl Clock {
    /// Nanoseconds since the clock was made.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time until `at_ns`; none if it has passed.
    #[must_use]
    pub fn until(&self, at_ns: u64) -> Option<Duration> {
        at_ns.checked_sub(self.now_ns()).filter(|ns| *ns > 0).map(Duration::from_nanos)
    }

    /// Says which due times are measured; holds from the first call on.
    pub fn measure(&self, window: Range<u64>) {
        let _set_before = self.window.set(window);
    }

    /// Whether the measurement is over.
    #[must_use]
    pub fn is_over(&self, now_ns: u64) -> bool {
        self.window.get().is_some_and(|window| now_ns >= window.end)
    }

    /// Since when it is measured; the storm begins then.
    #[must_use]
    pub fn measured_from(&self) -> u64 {
        self.window.get().map_or(u64::MAX, |window| window.start)
    }

    /// Whether what was due then is measured.
    #[must_use]
    pub fn measures(&self, due_ns: u64) -> bool {
        self.window.get().is_some_and(|window| window.contains(&due_ns))
    }
}

/// Histograms of a worker.
#[derive(Debug, Default)]
pub struct Histograms {
    /// Due to received.
    pub latency: Latencies,
    /// Due to reply.
    pub ack: Latencies,
    /// Due to written.
    pub lag: Latencies,
    /// All connections dropped to everything caught up.
    pub level: Latencies,
    /// What goes on beside the messages.
    pub asides: BTreeMap<&'static str, Aside>,
}

/// What a worker's sessions count together.
#[derive(Debug, Default)]
pub struct Meter {
    /// Messages received.
    pub deliveries: AtomicU64,
    /// Joins, or sends that were answered with `ok`.
    pub done: AtomicU64,
    histograms: Mutex<Histograms>,
    refused: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<Vec<String>>,
}

impl Meter {
    /// The histograms, to record into.
    pub fn histograms(&self) -> MutexGuard<'_, Histograms> {
        lock(&self.histograms)
    }

    /// Counts a send that was not taken.
    pub fn refuse(&self, code: String) {
        *lock(&self.refused).entry(code).or_default() += 1;
    }

    /// Refused sends by code.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<String, u64> {
        lock(&self.refused).clone()
    }

    /// Notes a complaint; of many, the first [`FAULTS_MAX`].
    pub fn fault(&self, what: String) {
        let mut faults = lock(&self.faults);
        if faults.len() < FAULTS_MAX {
            faults.push(what);
        }
    }

    /// The complaints.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }
}

/// A session, as the whole process sees it.
#[derive(Debug, Default)]
pub struct SessionState {
    /// Deliveries to it count for latency.
    pub takes_latency: bool,
    /// The last seq that came.
    pub cursor: AtomicU64,
    /// The highest seq that the server said one of its sends got.
    pub acked_seq: AtomicU64,
    /// Sends written.
    pub sent: AtomicU64,
    /// Sends answered with `ok`.
    pub acked: AtomicU64,
    /// Sends answered in any way.
    pub answered: AtomicU64,
    /// Frames that did not begin where the one before ended.
    pub gaps: AtomicU64,
    /// The seq at which it will be level with its room after a storm; 0 when it is, or before.
    pub goal: AtomicU64,
    /// Takes the next send of a closed loop.
    pub again: OnceLock<mpsc::Sender<u64>>,
    open: Mutex<Vec<(u64, u64)>>,
    open_asides: Mutex<Vec<(u64, u64, &'static str)>>,
    /// Its connections after the first one; bounded by how often it comes back in a run.
    later: Mutex<Vec<Wire>>,
}

impl SessionState {
    /// A session that has received nothing yet.
    #[must_use]
    pub fn new(takes_latency: bool) -> Self {
        Self { takes_latency, ..Self::default() }
    }

    /// Notes that request `id`, due at `due_ns`, is on its way. Beyond [`OPEN_SENDS_MAX`] the reply's latency is not taken.
    pub fn open(&self, id: u64, due_ns: u64) {
        self.sent.fetch_add(1, Relaxed);
        let mut open = lock(&self.open);
        if open.len() < OPEN_SENDS_MAX {
            open.push((id, due_ns));
        }
    }

    /// Notes that request `id`, which is no send, is on its way.
    pub fn open_aside(&self, id: u64, due_ns: u64, name: &'static str) {
        let mut open = lock(&self.open_asides);
        if open.len() < OPEN_SENDS_MAX {
            open.push((id, due_ns, name));
        }
    }

    /// If request `id` is no send, notes that it was answered, and says when it was due and what it was.
    pub fn close_aside(&self, id: u64) -> Option<(u64, &'static str)> {
        let mut open = lock(&self.open_asides);
        let index = open.iter().position(|(open, ..)| *open == id)?;
        let (_, due_ns, name) = open.swap_remove(index);
        Some((due_ns, name))
    }

    /// The session has another connection, on which requests count from the start.
    pub fn reconnected(&self, wire: Wire) {
        lock(&self.open_asides).clear();
        lock(&self.later).push(wire);
    }

    /// What its connections after the first one have carried.
    #[must_use]
    pub fn carried_later(&self) -> Carried {
        lock(&self.later).iter().fold(Carried::default(), |sum, wire| sum.plus(wire.carried()))
    }

    /// Notes that request `id` was answered; says when it was due.
    pub fn close(&self, id: u64) -> Option<u64> {
        self.answered.fetch_add(1, Relaxed);
        let mut open = lock(&self.open);
        let index = open.iter().position(|(open, _)| *open == id)?;
        Some(open.swap_remove(index).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_is_measured() {
        let clock = Clock::default();
        assert!(!clock.measures(5));
        clock.measure(5..9);
        assert!(clock.measures(5) && clock.measures(8) && !clock.measures(4) && !clock.measures(9));
        assert_eq!(clock.until(0), None);
        assert!(clock.until(u64::MAX).is_some());
    }

    #[test]
    fn replies_find_their_sends_in_any_order() {
        let state = SessionState::default();
        state.open(2, 20);
        state.open(3, 30);
        assert_eq!((state.close(3), state.close(2), state.close(2)), (Some(30), Some(20), None));
        assert_eq!((state.sent.load(Relaxed), state.answered.load(Relaxed)), (2, 3));
    }

    #[test]
    fn complaints_are_bounded() {
        let meter = Meter::default();
        for n in 0..100 {
            meter.fault(n.to_string());
        }
        assert_eq!(meter.faults().len(), FAULTS_MAX);
    }
}
