//! A server that does what the test says, on 127.0.0.1.

#![allow(dead_code, unreachable_pub)]

use bytes::BytesMut;
use client_protocol::chat::{Body, MessagePosted, MessageTail};
use client_protocol::codec;
use client_protocol::frame::events_frame;
use client_protocol::ids::NodeId;
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::room::{Rooms, Subscribe};
use client_protocol::session::{Hello, Reply, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{
    ALPN, ClientFrame, CloseCode, Command, Event, EventBody, EventHead, Frame, Key, Query, RoomId, ServerFrame, SessionId,
    UserId,
};
use quinn::VarInt;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use starling_client::{AccessToken, Client, ClientBuilder, RoomEvents, RoomItem, TokenProvider, Trust};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use uuid::Uuid;

/// Longer than every step of every test; a step that hangs fails.
pub const STEP: Duration = Duration::from_secs(20);

pub const EPOCH: u64 = 7;

pub fn room(n: u8) -> RoomId {
    RoomId::from_bytes([n; 16])
}

pub fn user(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

/// Fails the test if the step takes too long.
pub async fn step<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(STEP, work).await.expect("a step hangs")
}

pub struct FakeServer {
    endpoint: quinn::Endpoint,
    pub address: SocketAddr,
    pub certificate: rustls::pki_types::CertificateDer<'static>,
    pub pem: String,
}

impl FakeServer {
    pub fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let certificate = made.cert.der().clone();
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let quic = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(quic));
        let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = endpoint.local_addr().unwrap();
        Self { endpoint, address, certificate, pem: made.cert.pem() }
    }

    /// A builder that fits this server, with short waits.
    pub fn builder(&self, tokens: impl TokenProvider) -> ClientBuilder {
        Client::builder(self.address.to_string())
            .trust(Trust::CaPem(self.pem.clone().into_bytes()))
            .tokens(tokens)
            .backoff(Duration::from_millis(10), Duration::from_millis(50))
    }

    /// A client, connected, and the server's side of it.
    pub async fn connected(&self) -> (Client, FakeSession) {
        let connecting = self.builder(AccessToken::new("token")).connect();
        let (client, session) = step(async { tokio::join!(connecting, self.welcomed()) }).await;
        (client.unwrap(), session)
    }

    /// The next session, up to its `Hello`.
    pub async fn greeted(&self) -> FakeSession {
        step(async {
            let connection = self.endpoint.accept().await.unwrap().await.unwrap();
            let (send, recv) = connection.accept_bi().await.unwrap();
            let mut session = FakeSession { connection, send, recv: FakeReader::new(recv), hello: None };
            match ClientFrame::decode(&session.recv.frame().await.unwrap()).unwrap() {
                ClientFrame::Hello(hello) => session.hello = Some(hello),
                other => panic!("{other:?} where Hello was due"),
            }
            session
        })
        .await
    }

    /// The next connection, which the client must refuse.
    pub async fn failed_handshake(&self) {
        assert!(step(self.endpoint.accept()).await.unwrap().await.is_err());
    }

    /// The next session, welcomed.
    pub async fn welcomed(&self) -> FakeSession {
        let mut session = self.greeted().await;
        session.welcome(welcome()).await;
        session
    }
}

/// A usual welcome.
pub fn welcome() -> Welcome {
    Welcome {
        minor: 0,
        features: 0,
        epoch: EPOCH,
        user: user(1),
        session: SessionId(Uuid::from_u128(5)),
        expires_ms: 1_700_000_600_000,
        now_ms: 1_700_000_000_000,
        subscriptions_max: 200,
        open_requests_max: 32,
        body_bytes_max: 8192,
        reconnect_after_ms: (0, 20),
        tail: EmptyTail::default(),
    }
}

pub struct FakeReader {
    recv: quinn::RecvStream,
    buffer: BytesMut,
}

impl FakeReader {
    pub fn new(recv: quinn::RecvStream) -> Self {
        Self { recv, buffer: BytesMut::new() }
    }

    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::split(&mut self.buffer, FRAME_BYTES_MAX).unwrap() {
                return Some(frame);
            }
            let chunk = self.recv.read_chunk(FRAME_BYTES_MAX, true).await.ok()??;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

pub struct FakeSession {
    pub connection: quinn::Connection,
    pub send: quinn::SendStream,
    pub recv: FakeReader,
    pub hello: Option<Hello>,
}

impl FakeSession {
    pub fn token(&self) -> String {
        self.hello.as_ref().unwrap().token.clone()
    }

    pub async fn welcome(&mut self, welcome: Welcome) {
        self.push(&ServerFrame::Welcome(welcome)).await;
        self.push(&ServerFrame::Rooms(Rooms { rooms: Vec::new(), next: 0, tail: EmptyTail::default() })).await;
    }

    pub async fn push(&mut self, frame: &ServerFrame) {
        step(self.send.write_all(&frame.encode())).await.unwrap();
    }

    pub async fn request(&mut self) -> (u64, Command) {
        let frame = step(self.recv.frame()).await.expect("the client closed where a request was due");
        match ClientFrame::decode(&frame).unwrap() {
            ClientFrame::Request(id, command) => (id, command),
            other => panic!("{other:?} where a request was due"),
        }
    }

    /// A request that must be a subscription.
    pub async fn subscribe_request(&mut self) -> (u64, Subscribe) {
        match self.request().await {
            (id, Command::Subscribe(subscribe)) => (id, subscribe),
            (_, other) => panic!("{other:?} where Subscribe was due"),
        }
    }

    pub async fn reply(&mut self, id: u64, reply: Reply) {
        self.push(&ServerFrame::Reply(id, reply)).await;
    }

    /// Accepts a subscription with this head.
    pub async fn accept_subscription(&mut self, head: u64) -> Subscribe {
        let (id, subscribe) = self.subscribe_request().await;
        self.reply(id, Reply::done(head)).await;
        subscribe
    }

    pub async fn events(&mut self, room: RoomId, seqs: std::ops::RangeInclusive<u64>) {
        let frame = events_of(room, seqs);
        step(self.send.write_all(&frame)).await.unwrap();
    }

    /// A query on a stream of its own.
    pub async fn query(&self) -> (u64, Query, quinn::SendStream) {
        let (send, recv) = step(self.connection.accept_bi()).await.unwrap();
        let frame = step(FakeReader::new(recv).frame()).await.unwrap();
        match ClientFrame::decode(&frame).unwrap() {
            ClientFrame::Query(id, query) => (id, query, send),
            other => panic!("{other:?} where a query was due"),
        }
    }

    pub fn close(self, code: CloseCode) {
        self.connection.close(VarInt::from_u32(code as u32), b"test");
    }

    /// The code with which the client closed.
    pub async fn closed_by_client(&self) -> u64 {
        match step(self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("{other}"),
        }
    }
}

pub fn event(seq: u64) -> Event {
    let head = EventHead {
        seq,
        time_ms: 1_700_000_000_000 + seq,
        actor: user(2),
        key: Key(Uuid::from_u128(u128::from(seq))),
        node: NodeId(1),
        message_no: seq,
    };
    let body =
        MessagePosted { body: Body::text(format!("message {seq}")), mentions: Vec::new(), tail: MessageTail::default() };
    Event { head, body: EventBody::MessagePosted(body) }
}

pub fn events_of(room: RoomId, seqs: std::ops::RangeInclusive<u64>) -> bytes::Bytes {
    let mut records = Vec::new();
    let (first, count) = (*seqs.start(), seqs.clone().count() as u32);
    for seq in seqs {
        event(seq).encode_record(&mut records);
    }
    events_frame(room, first, count, &records)
}

/// A frame of a kind that no version knows.
pub fn unknown_frame() -> Vec<u8> {
    let mut inner = 0x7abc_u16.to_le_bytes().to_vec();
    codec::encode_into(&12345_u64, &mut inner);
    let mut frame = (inner.len() as u32).to_le_bytes().to_vec();
    frame.extend(inner);
    frame
}

/// The next item must be the event with this seq.
pub async fn expect_event(events: &mut RoomEvents, seq: u64) {
    match step(events.next()).await {
        Some(RoomItem::Event(event)) => assert_eq!(event.head.seq, seq),
        other => panic!("{other:?} where event {seq} was due"),
    }
}

/// Carries packets between one client and a server, as long as it is told to.
pub struct Relay {
    pub address: SocketAddr,
    open: Arc<AtomicBool>,
}

impl Relay {
    /// A relay to the server, open.
    pub async fn start(server: SocketAddr) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        back.connect(server).await.unwrap();
        let address = front.local_addr().unwrap();
        let open = Arc::new(AtomicBool::new(true));
        let is_open = Arc::clone(&open);
        tokio::spawn(async move {
            let (mut up, mut down) = ([0; 65_536], [0; 65_536]);
            let mut client = None;
            loop {
                // What cannot be sent is lost, as packets are.
                tokio::select! {
                    Ok((bytes, from)) = front.recv_from(&mut up) => {
                        client = Some(from);
                        if is_open.load(Ordering::SeqCst) {
                            let _ = back.send(&up[..bytes]).await;
                        }
                    }
                    Ok(bytes) = back.recv(&mut down) => {
                        if let Some(client) = client.filter(|_| is_open.load(Ordering::SeqCst)) {
                            let _ = front.send_to(&down[..bytes], client).await;
                        }
                    }
                }
            }
        });
        Self { address, open }
    }

    /// Drops everything from now on, or nothing.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
    }
}
