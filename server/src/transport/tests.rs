//! The endpoint against quinn's clients, over loopback.

mod batch;

use super::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt, WriteError};
use bytes::Bytes;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::{Ipv4Addr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{LocalSet, spawn_local};

/// Longer than every step of every test.
const STEP: Duration = Duration::from_secs(20);

struct Bench {
    endpoint: Endpoint,
    client: quinn::Endpoint,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut TransportConfig)) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let certificate = made.cert.der().clone();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(IdleTimeout::try_from(Duration::from_secs(10)).ok());
        change(&mut transport);
        server.transport_config(Arc::new(transport));
        let reset = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 64]);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let endpoint = Endpoint::new(socket, EndpointConfig::new(Arc::new(reset)), server).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        client.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap())));
        Self { endpoint, client }
    }

    async fn connect(&self) -> (quinn::Connection, Connection) {
        let connecting = self.client.connect(self.endpoint.local_addr(), "localhost").unwrap();
        let accepting = async { self.endpoint.accept().await.unwrap().accept().unwrap().established().await.unwrap() };
        let (client, server) = tokio::join!(connecting, accepting);
        (client.unwrap(), server)
    }

    /// A connection and a stream that the client opened with `first`.
    async fn stream(&self, first: &[u8]) -> (quinn::Connection, quinn::SendStream, quinn::RecvStream, Session) {
        let (client, server) = self.connect().await;
        let (mut send, receive) = client.open_bi().await.unwrap();
        send.write_all(first).await.unwrap();
        let (stream, reader) = server.accept_bi().await.unwrap();
        (client, send, receive, Session { connection: server, stream, reader })
    }
}

struct Session {
    connection: Connection,
    stream: SendStream,
    reader: RecvStream,
}

/// Runs a test on one thread, as the edge does.
fn on_one_thread<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(STEP, test()).await.expect("a step hangs");
    });
}

#[test]
fn streams_carry_bytes_both_ways_in_order() {
    on_one_thread(|| async {
        let bench = Bench::new();
        let (_client, mut send, mut receive, mut session) = bench.stream(b"hello").await;
        assert_eq!(&session.reader.read_chunk(100).await.unwrap().unwrap().bytes[..], b"hello");
        // More than any window, so that both sides wait for each other.
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sent = Bytes::from(large.clone());
        let writing = spawn_local(async move {
            session.stream.write_all(sent).await.unwrap();
            session.stream.finish().unwrap();
            session.stream.stopped().await;
            session
        });
        assert_eq!(receive.read_to_end(4_000_000).await.unwrap(), large);
        let mut session = writing.await.unwrap();
        let sent = large.clone();
        tokio::spawn(async move {
            send.write_all(&sent).await.unwrap();
            send.finish().unwrap();
            send.stopped().await.unwrap();
        });
        let mut got = Vec::new();
        while let Some(chunk) = session.reader.read_chunk(10_000).await.unwrap() {
            got.extend_from_slice(&chunk.bytes);
        }
        assert_eq!(got, large);
        assert!(session.reader.read_chunk(1).await.unwrap().is_none());
    });
}

#[test]
fn a_stream_that_the_peer_does_not_read_blocks_and_goes_on() {
    on_one_thread(|| async {
        let bench = Bench::with(|transport| {
            transport.send_window(64 * 1024);
        });
        let (_client, _send, mut receive, mut session) = bench.stream(b"x").await;
        let mut written = 0;
        let context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            let mut chunks = [Bytes::from(vec![1; 16 * 1024])];
            match session.stream.poll_write_chunks(&context, &mut chunks) {
                std::task::Poll::Ready(taken) => written += taken.unwrap().bytes,
                std::task::Poll::Pending => break,
            }
        }
        assert!(written <= 64 * 1024, "{written}");
        let writing = spawn_local(async move { session.stream.write_all(Bytes::from_static(b"the end")).await });
        let mut rest = vec![0; written + 7];
        receive.read_exact(&mut rest).await.unwrap();
        writing.await.unwrap().unwrap();
        assert!(rest.ends_with(b"the end"));
    });
}

#[test]
fn datagrams_go_both_ways() {
    on_one_thread(|| async {
        let bench = Bench::new();
        let (client, server) = bench.connect().await;
        client.send_datagram(Bytes::from_static(b"up")).unwrap();
        assert_eq!(server.read_datagram().await.unwrap(), "up");
        assert!(server.send_datagram(Bytes::from_static(b"down")));
        assert_eq!(client.read_datagram().await.unwrap(), "down");
        assert!(!server.send_datagram(Bytes::from(vec![0; 100_000])));
    });
}

#[test]
fn closing_is_told_with_its_code_and_everything_ends() {
    on_one_thread(|| async {
        let bench = Bench::new();
        let (client, _send, mut receive, mut session) = bench.stream(b"x").await;
        let waiting = spawn_local({
            let connection = session.connection.clone();
            async move { connection.closed().await }
        });
        tokio::task::yield_now().await;
        session.connection.close(VarInt::from_u32(42), b"because");
        let quinn::ConnectionError::ApplicationClosed(close) = client.closed().await else { panic!("not closed") };
        assert_eq!((close.error_code.into_inner(), &close.reason[..]), (42, &b"because"[..]));
        assert_eq!(waiting.await.unwrap(), ConnectionError::LocallyClosed);
        assert!(receive.read(&mut [0; 1]).await.is_err());
        let gone = session.stream.write_all(Bytes::from_static(b"late")).await;
        assert_eq!(gone, Err(WriteError::Lost(ConnectionError::LocallyClosed)));
        assert!(session.connection.accept_bi().await.is_err());
        drop(session);
        bench.endpoint.wait_idle().await;
        assert_eq!(bench.endpoint.open_connections(), 0);
    });
}

#[test]
fn a_client_that_closes_is_heard_and_forgotten() {
    on_one_thread(|| async {
        let bench = Bench::new();
        let (client, server) = bench.connect().await;
        client.close(7_u32.into(), b"bye");
        let ConnectionError::ApplicationClosed(close) = server.closed().await else { panic!("not closed") };
        assert_eq!(close.error_code.into_inner(), 7);
        bench.endpoint.wait_idle().await;
        assert_eq!(bench.endpoint.open_connections(), 0);
    });
}

#[test]
fn the_last_handle_that_goes_closes_the_connection() {
    on_one_thread(|| async {
        let bench = Bench::new();
        let (client, _send, _receive, session) = bench.stream(b"x").await;
        let Session { connection, stream, reader } = session;
        drop(connection);
        drop(reader);
        assert!(tokio::time::timeout(Duration::from_millis(100), client.closed()).await.is_err());
        drop(stream);
        assert!(matches!(client.closed().await, quinn::ConnectionError::ApplicationClosed(_)));
    });
}

#[test]
fn a_silent_client_is_given_up() {
    on_one_thread(|| async {
        let bench = Bench::with(|transport| {
            transport.max_idle_timeout(IdleTimeout::try_from(Duration::from_millis(300)).ok());
        });
        let (_client, server) = bench.connect().await;
        assert_eq!(server.closed().await, ConnectionError::TimedOut);
    });
}

#[test]
fn streams_that_one_side_gives_up_end_on_the_other() {
    on_one_thread(|| async {
        let bench = Bench::new();
        let (_client, send, mut receive, mut session) = bench.stream(b"x").await;
        session.stream.reset(VarInt::from_u32(5));
        let reset = receive.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(reset, quinn::ReadError::Reset(5_u32.into()));
        drop(session.reader);
        assert_eq!(send.stopped().await.unwrap(), Some(0_u32.into()));
    });
}

#[test]
fn who_is_refused_or_asked_to_prove_its_address_hears_it() {
    on_one_thread(|| async {
        let bench = Rc::new(Bench::new());
        let address = bench.endpoint.local_addr();
        let refused = bench.client.connect(address, "localhost").unwrap();
        let (refused, ()) = tokio::join!(refused, async { bench.endpoint.accept().await.unwrap().refuse() });
        assert!(matches!(refused.unwrap_err(), quinn::ConnectionError::ConnectionClosed(_)));
        let connecting = bench.client.connect(address, "localhost").unwrap();
        let accepting = async {
            let first = bench.endpoint.accept().await.unwrap();
            assert!(first.may_retry());
            first.retry();
            let second = bench.endpoint.accept().await.unwrap();
            assert!(!second.may_retry());
            second.accept().unwrap().established().await.unwrap()
        };
        let (connected, _server) = tokio::join!(connecting, accepting);
        connected.unwrap();
    });
}

#[test]
fn a_closed_endpoint_takes_nobody_and_ends_everybody() {
    on_one_thread(|| async {
        let bench = Bench::new();
        let (client, server) = bench.connect().await;
        bench.endpoint.close(VarInt::from_u32(9), b"over");
        assert!(bench.endpoint.accept().await.is_none());
        assert_eq!(server.closed().await, ConnectionError::LocallyClosed);
        let quinn::ConnectionError::ApplicationClosed(close) = client.closed().await else { panic!("not closed") };
        assert_eq!(close.error_code.into_inner(), 9);
        bench.endpoint.wait_idle().await;
        let late = bench.client.connect(bench.endpoint.local_addr(), "localhost").unwrap();
        assert!(late.await.is_err());
    });
}
