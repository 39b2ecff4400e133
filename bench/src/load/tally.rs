//! What a session makes of messages and answers, whatever protocol brought them.

use super::meter::{Clock, Meter, SessionState};
use super::stamp;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Counters of a session, and those that it shares with others.
#[derive(Debug, Clone)]
pub struct Tally {
    /// The session.
    pub state: Arc<SessionState>,
    /// Its worker's counters.
    pub meter: Arc<Meter>,
    /// The clock.
    pub clock: Arc<Clock>,
}

impl Tally {
    /// A fault of the server or the network; at the end of a run connections end because we end them.
    pub fn fault(&self, what: String) {
        if !self.clock.stopping.load(Relaxed) {
            self.meter.fault(what);
        }
    }

    /// A frame of consecutive events came: the first must follow the last one before.
    pub fn follows(&self, first_seq: u64, room: impl std::fmt::Display) {
        let cursor = self.state.cursor.load(Relaxed);
        if first_seq != cursor + 1 {
            self.state.gaps.fetch_add(1, Relaxed);
            self.meter.fault(format!("room {room}: seq {first_seq} after {cursor}"));
        }
    }

    /// Event `seq` of the session's room came, from a server that numbers them and sends one at a time.
    pub fn event(&self, seq: u64, body: &[u8]) {
        self.follows(seq, "of a peer");
        self.state.cursor.store(seq, Relaxed);
        self.meter.deliveries.fetch_add(1, Relaxed);
        self.message(body, self.clock.now_ns());
    }

    /// The body of a message that came.
    pub fn message(&self, body: &[u8], now_ns: u64) {
        let Some(due_ns) = stamp::due_ns(body) else {
            return self.meter.fault("a message that nobody here sent".to_owned());
        };
        if self.state.takes_latency && self.clock.measures(due_ns) {
            self.meter.histograms().latency.record_ns(now_ns.saturating_sub(due_ns));
        }
    }

    /// Something beside the messages, due at `due_ns`, has happened or was answered.
    pub fn aside(&self, name: &'static str, due_ns: u64, answered_ns: Option<u64>) {
        if self.clock.measures(due_ns) {
            let mut histograms = self.meter.histograms();
            let aside = histograms.asides.entry(name).or_default();
            aside.count += 1;
            if let Some(now_ns) = answered_ns {
                aside.latency.record_ns(now_ns.saturating_sub(due_ns));
            }
        }
    }

    /// A session is in its room, having begun at `from_ns`.
    pub fn joined(&self, from_ns: u64) {
        let now_ns = self.clock.now_ns();
        if self.clock.measures(now_ns) {
            self.meter.done.fetch_add(1, Relaxed);
            self.meter.histograms().latency.record_ns(now_ns.saturating_sub(from_ns));
        }
    }

    /// After a storm: the session is subscribed again, and level once it has event `head`.
    pub fn resumed(&self, head: u64) {
        self.state.goal.store(head.max(1), Relaxed);
        // An empty room is level at once.
        if head <= self.state.cursor.load(Relaxed) {
            self.is_level(self.clock.now_ns());
        }
    }

    /// Looks whether what came made the session level.
    pub fn came(&self, now_ns: u64) {
        let goal = self.state.goal.load(Relaxed);
        if goal > 0 && self.state.cursor.load(Relaxed) >= goal {
            self.is_level(now_ns);
        }
    }

    fn is_level(&self, now_ns: u64) {
        self.state.goal.store(0, Relaxed);
        self.meter.histograms().level.record_ns(now_ns.saturating_sub(self.clock.measured_from()));
    }

    /// The next send of a closed loop, if this is one and it is not over.
    fn send_again(&self, now_ns: u64) {
        if let Some(again) = self.state.again.get().filter(|_| !self.clock.is_over(now_ns)) {
            // There is room: as many are in the queue or unanswered as it began with.
            let _full = again.try_send(now_ns);
        }
    }

    /// Request `id` became event `seq`.
    pub fn acked(&self, id: u64, seq: u64, now_ns: u64) {
        let due_ns = self.state.close(id);
        self.state.acked.fetch_add(1, Relaxed);
        self.state.acked_seq.fetch_max(seq, Relaxed);
        self.meter.done.fetch_add(1, Relaxed);
        self.send_again(now_ns);
        if let Some(due_ns) = due_ns.filter(|due_ns| self.clock.measures(*due_ns)) {
            self.meter.histograms().ack.record_ns(now_ns.saturating_sub(due_ns));
        }
    }

    /// Request `id` was refused.
    pub fn refused(&self, id: u64, code: String) {
        let _due_ns = self.state.close(id);
        self.meter.refuse(code);
        self.send_again(self.clock.now_ns());
    }

    /// A send that was due at `due_ns` has been written.
    pub fn written(&self, due_ns: u64) {
        if self.clock.measures(due_ns) {
            self.meter.histograms().lag.record_ns(self.clock.now_ns().saturating_sub(due_ns));
        }
    }
}
