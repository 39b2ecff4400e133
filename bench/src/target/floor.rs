//! The floor without a server ([`crate::floor::aead`]): there is nothing to start, the load process is what is measured.

use super::{Running, Target, plans};
use crate::control::{Protocol, SessionPlan};
use crate::error::BenchError;
use crate::scenario::{Activity, Scenario};
use std::path::Path;

/// The floor.
#[derive(Debug, Clone)]
pub struct Aead {
    /// Cores to pin it to.
    pub cores: Option<String>,
}

impl Target for Aead {
    fn name(&self) -> &str {
        "floor-aead"
    }

    fn refuses(&self, scenario: &Scenario) -> Option<&'static str> {
        let delivers = scenario.activity == Activity::Talk && scenario.sends_per_s > 0.0;
        (!delivers).then_some("it has no connections, and only delivers")
    }

    fn start(&self) -> Result<Box<dyn Running>, BenchError> {
        Ok(Box::new(self.clone()))
    }
}

impl Running for Aead {
    fn pid(&self) -> Option<u32> {
        None
    }

    fn data(&self) -> Option<&Path> {
        None
    }

    fn populate(&self, scenario: &Scenario) -> Result<(Protocol, Vec<SessionPlan>), BenchError> {
        Ok((Protocol::Aead { cores: self.cores.clone() }, plans(scenario)))
    }

    fn stop(self: Box<Self>) -> Result<(), BenchError> {
        Ok(())
    }
}
