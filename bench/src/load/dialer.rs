//! What opens sessions: sockets, TLS, and the protocol of the server.

use super::broker::{self, Language};
use super::floor;
use super::session::{self, Way};
use super::websocket::{self, Dialect};
use super::wire::Wire;
use crate::control::{Protocol, SessionPlan};
use crate::limits::{CLOSE_TIMEOUT, ENDPOINTS_PER_WORKER, IDLE_TIMEOUT, KEEP_ALIVE, UDP_BUFFER_BYTES};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What a worker opens its sessions with.
#[derive(Clone)]
pub enum Dialer {
    /// Starling's own protocol.
    Native {
        /// Sockets.
        endpoints: Vec<Endpoint>,
        /// Where the server listens.
        address: SocketAddr,
        /// The name in its certificate.
        name: String,
    },
    /// The floor on quinn.
    Floor {
        /// Sockets.
        endpoints: Vec<Endpoint>,
        /// Where the server listens.
        address: SocketAddr,
    },
    /// A WebSocket over TLS.
    WebSocket {
        /// Whom to trust.
        tls: TlsConnector,
        /// Where the server listens.
        address: SocketAddr,
        /// What is said on it.
        dialect: Dialect,
    },
    /// A broker's protocol over TLS.
    Broker {
        /// Whom to trust.
        tls: TlsConnector,
        /// Where the server listens.
        address: SocketAddr,
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
    pub fn new(protocol: &Protocol) -> Result<Self, String> {
        let tls = |ca_pem: &str| Ok::<_, String>(TlsConnector::from(Arc::new(tls_config(ca_pem)?)));
        let websocket = |address: &SocketAddr, ca_pem: &str, dialect| {
            Ok(Self::WebSocket { tls: tls(ca_pem)?, address: *address, dialect })
        };
        let broker = |address: &SocketAddr, ca_pem: &str, language| {
            Ok(Self::Broker { tls: tls(ca_pem)?, address: *address, language })
        };
        match protocol {
            Protocol::Native { address, server_name, ca_pem } => {
                let endpoints = endpoints(*address, ca_pem)?;
                Ok(Self::Native { endpoints, address: *address, name: server_name.clone() })
            }
            Protocol::Floor { address, ca_pem } => {
                Ok(Self::Floor { endpoints: endpoints(*address, ca_pem)?, address: *address })
            }
            Protocol::Aead { .. } | Protocol::Inserts { .. } => Err("there is nothing to connect to".to_owned()),
            Protocol::WebSocket { address, ca_pem } => websocket(address, ca_pem, Dialect::Plain),
            Protocol::SocketIo { address, ca_pem } => websocket(address, ca_pem, Dialect::SocketIo),
            Protocol::Nats { address, ca_pem } => broker(address, ca_pem, Language::Nats),
            Protocol::Mqtt { address, ca_pem } => broker(address, ca_pem, Language::Mqtt),
        }
    }

    /// Opens the worker's `n`th session.
    ///
    /// # Errors
    ///
    /// Why the last attempt failed, in words.
    pub async fn open(&self, n: usize, plan: &SessionPlan) -> Result<Opened, String> {
        match self {
            Self::Native { endpoints, address, name } => {
                let endpoint = endpoints[n % endpoints.len()].clone();
                let way = Way { endpoint, address: *address, name: name.clone(), plan: plan.clone() };
                Ok(Opened::Native(session::open(&way).await?, Box::new(way)))
            }
            Self::Floor { endpoints, address } => {
                floor::open(&endpoints[n % endpoints.len()], *address, plan.room).await.map(Opened::Floor)
            }
            Self::WebSocket { tls, address, dialect } => {
                let live = websocket::open(*address, tls, *dialect, plan.room).await?;
                Ok(Opened::WebSocket(Box::new(live)))
            }
            Self::Broker { tls, address, language } => {
                let live = broker::open(*address, tls, *language, plan.room).await?;
                Ok(Opened::Broker(Box::new(live)))
            }
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        if let Self::Native { endpoints, .. } | Self::Floor { endpoints, .. } = self {
            for endpoint in endpoints {
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
}

fn endpoints(server: SocketAddr, ca_pem: &str) -> Result<Vec<Endpoint>, String> {
    let config = client_config(ca_pem)?;
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    (0..ENDPOINTS_PER_WORKER)
        .map(|_| {
            let socket = std::net::UdpSocket::bind(local)?;
            let sized = socket2::SockRef::from(&socket);
            // The kernel may grant less; what is dropped then shows as lost packets.
            let _less = sized.set_recv_buffer_size(UDP_BUFFER_BYTES);
            let _less = sized.set_send_buffer_size(UDP_BUFFER_BYTES);
            let mut endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime))?;
            endpoint.set_default_client_config(config.clone());
            Ok(endpoint)
        })
        .collect::<std::io::Result<_>>()
        .map_err(|error| format!("a UDP socket: {error}"))
}

/// TLS that trusts these certificates only.
fn tls_config(ca_pem: &str) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the certificate to trust: {error}"))?;
        roots.add(certificate).map_err(|error| format!("the certificate to trust: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}

fn client_config(ca_pem: &str) -> Result<ClientConfig, String> {
    let mut tls = tls_config(ca_pem)?;
    tls.alpn_protocols = vec![client_protocol::ALPN.to_vec()];
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // As in the client library.
        .mtu_discovery_config(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}
