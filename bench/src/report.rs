//! Figures of a round, the verdict on it, and how both are shown.

use crate::histogram::{Latencies, Quantiles};
use crate::limits::{ACHIEVED_MIN, LAG_P99_MS_MAX, MEMORY_SESSIONS_MIN, OTHERS_CORES_MAX};
use crate::machine::Machine;
use crate::run::Round;
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

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
    /// Part (0 to 1) of the server's CPU time by thread name, the busiest first.
    pub server_threads: Vec<(String, f64)>,
    /// From due to received.
    pub latency: Quantiles,
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
    /// Resident memory of the server at the end, in bytes.
    pub rss: Option<u64>,
    /// What the connections, and the warm-up, added to it by the start of the measurement, for one connection, in bytes; `None` for
    /// less than [`MEMORY_SESSIONS_MIN`] of them.
    pub rss_per_connection: Option<f64>,
    /// Sessions that were connected and subscribed in a second; `None` where there are none.
    pub connects_per_s: Option<f64>,
    /// Cores that the load process used.
    pub clients_cores: f64,
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
        let grown = round
            .rss_connected
            .zip(round.rss_before)
            .filter(|_| scenario.sessions() >= MEMORY_SESSIONS_MIN)
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
            server_threads: server.map(thread_parts).unwrap_or_default(),
            latency: result.latency.quantiles(),
            ack: result.ack.as_ref().map(Latencies::quantiles),
            lag: result.lag.quantiles(),
            server_packets_per_delivery: each(result.server_packets as f64),
            client_packets_per_delivery: each(result.client_packets as f64),
            server_bytes_per_delivery: each(result.server_bytes as f64),
            server_packets_per_s: per_s(result.server_packets as f64),
            rss: server.map(|usage| usage.rss),
            rss_per_connection: grown.map(|bytes| bytes as f64 / sessions),
            connects_per_s: round.connect_ms.map(|ms| sessions * 1_000.0 / (ms.max(1) as f64)),
            clients_cores: round.clients.cores(),
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
        add(part < ACHIEVED_MIN, format!("only {:.1} % of the offered deliveries came", part * 100.0));
        add(self.gaps > 0, format!("{} gaps or doubles in the order of events", self.gaps));
        add(self.lost > 0, format!("{} events that should have did not arrive", self.lost));
        let refused: Vec<String> = self.refused.iter().map(|(code, count)| format!("{count} {code}")).collect();
        add(!refused.is_empty(), format!("sends were refused: {}", refused.join(", ")));
        add(self.unanswered > 0, format!("{} sends had no answer", self.unanswered));
        add(self.held > 0, format!("{} sends were held back, since a session could not take more", self.held));
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
        if let Some(cores) = self.others_cores.filter(|cores| *cores > OTHERS_CORES_MAX) {
            warnings.push(format!("other processes used {:.0} % of a core: run it on a quiet machine", cores * 100.0));
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

    /// Part of the offered deliveries that came; 1 where none were offered.
    #[must_use]
    pub fn achieved_part(&self) -> f64 {
        if self.offered_per_s > 0.0 { self.achieved_per_s / self.offered_per_s } else { 1.0 }
    }

    /// A figure of latency, where latencies were taken.
    fn taken(&self, ms: f64) -> Option<f64> {
        (self.latency.count > 0).then_some(ms)
    }

    fn fmt_load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let achieved = self.achieved_part() * 100.0;
        writeln!(
            f,
            "  deliveries/s   offered {:.0}, achieved {:.0} ({achieved:.1} %)",
            self.offered_per_s, self.achieved_per_s
        )?;
        if let Some(us) = self.server_us_per_delivery {
            let cores = self.server_cores.unwrap_or_default() * 100.0;
            writeln!(
                f,
                "  server CPU     {us:.2} us a delivery, {cores:.1} % of a core: {}",
                threads(&self.server_threads)
            )?;
        }
        match self.latency.count {
            0 => writeln!(f, "  latency        none was taken")?,
            count => writeln!(f, "  latency        {} (due to received, {count} of them)", quantiles(&self.latency))?,
        }
        match &self.ack {
            Some(ack) => writeln!(f, "  ack            {} (due to reply)", quantiles(ack))?,
            None => writeln!(f, "  ack            not applicable: nothing is acknowledged")?,
        }
        let (out, back) = (self.server_packets_per_delivery, self.client_packets_per_delivery);
        let (bytes, per_s) = (self.server_bytes_per_delivery, self.server_packets_per_s);
        writeln!(
            f,
            "  packets        {out:.3} sent, {back:.3} received by the server a delivery; {bytes:.0} bytes sent a delivery, {per_s:.0} packets/s"
        )
    }

    fn fmt_idle(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(us), Some(cores)) = (self.server_us_per_connection_s, self.server_cores) {
            let (percent, threads) = (cores * 100.0, threads(&self.server_threads));
            writeln!(f, "  server CPU     {us:.1} us a connection and second, {percent:.2} % of a core: {threads}")?;
        }
        writeln!(f, "  packets        {:.1} sent by the server a second", self.server_packets_per_s)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.scenario;
        write!(f, "{}, round {}: {}, {} x {} members", s.name, self.round, self.target, s.rooms, s.members)?;
        if s.devices > 1 {
            write!(f, " x {} devices", s.devices)?;
        }
        let (rate, bytes) = (s.sends_per_s, s.body_bytes);
        writeln!(f, ", {rate:.0} sends/s of {bytes} bytes, {} s after {} s", s.measure_s, s.warmup_s)?;
        if s.sends_per_s > 0.0 {
            self.fmt_load(f)?
        } else {
            self.fmt_idle(f)?
        }
        if let Some(rss) = self.rss {
            write!(f, "  memory         {:.1} MiB resident", rss as f64 / f64::from(1 << 20))?;
            let each = self.rss_per_connection.map(|bytes| format!(", {:.1} KiB a connection", bytes / 1_024.0));
            writeln!(f, "{}", each.unwrap_or_default())?;
        }
        if let Some(connects) = self.connects_per_s {
            writeln!(f, "  connections    {}, connected and subscribed at {connects:.0}/s", s.sessions())?;
        }
        writeln!(
            f,
            "  harness        {:.1} % of a core, sends late by {}",
            self.clients_cores * 100.0,
            quantiles(&self.lag)
        )?;
        writeln!(f, "  faults         lost {}, gaps {}", self.lost, self.gaps)?;
        for warning in &self.warnings {
            writeln!(f, "  WARNING        {warning}")?;
        }
        for problem in &self.problems {
            writeln!(f, "  FAILED         {problem}")?;
        }
        Ok(())
    }
}

fn thread_parts(usage: &crate::procfs::Usage) -> Vec<(String, f64)> {
    let total: f64 = usage.cpu_s;
    let part = |cpu_s: f64| if total > 0.0 { cpu_s / total } else { 0.0 };
    usage.threads.iter().map(|(name, cpu_s)| (name.clone(), part(*cpu_s))).collect()
}

fn threads(parts: &[(String, f64)]) -> String {
    let shown = parts.iter().take(4).map(|(name, part)| format!("{name} {:.0} %", part * 100.0));
    shown.collect::<Vec<_>>().join(", ")
}

fn quantiles(q: &Quantiles) -> String {
    format!("p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2} ms", q.p50_ms, q.p99_ms, q.p999_ms, q.max_ms)
}

/// The medians of several rounds of one scenario, with the lowest and the highest; nothing for fewer than two rounds.
#[must_use]
pub fn medians(reports: &[Report]) -> Option<String> {
    let first = reports.first().filter(|_| reports.len() > 1)?;
    let mut lines =
        vec![format!("{} of {}, {} rounds: median (lowest to highest)", first.scenario.name, first.target, reports.len())];
    let mut add = |what: &str, figure: &dyn Fn(&Report) -> Option<f64>| {
        let mut values: Vec<f64> = reports.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        if let (Some(low), Some(high)) = (values.first(), values.last()) {
            lines.push(format!("  {what:<34} {:>10.2} ({low:.2} to {high:.2})", median(&values)));
        }
    };
    if first.scenario.sends_per_s > 0.0 {
        add("deliveries/s", &|r| Some(r.achieved_per_s));
        add("server CPU, us a delivery", &|r| r.server_us_per_delivery);
        add("latency p50, ms", &|r| r.taken(r.latency.p50_ms));
        add("latency p99, ms", &|r| r.taken(r.latency.p99_ms));
        add("latency p99.9, ms", &|r| r.taken(r.latency.p999_ms));
        add("packets sent a delivery", &|r| Some(r.server_packets_per_delivery));
    } else {
        add("server CPU, us a connection and s", &|r| r.server_us_per_connection_s);
    }
    add("memory a connection, KiB", &|r| r.rss_per_connection.map(|bytes| bytes / 1_024.0));
    Some(lines.join("\n"))
}

/// Starling's figures by those of each peer, round by round: what happened to the machine in a round happened to both.
#[must_use]
pub fn ratios(targets: &[Vec<Report>]) -> Option<String> {
    let (ours, peers) = targets.split_first()?;
    let first = ours.first().filter(|_| !peers.is_empty())?;
    let mut lines = vec![format!("{}: Starling by peer, median of rounds (lowest to highest)", first.scenario.name)];
    for theirs in peers {
        let Some(peer) = theirs.first() else { continue };
        let mut add = |what: &str, figure: &dyn Fn(&Report) -> Option<f64>| {
            let pairs = ours.iter().zip(theirs).filter_map(|(our, their)| Some(figure(our)? / figure(their)?));
            let mut values: Vec<f64> = pairs.filter(|ratio| ratio.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            if let (Some(low), Some(high)) = (values.first(), values.last()) {
                lines.push(format!("  {:<12} {what:<28} {:>6.2} ({low:.2} to {high:.2})", peer.target, median(&values)));
            }
        };
        if first.scenario.sends_per_s > 0.0 {
            add("server CPU a delivery", &|r| r.server_us_per_delivery);
            add("packets sent a delivery", &|r| Some(r.server_packets_per_delivery));
            add("latency p50", &|r| r.taken(r.latency.p50_ms));
            add("latency p99", &|r| r.taken(r.latency.p99_ms));
        } else {
            add("server CPU a connection", &|r| r.server_us_per_connection_s);
        }
        add("memory a connection", &|r| r.rss_per_connection);
    }
    Some(lines.join("\n"))
}

/// The middle of sorted values; of an even number, the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::LoadResult;
    use crate::procfs::Usage;

    fn round(deliveries: u64) -> Round {
        let mut result = LoadResult {
            measured_ns: 20_000_000_000,
            deliveries,
            server_packets: deliveries / 4,
            client_packets: deliveries / 10,
            server_bytes: deliveries * 250,
            ..LoadResult::default()
        };
        result.latency.record_ns(17_000_000);
        let threads = vec![("starling-edge".to_owned(), 1.5), ("starling-store".to_owned(), 0.5)];
        Round {
            target: "starling".into(),
            scenario: Scenario::one_room(20_000.0),
            machine: Machine { cores: 2, data_filesystem: "ext4".into(), ..Machine::default() },
            connect_ms: Some(100),
            rss_before: Some(20 << 20),
            rss_connected: Some(24 << 20),
            server: Some(Usage { wall_s: 20.0, cpu_s: 2.0, threads, rss: 25 << 20, rss_peak: 26 << 20 }),
            clients: Usage { wall_s: 20.0, cpu_s: 5.0, ..Usage::default() },
            others_cpu_s: Some(0.2),
            result,
        }
    }

    #[test]
    fn figures_are_per_delivery() {
        let report = Report::of(&round(400_000), 1);
        assert_eq!(report.achieved_per_s, 20_000.0);
        assert_eq!(report.server_us_per_delivery, Some(5.0));
        assert_eq!(report.server_packets_per_delivery, 0.25);
        assert_eq!(report.rss_per_connection, Some(4.0 * 1_048_576.0 / 200.0));
        assert_eq!(report.connects_per_s, Some(2_000.0));
        assert_eq!(report.server_threads[0], ("starling-edge".to_owned(), 0.75));
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let text = report.to_string();
        for shown in
            ["offered 20000, achieved 20000 (100.0 %)", "5.00 us a delivery", "p50 17.0", "0.250 sent", "lost 0, gaps 0"]
        {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains("FAILED"));
    }

    #[test]
    fn json_is_one_line_and_can_be_read_back() {
        let report = Report::of(&round(400_000), 1);
        let line = serde_json::to_string(&report).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let mut bad = round(379_000);
        bad.result.gaps = 1;
        bad.result.lost = 7;
        bad.result.held = 2;
        bad.result.unanswered = 3;
        bad.result.refused.insert("overloaded".into(), 4);
        bad.result.faults.push("a connection was lost: timed out".into());
        let report = Report::of(&bad, 1);
        assert_eq!(report.problems.len(), 7, "{:?}", report.problems);
        assert!(report.to_string().contains("FAILED         only 94.8 %"), "{report}");
        assert!(Report::of(&round(381_000), 1).problems.is_empty());
    }

    #[test]
    fn what_spoils_figures_is_said() {
        let clean = |report: &Report| report.warnings.iter().all(|warning| warning.contains("debug build"));
        assert!(clean(&Report::of(&round(400_000), 1)));
        let mut busy = round(400_000);
        busy.others_cpu_s = Some(8.0);
        assert!(Report::of(&busy, 1).to_string().contains("other processes used 40 % of a core"));
        let mut late = round(400_000);
        late.result.lag.record_ns(9_000_000);
        assert!(!clean(&Report::of(&late, 1)));
        let mut in_memory = round(400_000);
        in_memory.machine.data_filesystem = "tmpfs".into();
        assert!(!clean(&Report::of(&in_memory, 1)));
    }

    #[test]
    fn idle_has_no_deliveries_and_no_division_by_them() {
        let mut idle = round(0);
        idle.scenario = Scenario::idle(2_000);
        let report = Report::of(&idle, 1);
        assert!(report.problems.is_empty());
        assert_eq!(report.server_us_per_delivery, None);
        assert_eq!(report.server_us_per_connection_s, Some(50.0));
        assert!(report.to_string().contains("50.0 us a connection and second"), "{report}");
    }

    #[test]
    fn rounds_are_summed_up_by_their_medians() {
        let reports: Vec<Report> = [400_000, 390_000, 398_000].into_iter().map(|n| Report::of(&round(n), 1)).collect();
        assert_eq!(medians(&reports[..1]), None);
        let text = medians(&reports).unwrap();
        assert!(text.contains("19900.00 (19500.00 to 20000.00)"), "{text}");
        assert_eq!(median(&[1.0, 2.0]), 1.5);
    }
}
