//! TLS as the harness speaks it on every connection, whatever the target, so that no target is measured with a dearer one.

use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;

/// Servers for which tickets are kept: a client of the load process knows one.
const TICKETS_OF_SERVERS: usize = 1;

/// Whether who comes back shows a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tickets {
    /// Every handshake is a full one: the certificate is sent and signed for.
    Unused,
    /// A ticket of an earlier connection, if there is one, takes the certificate's place.
    Used,
}

impl Tickets {
    /// The same TLS for another client, which has no tickets yet.
    #[must_use]
    pub fn of_another(self, tls: &rustls::ClientConfig) -> rustls::ClientConfig {
        let mut another = tls.clone();
        another.resumption = self.kept();
        another
    }

    /// What keeps them, for one client.
    fn kept(self) -> Resumption {
        match self {
            Self::Unused => Resumption::disabled(),
            Self::Used => Resumption::in_memory_sessions(TICKETS_OF_SERVERS),
        }
    }
}

/// One cipher suite, the one that every server of TLS 1.3 must know (RFC 8446 section 9.1). Of several that are offered, servers take
/// what stands first in a list of their own: Node would take ChaCha20, and Starling AES.
fn provider() -> CryptoProvider {
    CryptoProvider { cipher_suites: vec![TLS13_AES_128_GCM_SHA256], ..aws_lc_rs::default_provider() }
}

/// What a server of ours takes: the same as Starling's.
#[must_use]
pub fn server_provider() -> CryptoProvider {
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}

/// A client that trusts these certificates only.
///
/// # Errors
///
/// What is wrong with the certificates, in words.
pub fn client(ca_pem: &str, tickets: Tickets) -> Result<rustls::ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the certificate to trust: {error}"))?;
        roots.add(certificate).map_err(|error| format!("the certificate to trust: {error}"))?;
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.resumption = tickets.kept();
    Ok(tls)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustls::{CipherSuite, ClientConnection, ConnectionCommon, HandshakeKind, ServerConfig, ServerConnection, SideData};

    /// A server that prefers AES-256, as many do, and hands out tickets; and its certificate.
    fn server() -> (Arc<ServerConfig>, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        config.ignore_client_order = true;
        (Arc::new(config), made.cert.pem())
    }

    /// Takes what one side has to say to the other.
    fn pass_on(from: &mut ConnectionCommon<impl SideData>, to: &mut ConnectionCommon<impl SideData>) {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            to.read_tls(&mut bytes).unwrap();
            to.process_new_packets().unwrap();
        }
    }

    /// A handshake in memory: what sort it was, and the cipher suite.
    fn shake(client: &Arc<rustls::ClientConfig>, server: &Arc<ServerConfig>) -> (HandshakeKind, CipherSuite) {
        let mut client = ClientConnection::new(Arc::clone(client), "localhost".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            pass_on(&mut client, &mut server);
            pass_on(&mut server, &mut client);
        }
        (client.handshake_kind().unwrap(), client.negotiated_cipher_suite().unwrap().suite())
    }

    #[test]
    fn handshakes_are_full_unless_tickets_are_used_and_the_cipher_is_always_the_same() {
        let (server, ca_pem) = server();
        for (tickets, second) in [(Tickets::Unused, HandshakeKind::Full), (Tickets::Used, HandshakeKind::Resumed)] {
            let client = Arc::new(client(&ca_pem, tickets).unwrap());
            let suite = CipherSuite::TLS13_AES_128_GCM_SHA256;
            assert_eq!(shake(&client, &server), (HandshakeKind::Full, suite));
            assert_eq!(shake(&client, &server), (second, suite));
        }
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(client(pem, Tickets::Unused).unwrap_err().contains("the certificate to trust"));
    }
}
