//! A session without a client library: frames in, frames out.

use super::{Server, step};
use bytes::{Bytes, BytesMut};
use client_protocol::frame::Frame;
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::room::Rooms;
use client_protocol::session::{Hello, Reply, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{ALPN, ClientFrame, CloseCode, Code, Command, DeviceId, Event, Query, RoomId, ServerFrame};
use quinn::{ConnectionError, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The transport of a client that tests want: room for what the server sends, a sign of life every 5 s.
pub fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    transport
}

/// Where a server is, and its certificate.
#[derive(Debug, Clone)]
pub struct Place {
    pub quic: SocketAddr,
    pub pem: Vec<u8>,
}

impl From<&Server> for Place {
    fn from(server: &Server) -> Self {
        Self { quic: server.quic, pem: std::fs::read(server.certificate()).unwrap() }
    }
}

impl From<&Self> for Place {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

/// Connects, without a stream.
pub async fn connect(
    place: impl Into<Place>,
    transport: quinn::TransportConfig,
) -> Result<(quinn::Endpoint, quinn::Connection), ConnectionError> {
    let Place { quic, pem } = place.into();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let connection = endpoint.connect_with(config, quic, "localhost").unwrap().await?;
    Ok((endpoint, connection))
}

/// The frame of a hello.
pub fn hello(token: &str, device: DeviceId) -> Bytes {
    let hello = Hello { minor: 0, features: 0, device, token: token.into(), tail: EmptyTail::default() };
    ClientFrame::Hello(hello).encode()
}

/// A random device.
pub fn device() -> DeviceId {
    DeviceId(Uuid::new_v4())
}

/// The application code with which the server closed.
pub async fn close_code(connection: &quinn::Connection) -> u64 {
    match step("the close", connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed otherwise: {other}"),
    }
}

/// The server closed with this code.
pub async fn assert_closed(connection: &quinn::Connection, code: CloseCode) {
    assert_eq!(close_code(connection).await, code as u64, "{code:?} was due");
}

/// A connection with its session stream.
pub struct Hooked {
    pub endpoint: quinn::Endpoint,
    pub connection: quinn::Connection,
    pub send: quinn::SendStream,
    pub recv: Frames,
}

impl Hooked {
    /// Connects and opens the session stream, and says nothing.
    pub async fn open(server: &Server) -> Self {
        Self::open_with(server, transport()).await
    }

    pub async fn open_with(server: &Server, transport: quinn::TransportConfig) -> Self {
        let (endpoint, connection) = step("connecting", connect(server, transport)).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        Self { endpoint, connection, send, recv: Frames::new(recv) }
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        step("a write", self.send.write_all(bytes)).await.unwrap();
    }
}

/// Frames off a stream.
pub struct Frames {
    recv: quinn::RecvStream,
    buffer: BytesMut,
}

impl Frames {
    pub fn new(recv: quinn::RecvStream) -> Self {
        Self { recv, buffer: BytesMut::new() }
    }

    /// The next frame; `None` when stream or connection have ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<ServerFrame> {
        loop {
            if let Some(frame) = Frame::split(&mut self.buffer, FRAME_BYTES_MAX).unwrap() {
                return Some(ServerFrame::decode(&frame).unwrap());
            }
            let chunk = self.recv.read_chunk(FRAME_BYTES_MAX, true).await.ok()??;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

/// A session that was welcomed.
pub struct Raw {
    pub hooked: Hooked,
    pub welcome: Welcome,
    pub rooms: Rooms,
    last_request: u64,
    /// Frames that came while something else was waited for.
    pub kept: VecDeque<ServerFrame>,
}

impl Raw {
    /// Connects, says hello as some device, and waits for `Welcome` and `Rooms`.
    pub async fn connect(server: &Server, token: &str) -> Self {
        Self::connect_as(server, token, device()).await
    }

    pub async fn connect_as(server: &Server, token: &str, device: DeviceId) -> Self {
        Self::connect_with(server, token, device, transport()).await
    }

    pub async fn connect_with(server: &Server, token: &str, device: DeviceId, transport: quinn::TransportConfig) -> Self {
        let hooked = Hooked::open_with(server, transport).await;
        Self::greet(hooked, token, device).await.expect("the server refused")
    }

    /// Tries to connect: `None` if the connection was lost before the room list came.
    pub async fn try_connect(place: impl Into<Place>, token: &str, device: DeviceId) -> Option<Self> {
        Self::try_connect_with(place, token, device, transport()).await
    }

    pub async fn try_connect_with(
        place: impl Into<Place>,
        token: &str,
        device: DeviceId,
        transport: quinn::TransportConfig,
    ) -> Option<Self> {
        let (endpoint, connection) = connect(place, transport).await.ok()?;
        let (send, recv) = connection.open_bi().await.ok()?;
        Self::greet(Hooked { endpoint, connection, send, recv: Frames::new(recv) }, token, device).await
    }

    async fn greet(mut hooked: Hooked, token: &str, device: DeviceId) -> Option<Self> {
        hooked.send.write_all(&hello(token, device)).await.ok()?;
        let welcome = match step("the welcome", hooked.recv.next()).await? {
            ServerFrame::Welcome(welcome) => welcome,
            other => panic!("{other:?} where Welcome was due"),
        };
        let rooms = match step("the room list", hooked.recv.next()).await? {
            ServerFrame::Rooms(rooms) => rooms,
            other => panic!("{other:?} where Rooms was due"),
        };
        Some(Self { hooked, welcome, rooms, last_request: 0, kept: VecDeque::new() })
    }

    pub fn connection(&self) -> &quinn::Connection {
        &self.hooked.connection
    }

    /// Sends a request and does not wait for the answer; its id.
    pub async fn send(&mut self, command: &Command) -> u64 {
        self.last_request += 1;
        let frame = command.frame(self.last_request);
        self.hooked.write(&frame).await;
        self.last_request
    }

    /// The same; `None` if the connection is gone.
    pub async fn try_send(&mut self, command: &Command) -> Option<u64> {
        self.last_request += 1;
        let frame = command.frame(self.last_request);
        step("a write", self.hooked.send.write_all(&frame)).await.ok()?;
        Some(self.last_request)
    }

    /// The next frame off the wire or of those kept; the connection must stand.
    pub async fn frame(&mut self) -> ServerFrame {
        match self.kept.pop_front() {
            Some(frame) => frame,
            None => step("a frame", self.hooked.recv.next()).await.expect("the connection ended"),
        }
    }

    /// The first frame for which `pick` has something; those before are kept.
    pub async fn wait_for<T>(&mut self, what: &str, pick: impl Fn(&ServerFrame) -> Option<T>) -> T {
        if let Some((at, picked)) = self.kept.iter().enumerate().find_map(|(at, frame)| Some((at, pick(frame)?))) {
            self.kept.remove(at);
            return picked;
        }
        loop {
            let frame = step(what, self.hooked.recv.next()).await.unwrap_or_else(|| panic!("{what}: the connection ended"));
            match pick(&frame) {
                Some(picked) => return picked,
                None => self.kept.push_back(frame),
            }
        }
    }

    /// The answer to a request.
    pub async fn reply(&mut self, id: u64) -> Reply {
        self.wait_for("a reply", |frame| match frame {
            ServerFrame::Reply(of, reply) if *of == id => Some(reply.clone()),
            _ => None,
        })
        .await
    }

    /// Sends a request and waits for its answer.
    pub async fn request(&mut self, command: &Command) -> Reply {
        let id = self.send(command).await;
        self.reply(id).await
    }

    /// Sends a request that must succeed; the seq of its answer.
    pub async fn done(&mut self, command: &Command) -> u64 {
        let reply = self.request(command).await;
        assert_eq!(reply.code(), Code::Ok, "{:?}", reply.tail.detail);
        reply.seq
    }

    /// Makes a group; its id.
    pub async fn create_group(&mut self, members: Vec<client_protocol::UserId>) -> RoomId {
        let reply = self.request(&super::create_group(super::key(), members)).await;
        assert_eq!(reply.code(), Code::Ok, "{:?}", reply.tail.detail);
        reply.tail.room.expect("a room was made")
    }

    /// Subscribes, which must succeed; the room's head.
    pub async fn subscribe(&mut self, room: RoomId, after_seq: u64) -> u64 {
        let epoch = self.welcome.epoch;
        self.done(&super::subscribe(room, epoch, after_seq)).await
    }

    /// The next frame of events of a room, decoded and checked to be dense.
    pub async fn events(&mut self, room: RoomId) -> Vec<Event> {
        let events = self
            .wait_for("events", |frame| match frame {
                ServerFrame::Events(events) if events.room == room => Some(events.clone()),
                _ => None,
            })
            .await;
        decode_events(&events)
    }

    /// Events `first..=last` of a room, however many frames they come in.
    pub async fn events_through(&mut self, room: RoomId, first: u64, last: u64) -> Vec<Event> {
        let mut all = Vec::new();
        while (first + all.len() as u64) <= last {
            let events = self.events(room).await;
            assert_eq!(events[0].head.seq, first + all.len() as u64, "a gap or a duplicate");
            all.extend(events);
        }
        assert_eq!(first + all.len() as u64, last + 1, "more than was expected");
        all
    }

    /// Asks a query on a stream of its own.
    pub async fn query(&self, query: &Query) -> ServerFrame {
        let (mut send, recv) = step("a stream", self.connection().open_bi()).await.unwrap();
        send.write_all(&query.frame(7)).await.unwrap();
        send.finish().unwrap();
        let mut frames = Frames::new(recv);
        let answer = step("an answer", frames.next()).await.expect("an answer");
        assert!(step("the end", frames.next()).await.is_none(), "one answer, then the end");
        answer
    }

    /// A clean goodbye.
    pub async fn close(self) {
        self.connection().close(VarInt::from_u32(0), b"");
        step("the goodbye", self.hooked.endpoint.wait_idle()).await;
    }
}

/// The events of a frame, which must be dense.
pub fn decode_events(events: &client_protocol::chat::Events) -> Vec<Event> {
    let decoded = Event::decode_records(&events.records).unwrap();
    assert_eq!(decoded.len(), events.count as usize);
    for (event, seq) in decoded.iter().zip(events.first_seq..) {
        assert_eq!(event.head.seq, seq);
    }
    decoded
}
