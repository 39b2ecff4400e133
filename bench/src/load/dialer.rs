//! What opens sessions, and closes them: sockets, TLS, and the protocol of the server.

use super::broker::{self, Language};
use super::dial::Route;
use super::floor;
use super::quic::Sockets;
use super::session::{self, Way};
use super::websocket::{self, Dialect};
use super::wire::Wire;
use crate::control::{Protocol, SessionPlan};
use crate::limits::CLOSE_TIMEOUT;
use crate::tls::Tickets;
use quinn::VarInt;
use std::net::SocketAddr;

/// What a worker opens its sessions with.
#[derive(Clone)]
pub enum Dialer {
    /// Starling's own protocol.
    Native {
        /// Sockets, and what is said on them.
        sockets: Sockets,
        /// Where the server listens.
        address: SocketAddr,
        /// The name in its certificate.
        name: String,
    },
    /// The floor on quinn.
    Floor {
        /// Sockets, and what is said on them.
        sockets: Sockets,
        /// Where the server listens.
        address: SocketAddr,
    },
    /// A WebSocket over TLS.
    WebSocket {
        /// Where the server is, and whom to trust.
        route: Route,
        /// What is said on it.
        dialect: Dialect,
    },
    /// A broker's protocol over TLS.
    Broker {
        /// Where the server is, and whom to trust.
        route: Route,
        /// What is said on it.
        language: Language,
    },
}

/// A session that was opened.
pub enum Opened {
    /// Starling's own protocol, and how it came.
    Native(session::Live, Box<Way>),
    /// The floor on quinn.
    Floor(floor::Live),
    /// A WebSocket.
    WebSocket(Box<websocket::Live>),
    /// A broker.
    Broker(Box<broker::Live>),
}

impl Dialer {
    /// For this protocol.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificate, or the system, in words.
    pub fn new(protocol: &Protocol, tickets: Tickets) -> Result<Self, String> {
        let websocket = |address: &SocketAddr, ca_pem: &str, dialect| {
            Ok(Self::WebSocket { route: Route::new(*address, ca_pem, tickets)?, dialect })
        };
        let broker = |address: &SocketAddr, ca_pem: &str, language| {
            Ok(Self::Broker { route: Route::new(*address, ca_pem, tickets)?, language })
        };
        match protocol {
            Protocol::Native { address, server_name, ca_pem } => {
                let sockets = Sockets::new(*address, ca_pem, tickets)?;
                Ok(Self::Native { sockets, address: *address, name: server_name.clone() })
            }
            Protocol::Floor { address, ca_pem } => {
                Ok(Self::Floor { sockets: Sockets::new(*address, ca_pem, tickets)?, address: *address })
            }
            Protocol::Aead { .. } | Protocol::Inserts { .. } => Err("there is nothing to connect to".to_owned()),
            Protocol::WebSocket { address, ca_pem } => websocket(address, ca_pem, Dialect::Plain),
            Protocol::SocketIo { address, ca_pem } => websocket(address, ca_pem, Dialect::SocketIo),
            Protocol::Nats { address, ca_pem } => broker(address, ca_pem, Language::Nats),
            Protocol::Mqtt { address, ca_pem } => broker(address, ca_pem, Language::Mqtt),
        }
    }

    /// The same for another client, which has no tickets yet.
    ///
    /// # Errors
    ///
    /// What TLS lacks, in words.
    pub fn of_another(&self, tickets: Tickets) -> Result<Self, String> {
        Ok(match self {
            Self::Native { sockets, address, name } => {
                Self::Native { sockets: sockets.of_another(tickets)?, address: *address, name: name.clone() }
            }
            Self::Floor { sockets, address } => Self::Floor { sockets: sockets.of_another(tickets)?, address: *address },
            Self::WebSocket { route, dialect } => Self::WebSocket { route: route.of_another(tickets), dialect: *dialect },
            Self::Broker { route, language } => Self::Broker { route: route.of_another(tickets), language: *language },
        })
    }

    /// Opens the worker's `n`th session; one that will not read has a small window, so that the server soon has to hold things back.
    ///
    /// # Errors
    ///
    /// Why the last attempt failed, in words.
    pub async fn open(&self, n: usize, plan: &SessionPlan, is_slow: bool) -> Result<Opened, String> {
        match self {
            Self::Native { sockets, address, name } => {
                let (endpoint, config) = sockets.pick(n, is_slow);
                let way = Way { endpoint, config, address: *address, name: name.clone(), plan: plan.clone() };
                Ok(Opened::Native(session::open(&way).await?, Box::new(way)))
            }
            Self::Floor { sockets, address } => {
                floor::open(&sockets.pick(n, is_slow), *address, plan.room).await.map(Opened::Floor)
            }
            Self::WebSocket { route, dialect } => {
                let live = websocket::open(route, is_slow, *dialect, plan.room).await?;
                Ok(Opened::WebSocket(Box::new(live)))
            }
            Self::Broker { route, language } => {
                let live = broker::open(route, is_slow, *language, plan.room).await?;
                Ok(Opened::Broker(Box::new(live)))
            }
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        if let Self::Native { sockets, .. } | Self::Floor { sockets, .. } = self {
            for endpoint in sockets.endpoints() {
                endpoint.close(VarInt::from_u32(0), b"");
                let _timeout = tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
            }
        }
    }
}

impl Opened {
    /// Its connection, for statistics.
    #[must_use]
    pub fn wire(&self) -> Wire {
        match self {
            Self::Native(live, _) => Wire::Quic(live.connection.clone()),
            Self::Floor(live) => Wire::Quic(live.connection.clone()),
            Self::WebSocket(live) => live.wire.clone(),
            Self::Broker(live) => live.wire.clone(),
        }
    }

    /// Closes the connection, one of many, as a client does that leaves: QUIC says so and is done, TCP waits for the server's end.
    pub async fn leave(self) {
        let left = async {
            match self {
                Self::Native(live, _) => live.connection.close(VarInt::from_u32(0), b""),
                Self::Floor(live) => live.connection.close(VarInt::from_u32(0), b""),
                Self::WebSocket(live) => live.leave().await,
                Self::Broker(live) => live.leave().await,
            }
        };
        let _timeout = tokio::time::timeout(CLOSE_TIMEOUT, left).await;
    }
}
