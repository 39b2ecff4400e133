//! The command line.

mod common;
mod targets;

pub use common::{Common, StoreKind};
pub use targets::TargetArgs;

use crate::limits::ROUNDS_SIDE_BY_SIDE;
use crate::pairs::{Comparison, Pair};
use crate::presets::{Load, Named};
use crate::scenario::Scenario;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Loads a Starling server and says what it cost.
#[derive(Debug, Parser)]
#[command(name = "starling-bench", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: What,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Scenarios at a fixed rate: deliveries, CPU, latency, packets, memory.
    Run(RunArgs),
    /// One thing is different and all else the same: both sides in turn, and the ratio of each round.
    Compare(CompareArgs),
    /// Low load: one sender, one receiver, from send to receipt through fsync.
    Latency(LatencyArgs),
    /// The load process; started by the others.
    #[command(hide = true)]
    Load,
    /// The floor on quinn, a server; started by the others.
    #[command(hide = true)]
    FloorQuic {
        /// Certificate, PEM.
        cert: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which scenarios [default: all; with --ramp A and B].
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',')]
    pub scenario: Vec<Named>,
    /// Deliveries a second, all rooms together; several are run one after the other (A, B, big and G; F has a tenth of it, H a quarter).
    #[arg(long, value_delimiter = ',', default_value = "20000")]
    pub rate: Vec<f64>,
    /// Find the rate at which A or B saturates: doubled until more than 1 % of the deliveries that were due take over 100 ms or never
    /// come; then bisected.
    #[arg(long)]
    pub ramp: bool,
    /// Connections of C, rounded up to a whole hundred.
    #[arg(long, default_value_t = 2_000)]
    pub connections: u32,
    /// Senders of E, in rooms of 2.
    #[arg(long, default_value_t = 500)]
    pub senders: u32,
    /// Sends of a session that E keeps unanswered.
    #[arg(long, default_value_t = 8)]
    pub in_flight: u32,
    /// D with tickets: who comes back shows that of its last connection, where otherwise every handshake is a full one.
    #[arg(long)]
    pub resume: bool,
    /// Its messages and times.
    #[command(flatten)]
    pub load: LoadArgs,
    /// What is measured.
    #[command(flatten)]
    pub targets: TargetArgs,
    /// How it is measured.
    #[command(flatten)]
    pub common: Common,
}

/// Messages and times.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Bytes of a message.
    #[arg(long, default_value_t = 128)]
    pub body_bytes: u32,
    /// Time measured, in seconds; with `--pair idle` rounded up to a multiple of 20, since a silent connection says something once in 20 s.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Time under load before that, in seconds.
    #[arg(long, default_value_t = 5.0)]
    pub warmup: f64,
}

impl LoadArgs {
    fn apply(&self, scenario: Scenario) -> Scenario {
        Scenario { body_bytes: self.body_bytes, ..scenario.timed(self.warmup, self.seconds) }
    }
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What is compared.
    #[arg(long = "pair", value_enum, value_delimiter = ',', default_value = "rooms,idle,durability,big,slow")]
    pub pairs: Vec<Pair>,
    /// Deliveries a second of each side.
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
    /// Idle connections of `idle`, rounded up to a whole hundred.
    #[arg(long, default_value_t = 1_500)]
    pub connections: u32,
    /// Deliveries a second of the large room of `big`, beside those of B.
    #[arg(long, default_value_t = 20_000.0)]
    pub beside_rate: f64,
    /// Its messages and times.
    #[command(flatten)]
    pub load: LoadArgs,
    /// How it is measured.
    #[command(flatten)]
    pub common: Common,
}

impl CompareArgs {
    /// Rounds of each pair.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.common.rounds.unwrap_or(ROUNDS_SIDE_BY_SIDE)
    }

    /// The comparisons that were asked for.
    #[must_use]
    pub fn comparisons(&self) -> Vec<Comparison> {
        let load = crate::pairs::Load {
            deliveries_per_s: self.rate,
            idle_connections: self.connections,
            beside_per_s: self.beside_rate,
        };
        let timed = |pair: &Pair| {
            let comparison = pair.comparison(&load).map(|scenario| self.load.apply(scenario));
            if *pair == Pair::Idle { comparison.map(Scenario::with_whole_keep_alives) } else { comparison }
        };
        self.pairs.iter().map(timed).collect()
    }

    /// What is done otherwise than the arguments say, for those who read the output.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let asked_s = self.load.seconds;
        let rounded = |comparison: &Comparison| {
            let measure_s = comparison.sides[0].scenario.measure_s;
            (measure_s > asked_s).then(|| {
                format!(
                    "{}: measured for {measure_s} s instead of {asked_s} s, a multiple of the keep-alive",
                    comparison.name
                )
            })
        };
        self.comparisons().iter().find_map(rounded)
    }
}

/// Arguments of `latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// Sends that are measured.
    #[arg(long, default_value_t = 200)]
    pub sends: u32,
    /// Time between two of them, in milliseconds.
    #[arg(long, default_value_t = 20.0)]
    pub interval_ms: f64,
    /// What is measured.
    #[command(flatten)]
    pub targets: TargetArgs,
    /// How it is measured.
    #[command(flatten)]
    pub common: Common,
}

impl RunArgs {
    /// The scenarios that were asked for.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        let default: &[Named] = if self.ramp { &[Named::A, Named::B] } else { &[Named::All] };
        let wanted = if self.scenario.is_empty() { default } else { &self.scenario };
        for named in wanted.iter().flat_map(|named| named.parts()) {
            let rates = if named.has_rate() { &self.rate[..] } else { &self.rate[..1] };
            for rate in rates {
                let load = Load {
                    deliveries_per_s: *rate,
                    connections: self.connections,
                    senders: self.senders,
                    in_flight: self.in_flight,
                    resumes: self.resume,
                };
                scenarios.push(self.load.apply(named.scenario(&load)));
            }
        }
        scenarios
    }
}

impl LatencyArgs {
    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        Scenario::latency(self.sends, self.interval_ms)
    }
}

#[cfg(test)]
mod tests;
