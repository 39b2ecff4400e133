//! The ramp to saturation: which rates are tried, and what was found.

use crate::error::BenchError;
use crate::limits::{RAMP_BISECTIONS, RAMP_RATE_MAX};
use crate::report::Spread;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The highest rate that a target kept up with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// The target.
    pub target: String,
    /// The scenario's name.
    pub scenario: String,
    /// Which ramp, from 1.
    pub round: u32,
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

/// The ramps of one scenario and target together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturated {
    /// The target.
    pub target: String,
    /// The scenario's name.
    pub scenario: String,
    /// How many ramps.
    pub rounds: usize,
    /// Deliveries a second that were kept up with.
    pub saturations_per_s: Spread,
    /// What the first target kept up with by that, ramp by ramp; of another one.
    pub ratios: Option<Spread>,
}

impl Saturated {
    /// Of the ramps of one scenario: one for each target, in their order.
    #[must_use]
    pub fn of(found: &[Saturation]) -> Vec<Self> {
        let mut targets: Vec<&str> = Vec::new();
        for found in found {
            if !targets.contains(&found.target.as_str()) {
                targets.push(&found.target);
            }
        }
        let of = |target: &&str| found.iter().filter(move |found| found.target == *target).collect::<Vec<_>>();
        let ours = targets.first().map(of).unwrap_or_default();
        let saturated = |(number, target): (usize, &&str)| {
            let theirs = of(target);
            let ratio = |their: &&Saturation| {
                let our = ours.iter().find(|our| our.round == their.round)?;
                Some(our.saturation_per_s / their.saturation_per_s).filter(|ratio| ratio.is_finite())
            };
            Some(Self {
                target: (*target).to_owned(),
                scenario: theirs.first()?.scenario.clone(),
                rounds: theirs.len(),
                saturations_per_s: Spread::of(theirs.iter().map(|found| found.saturation_per_s))?,
                ratios: if number > 0 { Spread::of(theirs.iter().filter_map(ratio)) } else { None },
            })
        };
        targets.iter().enumerate().filter_map(saturated).collect()
    }
}

impl fmt::Display for Saturated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, lowest, highest } = self.saturations_per_s;
        let (scenario, target, rounds) = (&self.scenario, &self.target, self.rounds);
        write!(
            f,
            "{scenario} of {target}: saturated at {median:.0} ({lowest:.0} to {highest:.0}) deliveries/s in {rounds} ramps"
        )?;
        if let Some(Spread { median, lowest, highest }) = self.ratios {
            write!(f, "; Starling by it {median:.2} ({lowest:.2} to {highest:.2})")?;
        }
        Ok(())
    }
}

/// Doubles the rate until `keeps_up` says no, then bisects. Returns the highest rate kept up with, and the lowest one that was not.
///
/// # Errors
///
/// The first of `keeps_up`.
pub fn climb(
    first: f64,
    mut keeps_up: impl FnMut(f64) -> Result<bool, BenchError>,
) -> Result<(f64, Option<f64>), BenchError> {
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

    #[test]
    fn ramps_are_summed_up_by_target_and_held_against_the_first() {
        let found = |target: &str, round, saturation_per_s| Saturation {
            target: target.to_owned(),
            scenario: "A".to_owned(),
            round,
            saturation_per_s,
            failed_per_s: None,
            harness_was_busy: false,
        };
        let (a, b) = ("starling", "peer");
        // The peer's third ramp could not be run, and its second one kept up with nothing.
        let all = [found(a, 1, 40e3), found(b, 1, 20e3), found(a, 2, 60e3), found(b, 2, 0.0), found(a, 3, 50e3)];
        let saturated = Saturated::of(&all);
        assert_eq!(saturated.len(), 2);
        assert_eq!((saturated[0].rounds, saturated[0].saturations_per_s.median, saturated[0].ratios), (3, 50e3, None));
        let ratio = saturated[1].ratios.unwrap();
        assert_eq!((saturated[1].rounds, ratio.lowest, ratio.highest), (2, 2.0, 2.0));
        assert!(saturated[1].to_string().contains("10000 (0 to 20000) deliveries/s in 2 ramps; Starling by it 2.00"));
    }
}
