//! Rounds of scenarios and targets, in turn, so that what the machine does meanwhile touches all alike; and the ramp to saturation.

use crate::cli::Common;
use crate::error::BenchError;
use crate::limits::ACHIEVED_MIN;
use crate::pairs::{Compared, Comparison};
use crate::ramp::{Saturation, climb};
use crate::report::{Medians, Ratios, Report};
use crate::run;
use crate::scenario::{Activity, Scenario};
use crate::target::Targets;
use crate::target::starling::Own;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A scenario that makes no sense for a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotApplicable {
    /// The target.
    pub target: String,
    /// The scenario's name.
    pub scenario: String,
    /// Why.
    pub not_applicable: String,
}

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: not applicable, {}", self.scenario, self.target, self.not_applicable)
    }
}

/// Everything that was found, for the report in HTML.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// All rounds.
    pub reports: Vec<Report>,
    /// What makes no sense.
    pub not_applicable: Vec<NotApplicable>,
    /// What could not be had.
    pub missing: Vec<String>,
    /// Ends of ramps.
    pub saturations: Vec<Saturation>,
    /// Comparisons of two sides.
    pub compared: Vec<Compared>,
    /// Starling by each peer.
    pub ratios: Vec<Ratios>,
}

/// Runs of a command line.
pub struct Campaign<'a> {
    common: &'a Common,
    targets: Targets,
    findings: Findings,
    machine_said: bool,
    good: bool,
}

impl<'a> Campaign<'a> {
    /// For comparisons of our own servers.
    #[must_use]
    pub fn of_own(common: &'a Common) -> Self {
        Self { common, targets: Vec::new(), findings: Findings::default(), machine_said: false, good: true }
    }

    /// Finds the targets; what cannot be had is said, and the campaign has failed.
    ///
    /// # Errors
    ///
    /// As [`Common::targets`].
    pub fn new(common: &'a Common) -> Result<Self, BenchError> {
        let (targets, missing) = common.targets()?;
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        for error in &missing {
            eprintln!("starling-bench: NOT MEASURED: {error}");
        }
        let good = missing.is_empty();
        let findings = Findings { missing, ..Findings::default() };
        Ok(Self { common, targets, findings, machine_said: false, good })
    }

    /// What was found, and whether all went well.
    #[must_use]
    pub fn end(self) -> (Findings, bool) {
        (self.findings, self.good)
    }

    /// Runs all rounds of all scenarios and prints them.
    ///
    /// # Errors
    ///
    /// [`BenchError`] where no figures could be had.
    pub fn measure(&mut self, scenarios: &[Scenario]) -> Result<(), BenchError> {
        for scenario in scenarios {
            scenario.check()?;
        }
        for scenario in scenarios {
            let applicable = self.applicable(scenario)?;
            let mut reports = vec![Vec::new(); applicable.len()];
            for number in 1..=self.common.rounds {
                for (target, reports) in applicable.iter().zip(&mut reports) {
                    reports.push(self.round(*target, scenario, number)?);
                }
            }
            for medians in reports.iter().filter_map(|reports| Medians::of(reports)) {
                self.print(&medians)?;
            }
            for ratios in Ratios::of(&reports) {
                self.print(&ratios)?;
                self.findings.ratios.push(ratios);
            }
        }
        Ok(())
    }

    /// Runs both sides of each comparison in turn, in every second round in the other order, and prints the ratios.
    ///
    /// # Errors
    ///
    /// [`BenchError`] where no figures could be had.
    pub fn compare(&mut self, comparisons: &[Comparison]) -> Result<(), BenchError> {
        let common = self.common;
        if common.address.is_some() || !common.peers.is_empty() {
            return Err(BenchError::Usage("comparisons are of servers that we start, without peers".to_owned()));
        }
        for side in comparisons.iter().flat_map(|comparison| &comparison.sides) {
            side.scenario.check()?;
        }
        let own = common.own()?;
        for comparison in comparisons {
            let servers = [0, 1].map(|side| {
                let side = &comparison.sides[side];
                let mut arguments = own.arguments.clone();
                arguments.extend(side.arguments.iter().map(|argument| (*argument).to_owned()));
                Own { name: side.server.to_owned(), arguments, ..own.clone() }
            });
            let mut reports = [Vec::new(), Vec::new()];
            for number in 1..=common.rounds {
                let order = if number % 2 == 1 { [0, 1] } else { [1, 0] };
                for side in order {
                    let round = run::round(&servers[side], &comparison.sides[side].scenario, &common.load())?;
                    reports[side].push(self.reported(&round, number)?);
                }
            }
            match Compared::of(comparison, &reports[0], &reports[1]) {
                Some(compared) => {
                    self.print(&compared)?;
                    self.findings.compared.push(compared);
                }
                None => self.good = false,
            }
        }
        Ok(())
    }

    /// Indices of the targets for which `scenario` makes sense; says so of the others.
    fn applicable(&mut self, scenario: &Scenario) -> Result<Vec<usize>, BenchError> {
        let mut applicable = Vec::new();
        for (index, target) in self.targets.iter().enumerate() {
            let Some(why) = target.refuses(scenario) else {
                applicable.push(index);
                continue;
            };
            let (target, scenario) = (target.name().to_owned(), scenario.name.clone());
            let what = NotApplicable { target, scenario, not_applicable: why.to_owned() };
            self.print(&what)?;
            self.findings.not_applicable.push(what);
        }
        Ok(applicable)
    }

    fn round(&mut self, target: usize, scenario: &Scenario, number: u32) -> Result<Report, BenchError> {
        let round = run::round(self.targets[target].as_ref(), scenario, &self.common.load())?;
        self.reported(&round, number)
    }

    fn reported(&mut self, round: &run::Round, number: u32) -> Result<Report, BenchError> {
        let report = Report::of(round, number);
        // A ramp fails on purpose.
        self.good &= report.problems.is_empty();
        self.show(&report)?;
        self.findings.reports.push(report.clone());
        Ok(report)
    }

    fn show(&mut self, report: &Report) -> Result<(), BenchError> {
        if self.common.json {
            println!("{}", json(report)?);
        } else {
            if !std::mem::replace(&mut self.machine_said, true) {
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

    /// Finds the rate at which each target saturates under each scenario that talks, and prints it.
    ///
    /// # Errors
    ///
    /// [`BenchError`] where no figures could be had, or a scenario has no rate that could be raised.
    pub fn ramp(&mut self, scenarios: &[Scenario]) -> Result<(), BenchError> {
        if let Some(other) = scenarios.iter().find(|s| s.activity != Activity::Talk || s.sends_per_s <= 0.0) {
            return Err(BenchError::Usage(format!("--ramp is for A, B and big: {} has no rate to raise", other.name)));
        }
        let good = self.good;
        for scenario in scenarios {
            scenario.check()?;
            for target in self.applicable(scenario)? {
                let found = self.saturation(target, scenario)?;
                self.print(&found)?;
                self.findings.saturations.push(found);
            }
        }
        // To fail is what the last rates are for.
        self.good = good;
        Ok(())
    }

    /// Raises the rate of one scenario until one target no longer keeps up.
    fn saturation(&mut self, target: usize, scenario: &Scenario) -> Result<Saturation, BenchError> {
        let receivers = f64::from(scenario.receivers());
        let (mut number, mut harness_was_busy) = (0, false);
        let (saturation_per_s, failed_per_s) = climb(scenario.deliveries_per_s(), |rate| {
            number += 1;
            let scenario = Scenario { sends_per_s: rate / receivers, ..scenario.clone() };
            match self.round(target, &scenario, number) {
                Ok(report) => {
                    harness_was_busy |= !report.keeps_up() && report.is_harness_busy();
                    Ok(report.keeps_up())
                }
                // A server that breaks down under a rate does not keep up with it either.
                Err(BenchError::Load(why) | BenchError::Server(why) | BenchError::Peer(why)) if number > 1 => {
                    eprintln!("starling-bench: at {rate:.0} deliveries/s: {why}");
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        })?;
        let (target, scenario) = (self.targets[target].name().to_owned(), scenario.name.clone());
        Ok(Saturation { target, scenario, saturation_per_s, failed_per_s, harness_was_busy })
    }

    /// Prints a finding: as one line of JSON, or as text with an empty line after it.
    fn print(&self, found: &(impl Serialize + fmt::Display)) -> Result<(), BenchError> {
        if self.common.json {
            println!("{}", json(found)?);
        } else {
            println!("{found}\n");
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Result<String, BenchError> {
    serde_json::to_string(value).map_err(|error| BenchError::Usage(error.to_string()))
}

impl Report {
    /// Whether this rate was kept up with: of what was due, 99 in 100 came in time. Sends that were refused or held back show as
    /// deliveries that never came. Where nothing is timed, deliveries came at all.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.is_in_time() && self.achieved_part() >= ACHIEVED_MIN
    }
}
