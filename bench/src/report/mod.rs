//! Figures of a round and the verdict on it. How they are shown is in `text`, what several rounds say together in `summary`.

mod summary;
mod text;

pub use summary::{Median, Medians, Ratio, Ratios, Spread};
pub(crate) use summary::{left_out, pairs, unpaired};

use crate::control::Aside;
use crate::histogram::{Latencies, Quantiles};
use crate::limits::{
    ACHIEVED_MIN, CLIENTS_CORES_MAX, KEEP_ALIVE, LAG_P99_MS_MAX, LATE, LATE_PART_MAX, MEMORY_SESSIONS_MIN, OTHERS_CORES_MAX,
};
use crate::machine::Machine;
use crate::run::Round;
use crate::scenario::{Activity, Scenario};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Figures of a round. What needs the server's process is `None` where that is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was measured.
    pub target: String,
    /// The scenario.
    pub scenario: Scenario,
    /// Which round of the scenario, from 1.
    pub round: u32,
    /// The machine.
    pub machine: Machine,
    /// Deliveries a second that the sends should make.
    pub offered_per_s: f64,
    /// Deliveries a second that came.
    pub achieved_per_s: f64,
    /// CPU time of the server for one delivery, in microseconds.
    pub server_us_per_delivery: Option<f64>,
    /// CPU time of the server for one connection and second, in microseconds.
    pub server_us_per_connection_s: Option<f64>,
    /// Cores that the server used.
    pub server_cores: Option<f64>,
    /// Cores that the database under it used, where that has a process that is known.
    pub database_cores: Option<f64>,
    /// Part (0 to 1) of the server's CPU time by thread name, the busiest first.
    pub server_threads: Vec<(String, f64)>,
    /// From due to received.
    pub latency: Quantiles,
    /// Deliveries that were due while measured, to sessions whose latency is taken; 0 where nobody sends at fixed times.
    pub due: u64,
    /// How many of them came later than [`LATE`].
    pub late: u64,
    /// How many never came, or were not even sent.
    pub missing: u64,
    /// From due to the reply, which Starling gives when the message is durable; `None` where the protocol has no replies.
    pub ack: Option<Quantiles>,
    /// From due to written by the harness; it is part of both.
    pub lag: Quantiles,
    /// UDP datagrams, or TCP segments, that the server sent, for one delivery.
    pub server_packets_per_delivery: f64,
    /// The same that the clients sent, for one delivery.
    pub client_packets_per_delivery: f64,
    /// Bytes in what the server sent, for one delivery.
    pub server_bytes_per_delivery: f64,
    /// Datagrams or segments that the server sent in a second.
    pub server_packets_per_s: f64,
    /// What a scenario of operations is about; `None` for those of deliveries.
    pub operations: Option<Operations>,
    /// From the drop of all connections until a session was level with its room again; `None` where nothing drops them.
    pub level: Option<Quantiles>,
    /// What went on beside the messages, by name.
    pub asides: BTreeMap<String, AsideFigures>,
    /// Points of the curve of latencies: part of all (0 to 1), and milliseconds.
    pub latency_curve: Vec<(f64, f64)>,
    /// Resident memory of the server at the end, in bytes.
    pub rss: Option<u64>,
    /// The largest that it ever was, in bytes.
    pub rss_peak: Option<u64>,
    /// What it grew by while measured, in bytes; negative if it shrank.
    pub rss_grown: Option<i64>,
    /// What it grew by from its start, before anything was in it, to the start of the measurement, for one connection, in bytes: users,
    /// rooms and the warm-up are in it. `None` for less than [`MEMORY_SESSIONS_MIN`] connections.
    pub rss_per_connection: Option<f64>,
    /// Sessions that were connected and subscribed in a second; `None` where there are none.
    pub connects_per_s: Option<f64>,
    /// Cores that the load process used.
    pub clients_cores: f64,
    /// Its threads.
    pub clients_workers: u32,
    /// Cores that everything else on the machine used, the kernel's own threads included.
    pub others_cores: Option<f64>,
    /// Sends that were not taken, by code.
    pub refused: BTreeMap<String, u64>,
    /// Sends without an answer.
    pub unanswered: u64,
    /// Sends that were due and not written.
    pub held: u64,
    /// Breaks in the order of seqs.
    pub gaps: u64,
    /// Acknowledged events that some session did not get; where nothing is acknowledged, of all that were sent.
    pub lost: u64,
    /// Why the round failed; empty if it did not.
    pub problems: Vec<String>,
    /// Why its figures are worth less than they look; empty if they are not.
    pub warnings: Vec<String>,
}

/// Operations that are counted, where deliveries are not what a scenario is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operations {
    /// What one is.
    pub name: String,
    /// How many a second.
    pub per_s: f64,
    /// CPU time of the server for one, in microseconds.
    pub server_us_each: Option<f64>,
    /// How many became durable in a tick of the server's world, on average, where it says so.
    pub batch: Option<f64>,
}

/// Something that went on beside the messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AsideFigures {
    /// How many a second.
    pub per_s: f64,
    /// From due to answered; `None` for what has no answer.
    pub latency: Option<Quantiles>,
}

impl Report {
    /// The figures of a round.
    #[must_use]
    pub fn of(round: &Round, number: u32) -> Self {
        let (result, scenario) = (&round.result, &round.scenario);
        let deliveries = result.deliveries as f64;
        let each = |total: f64| if deliveries > 0.0 { total / deliveries } else { 0.0 };
        let sessions = f64::from(scenario.sessions());
        let seconds = result.measured_ns as f64 / 1e9;
        let per_s = |total: f64| if seconds > 0.0 { total / seconds } else { 0.0 };
        let server = round.server.as_ref();
        let comes_and_goes = matches!(scenario.activity, Activity::Join { .. });
        let grown = round
            .rss_connected
            .zip(round.rss_before)
            .filter(|_| scenario.sessions() >= MEMORY_SESSIONS_MIN && !comes_and_goes)
            .map(|(connected, before)| connected.saturating_sub(before));
        let mut report = Self {
            target: round.target.clone(),
            scenario: scenario.clone(),
            round: number,
            machine: round.machine.clone(),
            offered_per_s: scenario.deliveries_per_s(),
            achieved_per_s: per_s(deliveries),
            server_us_per_delivery: server.filter(|_| deliveries > 0.0).map(|usage| each(usage.cpu_s * 1e6)),
            server_us_per_connection_s: server.map(|usage| usage.cores() * 1e6 / sessions),
            server_cores: server.map(crate::procfs::Usage::cores),
            database_cores: round.database.as_ref().map(crate::procfs::Usage::cores),
            server_threads: server.map(thread_parts).unwrap_or_default(),
            latency: result.latency.quantiles(),
            due: result.due,
            late: result.latency.count_above(LATE),
            missing: result.due.saturating_sub(result.latency.count()),
            ack: result.ack.as_ref().map(Latencies::quantiles),
            lag: result.lag.quantiles(),
            server_packets_per_delivery: each(result.server_packets as f64),
            client_packets_per_delivery: each(result.client_packets as f64),
            server_bytes_per_delivery: each(result.server_bytes as f64),
            server_packets_per_s: per_s(result.server_packets as f64),
            operations: operations(round, seconds),
            level: (scenario.activity == Activity::Storm).then(|| result.level.quantiles()),
            asides: result.asides.iter().map(|(name, aside)| (name.clone(), aside_figures(aside, seconds))).collect(),
            latency_curve: result.latency.curve(),
            rss: server.map(|usage| usage.rss),
            rss_peak: server.map(|usage| usage.rss_peak),
            rss_grown: server.zip(round.rss_connected).map(|(usage, from)| usage.rss as i64 - from as i64),
            rss_per_connection: grown.map(|bytes| bytes as f64 / sessions),
            connects_per_s: round.connect_ms.filter(|_| !comes_and_goes).map(|ms| sessions * 1_000.0 / (ms.max(1) as f64)),
            clients_cores: round.clients.cores(),
            clients_workers: round.workers,
            others_cores: round.others_cpu_s.map(per_s),
            refused: result.refused.clone(),
            unanswered: result.unanswered,
            held: result.held,
            gaps: result.gaps,
            lost: result.lost,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        report.problems = report.find_problems(&result.faults);
        report.warnings = report.find_warnings();
        report
    }

    fn find_problems(&self, faults: &[String]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut add = |holds: bool, what: String| {
            if holds {
                problems.push(what);
            }
        };
        let part = self.achieved_part();
        // Who was away gets all of it later; that nothing was lost is checked below.
        let steady = self.scenario.activity != Activity::Storm;
        add(steady && part < ACHIEVED_MIN, format!("only {:.1} % of the offered deliveries came", part * 100.0));
        add(self.gaps > 0, format!("{} gaps or doubles in the order of events", self.gaps));
        add(self.lost > 0, format!("{} events that should have did not arrive", self.lost));
        let refused: Vec<String> = self.refused.iter().map(|(code, count)| format!("{count} {code}")).collect();
        add(!refused.is_empty(), format!("sends were refused: {}", refused.join(", ")));
        add(self.unanswered > 0, format!("{} sends had no answer", self.unanswered));
        add(self.held > 0, format!("{} sends were held back, since a session could not take more", self.held));
        let level = self.level.as_ref().map_or(u64::from(self.scenario.sessions()), |level| level.count);
        let sessions = u64::from(self.scenario.sessions());
        add(level < sessions, format!("only {level} of {sessions} sessions were level again"));
        let idle = self.operations.as_ref().is_some_and(|operations| operations.per_s <= 0.0);
        add(idle, "nothing was done while measured".to_owned());
        problems.extend(faults.iter().cloned());
        problems
    }

    fn find_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.lag.p99_ms > LAG_P99_MS_MAX {
            warnings.push(format!(
                "the harness wrote 1 % of the sends more than {:.1} ms late: latencies are partly its own",
                self.lag.p99_ms
            ));
        }
        if self.is_harness_busy() {
            warnings.push(format!(
                "the load process used {:.0} % of a core with {} threads: it may be what was slow",
                self.clients_cores * 100.0,
                self.clients_workers
            ));
        }
        if let Some(cores) = self.others_cores.filter(|cores| *cores > OTHERS_CORES_MAX) {
            warnings.push(format!("other processes used {:.0} % of a core: run it on a quiet machine", cores * 100.0));
        }
        let silent = self.scenario.activity == Activity::Talk && self.scenario.sends_per_s <= 0.0;
        if silent && !self.scenario.has_whole_keep_alives() {
            warnings.push(format!(
                "silent connections say something once in {} s: of a time that is no multiple of it some is not seen",
                KEEP_ALIVE.as_secs()
            ));
        }
        if cfg!(debug_assertions) {
            warnings.push("this is a debug build: build with --release".to_owned());
        }
        if matches!(self.machine.data_filesystem.as_str(), "tmpfs" | "ramfs") {
            warnings.push(
                "the data folder is in memory, where an fsync costs nothing: give --data a folder on a disk".to_owned(),
            );
        }
        warnings
    }

    /// Whether the load process was near the end of what it can do.
    #[must_use]
    pub fn is_harness_busy(&self) -> bool {
        self.clients_cores >= CLIENTS_CORES_MAX * f64::from(self.clients_workers.max(1))
    }

    /// Part of the offered deliveries that came; 1 where none were offered.
    #[must_use]
    pub fn achieved_part(&self) -> f64 {
        if self.offered_per_s > 0.0 { self.achieved_per_s / self.offered_per_s } else { 1.0 }
    }

    /// Whether deliveries came in time, but for [`LATE_PART_MAX`] of those that were due. What never came is late.
    #[must_use]
    pub fn is_in_time(&self) -> bool {
        (self.late + self.missing) as f64 <= self.due as f64 * LATE_PART_MAX
    }

    /// Whether its figures count: what a round that failed has measured is something else.
    #[must_use]
    pub const fn counts(&self) -> bool {
        self.problems.is_empty()
    }

    /// A figure of latency, where latencies were taken.
    fn taken(&self, ms: f64) -> Option<f64> {
        (self.latency.count > 0).then_some(ms)
    }
}

fn thread_parts(usage: &crate::procfs::Usage) -> Vec<(String, f64)> {
    let total: f64 = usage.cpu_s;
    let part = |cpu_s: f64| if total > 0.0 { cpu_s / total } else { 0.0 };
    usage.threads.iter().map(|(name, cpu_s)| (name.clone(), part(*cpu_s))).collect()
}

fn operations(round: &Round, seconds: f64) -> Option<Operations> {
    let name = match round.scenario.activity {
        Activity::Join { .. } => "join",
        Activity::Closed { .. } => "durable send",
        Activity::Talk | Activity::Storm | Activity::Slow { .. } | Activity::Mixed => return None,
    };
    let done = round.result.done as f64;
    Some(Operations {
        name: name.to_owned(),
        per_s: if seconds > 0.0 { done / seconds } else { 0.0 },
        server_us_each: round.server.as_ref().filter(|_| done > 0.0).map(|usage| usage.cpu_s * 1e6 / done),
        batch: round.batch.filter(|_| name != "join"),
    })
}

fn aside_figures(aside: &Aside, seconds: f64) -> AsideFigures {
    let per_s = if seconds > 0.0 { aside.count as f64 / seconds } else { 0.0 };
    AsideFigures { per_s, latency: (aside.latency.count() > 0).then(|| aside.latency.quantiles()) }
}

#[cfg(test)]
mod tests;
