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

    /// Request `id` became event `seq`.
    pub fn acked(&self, id: u64, seq: u64, now_ns: u64) {
        let due_ns = self.state.close(id);
        self.state.acked.fetch_add(1, Relaxed);
        self.state.acked_seq.fetch_max(seq, Relaxed);
        if let Some(due_ns) = due_ns.filter(|due_ns| self.clock.measures(*due_ns)) {
            self.meter.histograms().ack.record_ns(now_ns.saturating_sub(due_ns));
        }
    }

    /// Request `id` was refused.
    pub fn refused(&self, id: u64, code: String) {
        let _due_ns = self.state.close(id);
        self.meter.refuse(code);
    }

    /// A send that was due at `due_ns` has been written.
    pub fn written(&self, due_ns: u64) {
        if self.clock.measures(due_ns) {
            self.meter.histograms().lag.record_ns(self.clock.now_ns().saturating_sub(due_ns));
        }
    }
}
