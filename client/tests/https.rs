//! REST behind TLS: whom the client trusts.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use starling_client::rest::{Login, Rest, RestError};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A proxy that refuses everybody; its address and its certificate.
async fn proxy() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust the certificate breaks off here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await.unwrap();
            let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (address, made.cert.pem())
}

#[tokio::test]
async fn a_server_behind_tls_is_trusted_by_its_certificate_only() {
    let (address, pem) = proxy().await;
    let base = format!("https://localhost:{}", address.port());
    let login = Login::new("alice", "correct horse battery staple");
    let stranger = Rest::new(&base).unwrap().login(&login).await.unwrap_err();
    assert!(matches!(&stranger, RestError::Unreachable { .. }), "{stranger}");
    let trusted = Rest::with_certificates(&base, pem.as_bytes()).unwrap().login(&login).await.unwrap_err();
    assert!(matches!(&trusted, RestError::Refused { status: 403, .. }), "{trusted}");
}

#[tokio::test]
async fn a_call_ends_in_the_time_that_was_given() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let rest = Rest::new(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let rest = rest.with_timeout(Duration::from_millis(50));
    let error = rest.login(&Login::new("alice", "correct horse battery staple")).await.unwrap_err();
    assert!(matches!(&error, RestError::Unreachable { .. }), "{error}");
}
