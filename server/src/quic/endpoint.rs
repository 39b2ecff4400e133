//! The endpoint: TLS, transport limits, and connections as they come in.

use super::session;
use super::table::Edge;
use crate::keys::Keys;
use crate::limits::{
    QUIC_CONNECTIONS_MAX, QUIC_DATAGRAM_BUFFER, QUIC_HANDSHAKES_MAX, QUIC_IDLE_TIMEOUT, QUIC_RECEIVE_WINDOW,
    QUIC_SEND_WINDOW, QUIC_STREAM_RECEIVE_WINDOW, QUIC_STREAMS_MAX,
};
use crate::transport::{Endpoint, VarInt};
use ::aws_lc_rs::hmac;
use quinn_proto::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn_proto::{
    AckFrequencyConfig, EndpointConfig, HashedConnectionIdGenerator, IdleTimeout, ServerConfig, TransportConfig,
};
use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Why the port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The certificate or its key cannot be used.
    #[error("the TLS certificate or key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The TLS library lacks what QUIC needs.
    #[error("TLS cannot be used for QUIC: {0}")]
    Suite(#[from] NoInitialCipherSuite),
    /// The port.
    #[error("cannot open the QUIC port {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    // The defaults let a peer leave 250 MB unread in a connection; a chat session needs very little.
    transport
        .max_concurrent_bidi_streams(QUIC_STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window(QUIC_STREAM_RECEIVE_WINDOW.into())
        .receive_window(QUIC_RECEIVE_WINDOW.into())
        .send_window(QUIC_SEND_WINDOW)
        .datagram_receive_buffer_size(Some(QUIC_DATAGRAM_BUFFER))
        .datagram_send_buffer_size(QUIC_DATAGRAM_BUFFER)
        // What is said is small: four full-size probes at each connection's start cost more than the smaller packets of a long answer.
        .mtu_discovery_config(None)
        .ack_frequency_config(Some(AckFrequencyConfig::default()))
        .max_idle_timeout(IdleTimeout::try_from(QUIC_IDLE_TIMEOUT).ok());
    transport
}

/// The cipher suites: the one that RFC 8446 section 9.1 demands, and the one for clients whose processors have no AES. Without
/// AES-256 most clients take AES-128, which costs less a packet, and whose hash, unlike SHA-384, processors compute in hardware.
fn provider() -> CryptoProvider {
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}

fn server_config(keys: &Keys) -> Result<ServerConfig, EndpointError> {
    let provider = Arc::new(provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(keys.certificates.clone(), keys.private_key.clone_key())?;
    tls.alpn_protocols = vec![client_protocol::ALPN.to_vec()];
    // 0-RTT is off: a Hello could be replayed.
    tls.max_early_data_size = 0;
    // Who comes back shows a ticket instead of having the certificate sent and signed for; the server keeps nothing for it.
    tls.ticketer = aws_lc_rs::Ticketer::new()?;
    tls.send_tls13_tickets = 1;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// Opens the QUIC port. Must be called within the runtime of the edge's thread.
///
/// # Errors
///
/// [`EndpointError`]: the certificate, or the port.
pub fn open(address: SocketAddr, keys: &Keys) -> Result<Endpoint, EndpointError> {
    // Both keys are kept, so that clients of a process that crashed learn it from the next one at once (RFC 9000 section 10.3).
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &keys.quic_reset);
    let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
    let cid_key = keys.quic_cid.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)));
    let bind = |source| EndpointError::Bind { address, source };
    let socket = std::net::UdpSocket::bind(address).map_err(bind)?;
    // A burst of flushes must not be dropped between us and the kernel; it may grant less.
    let sized = socket2::SockRef::from(&socket);
    let _less = sized.set_send_buffer_size(crate::limits::UDP_BUFFER);
    let _less = sized.set_recv_buffer_size(crate::limits::UDP_BUFFER);
    Endpoint::new(socket, endpoint, server_config(keys)?).map_err(bind)
}

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(endpoint: Endpoint, edge: Rc<Edge>) {
    let _stop = crate::stop::StopOnPanic("the QUIC edge");
    while let Some(incoming) = endpoint.accept().await {
        let open = endpoint.open_connections();
        if edge.draining.get() || open >= QUIC_CONNECTIONS_MAX || edge.handshakes.get() >= QUIC_HANDSHAKES_MAX {
            incoming.refuse();
            continue;
        }
        // Under load, who asks must show that the address is theirs before we do any work (RFC 9000 section 8.1.2).
        if edge.handshakes.get() >= QUIC_HANDSHAKES_MAX / 2 && incoming.may_retry() {
            incoming.retry();
            continue;
        }
        let Ok(connecting) = incoming.accept() else { continue };
        edge.handshakes.set(edge.handshakes.get() + 1);
        let edge = Rc::clone(&edge);
        tokio::task::spawn_local(async move {
            let deadline = tokio::time::Instant::now() + session::HELLO_TIMEOUT;
            let connected = tokio::time::timeout_at(deadline, connecting.established()).await;
            match connected {
                Ok(Ok(connection)) => session::serve(connection, deadline, edge).await,
                Ok(Err(error)) => {
                    edge.handshakes.set(edge.handshakes.get() - 1);
                    tracing::debug!(%error, "a handshake failed");
                }
                Err(_) => edge.handshakes.set(edge.handshakes.get() - 1),
            }
        });
    }
}

/// The QUIC form of a close code.
#[must_use]
pub(crate) const fn close_code(code: client_protocol::CloseCode) -> VarInt {
    VarInt::from_u32(code as u32)
}
