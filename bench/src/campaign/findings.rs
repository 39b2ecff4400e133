//! What a campaign finds beside the figures of its rounds.

use crate::pairs::Compared;
use crate::ramp::{Saturated, Saturation};
use crate::report::{Ratios, Report};
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

/// A peer that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Which one and why, with the command that brings it.
    pub missing: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NOT MEASURED: {}", self.missing)
    }
}

/// A round that gave no figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The target.
    pub target: String,
    /// The scenario's name.
    pub scenario: String,
    /// Which round, from 1.
    pub round: u32,
    /// Why.
    pub broken: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} FAILED in round {}, without figures: {}", self.scenario, self.target, self.round, self.broken)
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
    pub missing: Vec<Missing>,
    /// Rounds without figures.
    pub broken: Vec<Broken>,
    /// Ends of ramps.
    pub saturations: Vec<Saturation>,
    /// Ends of several ramps together.
    pub saturated: Vec<Saturated>,
    /// Comparisons of two sides.
    pub compared: Vec<Compared>,
    /// Starling by each peer.
    pub ratios: Vec<Ratios>,
}
