//! Command lines and what they ask for.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::scenario::Activity;

fn parsed(what: &str, arguments: &str) -> Result<What, clap::Error> {
    let words = ["starling-bench", what].into_iter().chain(arguments.split_ascii_whitespace());
    Ok(Cli::try_parse_from(words)?.command)
}

fn run(arguments: &str) -> Result<RunArgs, clap::Error> {
    match parsed("run", arguments)? {
        What::Run(run) => Ok(run),
        _ => unreachable!("`run` was asked for"),
    }
}

#[test]
fn the_command_line_is_consistent() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn defaults_are_all_scenarios_at_20000() {
    let scenarios = run("").unwrap().scenarios();
    let names: Vec<&str> = scenarios.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["A", "B", "C"]);
    assert_eq!(scenarios[1].deliveries_per_s(), 20_000.0);
    assert_eq!((scenarios[0].measure_s, scenarios[0].warmup_s, scenarios[0].body_bytes), (20.0, 5.0, 128));
}

#[test]
fn several_scenarios_and_rates_are_all_combinations() {
    let scenarios = run("--scenario A,c,big --rate 5000,40000").unwrap().scenarios();
    let found: Vec<(&str, f64)> = scenarios.iter().map(|s| (s.name.as_str(), s.deliveries_per_s())).collect();
    assert_eq!(found, [("A", 5_000.0), ("A", 40_000.0), ("C", 0.0), ("big", 5_000.0), ("big", 40_000.0)]);
    assert_eq!(run("--scenario every").unwrap().scenarios().len(), 9);
}

#[test]
fn joins_are_without_tickets_unless_they_are_wanted() {
    let activity = |arguments| run(arguments).unwrap().scenarios()[0].activity;
    assert_eq!(activity("--scenario D"), Activity::Join { resumes: false });
    assert_eq!(activity("--scenario D --resume"), Activity::Join { resumes: true });
}

fn compare(arguments: &str) -> Result<CompareArgs, clap::Error> {
    match parsed("compare", arguments)? {
        What::Compare(compare) => Ok(compare),
        _ => unreachable!("`compare` was asked for"),
    }
}

#[test]
fn idle_connections_are_measured_for_whole_keep_alives() {
    let seconds = |arguments: &str| -> Vec<f64> {
        compare(arguments)
            .unwrap()
            .comparisons()
            .iter()
            .flat_map(|c| c.sides.iter().map(|side| side.scenario.measure_s))
            .collect()
    };
    assert_eq!(seconds("--pair idle,slow --seconds 6"), [20.0, 20.0, 6.0, 6.0]);
    assert_eq!(seconds("--pair idle --seconds 40"), [40.0, 40.0]);
    assert!(compare("--pair idle --seconds 6").unwrap().note().unwrap().contains("20 s instead of 6 s"));
    assert_eq!(compare("--pair idle").unwrap().note(), None);
}

#[test]
fn arguments_after_dashes_are_the_servers() {
    let args = run("--scenario b --rate 1000 --rounds 3 --pin-server 0 -- --flush-us-per-reader 0").unwrap();
    assert_eq!(args.scenarios().len(), 1);
    assert_eq!(args.scenarios()[0].sends_per_s, 100.0);
    assert_eq!((args.targets.rounds(&args.common), args.common.server_arguments.len()), (3, 2));
}

#[test]
fn another_server_needs_all_of_its_addresses() {
    assert!(run("--address 127.0.0.1:4433").is_err());
    assert!(run("--address localhost:4433 --api http://localhost:8080 --ca cert.pem").is_ok());
    assert!(run("--address localhost --api http://localhost:8080 --ca cert.pem").is_err());
    assert!(run("--address 127.0.0.1:4433 --api http://127.0.0.1:8080 --ca cert.pem").is_ok());
    assert!(run("--server-pid 4").is_err());
    assert!(run("--rounds 0").is_err());
}

#[test]
fn several_rounds_are_run_where_things_are_held_against_each_other() {
    let rounds = |arguments: &str| {
        let args = run(arguments).unwrap();
        args.targets.rounds(&args.common)
    };
    assert_eq!((rounds(""), rounds("--peers uws"), rounds("--peers uws --rounds 2")), (1, 5, 2));
    assert_eq!((compare("").unwrap().rounds(), compare("--rounds 7").unwrap().rounds()), (5, 7));
}

#[test]
fn a_ramp_is_of_scenarios_that_have_a_rate() {
    let names = |arguments| run(arguments).unwrap().scenarios().into_iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names("--ramp"), ["A", "B"]);
    assert_eq!(names("--ramp --scenario big"), ["big"]);
}

#[test]
fn comparisons_are_of_servers_that_we_start_without_peers() {
    assert!(compare("--store mongo --seconds 6 --pin-server 0 --json --html page.html").is_ok());
    for other in ["--peers uws", "--address 127.0.0.1:1", "--server-pid 4", "--insert-batch 2", "--server-name x", "--ramp"]
    {
        assert!(compare(other).is_err(), "{other}");
    }
    assert!(run("--address 127.0.0.1:4433 --api http://127.0.0.1:8080 --ca cert.pem --store mongo").is_err());
}
