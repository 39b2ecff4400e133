//! The servers that can be measured. A target starts (or finds) a server, brings users and rooms into it, and says how the load process
//! is to speak to it.

pub mod broker;
pub mod certificate;
pub mod floor;
pub mod peer;
pub mod process;
pub mod rest;
pub mod starling;

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
        Activity::Mixed => Some("it has no typing, read marks or history"),
        Activity::Talk | Activity::Join | Activity::Slow { .. } => None,
    }
}

/// Plans for a server that knows no users: a room is whatever name its members give.
fn plans(scenario: &Scenario) -> Vec<SessionPlan> {
    let rooms: Vec<Uuid> = (0..scenario.rooms).map(|_| Uuid::new_v4()).collect();
    let session = |index: u32| SessionPlan { token: String::new(), room: rooms[scenario.room_of(index) as usize] };
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
