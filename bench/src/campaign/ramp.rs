//! The ramp: rounds of all targets in turn, each raised until it no longer keeps up.

use super::Campaign;
use crate::error::BenchError;
use crate::limits::{ACHIEVED_MIN, RAMP_MEMBERS_MAX};
use crate::ramp::{Saturated, Saturation, climb};
use crate::report::Report;
use crate::scenario::{Activity, Scenario};

impl Campaign<'_> {
    /// Finds the rate at which each target saturates under each scenario that talks, and prints it.
    ///
    /// # Errors
    ///
    /// [`BenchError`] where no figures could be had, or a scenario has no rate that could be raised.
    pub fn ramp(&mut self, scenarios: &[Scenario]) -> Result<(), BenchError> {
        if let Some(other) = scenarios.iter().find(|s| s.activity != Activity::Talk || s.sends_per_s <= 0.0) {
            return Err(BenchError::Usage(format!("--ramp is for A and B: {} has no rate to raise", other.name)));
        }
        if let Some(large) = scenarios.iter().find(|scenario| scenario.members > RAMP_MEMBERS_MAX) {
            let why = "is handed out over more time than a delivery may take there, at any rate";
            return Err(BenchError::Usage(format!(
                "--ramp is for A and B: what is said in a room of {} {why}",
                large.members
            )));
        }
        for scenario in scenarios {
            self.check(scenario)?;
        }
        for scenario in scenarios {
            let applicable = self.applicable(scenario)?;
            let mut found = Vec::new();
            for round in 1..=self.rounds {
                for target in &applicable {
                    found.extend(self.climbed(*target, scenario, round)?);
                }
            }
            if found.len() > 1 {
                for saturated in Saturated::of(&found) {
                    self.print(&saturated)?;
                    self.findings.saturated.push(saturated);
                }
            }
            self.findings.saturations.extend(found);
        }
        Ok(())
    }

    /// One ramp of one target; nothing where that is a peer which could not even be run.
    fn climbed(&mut self, target: usize, scenario: &Scenario, round: u32) -> Result<Option<Saturation>, BenchError> {
        let good = self.good;
        let found = self.saturation(target, scenario, round);
        // To fail is what the last rates are for.
        self.good = good;
        let name = self.targets[target].name().to_owned();
        let found = self.unless_broken(&name, target == 0, scenario, round, found)?;
        if let Some(found) = &found {
            self.print(found)?;
        }
        Ok(found)
    }

    /// Raises the rate of one scenario until one target no longer keeps up.
    fn saturation(&mut self, target: usize, scenario: &Scenario, round: u32) -> Result<Saturation, BenchError> {
        let receivers = f64::from(scenario.receivers());
        let (mut number, mut harness_was_busy) = (0, false);
        let (saturation_per_s, failed_per_s) = climb(scenario.deliveries_per_s(), |rate| {
            number += 1;
            let scenario = Scenario { sends_per_s: rate / receivers, ..scenario.clone() };
            match self.round(target, &scenario, round) {
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
        Ok(Saturation { target, scenario, round, saturation_per_s, failed_per_s, harness_was_busy })
    }
}

impl Report {
    /// Whether this rate was kept up with: of what was due, 99 in 100 came in time. Sends that were refused or held back show as
    /// deliveries that never came. Where nothing is timed, deliveries came at all.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.is_in_time() && self.achieved_part() >= ACHIEVED_MIN
    }
}
