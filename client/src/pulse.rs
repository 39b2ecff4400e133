//! The pulse of a connection: whether the other side still answers. Plain data and rules; time and counters come in as arguments.
//!
//! QUIC itself gives up a silent connection only after [`crate::limits::IDLE_TIMEOUT`], and asks ever more seldom until then, so that a server
//! that was started anew meanwhile would not be noticed for long.

use crate::limits::{PULSE_INTERVAL, PULSE_INTERVAL_MIN, SILENCE_MAX};
use tokio::time::Instant;

/// What a connection has sent and received so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Frames that the other side must acknowledge (RFC 9000 section 13.2).
    asked: u64,
    /// Packets from the other side.
    heard: u64,
}

impl Traffic {
    pub(crate) fn of(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        let sent = stats.frame_tx;
        // Probes after a loss are made of `immediate_ack` where the server knows that frame.
        let asked = sent.stream
            + sent.ping
            + sent.immediate_ack
            + sent.datagram
            + sent.max_data
            + sent.max_stream_data
            + sent.reset_stream;
        Self { asked, heard: stats.udp_rx.datagrams }
    }
}

/// Whether someone is there.
#[derive(Debug)]
pub(crate) struct Pulse {
    last: Traffic,
    looked: Instant,
    /// Since when something is to be acknowledged and nothing at all has come.
    silent_since: Option<Instant>,
}

impl Pulse {
    pub(crate) const fn new(traffic: Traffic, now: Instant) -> Self {
        Self { last: traffic, looked: now, silent_since: None }
    }

    /// Whether it is time to look.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.looked + PULSE_INTERVAL_MIN
    }

    /// When to look, if nothing else happens; `waiting` is whether an answer is due.
    pub(crate) fn next_look(&self, waiting: bool) -> Instant {
        self.looked + if waiting || self.silent_since.is_some() { PULSE_INTERVAL_MIN } else { PULSE_INTERVAL }
    }

    /// Looks; says whether the other side has been silent for too long.
    pub(crate) fn is_gone(&mut self, traffic: Traffic, now: Instant) -> bool {
        if traffic.heard != self.last.heard {
            self.silent_since = None;
        } else if traffic.asked != self.last.asked && self.silent_since.is_none() {
            self.silent_since = Some(now);
        }
        self.last = traffic;
        self.looked = now;
        self.silent_since.is_some_and(|since| now >= since + SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn look(pulse: &mut Pulse, start: Instant, after_s: u64, asked: u64, heard: u64) -> bool {
        pulse.is_gone(Traffic { asked, heard }, start + Duration::from_secs(after_s))
    }

    #[test]
    fn one_who_was_asked_and_says_nothing_is_gone() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Traffic { asked: 1, heard: 1 }, start);
        assert!(!look(&mut pulse, start, 1, 2, 1));
        assert!(!look(&mut pulse, start, 3, 3, 1));
        assert!(look(&mut pulse, start, 6, 3, 1));
    }

    #[test]
    fn one_who_was_not_asked_may_be_silent() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Traffic { asked: 1, heard: 1 }, start);
        for second in 1..100 {
            assert!(!look(&mut pulse, start, second, 1, 1));
        }
    }

    #[test]
    fn any_packet_is_a_sign_of_life() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Traffic { asked: 1, heard: 1 }, start);
        for second in 1..100 {
            assert!(!look(&mut pulse, start, second, second, second / 3));
        }
    }

    #[test]
    fn it_is_looked_at_more_often_while_there_is_silence() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Traffic { asked: 1, heard: 1 }, start);
        assert!(!pulse.is_due(start) && pulse.next_look(false) == start + PULSE_INTERVAL);
        assert_eq!(pulse.next_look(true), start + PULSE_INTERVAL_MIN);
        let _ = look(&mut pulse, start, 1, 2, 1);
        assert_eq!(pulse.next_look(false), start + Duration::from_secs(1) + PULSE_INTERVAL_MIN);
    }
}
