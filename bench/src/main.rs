//! The `starling-bench` binary.

use clap::Parser;
use starling_bench::cli::{Cli, Common, What};
use starling_bench::error::BenchError;
use starling_bench::report::{self, Report};
use starling_bench::scenario::Scenario;
use starling_bench::{load, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        What::Run(args) => measure(&args.scenarios(), &args.common),
        What::Latency(args) => measure(&[args.scenario()], &args.common),
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

/// Runs all rounds of all scenarios and prints them; `false` if one failed.
fn measure(scenarios: &[Scenario], common: &Common) -> Result<bool, BenchError> {
    for scenario in scenarios {
        scenario.check()?;
    }
    let target = common.target()?;
    let mut good = true;
    let mut machine_said = false;
    for scenario in scenarios {
        let mut reports = Vec::new();
        for number in 1..=common.rounds {
            let round = run::round(target.as_ref(), scenario, &common.load())?;
            let report = Report::of(&round, number);
            good &= report.problems.is_empty();
            if common.json {
                println!("{}", serde_json::to_string(&report).map_err(|error| BenchError::Usage(error.to_string()))?);
            } else {
                if !machine_said {
                    println!("{}\n", report.machine);
                    machine_said = true;
                }
                println!("{report}");
            }
            if !report.problems.is_empty() {
                eprintln!("starling-bench: {} FAILED in round {number}: {}", scenario.name, report.problems.join("; "));
            }
            reports.push(report);
        }
        if let Some(text) = report::medians(&reports).filter(|_| !common.json) {
            println!("{text}\n");
        }
    }
    Ok(good)
}
