//! A peer that runs: a process of ours with a folder of its own, which keeps nothing.

use super::process::Process;
use super::{Running, plans};
use crate::control::{Protocol, SessionPlan};
use crate::error::BenchError;
use crate::limits::SERVER_STOP_TIMEOUT;
use crate::scenario::Scenario;
use std::path::Path;
use tempfile::TempDir;

/// A peer that runs.
pub struct Started {
    /// Its process. Before the folder, so that it is dropped first.
    pub process: Process,
    /// What it was given: certificate, key, configuration, log.
    pub data: TempDir,
    /// What reports call it.
    pub name: &'static str,
    /// How it is spoken to.
    pub protocol: Protocol,
}

impl Running for Started {
    fn pid(&self) -> Option<u32> {
        Some(self.process.pid())
    }

    fn data(&self) -> Option<&Path> {
        Some(self.data.path())
    }

    fn populate(&self, scenario: &Scenario) -> Result<(Protocol, Vec<SessionPlan>), BenchError> {
        Ok((self.protocol.clone(), plans(scenario)))
    }

    fn stop(mut self: Box<Self>) -> Result<(), BenchError> {
        if let Some(status) = self.process.ended() {
            return Err(BenchError::Peer(format!("{} ended during the run, {status}", self.name)));
        }
        let _killed = self.process.stop(SERVER_STOP_TIMEOUT);
        Ok(())
    }
}
