//! The ramp to saturation: which rates are tried, and what was found.

use crate::error::BenchError;
use crate::limits::{RAMP_BISECTIONS, RAMP_RATE_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;

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
}
