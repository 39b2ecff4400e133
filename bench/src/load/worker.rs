//! A worker: a thread with a runtime, its sockets, and its share of the sessions.

use super::broker::{self, Language};
use super::floor;
use super::meter::{Clock, Meter, SessionState};
use super::session;
use super::tally::Tally;
use super::websocket::{self, Dialect};
use super::wire::Wire;
use crate::control::{Plan, Protocol, SessionPlan};
use crate::limits::{
    CLOSE_TIMEOUT, CONNECTING_MAX, ENDPOINTS_PER_WORKER, IDLE_TIMEOUT, KEEP_ALIVE, SEND_QUEUE_MAX, UDP_BUFFER_BYTES,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// A session that is ready, as the rest of the process sees it.
pub struct Ready {
    /// Its index in the plan.
    pub index: usize,
    /// What it counts.
    pub state: Arc<SessionState>,
    /// Its connection, for statistics.
    pub wire: Wire,
    /// Takes the due times of its sends.
    pub due: mpsc::Sender<u64>,
}

/// What a worker is given.
pub struct Share {
    /// The whole plan.
    pub plan: Arc<Plan>,
    /// Indices of the sessions that are this worker's.
    pub sessions: Vec<usize>,
    /// The clock.
    pub clock: Arc<Clock>,
    /// Counters of this worker.
    pub meter: Arc<Meter>,
}

/// Runs a worker until `finish` is sent or dropped. `ready` gets its sessions once all are subscribed, or why they are not.
pub fn run(share: &Share, ready: &std::sync::mpsc::Sender<Result<Vec<Ready>, String>>, finish: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _gone = ready.send(Err(format!("no runtime: {error}")));
            return;
        }
    };
    runtime.block_on(async {
        let dialer = match Dialer::new(&share.plan.protocol) {
            Ok(dialer) => dialer,
            Err(why) => {
                let _gone = ready.send(Err(why));
                return;
            }
        };
        let connected = connect(share, &dialer).await;
        let failed = connected.is_err();
        if ready.send(connected).is_ok() && !failed {
            let _dropped = finish.await;
        }
        dialer.close().await;
    });
}

/// What a worker opens its sessions with.
#[derive(Clone)]
enum Dialer {
    Native { endpoints: Vec<Endpoint>, address: SocketAddr, name: String },
    Floor { endpoints: Vec<Endpoint>, address: SocketAddr },
    WebSocket { tls: TlsConnector, address: SocketAddr, dialect: Dialect },
    Broker { tls: TlsConnector, address: SocketAddr, language: Language },
}

/// A session that was opened.
enum Opened {
    Native(session::Live),
    Floor(floor::Live),
    WebSocket(Box<websocket::Live>),
    Broker(Box<broker::Live>),
}

impl Dialer {
    fn new(protocol: &Protocol) -> Result<Self, String> {
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
            Protocol::Aead { .. } => Err("there is nothing to connect to".to_owned()),
            Protocol::WebSocket { address, ca_pem } => websocket(address, ca_pem, Dialect::Plain),
            Protocol::SocketIo { address, ca_pem } => websocket(address, ca_pem, Dialect::SocketIo),
            Protocol::Nats { address, ca_pem } => broker(address, ca_pem, Language::Nats),
            Protocol::Mqtt { address, ca_pem } => broker(address, ca_pem, Language::Mqtt),
        }
    }

    /// Opens the worker's `n`th session.
    async fn open(&self, n: usize, plan: &SessionPlan) -> Result<Opened, String> {
        match self {
            Self::Native { endpoints, address, name } => {
                session::open(&endpoints[n % endpoints.len()], *address, name, plan).await.map(Opened::Native)
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

    async fn close(&self) {
        if let Self::Native { endpoints, .. } | Self::Floor { endpoints, .. } = self {
            for endpoint in endpoints {
                endpoint.close(VarInt::from_u32(0), b"");
                let _timeout = tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
            }
        }
    }
}

/// Opens the worker's sessions, some at a time.
async fn connect(share: &Share, dialer: &Dialer) -> Result<Vec<Ready>, String> {
    let mut opening: JoinSet<(usize, Result<Opened, String>)> = JoinSet::new();
    let mut ready = Vec::with_capacity(share.sessions.len());
    let mut waiting = share.sessions.iter().enumerate();
    loop {
        while opening.len() < CONNECTING_MAX
            && let Some((n, index)) = waiting.next()
        {
            let (dialer, plan, index) = (dialer.clone(), Arc::clone(&share.plan), *index);
            opening.spawn(async move { (index, dialer.open(n, &plan.sessions[index]).await) });
        }
        let Some(opened) = opening.join_next().await else { return Ok(ready) };
        let (index, live) = opened.map_err(|error| error.to_string())?;
        let live = live.map_err(|why| format!("session {index}: {why}"))?;
        ready.push(begin(share, index, live));
    }
}

fn begin(share: &Share, index: usize, opened: Opened) -> Ready {
    let (scenario, plan) = (&share.plan.scenario, &share.plan.sessions[index]);
    let state = Arc::new(SessionState::new(scenario.takes_latency(index as u32)));
    let (due, dues) = mpsc::channel(SEND_QUEUE_MAX);
    let tally = Tally { state: Arc::clone(&state), meter: Arc::clone(&share.meter), clock: Arc::clone(&share.clock) };
    let wire = match opened {
        Opened::Native(live) => {
            let wire = Wire::Quic(live.connection.clone());
            session::start(live, plan, scenario.body_bytes, dues, &tally);
            wire
        }
        Opened::Floor(live) => {
            let wire = Wire::Quic(live.connection.clone());
            floor::start(live, scenario.body_bytes, dues, &tally);
            wire
        }
        Opened::WebSocket(live) => {
            let wire = live.wire.clone();
            websocket::start(*live, scenario.body_bytes, dues, tally);
            wire
        }
        Opened::Broker(live) => {
            let wire = live.wire.clone();
            broker::start(*live, scenario.body_bytes, dues, tally);
            wire
        }
    };
    Ready { index, state, wire, due }
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
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}
