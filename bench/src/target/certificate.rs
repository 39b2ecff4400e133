//! Certificates for peers, made for a run.

use crate::error::BenchError;
use std::path::{Path, PathBuf};

/// A self-signed certificate of `localhost`, in files and as text.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// The certificate, PEM.
    pub pem: String,
}

impl Certificate {
    /// Makes one in `folder`.
    ///
    /// # Errors
    ///
    /// [`BenchError::Io`] and [`BenchError::Peer`].
    pub fn make(folder: &Path) -> Result<Self, BenchError> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .map_err(|error| BenchError::Peer(format!("a certificate: {error}")))?;
        let (cert, key, pem) = (folder.join("cert.pem"), folder.join("key.pem"), made.cert.pem());
        std::fs::write(&cert, &pem).map_err(BenchError::io("a certificate"))?;
        std::fs::write(&key, made.signing_key.serialize_pem()).map_err(BenchError::io("a key"))?;
        Ok(Self { cert, key, pem })
    }
}
