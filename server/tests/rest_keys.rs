//! Keys: made once, kept, and private.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use server::config::Config;
use server::keys::{CERTIFICATE_FILE, KeyError, Keys};

#[test]
fn keys_are_kept_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Keys::load_or_create(&data, &Config::default()).unwrap();
    let second = Keys::load_or_create(&data, &Config::default()).unwrap();
    assert_eq!(first.certificates, second.certificates);
    assert_eq!(first.private_key, second.private_key);
    assert_eq!(first.jwt.pkcs8, second.jwt.pkcs8);
    assert_eq!((first.quic_reset, first.quic_cid), (second.quic_reset, second.quic_cid));
    assert_ne!(first.quic_reset, first.quic_cid);
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
    let other = Keys::load_or_create(&dir.path().join("other"), &Config::default()).unwrap();
    assert_ne!(first.certificate_sha256(), other.certificate_sha256());
    assert!(!format!("{first:?} {:?}", first.jwt).contains("pkcs8"));
}

#[cfg(unix)]
#[test]
fn private_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    Keys::load_or_create(&data, &Config::default()).unwrap();
    for entry in std::fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let public = entry.file_name() == CERTIFICATE_FILE;
        assert!(mode == 0o600 || public, "{:?} has mode {mode:o}", entry.file_name());
    }
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_certificate_serves_tls() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(dir.path(), &Config::default()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(keys.certificates.clone(), keys.private_key.clone_key());
    assert!(config.is_ok(), "{config:?}");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(keys.certificates[0].clone()).expect("a client can trust it by name");
}

#[test]
fn paths_of_the_configuration_win_and_damage_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let own = Keys::load_or_create(&dir.path().join("own"), &Config::default()).unwrap();
    let config = Config {
        tls_cert: Some(dir.path().join("own/cert.pem")),
        tls_key: Some(dir.path().join("own/key.pem")),
        ..Config::default()
    };
    let data = dir.path().join("data");
    let keys = Keys::load_or_create(&data, &config).unwrap();
    assert_eq!(keys.certificates, own.certificates);
    assert!(!data.join(CERTIFICATE_FILE).exists());
    std::fs::write(data.join("quic_cid.key"), b"short").unwrap();
    let error = Keys::load_or_create(&data, &config).unwrap_err();
    assert!(matches!(error, KeyError::Content { .. }), "{error}");
    assert!(error.to_string().contains("5 bytes"));
}

#[test]
fn a_renamed_signing_key_stays_known() {
    let dir = tempfile::tempdir().unwrap();
    let first = Keys::load_or_create(dir.path(), &Config::default()).unwrap();
    std::fs::rename(dir.path().join("jwt_key.pem"), dir.path().join("jwt_key.previous.pem")).unwrap();
    let second = Keys::load_or_create(dir.path(), &Config::default()).unwrap();
    assert_ne!(first.jwt.public, second.jwt.public);
    assert_eq!(second.jwt.previous, Some(first.jwt.public));
}
