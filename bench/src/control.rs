//! What the two processes say to each other: JSON, one line each.
//!
//! The orchestrator writes the [`Plan`], reads [`Said::Connected`], writes [`GO`], and then reads the rest. The load process decides
//! when the measurement begins and ends and says so at once; the orchestrator samples the server when it hears it.
//! The load process stays until its input ends.

use crate::histogram::Latencies;
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use uuid::Uuid;

/// The line after which the load begins.
pub const GO: &str = "go";

/// Everything that the load process needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What to do.
    pub scenario: Scenario,
    /// How to speak to the server.
    pub protocol: Protocol,
    /// One for each session, in the order of [`Scenario::room_of`].
    pub sessions: Vec<SessionPlan>,
    /// Threads.
    pub workers: u32,
}

/// How to speak to a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Protocol {
    /// Starling's own, over QUIC.
    Native {
        /// Where the server listens.
        address: SocketAddr,
        /// The name in its certificate.
        server_name: String,
        /// Certificates to trust, PEM.
        ca_pem: String,
    },
    /// The floor on quinn ([`crate::floor::quic`]).
    Floor {
        /// Where the server listens.
        address: SocketAddr,
        /// Certificates to trust, PEM.
        ca_pem: String,
    },
    /// The floor without a server ([`crate::floor::aead`]): the load process does it, and is what is measured.
    Aead {
        /// Cores to pin it to.
        cores: Option<String>,
    },
    /// No server either, but a database ([`crate::load::inserts`]): the load process writes to it, and is what is measured.
    Inserts {
        /// Names the database.
        uri: String,
        /// Connections that the writers share.
        connections: u32,
        /// Messages of an insert.
        batch: u32,
        /// What a message looks like, BSON.
        document: Vec<u8>,
        /// Cores to pin it to.
        cores: Option<String>,
    },
    /// Binary messages over a WebSocket over TLS, as `bench/peers/uws.js` says.
    WebSocket {
        /// Where the server listens.
        address: SocketAddr,
        /// Certificates to trust, PEM.
        ca_pem: String,
    },
    /// socket.io over a WebSocket over TLS, as `bench/peers/socketio.js` says.
    SocketIo {
        /// Where the server listens.
        address: SocketAddr,
        /// Certificates to trust, PEM.
        ca_pem: String,
    },
    /// NATS over TLS: a room is a subject.
    Nats {
        /// Where the server listens.
        address: SocketAddr,
        /// Certificates to trust, PEM.
        ca_pem: String,
    },
    /// MQTT 3.1.1 over TLS, QoS 0: a room is a topic.
    Mqtt {
        /// Where the server listens.
        address: SocketAddr,
        /// Certificates to trust, PEM.
        ca_pem: String,
    },
}

impl Protocol {
    /// Whether each send is answered, with the seq of its event.
    #[must_use]
    pub const fn acknowledges(&self) -> bool {
        !matches!(self, Self::Nats { .. } | Self::Mqtt { .. } | Self::Aead { .. })
    }

    /// Where there is no server: the cores for the load process, which is what is measured.
    #[must_use]
    pub const fn alone(&self) -> Option<&Option<String>> {
        match self {
            Self::Aead { cores } | Self::Inserts { cores, .. } => Some(cores),
            _ => None,
        }
    }
}

/// Who a session is and what it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionPlan {
    /// Access token.
    pub token: String,
    /// The room that it subscribes to and posts in.
    pub room: Uuid,
    /// Users whose presence it watches, where the scenario has presence.
    pub watched: Vec<Uuid>,
}

/// What the load process says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum Said {
    /// All sessions are connected and subscribed.
    Connected {
        /// How long that took, in milliseconds.
        took_ms: u64,
    },
    /// The warm-up is over.
    Measuring,
    /// So is the measurement.
    Measured,
    /// Everything that can arrive has arrived.
    Done(Box<LoadResult>),
    /// It cannot go on.
    Failed {
        /// Why.
        why: String,
    },
}

/// What the load process saw. "Measured" is between [`Said::Measuring`] and [`Said::Measured`]; all else is of the whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadResult {
    /// Time measured, in nanoseconds.
    pub measured_ns: u64,
    /// Messages that came to sessions while measured.
    pub deliveries: u64,
    /// UDP datagrams that came to the clients while measured: what the server sent, but for what was lost.
    pub server_packets: u64,
    /// Bytes of these datagrams, headers of UDP and IP not counted.
    pub server_bytes: u64,
    /// UDP datagrams that the clients sent while measured.
    pub client_packets: u64,
    /// From due to received, of messages that were due while measured; of joins, from the start to the subscription.
    pub latency: Latencies,
    /// Deliveries that should have been recorded in it; 0 where nobody sends at fixed times.
    pub due: u64,
    /// From due to reply, of the same messages; `None` where the protocol has no replies.
    pub ack: Option<Latencies>,
    /// From due to written, of the same messages: what the harness itself adds.
    pub lag: Latencies,
    /// Sends written.
    pub sent: u64,
    /// Sends that were answered with `ok`; `None` where the protocol has no replies.
    pub acked: Option<u64>,
    /// Other answers, by code.
    pub refused: BTreeMap<String, u64>,
    /// Sends that never had an answer.
    pub unanswered: u64,
    /// Sends that were due and not written, because the session could not take more.
    pub held: u64,
    /// Frames of events that did not begin where the one before ended.
    pub gaps: u64,
    /// Acknowledged events that some session did not get; where nothing is acknowledged, of all that were sent.
    pub lost: u64,
    /// Joins, or answered sends of a closed loop, while measured.
    pub done: u64,
    /// From the drop of all connections until a session had everything that was there when it was back.
    pub level: Latencies,
    /// What went on beside the messages, while measured, by name.
    pub asides: BTreeMap<String, Aside>,
    /// What sessions complained of: lost connections, resets, frames that make no sense.
    pub faults: Vec<String>,
}

/// Something that went on beside the messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Aside {
    /// How often.
    pub count: u64,
    /// From due to answered; empty for what has no answer.
    pub latency: Latencies,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_survive_the_pipe() {
        let plan = Plan {
            scenario: Scenario::one_room(20_000.0),
            protocol: Protocol::Native {
                address: "127.0.0.1:4433".parse().unwrap(),
                server_name: "localhost".into(),
                ca_pem: "-----BEGIN CERTIFICATE-----\n".into(),
            },
            sessions: vec![SessionPlan { token: "a.b.c".into(), room: Uuid::nil(), watched: vec![Uuid::nil()] }],
            workers: 1,
        };
        let line = serde_json::to_string(&plan).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Plan>(&line).unwrap(), plan);
        for said in
            [Said::Connected { took_ms: 12 }, Said::Measuring, Said::Done(Box::default()), Said::Failed { why: "x".into() }]
        {
            let line = serde_json::to_string(&said).unwrap();
            assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said, "{line}");
        }
    }
}
