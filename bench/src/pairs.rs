//! Pairs of runs in which one thing is different and all else the same, and how much more it may cost.

use crate::report::{self, Report, Spread};
use crate::scenario::{Beside, Scenario};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Members of the large room of [`Pair::Big`].
const BIG_MEMBERS: u32 = 5_000;
/// Members, and devices of each, in a room of idle connections: few users, since each is registered before every round.
const IDLE_MEMBERS: u32 = 10;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pair {
    /// 1 room of 1,000 against 100 rooms of 10 (B): as many deliveries to each member.
    Rooms,
    /// B beside idle connections (--connections) against B.
    Idle,
    /// A against A on a store that does not wait for the disk.
    Durability,
    /// B beside a room of 5,000 that talks (--beside-rate) against B: latency of B.
    Big,
    /// A in which one session in ten never reads (G) against A: latency of the others.
    Slow,
}

/// The load of both sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Deliveries a second.
    pub deliveries_per_s: f64,
    /// Idle connections of [`Pair::Idle`].
    pub idle_connections: u32,
    /// Deliveries a second of the large room of [`Pair::Big`].
    pub beside_per_s: f64,
}

/// Which figure of a report is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// CPU time of the server for one delivery, in microseconds.
    Cpu,
    /// The latency that 1 in 100 deliveries exceeds, in milliseconds.
    P99,
}

impl Figure {
    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "server CPU, us a delivery",
            Self::P99 => "latency p99, ms",
        }
    }

    fn of(self, report: &Report) -> Option<f64> {
        match self {
            Self::Cpu => report.server_us_per_delivery,
            Self::P99 => (report.latency.count > 0).then_some(report.latency.p99_ms),
        }
    }
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// What reports call the server, with its arguments.
    pub server: &'static str,
    /// More arguments for it.
    pub arguments: &'static [&'static str],
    /// What is asked of it.
    pub scenario: Scenario,
}

impl Side {
    const fn of(scenario: Scenario) -> Self {
        Self { server: "starling", arguments: &[], scenario }
    }
}

/// Two sides that are run in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What it is called.
    pub name: &'static str,
    /// The side with what may cost more, and the one without.
    pub sides: [Side; 2],
    /// What is compared.
    pub figure: Figure,
    /// The figure of the first side by that of the second is at most this.
    pub goal: f64,
}

impl Comparison {
    /// With something done to the scenarios of both sides.
    #[must_use]
    pub fn map(self, change: impl Fn(Scenario) -> Scenario) -> Self {
        Self { sides: self.sides.map(|side| Side { scenario: change(side.scenario), ..side }), ..self }
    }
}

impl Pair {
    /// Its two sides.
    #[must_use]
    pub fn comparison(self, load: &Load) -> Comparison {
        let rate = load.deliveries_per_s;
        let (a, b) = (Scenario::one_room(rate), Scenario::many_rooms(rate));
        let beside = |name: &str, beside| Scenario { name: name.to_owned(), beside: Some(beside), ..b.clone() };
        let (name, sides, figure, goal) = match self {
            Self::Rooms => {
                let room = Scenario { name: "1 x 1000".to_owned(), rooms: 1, members: 1_000, sends_per_s: rate / 1e3, ..a };
                ("1 room of 1,000 by 100 rooms of 10", [Side::of(room), Side::of(b)], Figure::Cpu, 1.1)
            }
            Self::Idle => {
                let rooms = load.idle_connections.div_ceil(IDLE_MEMBERS * IDLE_MEMBERS).max(1);
                let idle = Beside { rooms, members: IDLE_MEMBERS, devices: IDLE_MEMBERS, sends_per_s: 0.0 };
                let with = beside("B, idle ones beside", idle);
                ("B with idle connections by B", [Side::of(with), Side::of(b)], Figure::Cpu, 1.05)
            }
            Self::Durability => {
                let unsafely = Side { server: "starling, no sync", arguments: &["--unsafe-no-sync"], scenario: a.clone() };
                ("A durable by A without sync", [Side::of(a), unsafely], Figure::Cpu, 1.15)
            }
            Self::Big => {
                let sends_per_s = load.beside_per_s / f64::from(BIG_MEMBERS);
                let big = Beside { rooms: 1, members: BIG_MEMBERS, devices: 1, sends_per_s };
                let with = beside("B, 5,000 beside", big);
                ("B with a room of 5,000 beside it by B", [Side::of(with), Side::of(b)], Figure::P99, 1.25)
            }
            Self::Slow => {
                let slow = Scenario::slow_readers(rate);
                ("the others' A with slow readers by A", [Side::of(slow), Side::of(a)], Figure::P99, 1.1)
            }
        };
        Comparison { name, sides, figure, goal }
    }
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The comparison.
    pub compared: String,
    /// The figure.
    pub figure: String,
    /// Each round that had both, and it, with and without.
    pub rounds: Vec<(u32, f64, f64)>,
    /// Rounds that failed on either side.
    pub failed: Vec<u32>,
    /// The rounds' ratios together.
    #[serde(flatten)]
    pub ratio: Spread,
    /// What the ratio should be at most.
    pub goal: f64,
    /// Whether it is.
    pub is_reached: bool,
}

impl Compared {
    /// Of the rounds of both sides; nothing where no round counts and has the figure.
    #[must_use]
    pub fn of(comparison: &Comparison, with: &[Report], without: &[Report]) -> Option<Self> {
        let figure = comparison.figure;
        let both = |(with, without): &(&Report, &Report)| Some((with.round, figure.of(with)?, figure.of(without)?));
        let rounds = report::pairs(with, without).iter().filter_map(both).filter(|(.., without)| *without > 0.0).collect();
        let rounds: Vec<(u32, f64, f64)> = rounds;
        let ratio = Spread::of(rounds.iter().map(|(_, with, without)| with / without))?;
        Some(Self {
            compared: comparison.name.to_owned(),
            figure: figure.name().to_owned(),
            rounds,
            failed: report::unpaired(with, without),
            ratio,
            goal: comparison.goal,
            is_reached: ratio.median <= comparison.goal,
        })
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}{}", self.compared, self.figure, report::left_out(&self.failed))?;
        for (round, with, without) in &self.rounds {
            let ratio = with / without;
            writeln!(f, "  round {round:<3} {with:>9.2} by {without:<9.2} {ratio:.3}")?;
        }
        let goal = if self.is_reached { "reached" } else { "NOT reached" };
        let Spread { median, lowest, highest } = self.ratio;
        write!(f, "  median    {median:.3} ({lowest:.3} to {highest:.3}); goal {:.2}: {goal}", self.goal)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOAD: Load = Load { deliveries_per_s: 20_000.0, idle_connections: 1_450, beside_per_s: 10_000.0 };

    #[test]
    fn both_sides_are_the_same_but_for_one_thing() {
        for pair in Pair::value_variants() {
            let Comparison { sides: [with, without], .. } = pair.comparison(&LOAD);
            with.scenario.check().unwrap();
            without.scenario.check().unwrap();
            let named = (with.server, &with.scenario.name) != (without.server, &without.scenario.name);
            assert!(named, "{pair:?}: reports do not tell the sides apart");
        }
        let rooms = Pair::Rooms.comparison(&LOAD);
        let each = |side: &Side| side.scenario.deliveries_per_s() / f64::from(side.scenario.sessions());
        assert_eq!((each(&rooms.sides[0]), each(&rooms.sides[1])), (20.0, 20.0));
        assert_eq!(Pair::Idle.comparison(&LOAD).sides[0].scenario.sessions(), 2_500);
        let big = &Pair::Big.comparison(&LOAD).sides[0].scenario;
        assert_eq!((big.sessions(), big.deliveries_per_s()), (6_000, 30_000.0));
    }
}
