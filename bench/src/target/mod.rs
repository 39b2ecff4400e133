//! The servers that can be measured. A target starts (or finds) a server, brings users and rooms into it, and says how the load process
//! is to speak to it.

pub mod broker;
pub mod certificate;
pub mod floor;
pub mod mongo;
pub mod peer;
pub mod process;
pub mod rest;
pub mod starling;
pub mod started;

use crate::control::{Protocol, SessionPlan};
use crate::error::BenchError;
use crate::scenario::{Activity, Scenario};
use clap::ValueEnum;
use std::path::Path;
use uuid::Uuid;

/// Other servers that are run beside Starling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// uWebSockets in Bun: WebSocket over TLS, nothing stored.
    Uws,
    /// socket.io in Node: WebSocket over TLS, nothing stored.
    Socketio,
    /// nats-server: plain PUB over TLS, nothing stored, nothing acknowledged.
    Nats,
    /// mosquitto: MQTT 3.1.1 over TLS, QoS 0.
    Mosquitto,
    /// Bare quinn: a message is written to each member's stream, no world, no store.
    FloorQuic,
    /// One AES-128-GCM seal and one sendmsg a delivery, no clients.
    FloorAead,
}

impl Kind {
    /// The target, whose programs are in `folder` or are brought there where that is possible.
    ///
    /// # Errors
    ///
    /// [`BenchError::Peer`] where it cannot be had.
    pub fn target(self, folder: &Path, cores: Option<String>) -> Result<Box<dyn Target>, BenchError> {
        Ok(match self {
            Self::Uws => Box::new(peer::Peer::new(peer::Kind::Uws, folder, cores)?),
            Self::Socketio => Box::new(peer::Peer::new(peer::Kind::Socketio, folder, cores)?),
            Self::FloorQuic => Box::new(peer::Peer::new(peer::Kind::FloorQuic, folder, cores)?),
            Self::FloorAead => Box::new(floor::Aead { cores }),
            Self::Nats => Box::new(broker::Broker::new(broker::Kind::Nats, &folder.join("bin"), cores)?),
            Self::Mosquitto => Box::new(broker::Broker::new(broker::Kind::Mosquitto, &folder.join("bin"), cores)?),
        })
    }
}

/// Why a scenario makes no sense for a server that stores nothing and knows rooms only.
const fn refused_by_peers(scenario: &Scenario) -> Option<&'static str> {
    match scenario.activity {
        Activity::Closed { .. } => Some("it stores nothing, so that no send is durable"),
        Activity::Storm => Some("it keeps nothing that a client could resume from"),
        Activity::Mixed => Some("it has no typing, presence, read marks or history"),
        Activity::Talk | Activity::Join { .. } | Activity::Slow { .. } => None,
    }
}

/// Plans for a server that knows no users: a room is whatever name its members give.
fn plans(scenario: &Scenario) -> Vec<SessionPlan> {
    let rooms: Vec<Uuid> = (0..scenario.all_rooms()).map(|_| Uuid::new_v4()).collect();
    let session = |index: u32| SessionPlan {
        token: String::new(),
        room: rooms[scenario.room_of(index) as usize],
        watched: Vec::new(),
    };
    (0..scenario.sessions()).map(session).collect()
}

/// Several of them.
pub type Targets = Vec<Box<dyn Target>>;

/// A sort of server.
pub trait Target {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Why a scenario makes no sense for it; `None` where it does.
    fn refuses(&self, _scenario: &Scenario) -> Option<&'static str> {
        None
    }

    /// Whether its sessions are TCP connections, each of which takes open files.
    fn is_over_tcp(&self) -> bool {
        false
    }

    /// Starts a fresh one, or takes the one that runs.
    ///
    /// # Errors
    ///
    /// [`BenchError`] where there is none afterwards.
    fn start(&self) -> Result<Box<dyn Running>, BenchError>;
}

/// What a server's world has done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Events that became durable.
    pub events: f64,
    /// Its ticks.
    pub ticks: f64,
}

impl Progress {
    /// Reads Starling's metrics.
    fn parse(text: &str) -> Option<Self> {
        let counter = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        Some(Self { events: counter("starling_events_total ")?, ticks: counter("starling_ticks_total ")? })
    }

    /// Events in a tick since `from`; `None` if there was none.
    #[must_use]
    pub fn events_per_tick(&self, from: &Self) -> Option<f64> {
        let ticks = self.ticks - from.ticks;
        (ticks > 0.0).then(|| (self.events - from.events) / ticks)
    }
}

/// A server that runs. Dropping it stops it, unless it was there before.
pub trait Running {
    /// Its process, where that is on this machine and known; without it CPU time and memory are not measured.
    fn pid(&self) -> Option<u32>;

    /// The process of the database under it, where there is one that we started.
    fn database_pid(&self) -> Option<u32> {
        None
    }

    /// Where its data is, if it is on this machine and known.
    fn data(&self) -> Option<&Path>;

    /// What its world has done so far, where it says so.
    fn progress(&self) -> Option<Progress> {
        None
    }

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn progress_is_read_from_metrics() {
        let text = |events: u32, ticks: u32| {
            format!("# TYPE starling_events_total counter\nstarling_events_total {events}\nstarling_ticks_total {ticks}\n")
        };
        let (from, to) = (Progress::parse(&text(100, 10)).unwrap(), Progress::parse(&text(400, 22)).unwrap());
        assert_eq!(to.events_per_tick(&from), Some(25.0));
        assert_eq!(to.events_per_tick(&to), None);
        assert_eq!(Progress::parse("starling_events_total 4\n"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for scenario in [Scenario::durable_sends(500, 8), Scenario::storm(1.0), Scenario::mixed_day(1.0)] {
            assert!(refused_by_peers(&scenario).is_some(), "{}", scenario.name);
        }
        for scenario in [Scenario::one_room(1.0), Scenario::idle(100), Scenario::joins(false), Scenario::slow_readers(1.0)] {
            assert_eq!(refused_by_peers(&scenario), None, "{}", scenario.name);
        }
    }
}
