//! The `starling-bench` binary.

use clap::Parser;
use starling_bench::campaign::Campaign;
use starling_bench::cli::{Cli, Common, CompareArgs, TargetArgs, What};
use starling_bench::error::BenchError;
use starling_bench::interrupt::{self, INTERRUPTED};
use starling_bench::{capacity, floor, html, load};
use std::process::ExitCode;

/// That of the server: the floors are this program, and are held against it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    capacity::raise_descriptors();
    let outcome = match Cli::parse().command {
        What::Run(args) if args.ramp => campaign(&args.common, &args.targets, |campaign| campaign.ramp(&args.scenarios())),
        What::Run(args) => campaign(&args.common, &args.targets, |campaign| campaign.measure(&args.scenarios())),
        What::Compare(args) => compare(&args),
        What::Latency(args) => campaign(&args.common, &args.targets, |campaign| campaign.measure(&[args.scenario()])),
        What::FloorQuic { cert, key } => floor::quic::serve(&cert, &key).map(|()| true),
        What::Load => load::run(&mut std::io::stdin().lock(), &mut std::io::stdout().lock()).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("starling-bench: {error}");
            ExitCode::from(if matches!(error, BenchError::Interrupted) { INTERRUPTED } else { 2 })
        }
    }
}

/// Runs everything; `false` if a round failed, or a peer could not be had.
fn campaign(
    common: &Common,
    targets: &TargetArgs,
    run: impl FnOnce(&mut Campaign<'_>) -> Result<(), BenchError>,
) -> Result<bool, BenchError> {
    begin(common)?;
    let (found, missing) = targets.targets(common)?;
    let mut campaign = Campaign::new(common, found, &missing, targets.rounds(common))?;
    let ran = run(&mut campaign);
    end(campaign, common, ran)
}

/// Compares; `false` if a round failed. A goal that is not reached is a finding, no failure.
fn compare(args: &CompareArgs) -> Result<bool, BenchError> {
    begin(&args.common)?;
    if let Some(note) = args.note() {
        eprintln!("starling-bench: {note}");
    }
    let mut campaign = Campaign::of_own(&args.common, args.rounds());
    let ran = campaign.compare(&args.comparisons());
    end(campaign, &args.common, ran)
}

/// What could fail at the end of a long run fails before it.
fn begin(common: &Common) -> Result<(), BenchError> {
    if let Some(path) = &common.html {
        std::fs::write(path, "").map_err(BenchError::io(path.display().to_string()))?;
    }
    interrupt::listen()
}

/// Writes the page, if one is wanted. What was found before an error is worth one too.
fn end(campaign: Campaign<'_>, common: &Common, ran: Result<(), BenchError>) -> Result<bool, BenchError> {
    let (findings, good) = campaign.end();
    if let Some(path) = &common.html {
        match std::fs::write(path, html::page(&findings)) {
            Ok(()) => eprintln!("starling-bench: the report is in {}", path.display()),
            Err(error) => {
                ran?;
                return Err(BenchError::io(path.display().to_string())(error));
            }
        }
    }
    ran.map(|()| good)
}
