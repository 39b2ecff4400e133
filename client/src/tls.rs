//! Which servers are trusted.

use crate::error::ClientError;
use client_protocol::ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;

/// What makes a server's certificate good.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Trust {
    /// It is, or was issued by, one of the certificates in this PEM file.
    CaFile(PathBuf),
    /// The same, the PEM text itself.
    CaPem(Vec<u8>),
    /// The operating system trusts it, as browsers do: for servers with a certificate of a public authority.
    System,
    /// It was issued by one of these roots.
    Roots(RootCertStore),
    /// It is the very certificate with this SHA-256 fingerprint; its names and dates are not looked at.
    Fingerprint([u8; 32]),
    /// Any certificate, but only of a server on this machine (loopback): for development.
    AnyOnLoopback,
}

impl Trust {
    /// Reads a fingerprint: 64 hexadecimal digits, with or without colons.
    ///
    /// # Errors
    ///
    /// [`ClientError::Config`] where the text is none.
    pub fn fingerprint(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Config("a fingerprint is 64 hexadecimal digits (SHA-256)".into());
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| *c != ':' && !c.is_whitespace())
            .map(|c| c.to_digit(16).ok_or_else(wrong))
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) if digits.len() == 64 => Ok(Self::Fingerprint(bytes)),
            _ => Err(wrong()),
        }
    }

    /// The TLS configuration: TLS 1.3, our ALPN name, no early data.
    pub(crate) fn config(&self) -> Result<rustls::ClientConfig, ClientError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| ClientError::Config(error.to_string()))?;
        let mut config = match self {
            Self::CaFile(path) => {
                let text =
                    std::fs::read(path).map_err(|error| ClientError::Config(format!("{}: {error}", path.display())))?;
                builder.with_root_certificates(roots(&text, &path.display().to_string())?)
            }
            Self::CaPem(text) => builder.with_root_certificates(roots(text, "the given certificates")?),
            Self::System => builder.with_platform_verifier().map_err(|error| ClientError::Config(error.to_string()))?,
            Self::Roots(roots) => builder.with_root_certificates(roots.clone()),
            Self::Fingerprint(fingerprint) => {
                let verifier = ByFingerprint { fingerprint: Some(*fingerprint), provider };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            Self::AnyOnLoopback => {
                let verifier = ByFingerprint { fingerprint: None, provider };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        }
        .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

fn roots(pem: &[u8], name: &str) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| ClientError::Config(format!("{name}: {error}")))?;
        roots.add(certificate).map_err(|error| ClientError::Config(format!("{name}: {error}")))?;
    }
    match roots.is_empty() {
        true => Err(ClientError::Config(format!("{name}: no certificate"))),
        false => Ok(roots),
    }
}

/// Takes one certificate, or any. The handshake's signature is checked in both cases, so that the server owns the key.
#[derive(Debug)]
struct ByFingerprint {
    fingerprint: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.fingerprint {
            Some(fingerprint) if Sha256::digest(end_entity)[..] != fingerprint => {
                Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has no TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_64_digits() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        for text in [plain.as_str(), colons.as_str()] {
            assert!(matches!(Trust::fingerprint(text).unwrap(), Trust::Fingerprint(bytes) if bytes == [0xab; 32]));
        }
        for wrong in ["", "ab", "zz", &plain[1..], &format!("{plain}0")] {
            assert!(Trust::fingerprint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        assert!(matches!(Trust::CaPem(b"nothing".to_vec()).config(), Err(ClientError::Config(_))));
        assert!(matches!(Trust::CaFile("/nonexistent/ca.pem".into()).config(), Err(ClientError::Config(_))));
    }
}
