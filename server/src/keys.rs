//! Keys and certificates that a server needs to start: made on the first start, kept in the data folder, read ever after.
//!
//! | file | what |
//! |---|---|
//! | `cert.pem`, `key.pem` | self-signed certificate for development, and its key; not made where the configuration names others |
//! | `jwt_key.pem` | Ed25519 key that signs access tokens |
//! | `jwt_key.previous.pem` | the one before, if an operator renamed it: its tokens stay good until they end |
//! | `quic_reset.key` | key of stateless resets: clients notice a crash within a round trip |
//! | `quic_cid.key` | key of connection ids |
//!
//! Private files can be read by their owner only.

use crate::config::Config;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Name of the certificate in the data folder; clients on the same machine can trust it by name.
pub const CERTIFICATE_FILE: &str = "cert.pem";
const CERTIFICATE_KEY_FILE: &str = "key.pem";
const JWT_KEY_FILE: &str = "jwt_key.pem";
const JWT_PREVIOUS_FILE: &str = "jwt_key.previous.pem";
const QUIC_RESET_FILE: &str = "quic_reset.key";
const QUIC_CID_FILE: &str = "quic_cid.key";

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {what}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No key or certificate could be made.
    #[error("cannot make {what}: {why}")]
    Make {
        /// Of what sort.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// The key that signs access tokens, and the public half of the one before.
#[derive(Clone)]
pub struct JwtKey {
    /// Private key, PKCS#8 DER.
    pub pkcs8: Vec<u8>,
    /// Public key.
    pub public: [u8; 32],
    /// Public key of the key before, whose tokens may still be about.
    pub previous: Option<[u8; 32]>,
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("previous", &self.previous.is_some()).finish_non_exhaustive()
    }
}

/// Everything that [`Keys::load_or_create`] found or made.
pub struct Keys {
    /// Certificate chain, the server's own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The private key of the first certificate.
    pub private_key: PrivateKeyDer<'static>,
    /// Key of access tokens.
    pub jwt: JwtKey,
    /// Key of QUIC stateless resets.
    pub quic_reset: [u8; 32],
    /// Key of QUIC connection ids.
    pub quic_cid: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the keys from the data folder `dir`, and makes those that are not there. The certificate comes from the paths that the
    /// configuration names, if it does.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where a file cannot be read, written or understood.
    pub fn load_or_create(dir: &Path, config: &Config) -> Result<Self, KeyError> {
        crate::folder::make(dir).map_err(io_error(dir))?;
        let (certificate, key) = match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ => development_certificate(dir)?,
        };
        Ok(Self {
            certificates: read_certificates(&certificate)?,
            private_key: PrivateKeyDer::from_pem_file(&key).map_err(|error| pem_error(&key, &error))?,
            jwt: jwt_key(dir)?,
            quic_reset: random_key(&dir.join(QUIC_RESET_FILE))?,
            quic_cid: random_key(&dir.join(QUIC_CID_FILE))?,
        })
    }

    /// SHA-256 of the server's certificate.
    #[must_use]
    pub fn certificate_sha256(&self) -> [u8; 32] {
        self.certificates.first().map_or([0; 32], |certificate| Sha256::digest(certificate).into())
    }

    /// The same as text: upper-case hexadecimal bytes with colons, as tools print it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.certificate_sha256().map(|byte| format!("{byte:02X}")).join(":")
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { path, source }
}

fn pem_error(path: &Path, error: &rustls::pki_types::pem::Error) -> KeyError {
    KeyError::Content { path: path.to_owned(), what: error.to_string() }
}

fn make_error(what: &'static str) -> impl FnOnce(rcgen::Error) -> KeyError {
    move |error| KeyError::Make { what, why: error.to_string() }
}

/// Writes a file whole or not at all: a start that is cut short must not leave half a key.
fn write_file(path: &Path, bytes: &[u8], private: bool) -> Result<(), KeyError> {
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
        let mut file = options.open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(io_error(path))
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, KeyError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| pem_error(path, &error))?;
    match chain.is_empty() {
        false => Ok(chain),
        true => Err(KeyError::Content { path: path.to_owned(), what: "holds no certificate".into() }),
    }
}

fn development_certificate(dir: &Path) -> Result<(PathBuf, PathBuf), KeyError> {
    let (certificate_path, key_path) = (dir.join(CERTIFICATE_FILE), dir.join(CERTIFICATE_KEY_FILE));
    if read_file(&certificate_path)?.is_some() && read_file(&key_path)?.is_some() {
        return Ok((certificate_path, key_path));
    }
    let make = make_error("a certificate");
    let made = || -> Result<(String, String), rcgen::Error> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(host_name());
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Starling development certificate");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Nobody is told when it ends, so it lasts.
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2049, 12, 31);
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    };
    let (certificate, key) = made().map_err(make)?;
    // The certificate last: while it is missing, both are made anew.
    write_file(&key_path, key.as_bytes(), true)?;
    write_file(&certificate_path, certificate.as_bytes(), false)?;
    Ok((certificate_path, key_path))
}

/// The name of this machine, where the system tells it without a call and it can stand in a certificate.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (name != "localhost" && name.len() <= 253 && name.split('.').all(is_label)).then_some(name)
}

fn jwt_key(dir: &Path) -> Result<JwtKey, KeyError> {
    let path = dir.join(JWT_KEY_FILE);
    let key = match read_ed25519(&path)? {
        Some(key) => key,
        None => {
            let key = KeyPair::generate_for(&PKCS_ED25519).map_err(make_error("a signing key"))?;
            write_file(&path, key.serialize_pem().as_bytes(), true)?;
            key
        }
    };
    let previous_path = dir.join(JWT_PREVIOUS_FILE);
    let previous = match read_ed25519(&previous_path)? {
        Some(previous) => Some(public_key(&previous_path, &previous)?),
        None => None,
    };
    Ok(JwtKey { public: public_key(&path, &key)?, pkcs8: key.serialize_der(), previous })
}

fn read_ed25519(path: &Path) -> Result<Option<KeyPair>, KeyError> {
    let Some(bytes) = read_file(path)? else { return Ok(None) };
    let wrong = |what: String| KeyError::Content { path: path.to_owned(), what };
    let pem = String::from_utf8(bytes).map_err(|_| wrong("is no PEM file".into()))?;
    let key = KeyPair::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
    if !key.is_compatible(&PKCS_ED25519) {
        return Err(wrong("is no Ed25519 key".into()));
    }
    Ok(Some(key))
}

fn public_key(path: &Path, key: &KeyPair) -> Result<[u8; 32], KeyError> {
    key.public_key_raw()
        .try_into()
        .map_err(|_| KeyError::Content { path: path.to_owned(), what: "its public key does not have 32 bytes".into() })
}

fn random_key(path: &Path) -> Result<[u8; 32], KeyError> {
    if let Some(bytes) = read_file(path)? {
        return bytes
            .as_slice()
            .try_into()
            .map_err(|_| KeyError::Content { path: path.to_owned(), what: format!("has {} bytes, not 32", bytes.len()) });
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| KeyError::Make { what: "a random key", why: error.to_string() })?;
    write_file(path, &key, true)?;
    Ok(key)
}
