//! The `starling-bench` binary.

use clap::Parser;
use starling_bench::cli::{Cli, Common, What};
use starling_bench::error::BenchError;
use starling_bench::report::{self, Report};
use starling_bench::scenario::Scenario;
use starling_bench::{floor, load, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        What::Run(args) => measure(&args.scenarios(), &args.common),
        What::Latency(args) => measure(&[args.scenario()], &args.common),
        What::FloorQuic { cert, key } => floor::quic::serve(&cert, &key).map(|()| true),
        What::Load => load::run(&mut std::io::stdin().lock(), &mut std::io::stdout().lock()).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("starling-bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs all rounds of all scenarios and prints them; `false` if one failed, or a peer could not be had.
fn measure(scenarios: &[Scenario], common: &Common) -> Result<bool, BenchError> {
    for scenario in scenarios {
        scenario.check()?;
    }
    let (targets, missing) = common.targets()?;
    for error in &missing {
        eprintln!("starling-bench: NOT MEASURED: {error}");
    }
    let mut good = missing.is_empty();
    let mut machine_said = false;
    for scenario in scenarios {
        let mut reports = vec![Vec::new(); targets.len()];
        for number in 1..=common.rounds {
            // In turn, so that what the machine does meanwhile touches all alike.
            for (target, reports) in targets.iter().zip(&mut reports) {
                let report = Report::of(&run::round(target.as_ref(), scenario, &common.load())?, number);
                good &= report.problems.is_empty();
                show(&report, common.json, &mut machine_said)?;
                reports.push(report);
            }
        }
        if !common.json {
            for text in reports.iter().filter_map(|reports| report::medians(reports)) {
                println!("{text}\n");
            }
            if let Some(text) = report::ratios(&reports) {
                println!("{text}\n");
            }
        }
    }
    Ok(good)
}

fn show(report: &Report, json: bool, machine_said: &mut bool) -> Result<(), BenchError> {
    if json {
        println!("{}", serde_json::to_string(report).map_err(|error| BenchError::Usage(error.to_string()))?);
    } else {
        if !std::mem::replace(machine_said, true) {
            println!("{}\n", report.machine);
        }
        println!("{report}");
    }
    if !report.problems.is_empty() {
        let (name, round, target) = (&report.scenario.name, report.round, &report.target);
        eprintln!("starling-bench: {name} of {target} FAILED in round {round}: {}", report.problems.join("; "));
    }
    Ok(())
}
