//! Rounds of scenarios and targets, in turn, so that what the machine does meanwhile touches all alike; and the ramp to saturation.

use crate::cli::Common;
use crate::error::BenchError;
use crate::limits::{ACHIEVED_MIN, RAMP_BISECTIONS, RAMP_RATE_MAX, SATURATED_P99_MS};
use crate::report::{self, Report};
use crate::run;
use crate::scenario::{Activity, Scenario};
use crate::target::{Target, Targets};
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

/// The highest rate that a target kept up with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// The target.
    pub target: String,
    /// The scenario's name.
    pub scenario: String,
    /// Deliveries a second that were kept up with; 0 where not even the first rate was.
    pub saturation_per_s: f64,
    /// The lowest rate tried that was not; `None` where the harness's own bound ended it.
    pub failed_per_s: Option<f64>,
    /// At a rate that was too much the load process was busy: the target may be able to do more.
    pub harness_was_busy: bool,
}

impl fmt::Display for Saturation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: saturated at {:.0} deliveries/s, ", self.scenario, self.target, self.saturation_per_s)?;
        match self.failed_per_s {
            Some(rate) => write!(f, "{rate:.0} was too much")?,
            None => f.write_str("no rate failed")?,
        }
        f.write_str(if self.harness_was_busy {
            "; the load process was busy, so that it may be able to do more"
        } else {
            ""
        })
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
            if !self.common.json {
                for text in reports.iter().filter_map(|reports| report::medians(reports)) {
                    println!("{text}\n");
                }
                if let Some(text) = report::ratios(&reports) {
                    println!("{text}\n");
                }
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
        let target: &dyn Target = self.targets[target].as_ref();
        let report = Report::of(&run::round(target, scenario, &self.common.load())?, number);
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
    /// Whether this rate was kept up with: deliveries arrive, and 99 in 100 of them soon. Sends that were refused or held back show as
    /// deliveries that did not arrive.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.latency.p99_ms < SATURATED_P99_MS && self.achieved_part() >= ACHIEVED_MIN
    }
}

/// Doubles the rate until `keeps_up` says no, then bisects. Returns the highest rate kept up with, and the lowest one that was not.
fn climb(first: f64, mut keeps_up: impl FnMut(f64) -> Result<bool, BenchError>) -> Result<(f64, Option<f64>), BenchError> {
    let (mut kept, mut rate) = (0.0, first);
    while keeps_up(rate)? {
        kept = rate;
        rate *= 2.0;
        if rate > RAMP_RATE_MAX {
            return Ok((kept, None));
        }
    }
    let mut failed = rate;
    for _ in 0..RAMP_BISECTIONS {
        let middle = f64::midpoint(kept, failed);
        if keeps_up(middle)? { kept = middle } else { failed = middle }
    }
    Ok((kept, Some(failed)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_ramp_ends_near_the_rate_that_is_too_much() {
        let mut tried = Vec::new();
        let found = climb(20_000.0, |rate| {
            tried.push(rate);
            Ok(rate <= 100_000.0)
        });
        let (kept, failed) = found.unwrap();
        assert_eq!(tried[..4], [20_000.0, 40_000.0, 80_000.0, 160_000.0]);
        assert!(kept <= 100_000.0 && failed.unwrap() > 100_000.0 && failed.unwrap() - kept <= 80_000.0 / 8.0);
    }

    #[test]
    fn a_ramp_ends_at_the_harness_own_bound_or_below_the_first_rate() {
        let (kept, failed) = climb(20_000.0, |_| Ok(true)).unwrap();
        assert!(kept <= RAMP_RATE_MAX && kept * 2.0 > RAMP_RATE_MAX && failed.is_none());
        let (kept, failed) = climb(20_000.0, |_| Ok(false)).unwrap();
        assert_eq!(kept, 0.0);
        assert!(failed.unwrap() < 20_000.0);
    }
}
