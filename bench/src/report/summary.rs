//! What several rounds say together.

use super::Report;
use crate::limits::ROUNDS_SHOWN;
use crate::scenario::Activity;

/// The medians of several rounds of one scenario, with the lowest and the highest; nothing for fewer than two rounds.
#[must_use]
pub fn medians(reports: &[Report]) -> Option<String> {
    let first = reports.first().filter(|_| reports.len() > 1)?;
    let mut lines =
        vec![format!("{} of {}, {} rounds: median (lowest to highest)", first.scenario.name, first.target, reports.len())];
    let mut add = |what: &str, figure: &dyn Fn(&Report) -> Option<f64>| {
        if let Some((middle, low, high)) = spread(reports.iter().filter_map(figure)) {
            lines.push(format!("  {what:<34} {middle:>10.2} ({low:.2} to {high:.2})"));
        }
    };
    if first.operations.is_some() {
        let operation = |r: &Report| r.operations.clone();
        add("operations/s", &|r| Some(operation(r)?.per_s));
        add("server CPU, us each", &|r| operation(r)?.server_us_each);
        add("latency p50, ms", &|r| r.taken(r.latency.p50_ms));
        add("latency p99, ms", &|r| r.taken(r.latency.p99_ms));
    } else if first.scenario.sends_per_s > 0.0 {
        add("deliveries/s", &|r| Some(r.achieved_per_s));
        add("server CPU, us a delivery", &|r| r.server_us_per_delivery);
        add("latency p50, ms", &|r| r.taken(r.latency.p50_ms));
        add("latency p99, ms", &|r| r.taken(r.latency.p99_ms));
        add("latency p99.9, ms", &|r| r.taken(r.latency.p999_ms));
        add("packets sent a delivery", &|r| Some(r.server_packets_per_delivery));
    } else {
        add("server CPU, us a connection and s", &|r| r.server_us_per_connection_s);
    }
    add("all level again after, ms", &|r| Some(r.level.as_ref()?.max_ms));
    if let Activity::Slow { .. } = first.scenario.activity {
        add("memory grown, MiB", &|r| Some(r.rss_grown? as f64 / f64::from(1 << 20)));
    }
    add("memory a connection, KiB", &|r| r.rss_per_connection.map(|bytes| bytes / 1_024.0));
    Some(lines.join("\n"))
}

/// Starling's figures by those of each peer, round by round: what happened to the machine in a round happened to both.
#[must_use]
pub fn ratios(targets: &[Vec<Report>]) -> Option<String> {
    let (ours, peers) = targets.split_first()?;
    let first = ours.first().filter(|_| !peers.is_empty())?;
    let mut lines =
        vec![format!("{}: Starling by peer, median of rounds (lowest to highest); round by round", first.scenario.name)];
    for theirs in peers {
        let Some(peer) = theirs.first() else { continue };
        let mut add = |what: &str, figure: &dyn Fn(&Report) -> Option<f64>| {
            let pairs = ours.iter().zip(theirs).filter_map(|(our, their)| Some(figure(our)? / figure(their)?));
            let pairs: Vec<f64> = pairs.filter(|ratio| ratio.is_finite()).collect();
            if let Some((middle, low, high)) = spread(pairs.iter().copied()) {
                let rounds: Vec<String> = pairs.iter().take(ROUNDS_SHOWN).map(|ratio| format!("{ratio:.2}")).collect();
                let rounds = rounds.join(" ");
                lines.push(format!("  {:<12} {what:<28} {middle:>6.2} ({low:.2} to {high:.2}); {rounds}", peer.target));
            }
        };
        if first.operations.is_some() {
            add("operations/s", &|r| Some(r.operations.as_ref()?.per_s));
            add("server CPU each", &|r| r.operations.as_ref()?.server_us_each);
            add("latency p50", &|r| r.taken(r.latency.p50_ms));
        } else if first.scenario.sends_per_s > 0.0 {
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

/// Median, lowest and highest; nothing of nothing.
#[must_use]
pub fn spread(values: impl Iterator<Item = f64>) -> Option<(f64, f64, f64)> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    Some((median(&values), *values.first()?, *values.last()?))
}

/// The middle of sorted values; of an even number, the mean of the two in the middle.
#[must_use]
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
