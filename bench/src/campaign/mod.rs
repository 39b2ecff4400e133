//! Rounds of scenarios and targets, in turn, so that what the machine does meanwhile touches all alike; and the ramp to saturation.

mod findings;
mod ramp;

pub use findings::{Broken, Findings, Missing, NotApplicable};

use crate::capacity;
use crate::cli::Common;
use crate::error::BenchError;
use crate::pairs::{Compared, Comparison};
use crate::report::{Medians, Ratios, Report};
use crate::run;
use crate::scenario::Scenario;
use crate::target::Targets;
use crate::target::starling::Own;
use serde::Serialize;
use std::fmt;

/// Runs of a command line.
pub struct Campaign<'a> {
    common: &'a Common,
    rounds: u32,
    targets: Targets,
    findings: Findings,
    machine_said: bool,
    good: bool,
}

impl<'a> Campaign<'a> {
    /// For comparisons of our own servers.
    #[must_use]
    pub fn of_own(common: &'a Common, rounds: u32) -> Self {
        Self { common, rounds, targets: Vec::new(), findings: Findings::default(), machine_said: false, good: true }
    }

    /// For these targets, of which the first is Starling; of those that are missing it is said why, and the campaign has failed.
    ///
    /// # Errors
    ///
    /// [`BenchError::Usage`] where that cannot be printed.
    pub fn new(common: &'a Common, targets: Targets, missing: &[BenchError], rounds: u32) -> Result<Self, BenchError> {
        let mut campaign = Self { targets, good: missing.is_empty(), ..Self::of_own(common, rounds) };
        for error in missing {
            let missing = Missing { missing: error.to_string() };
            campaign.tell(&missing)?;
            campaign.findings.missing.push(missing);
        }
        Ok(campaign)
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
            self.check(scenario)?;
        }
        for scenario in scenarios {
            let applicable = self.applicable(scenario)?;
            let mut reports = vec![Vec::new(); applicable.len()];
            for number in 1..=self.rounds {
                for (target, reports) in applicable.iter().zip(&mut reports) {
                    let report = self.round(*target, scenario, number);
                    let name = self.targets[*target].name().to_owned();
                    let is_needed = *target == 0 && number == 1;
                    reports.extend(self.unless_broken(&name, is_needed, scenario, number, report)?);
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
        for side in comparisons.iter().flat_map(|comparison| &comparison.sides) {
            self.check(&side.scenario)?;
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
            for number in 1..=self.rounds {
                let order = if number % 2 == 1 { [0, 1] } else { [1, 0] };
                for side in order {
                    let (server, scenario) = (&servers[side], &comparison.sides[side].scenario);
                    let round = run::round(server, scenario, &common.load());
                    let report = round.and_then(|round| self.reported(&round, number));
                    reports[side].extend(self.unless_broken(&server.name, number == 1, scenario, number, report)?);
                }
            }
            match Compared::of(comparison, &reports[0], &reports[1]) {
                Some(compared) => {
                    self.print(&compared)?;
                    self.findings.compared.push(compared);
                }
                None => {
                    eprintln!("starling-bench: {}: no round counts, so that nothing is compared", comparison.name);
                    self.good = false;
                }
            }
        }
        Ok(())
    }

    /// Checks a scenario's bounds, and that the machine has room for it.
    fn check(&self, scenario: &Scenario) -> Result<(), BenchError> {
        scenario.check()?;
        capacity::check(scenario, self.targets.iter().any(|target| target.is_over_tcp()))
    }

    /// What came of a round. Where there are no figures, that is told, and the others go on; but for the first round of ours, without which
    /// there will hardly be anything to find.
    fn unless_broken<T>(
        &mut self,
        target: &str,
        is_needed: bool,
        scenario: &Scenario,
        round: u32,
        outcome: Result<T, BenchError>,
    ) -> Result<Option<T>, BenchError> {
        match outcome {
            Err(error) if !is_needed && !matches!(error, BenchError::Interrupted) => {
                let (target, scenario) = (target.to_owned(), scenario.name.clone());
                let broken = Broken { target, scenario, round, broken: error.to_string() };
                self.tell(&broken)?;
                self.findings.broken.push(broken);
                self.good = false;
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
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

    /// Says what went wrong: on standard error, and among the findings where those are read by a program.
    fn tell(&self, wrong: &(impl Serialize + fmt::Display)) -> Result<(), BenchError> {
        eprintln!("starling-bench: {wrong}");
        if self.common.json {
            println!("{}", json(wrong)?);
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::{Cli, What};
    use crate::target::floor::Aead;
    use clap::Parser;

    #[test]
    fn a_round_that_breaks_is_told_and_the_others_go_on() {
        let What::Run(args) = Cli::try_parse_from(["starling-bench", "run", "--json"]).unwrap().command else {
            panic!("`run` was asked for")
        };
        let target = || Box::new(Aead { cores: None });
        let mut campaign = Campaign::new(&args.common, vec![target(), target()], &[], 1).unwrap();
        let scenario = Scenario::one_room(1.0);
        let failed = || Err::<i32, _>(BenchError::Peer("it does not listen".to_owned()));
        let mut unless_broken =
            |is_needed, outcome| (campaign.unless_broken("floor-aead", is_needed, &scenario, 3, outcome), campaign.good);
        assert!(matches!(unless_broken(false, Ok(7)), (Ok(Some(7)), true)));
        assert!(
            matches!(unless_broken(false, Err(BenchError::Interrupted)), (Err(_), true)),
            "whoever ends it wants no more"
        );
        assert!(matches!(unless_broken(true, failed()), (Err(_), true)), "there is nothing to find");
        assert!(matches!(unless_broken(false, failed()), (Ok(None), false)));
        let (findings, good) = campaign.end();
        assert!(!good && findings.broken.len() == 1);
        let said = findings.broken[0].to_string();
        assert!(said.contains("A of floor-aead FAILED in round 3") && said.contains("it does not listen"), "{said}");
    }

    #[test]
    fn what_is_missing_is_told_and_is_a_failure() {
        let What::Run(args) = Cli::try_parse_from(["starling-bench", "run"]).unwrap().command else {
            panic!("`run` was asked for")
        };
        let missing = [BenchError::Peer("mosquitto is missing".to_owned())];
        let (findings, good) = Campaign::new(&args.common, Vec::new(), &missing, 1).unwrap().end();
        assert!(!good && json(&findings.missing[0]).unwrap() == "{\"missing\":\"a peer: mosquitto is missing\"}");
    }
}
