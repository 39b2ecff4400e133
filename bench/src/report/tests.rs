//! Reports of rounds that are made up here.

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
        batch: None,
        workers: 1,
        rss_before: Some(20 << 20),
        rss_connected: Some(24 << 20),
        server: Some(Usage { wall_s: 20.0, cpu_s: 2.0, threads, rss: 25 << 20, rss_peak: 26 << 20 }),
        database: None,
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
    let mut slow = round(400_000);
    slow.clients.cpu_s = 19.0;
    assert!(Report::of(&slow, 1).to_string().contains("the load process used 95 % of a core with 1 threads"));
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
fn operations_are_what_joins_and_closed_loops_count() {
    let mut joins = round(0);
    joins.scenario = Scenario::joins(false);
    joins.result.done = 8_000;
    let report = Report::of(&joins, 1);
    let operations = report.operations.as_ref().unwrap();
    assert_eq!((operations.per_s, operations.server_us_each), (400.0, Some(250.0)));
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.to_string().contains("joins/s        400"), "{report}");
    joins.result.done = 0;
    assert_eq!(Report::of(&joins, 1).problems.len(), 1);
}

#[test]
fn a_storm_is_over_when_all_are_level() {
    let mut storm = round(20_000);
    storm.scenario = Scenario { sends_per_s: 100.0, ..Scenario::storm(0.0) };
    for n in 0..1_000 {
        storm.result.level.record_ns(n * 1_000_000);
    }
    let report = Report::of(&storm, 1);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.to_string().contains("all level again"), "{report}");
    storm.result.level = Latencies::default();
    assert!(Report::of(&storm, 1).problems[0].contains("only 0 of 1000"));
}

#[test]
fn what_goes_on_beside_is_shown() {
    let mut day = round(100_000);
    day.scenario = Scenario::mixed_day(20_000.0);
    let mut history = Aside { count: 40, ..Aside::default() };
    history.latency.record_ns(3_000_000);
    day.result.asides.insert("history".into(), history);
    day.result.asides.insert("typing".into(), Aside { count: 100, ..Aside::default() });
    let text = Report::of(&day, 1).to_string();
    assert!(text.contains("history, 2.0/s") && text.contains("typing, 5.0/s"), "{text}");
}

/// Rounds with so many deliveries each; fewer than 380,000 are too few.
fn rounds(target: &str, deliveries: &[u64]) -> Vec<Report> {
    let report =
        |(number, deliveries): (u32, &u64)| Report::of(&Round { target: target.to_owned(), ..round(*deliveries) }, number);
    (1..).zip(deliveries).map(report).collect()
}

#[test]
fn rounds_are_summed_up_by_their_medians() {
    let reports = rounds("starling", &[400_000, 390_000, 398_000]);
    assert_eq!(Medians::of(&reports[..1]), None);
    let text = Medians::of(&reports).unwrap().to_string();
    assert!(text.contains("3 rounds") && text.contains("19900.00 (19500.00 to 20000.00)"), "{text}");
    assert_eq!(Spread::of([1.0, 2.0].into_iter()).unwrap().median, 1.5);
    assert_eq!(Spread::of(std::iter::empty()), None);
}

#[test]
fn rounds_that_failed_are_named_and_left_out() {
    let reports = rounds("starling", &[400_000, 100_000, 390_000, 398_000]);
    let medians = Medians::of(&reports).unwrap();
    assert_eq!((medians.rounds, &medians.failed[..]), (3, &[2][..]));
    let text = medians.to_string();
    assert!(text.contains("19900.00 (19500.00 to 20000.00)") && text.contains("without round 2, FAILED"), "{text}");
    let of_nothing = Medians::of(&rounds("starling", &[1, 2])).unwrap();
    assert!(of_nothing.rounds == 0 && of_nothing.medians.is_empty(), "{of_nothing}");
}

#[test]
fn ratios_are_of_rounds_that_both_sides_have() {
    let ours = rounds("starling", &[400_000, 100_000, 400_000, 400_000]);
    let mut theirs = rounds("peer", &[380_000, 380_000, 200_000, 384_000]);
    let ratios = Ratios::of(&[ours.clone(), theirs.clone()]);
    assert_eq!((ratios.len(), &ratios[0].failed[..], ratios[0].peer.as_str()), (1, &[2, 3][..], "peer"));
    let deliveries = ratios[0].ratios.iter().find(|ratio| ratio.figure == "deliveries/s").unwrap();
    assert_eq!(deliveries.rounds.iter().map(|(round, _)| *round).collect::<Vec<_>>(), [1, 4]);
    assert!((deliveries.spread.highest - 400.0 / 380.0).abs() < 1e-9, "{deliveries:?}");
    // A round that could not even be run is one that failed.
    theirs.remove(0);
    assert_eq!(Ratios::of(&[ours.clone(), theirs])[0].failed, [1, 2, 3]);
    assert!(Ratios::of(&[ours]).is_empty());
    let line = serde_json::to_string(&ratios[0]).unwrap();
    assert!(line.contains("\"failed\":[2,3]") && line.contains("\"rounds\":[[1,1.05"), "{line}");
}

#[test]
fn comparisons_are_of_rounds_that_both_sides_have() {
    let load = crate::pairs::Load { deliveries_per_s: 20_000.0, idle_connections: 100, beside_per_s: 1.0 };
    let comparison = crate::pairs::Pair::Durability.comparison(&load);
    let (with, without) = (rounds("durable", &[400_000, 390_000, 1]), rounds("no sync", &[400_000, 2, 390_000]));
    let compared = crate::pairs::Compared::of(&comparison, &with, &without).unwrap();
    assert_eq!((compared.rounds.len(), compared.rounds[0].0, &compared.failed[..]), (1, 1, &[2, 3][..]));
    assert!(compared.to_string().contains("without round 2, 3, FAILED"), "{compared}");
    assert!(crate::pairs::Compared::of(&comparison, &with[2..], &without[2..]).is_none());
}

#[test]
fn what_never_came_is_late() {
    let of = |late: u64, in_time: u64| {
        let mut rounds = round(400_000);
        rounds.result.latency = Latencies::default();
        (0..late).for_each(|_| rounds.result.latency.record_ns(150_000_000));
        (0..in_time).for_each(|_| rounds.result.latency.record_ns(5_000_000));
        rounds.result.due = 1_000;
        Report::of(&rounds, 1)
    };
    let report = of(4, 990);
    assert_eq!((report.due, report.late, report.missing), (1_000, 4, 6));
    assert!(report.keeps_up() && report.to_string().contains("4 took over 100 ms, 6 never came (1.00 %)"), "{report}");
    assert!(!of(11, 989).keeps_up() && !of(0, 989).keeps_up() && of(0, 990).keeps_up());
    assert!(!Report::of(&round(100_000), 1).keeps_up());
}

#[test]
fn silent_connections_are_measured_for_whole_keep_alives() {
    let warned = |seconds: f64| {
        let idle = Round { scenario: Scenario::idle(2_000).timed(1.0, seconds), ..round(0) };
        Report::of(&idle, 1).warnings.iter().any(|warning| warning.contains("once in 20 s"))
    };
    assert!(warned(6.0) && warned(30.0) && !warned(20.0) && !warned(40.0));
}
