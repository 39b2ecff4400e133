//! Pages of findings that are made up here.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::campaign::{Broken, Missing, NotApplicable};
use crate::control::LoadResult;
use crate::machine::Machine;
use crate::pairs::Compared;
use crate::procfs::Usage;
use crate::ramp::{Saturated, Saturation};
use crate::report::Ratios;
use crate::run::Round;
use crate::scenario::Scenario;

fn report(target: &str, scenario: Scenario, cpu_s: f64, number: u32) -> Report {
    let deliveries = (scenario.deliveries_per_s() * 20.0) as u64;
    let mut result = LoadResult { measured_ns: 20_000_000_000, deliveries, ..LoadResult::default() };
    for n in 1..=1_000 {
        result.latency.record_ns(n * 10_000);
    }
    let round = Round {
        target: target.to_owned(),
        scenario,
        machine: Machine { cpu: "A <fast> one".into(), ..Machine::default() },
        connect_ms: Some(100),
        rss_before: Some(20 << 20),
        rss_connected: Some(24 << 20),
        server: Some(Usage { wall_s: 20.0, cpu_s, rss: 25 << 20, ..Usage::default() }),
        database: None,
        clients: Usage::default(),
        others_cpu_s: Some(0.0),
        batch: None,
        workers: 1,
        result,
    };
    Report::of(&round, number)
}

fn findings() -> Findings {
    let reports = [("starling", 2.0, 1), ("uWebSockets", 3.0, 1), ("starling", 2.4, 2), ("uWebSockets", 3.5, 2)];
    let mut reports: Vec<Report> = reports.map(|(t, s, n)| report(t, Scenario::one_room(20_000.0), s, n)).into();
    reports.push(report("starling", Scenario::one_room(40_000.0), 3.0, 1));
    reports.push(report("starling", Scenario::many_rooms(20_000.0), 9.0, 1));
    reports.push(report("starling", Scenario::idle(2_000), 0.1, 1));
    let of = |target: &str| reports[..4].iter().filter(|report| report.target == target).cloned().collect();
    let ratios = Ratios::of(&[of("starling"), of("uWebSockets")]);
    Findings {
        reports,
        not_applicable: vec![NotApplicable {
            target: "uWebSockets".into(),
            scenario: "F".into(),
            not_applicable: "it keeps nothing".into(),
        }],
        missing: vec![Missing { missing: "mosquitto is missing".into() }],
        broken: vec![Broken { target: "NATS".into(), scenario: "A".into(), round: 2, broken: "it does not listen".into() }],
        saturated: vec![Saturated {
            target: "uWebSockets".into(),
            scenario: "A".into(),
            rounds: 3,
            saturations_per_s: Spread { median: 320_000.0, lowest: 300_000.0, highest: 340_000.0 },
            ratios: Some(Spread { median: 2.0, lowest: 1.9, highest: 2.1 }),
        }],
        saturations: vec![Saturation {
            target: "starling".into(),
            scenario: "A".into(),
            round: 2,
            saturation_per_s: 640_000.0,
            failed_per_s: None,
            harness_was_busy: true,
        }],
        ratios,
        compared: vec![Compared {
            compared: "B with <idle> connections by B".into(),
            figure: "server CPU, us a delivery".into(),
            rounds: vec![(1, 22.0, 20.0)],
            failed: Vec::new(),
            ratio: Spread { median: 1.1, lowest: 1.1, highest: 1.1 },
            goal: 1.05,
            is_reached: false,
        }],
    }
}

#[test]
fn rounds_of_one_scenario_rate_and_target_are_one_row() {
    let findings = findings();
    let groups = groups(&findings.reports);
    assert_eq!(groups.len(), 5);
    assert_eq!((groups[0].rounds.len(), groups[1].target, groups[1].number), (2, "uWebSockets", 1));
    let Spread { median, lowest, highest } = groups[0].median(|round| round.server_us_per_delivery).unwrap();
    assert!((median - 5.5).abs() < 1e-9 && (lowest - 5.0).abs() < 1e-9 && (highest - 6.0).abs() < 1e-9);
}

#[test]
fn the_page_has_everything_and_fetches_nothing() {
    let page = page(&findings());
    for shown in [
        "A at 20k deliveries/s",
        "<h2>Latency</h2>",
        "<h2>Server CPU a delivery</h2>",
        "<h2>Memory a connection</h2>",
        "<h2>Saturation</h2>",
        "640k",
        "none tried",
        "640k or more",
        "F of uWebSockets: not applicable, it keeps nothing",
        "NOT MEASURED: mosquitto is missing",
        "A of NATS FAILED in round 2, without figures: it does not listen",
        "A of uWebSockets: saturated at 320000 (300000 to 340000) deliveries/s in 3 ramps; Starling by it 2.00 (1.90 to 2.10)",
        "<h2>Starling by its peers</h2>",
        "1: 0.67, 2: 0.69",
        "<h2>Growth of memory while measured</h2>",
        "<h2>Growth: what one thing more costs</h2><h3>B with &lt;idle&gt; connections by B</h3>",
        "server CPU, us a delivery, ratio",
        "memory grown, MiB",
        "A &lt;fast&gt; one",
        "5.50 <small>(5.00 to 6.00)</small>",
    ] {
        assert!(page.contains(shown), "{shown} is not in\n{page}");
    }
    for fetched in ["http:", "https:", "src=", "href=", "@import", "url(", "<script"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(page.matches("<polyline").count() >= 4);
}

#[test]
fn rounds_that_failed_are_in_no_figure() {
    let mut findings = findings();
    findings.reports[2].problems.push("only 10 % came".into());
    let page = page(&findings);
    assert!(page.contains("<td>2 <span class=\"bad\">1 failed</span></td>"), "{page}");
    let groups = groups(&findings.reports);
    let Spread { lowest, highest, .. } = groups[0].median(|round| round.server_us_per_delivery).unwrap();
    assert!((lowest - highest).abs() < 1e-9 && (lowest - 5.0).abs() < 1e-9);
}

#[test]
fn a_page_of_nothing_is_a_page() {
    let page = page(&Findings::default());
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n") && !page.contains("<svg"));
}
