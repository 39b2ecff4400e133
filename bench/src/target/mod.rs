//! The servers that can be measured. A target starts (or finds) a server, brings users and rooms into it, and says how the load process
//! is to speak to it.

pub mod peer;
pub mod process;
pub mod rest;
pub mod starling;

use crate::control::{Protocol, SessionPlan};
use crate::error::BenchError;
use crate::scenario::Scenario;
use std::path::Path;

/// A sort of server.
pub trait Target {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Starts a fresh one, or takes the one that runs.
    ///
    /// # Errors
    ///
    /// [`BenchError`] where there is none afterwards.
    fn start(&self) -> Result<Box<dyn Running>, BenchError>;
}

/// A server that runs. Dropping it stops it, unless it was there before.
pub trait Running {
    /// Its process, where that is on this machine and known; without it CPU time and memory are not measured.
    fn pid(&self) -> Option<u32>;

    /// Where its data is, if it is on this machine and known.
    fn data(&self) -> Option<&Path>;

    /// Brings the users and rooms of `scenario` into it: one plan for each session, in the order of the scenario.
    ///
    /// # Errors
    ///
    /// [`BenchError`] where the server refuses.
    fn populate(&self, scenario: &Scenario) -> Result<(Protocol, Vec<SessionPlan>), BenchError>;

    /// Checks that it still runs, and stops it.
    ///
    /// # Errors
    ///
    /// [`BenchError::Server`] where it had ended by itself, or did not end when told to.
    fn stop(self: Box<Self>) -> Result<(), BenchError>;
}
