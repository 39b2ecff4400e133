//! The scenarios by name: the letters are those that reports and comparisons use.

use crate::scenario::{Activity, Scenario, Senders};
use clap::ValueEnum;

/// What scenarios can be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Deliveries a second of those that follow from a rate.
    pub deliveries_per_s: f64,
    /// Connections of [`Named::C`].
    pub connections: u32,
    /// Senders of [`Named::E`].
    pub senders: u32,
    /// Sends that each of them keeps unanswered.
    pub in_flight: u32,
    /// Whether the sessions of [`Named::D`] come back with tickets.
    pub resumes: bool,
}

/// A scenario by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Named {
    /// 1 room of 200.
    #[value(name = "A", alias = "a")]
    A,
    /// 100 rooms of 10.
    #[value(name = "B", alias = "b")]
    B,
    /// 1 room of 5,000.
    Big,
    /// Connections that say nothing (--connections).
    #[value(name = "C", alias = "c", alias = "idle")]
    C,
    /// Join rate: connect with a full handshake (or --resume), log in, subscribe, leave.
    #[value(name = "D", alias = "d")]
    D,
    /// Durable sends a second: many senders in small rooms, closed loop (--in-flight).
    #[value(name = "E", alias = "e")]
    E,
    /// Reconnect storm: all drop at once and resume with their cursors.
    #[value(name = "F", alias = "f")]
    F,
    /// Slow readers: one session in ten stops reading.
    #[value(name = "G", alias = "g")]
    G,
    /// Mixed day: chat, typing, presence, read marks, history; some come and go.
    #[value(name = "H", alias = "h")]
    H,
    /// A, B and C, one after the other.
    All,
    /// Every one of them, one after the other.
    Every,
}

impl Named {
    /// The scenarios that the name stands for.
    #[must_use]
    pub fn parts(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::A, Self::B, Self::C],
            Self::Every => {
                vec![Self::A, Self::B, Self::Big, Self::C, Self::D, Self::E, Self::F, Self::G, Self::H]
            }
            one => vec![one],
        }
    }

    /// Whether its load follows from a rate.
    #[must_use]
    pub const fn has_rate(self) -> bool {
        !matches!(self, Self::C | Self::D | Self::E)
    }

    /// The scenario; for those that stand for several, the first.
    #[must_use]
    pub fn scenario(self, load: &Load) -> Scenario {
        let rate = load.deliveries_per_s;
        match self {
            Self::A | Self::All | Self::Every => Scenario::one_room(rate),
            Self::B => Scenario::many_rooms(rate),
            Self::Big => Scenario::big_room(rate),
            Self::C => Scenario::idle(load.connections),
            Self::D => Scenario::joins(load.resumes),
            Self::E => Scenario::durable_sends(load.senders, load.in_flight),
            Self::F => Scenario::storm(rate),
            Self::G => Scenario::slow_readers(rate),
            Self::H => Scenario::mixed_day(rate),
        }
    }
}

impl Scenario {
    /// A: one room of 200, everybody talks, `deliveries_per_s` in all.
    #[must_use]
    pub fn one_room(deliveries_per_s: f64) -> Self {
        Self::talk("A", 1, 200, deliveries_per_s)
    }

    /// B: 100 rooms of 10, everybody talks, `deliveries_per_s` in all.
    #[must_use]
    pub fn many_rooms(deliveries_per_s: f64) -> Self {
        Self::talk("B", 100, 10, deliveries_per_s)
    }

    /// big: one room of 5,000, everybody talks, `deliveries_per_s` in all.
    #[must_use]
    pub fn big_room(deliveries_per_s: f64) -> Self {
        Self::talk("big", 1, 5_000, deliveries_per_s)
    }

    /// C: sessions that are connected and subscribed and say nothing: rooms of 10 users with 10 devices each, as many as have at least
    /// `connections` together.
    #[must_use]
    pub fn idle(connections: u32) -> Self {
        Self { devices: 10, ..Self::talk("C", connections.div_ceil(100), 10, 0.0) }
    }

    /// D: the users of 20 rooms of 10 connect, subscribe and leave: with a full handshake each time, or with the ticket of the last one.
    #[must_use]
    pub fn joins(resumes: bool) -> Self {
        let name = if resumes { "D, resumed" } else { "D" };
        Self { activity: Activity::Join { resumes }, ..Self::talk(name, 20, 10, 0.0) }
    }

    /// E: senders in rooms of 2, at least `senders` of them, each with `in_flight` sends unanswered.
    #[must_use]
    pub fn durable_sends(senders: u32, in_flight: u32) -> Self {
        Self { activity: Activity::Closed { in_flight }, ..Self::talk("E", senders.div_ceil(2), 2, 0.0) }
    }

    /// F: the sessions of B, who talk a tenth as much, are dropped and resume.
    #[must_use]
    pub fn storm(deliveries_per_s: f64) -> Self {
        Self { activity: Activity::Storm, ..Self::talk("F", 100, 10, deliveries_per_s / 10.0) }
    }

    /// G: A, with one session in ten that never reads.
    #[must_use]
    pub fn slow_readers(deliveries_per_s: f64) -> Self {
        Self { activity: Activity::Slow { percent: 10 }, ..Self::talk("G", 1, 200, deliveries_per_s) }
    }

    /// H: B at a quarter of its rate, with typing, presence, read marks and history beside it; one session in ten comes and goes.
    #[must_use]
    pub fn mixed_day(deliveries_per_s: f64) -> Self {
        Self { activity: Activity::Mixed, ..Self::talk("H", 100, 10, deliveries_per_s / 4.0) }
    }

    /// One sender, one receiver, `sends` sends spaced by `interval_ms`: the way of a lone message through fsync.
    #[must_use]
    pub fn latency(sends: u32, interval_ms: f64) -> Self {
        Self {
            sends_per_s: 1_000.0 / interval_ms,
            senders: Senders::First,
            warmup_s: 1.0,
            measure_s: f64::from(sends) * interval_ms / 1_000.0,
            ..Self::talk("latency", 1, 2, 0.0)
        }
    }

    fn talk(name: &str, rooms: u32, members: u32, deliveries_per_s: f64) -> Self {
        Self {
            name: name.to_owned(),
            rooms,
            members,
            devices: 1,
            sends_per_s: deliveries_per_s / f64::from(members),
            senders: Senders::All,
            body_bytes: 128,
            activity: Activity::Talk,
            beside: None,
            warmup_s: 5.0,
            measure_s: 20.0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn presets_are_what_they_say() {
        let a = Scenario::one_room(20_000.0);
        assert_eq!((a.users(), a.sessions(), a.receivers(), a.sends_per_s), (200, 200, 200, 100.0));
        let b = Scenario::many_rooms(20_000.0);
        assert_eq!((b.users(), b.sessions(), b.receivers(), b.sends_per_s), (1_000, 1_000, 10, 2_000.0));
        let idle = Scenario::idle(2_000);
        assert_eq!((idle.users(), idle.sessions(), idle.deliveries_per_s()), (200, 2_000, 0.0));
        let latency = Scenario::latency(200, 20.0);
        assert_eq!((latency.sends_per_s, latency.measure_s, latency.sender_count()), (50.0, 4.0, 1));
        assert!(!latency.takes_latency(0) && latency.takes_latency(1));
        assert_eq!(Scenario::idle(20_000).sessions(), 20_000);
        assert_eq!(Scenario::idle(1).sessions(), 100);
        let big = Scenario::big_room(20_000.0);
        assert_eq!((big.sessions(), big.sends_per_s), (5_000, 4.0));
        let (joins, durable) = (Scenario::joins(false), Scenario::durable_sends(500, 8));
        for scenario in [a, b, idle, latency, big, joins, durable, Scenario::storm(2e4), Scenario::mixed_day(2e4)] {
            scenario.check().unwrap();
        }
    }

    #[test]
    fn who_never_reads_is_not_counted_and_does_not_send() {
        let slow = Scenario::slow_readers(20_000.0);
        slow.check().unwrap();
        assert_eq!((slow.slow_sessions(), slow.sender_count(), slow.sends_per_s), (20, 180, 100.0));
        assert!(slow.is_slow(180) && !slow.is_slow(179) && !slow.takes_latency(180));
        assert_eq!(slow.deliveries_per_s(), 18_000.0);
        let day = Scenario::mixed_day(20_000.0);
        assert_eq!((day.visitors(), day.sender_count(), day.deliveries_per_s()), (100, 900, 5_000.0));
        assert!(day.is_visitor(900) && !day.is_visitor(899) && !day.takes_latency(900) && day.takes_latency(899));
        assert!(!Scenario::one_room(1.0).is_slow(199));
        assert!(Scenario::durable_sends(500, 0).check().is_err() && Scenario::durable_sends(500, 33).check().is_err());
    }
}
