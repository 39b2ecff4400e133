//! What several rounds say together. Rounds that failed are named, and their figures left out.

use super::Report;
use crate::limits::ROUNDS_SHOWN;
use crate::scenario::Activity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The middle of several values, and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median: of an even number of values, the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Spread {
    /// Of these values; nothing of nothing.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (lowest, highest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, lowest, highest })
    }
}

/// A figure over several rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Median {
    /// What it is.
    pub figure: String,
    /// Its values.
    #[serde(flatten)]
    pub spread: Spread,
}

/// The rounds of one scenario and target together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Medians {
    /// The scenario's name.
    pub scenario: String,
    /// Deliveries a second that it offers.
    pub offered_per_s: f64,
    /// The target.
    pub target: String,
    /// How many rounds count.
    pub rounds: usize,
    /// Rounds that failed.
    pub failed: Vec<u32>,
    /// Its figures.
    pub medians: Vec<Median>,
}

impl Medians {
    /// Of several rounds of one scenario and target; nothing for fewer than two.
    #[must_use]
    pub fn of(reports: &[Report]) -> Option<Self> {
        let first = reports.first().filter(|_| reports.len() > 1)?;
        let counting: Vec<&Report> = reports.iter().filter(|report| report.counts()).collect();
        let median = |(name, figure): &(&str, Figure)| {
            let spread = Spread::of(counting.iter().filter_map(|report| figure(report)))?;
            Some(Median { figure: (*name).to_owned(), spread })
        };
        let mut figures = figures(first);
        if let Activity::Slow { .. } = first.scenario.activity {
            // No ratio is made of it: it may be nothing, or less.
            figures.push(("memory grown, MiB", |r| Some(r.rss_grown? as f64 / f64::from(1 << 20))));
        }
        Some(Self {
            scenario: first.scenario.name.clone(),
            offered_per_s: first.offered_per_s,
            target: first.target.clone(),
            rounds: counting.len(),
            failed: reports.iter().filter(|report| !report.counts()).map(|report| report.round).collect(),
            medians: figures.iter().filter_map(median).collect(),
        })
    }
}

impl fmt::Display for Medians {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, target, rounds, .. } = self;
        write!(f, "{scenario} of {target}, {rounds} rounds: median (lowest to highest){}", left_out(&self.failed))?;
        for Median { figure, spread: Spread { median, lowest, highest } } in &self.medians {
            write!(f, "\n  {figure:<34} {median:>10.2} ({lowest:.2} to {highest:.2})")?;
        }
        Ok(())
    }
}

/// One of our figures by that of a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// What it is.
    pub figure: String,
    /// The ratios of the rounds together.
    #[serde(flatten)]
    pub spread: Spread,
    /// Each round and its ratio.
    pub rounds: Vec<(u32, f64)>,
}

/// Starling's figures by those of a peer, round by round: what happened to the machine in a round happened to both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    /// The scenario's name.
    pub scenario: String,
    /// Deliveries a second that it offers.
    pub offered_per_s: f64,
    /// The peer.
    pub peer: String,
    /// Rounds that failed on either side.
    pub failed: Vec<u32>,
    /// By figure.
    pub ratios: Vec<Ratio>,
}

impl Ratios {
    /// Of one scenario: the first target's figures by those of each other one.
    #[must_use]
    pub fn of(targets: &[Vec<Report>]) -> Vec<Self> {
        let Some((ours, peers)) = targets.split_first() else { return Vec::new() };
        peers.iter().filter_map(|theirs| Self::by(ours, theirs)).collect()
    }

    fn by(ours: &[Report], theirs: &[Report]) -> Option<Self> {
        let (first, peer) = (ours.first()?, theirs.first()?.target.clone());
        let pairs = pairs(ours, theirs);
        let ratio = |(name, figure): &(&str, Figure)| {
            let ratio = |(our, their): &(&Report, &Report)| Some((our.round, figure(our)? / figure(their)?));
            let rounds: Vec<(u32, f64)> = pairs.iter().filter_map(ratio).filter(|(_, ratio)| ratio.is_finite()).collect();
            let spread = Spread::of(rounds.iter().map(|(_, ratio)| *ratio))?;
            Some(Ratio { figure: (*name).to_owned(), spread, rounds })
        };
        let (scenario, offered_per_s) = (first.scenario.name.clone(), first.offered_per_s);
        let ratios = figures(first).iter().filter_map(ratio).collect();
        Some(Self { scenario, offered_per_s, peer, failed: unpaired(ours, theirs), ratios })
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, peer, .. } = self;
        write!(f, "{scenario}: Starling by {peer}, median (lowest to highest); round by round{}", left_out(&self.failed))?;
        for Ratio { figure, spread: Spread { median, lowest, highest }, rounds } in &self.ratios {
            write!(f, "\n  {figure:<34} {median:>6.2} ({lowest:.2} to {highest:.2});")?;
            for (_, ratio) in rounds.iter().take(ROUNDS_SHOWN) {
                write!(f, " {ratio:.2}")?;
            }
        }
        Ok(())
    }
}

/// The rounds that both sides have and that count.
pub(crate) fn pairs<'a>(ours: &'a [Report], theirs: &'a [Report]) -> Vec<(&'a Report, &'a Report)> {
    let counting = |reports: &'a [Report]| reports.iter().filter(|report| report.counts());
    counting(ours)
        .filter_map(|our| counting(theirs).find(|their| their.round == our.round).map(|their| (our, their)))
        .collect()
}

/// The other rounds.
pub(crate) fn unpaired(ours: &[Report], theirs: &[Report]) -> Vec<u32> {
    let paired: Vec<u32> = pairs(ours, theirs).iter().map(|(our, _)| our.round).collect();
    let rounds: BTreeSet<u32> = ours.iter().chain(theirs).map(|report| report.round).collect();
    rounds.into_iter().filter(|round| !paired.contains(round)).collect()
}

/// Names rounds whose figures are not in a summary.
pub(crate) fn left_out(failed: &[u32]) -> String {
    if failed.is_empty() {
        return String::new();
    }
    let rounds: Vec<String> = failed.iter().take(ROUNDS_SHOWN).map(u32::to_string).collect();
    let more = if failed.len() > ROUNDS_SHOWN { " and more" } else { "" };
    format!("; without round {}{more}, FAILED", rounds.join(", "))
}

/// A figure of a round, where it has it.
type Figure = fn(&Report) -> Option<f64>;

/// The figures that a scenario is about.
fn figures(report: &Report) -> Vec<(&'static str, Figure)> {
    let p50: (&str, Figure) = ("latency p50, ms", |r| r.taken(r.latency.p50_ms));
    let p99: (&str, Figure) = ("latency p99, ms", |r| r.taken(r.latency.p99_ms));
    let mut figures: Vec<(&str, Figure)> = if report.operations.is_some() {
        vec![
            ("operations/s", |r| Some(r.operations.as_ref()?.per_s)),
            ("server CPU, us each", |r| r.operations.as_ref()?.server_us_each),
            p50,
            p99,
        ]
    } else if report.scenario.sends_per_s > 0.0 {
        vec![
            ("deliveries/s", |r| Some(r.achieved_per_s)),
            ("server CPU, us a delivery", |r| r.server_us_per_delivery),
            p50,
            p99,
            ("latency p99.9, ms", |r| r.taken(r.latency.p999_ms)),
            ("packets sent a delivery", |r| Some(r.server_packets_per_delivery)),
        ]
    } else {
        vec![("server CPU, us a connection and s", |r| r.server_us_per_connection_s)]
    };
    figures.push(("all level again after, ms", |r| Some(r.level.as_ref()?.max_ms)));
    figures.push(("memory a connection, KiB", |r| r.rss_per_connection.map(|bytes| bytes / 1_024.0)));
    figures
}
