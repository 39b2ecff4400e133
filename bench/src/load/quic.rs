//! What QUIC sessions are opened with: sockets, TLS, and windows as those of the client library.

use crate::limits::{ENDPOINTS_PER_WORKER, KEEP_ALIVE, SLOW_WINDOW_BYTES, UDP_BUFFER_BYTES};
use crate::tls::{self, Tickets};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TransportConfig};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// What a worker opens its QUIC sessions with.
#[derive(Debug, Clone)]
pub struct Sockets {
    endpoints: Vec<Endpoint>,
    tls: rustls::ClientConfig,
    /// For sessions that read.
    reading: ClientConfig,
    /// For sessions that do not.
    slow: ClientConfig,
}

impl Sockets {
    /// Sockets that reach `server`, and trust in the certificates `ca_pem` only.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificates, or the system, in words.
    pub fn new(server: SocketAddr, ca_pem: &str, tickets: Tickets) -> Result<Self, String> {
        let mut tls = tls::client(ca_pem, tickets)?;
        tls.alpn_protocols = vec![client_protocol::ALPN.to_vec()];
        let (reading, slow) = configs(&tls)?;
        Ok(Self { endpoints: endpoints(server)?, tls, reading, slow })
    }

    /// The same sockets for another client, which has no tickets yet.
    ///
    /// # Errors
    ///
    /// What TLS lacks, in words.
    pub fn of_another(&self, tickets: Tickets) -> Result<Self, String> {
        let tls = tickets.of_another(&self.tls);
        let (reading, slow) = configs(&tls)?;
        Ok(Self { endpoints: self.endpoints.clone(), tls, reading, slow })
    }

    /// What the `n`th session connects with.
    #[must_use]
    pub fn pick(&self, n: usize, is_slow: bool) -> (Endpoint, ClientConfig) {
        let config = if is_slow { &self.slow } else { &self.reading };
        (self.endpoints[n % self.endpoints.len()].clone(), config.clone())
    }

    /// All sockets.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}

/// The configurations of those who read, and of those who do not: the client library's, but for the windows of the latter.
fn configs(tls: &rustls::ClientConfig) -> Result<(ClientConfig, ClientConfig), String> {
    let crypto = Arc::new(QuicClientConfig::try_from(tls.clone()).map_err(|error| error.to_string())?);
    let config = |mut transport: TransportConfig| {
        transport.keep_alive_interval(Some(KEEP_ALIVE));
        let mut config = ClientConfig::new(crypto.clone());
        config.transport_config(Arc::new(transport));
        config
    };
    let mut slow = starling_client::transport();
    slow.stream_receive_window(SLOW_WINDOW_BYTES.into()).receive_window(SLOW_WINDOW_BYTES.into());
    Ok((config(starling_client::transport()), config(slow)))
}

fn endpoints(server: SocketAddr) -> Result<Vec<Endpoint>, String> {
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
            Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime))
        })
        .collect::<std::io::Result<_>>()
        .map_err(|error| format!("a UDP socket: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use quinn::crypto::rustls::QuicServerConfig;
    use starling_client::limits::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
    use std::time::Duration;

    /// A server that has more to say on the first stream than any window takes; and its certificate.
    fn talkative() -> (Endpoint, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(tls::server_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![client_protocol::ALPN.to_vec()];
        let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        (Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap(), made.cert.pem())
    }

    /// Bytes that the server got rid of in a while, to a client that does not read.
    async fn sent_unread(is_slow: bool) -> u64 {
        let (server, ca_pem) = talkative();
        let address = server.local_addr().unwrap();
        let (endpoint, config) = Sockets::new(address, &ca_pem, Tickets::Unused).unwrap().pick(0, is_slow);
        let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
        let accepted = async { server.accept().await.unwrap().await.unwrap() };
        let (client, accepted) = tokio::join!(connecting, accepted);
        let (mut send, _unread) = client.as_ref().unwrap().open_bi().await.unwrap();
        send.write_all(b"go on").await.unwrap();
        let (mut talk, _heard) = accepted.accept_bi().await.unwrap();
        let much = vec![7; 4 * CONNECTION_WINDOW_BYTES as usize];
        let written = tokio::time::timeout(Duration::from_millis(600), talk.write_all(&much)).await;
        assert!(written.is_err(), "it was never held back");
        accepted.stats().udp_tx.bytes
    }

    #[test]
    fn who_does_not_read_holds_the_server_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (slow, reading) = (runtime.block_on(sent_unread(true)), runtime.block_on(sent_unread(false)));
        assert!(slow < 2 * u64::from(SLOW_WINDOW_BYTES), "{slow} bytes went to a slow session");
        let window = u64::from(STREAM_WINDOW_BYTES);
        assert!((window..window * 3 / 2).contains(&reading), "{reading} bytes went to another");
    }
}
