//! A native session: connect, hello, subscribe; then one task that reads and one that writes. It reconnects only where the scenario
//! drops it, and keeps nothing: what the client costs must not drown what the server costs.

use super::aside;
use super::dial;
use super::meter::Clock;
use super::receiver::Receiver;
use super::stamp;
use super::tally::Tally;
use super::wire::Wire;
use crate::control::SessionPlan;
use crate::limits::{DAY_ABSENCE, DAY_VISIT, READ_BYTES_MAX};
use bytes::BytesMut;
use client_protocol::chat::{Body, MessageTail, PostMessage};
use client_protocol::frame::Frame;
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::room::{CommandHead, LIVE, Subscribe};
use client_protocol::session::Hello;
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Code, Command, DeviceId, Key, MINOR_VERSION, RoomId, ServerFrame};
use quinn::VarInt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

/// The request id of Subscribe; sends count on from here.
const SUBSCRIBE_ID: u64 = 1;

/// A subscribed session.
pub struct Live {
    /// Its connection.
    pub connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    buffer: BytesMut,
    /// The epoch of its cursors.
    epoch: u64,
    /// The room's head when it subscribed.
    pub head: u64,
}

/// Where a session stands in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    epoch: u64,
    seq: u64,
}

/// Who connects from where to what; kept, so that a session can do it again.
#[derive(Debug, Clone)]
pub struct Way {
    /// The socket that its connection uses.
    pub endpoint: quinn::Endpoint,
    /// TLS and windows.
    pub config: quinn::ClientConfig,
    /// Where the server listens.
    pub address: SocketAddr,
    /// The name in its certificate.
    pub name: String,
    /// Who it is and what it reads.
    pub plan: SessionPlan,
}

/// Connects, says hello and subscribes from now on; tries again where the server refuses for now.
///
/// # Errors
///
/// Why the last attempt failed, in words.
pub async fn open(way: &Way) -> Result<Live, String> {
    dial::retried(|| open_once(way, None)).await
}

async fn open_once(way: &Way, after: Option<Cursor>) -> Result<Live, String> {
    let connecting = way.endpoint.connect_with(way.config.clone(), way.address, &way.name);
    let connecting = connecting.map_err(|error| error.to_string())?;
    let connection = connecting.await.map_err(|error| format!("connecting: {error}"))?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| format!("opening the stream: {error}"))?;
    let hello = Hello {
        minor: MINOR_VERSION,
        features: 0,
        device: DeviceId(Uuid::new_v4()),
        token: way.plan.token.clone(),
        tail: EmptyTail {},
    };
    let written = |error: quinn::WriteError| format!("writing: {error}");
    send.write_chunk(ClientFrame::Hello(hello).encode()).await.map_err(written)?;
    let mut buffer = BytesMut::new();
    let epoch = loop {
        if let ServerFrame::Welcome(welcome) = next(&mut receive, &mut buffer).await? {
            break welcome.epoch;
        }
    };
    let room = RoomId(way.plan.room);
    let after = after.unwrap_or(Cursor { epoch, seq: LIVE });
    let subscribe = Subscribe { room, epoch: after.epoch, after_seq: after.seq, tail: EmptyTail {} };
    send.write_chunk(Command::Subscribe(subscribe).frame(SUBSCRIBE_ID)).await.map_err(written)?;
    let head = loop {
        if let ServerFrame::Reply(SUBSCRIBE_ID, reply) = next(&mut receive, &mut buffer).await? {
            match reply.code() {
                Code::Ok => break reply.seq,
                code => return Err(format!("subscribing to room {room}: {code}")),
            }
        }
    };
    Ok(Live { connection, send, receive, buffer, epoch, head })
}

/// The next frame that this version knows.
async fn next(stream: &mut quinn::RecvStream, buffer: &mut BytesMut) -> Result<ServerFrame, String> {
    loop {
        match Frame::split(buffer, FRAME_BYTES_MAX).map_err(|error| error.to_string())? {
            Some(frame) => {
                if let Ok(frame) = ServerFrame::decode(&frame) {
                    return Ok(frame);
                }
            }
            None => match stream.read_chunk(READ_BYTES_MAX, true).await.map_err(|error| format!("reading: {error}"))? {
                Some(chunk) => buffer.extend_from_slice(&chunk.bytes),
                None => return Err("the server ended the stream".to_owned()),
            },
        }
    }
}

/// What a session does once it is subscribed.
pub struct Task {
    /// Its way to the server.
    pub way: Way,
    /// Bytes of its messages.
    pub body_bytes: u32,
    /// Does what else goes on beside messages too.
    pub mixed: bool,
    /// Comes and goes.
    pub visits: bool,
    /// Brings the due times of its sends.
    pub due: mpsc::Receiver<u64>,
    /// Says `true` when all connections drop.
    pub storm: watch::Receiver<bool>,
    /// What it counts.
    pub tally: Tally,
}

/// Starts the tasks of a session in the runtime of the calling worker; the session's stream stays open until it is closed.
pub fn start(live: Live, task: Task) {
    task.tally.state.cursor.store(live.head, Relaxed);
    if task.mixed && !task.visits {
        aside::start(&live.connection, RoomId(task.way.plan.room), &task.tally);
    }
    tokio::spawn(task.run(live));
}

/// Why a connection is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    /// All are dropped.
    Storm,
    /// A visitor leaves for a while.
    Break,
}

impl Task {
    async fn run(mut self, mut live: Live) {
        let mut storm = self.storm.clone();
        let mut stormed = false;
        loop {
            let Live { connection, send, receive, buffer, epoch, .. } = live;
            let receiver = Receiver::new(RoomId(self.way.plan.room), buffer, self.tally.clone());
            let reading = tokio::spawn(read(receive, receiver, self.tally.clone()));
            let (visits, clock) = (self.visits, Arc::clone(&self.tally.clock));
            let parting = tokio::select! {
                // First, so that what becomes due afterwards is kept for the next connection. Nothing is being written at that
                // time: the pacer is silent before a storm, and visitors do not send.
                biased;
                _ = storm.wait_for(|storms| *storms), if !stormed => Parting::Storm,
                () = visit(&clock), if visits => Parting::Break,
                () = self.write(send) => return,
            };
            stormed |= parting == Parting::Storm;
            reading.abort();
            connection.close(VarInt::from_u32(0), b"");
            match self.come_back(parting, epoch).await {
                Some(again) => live = again,
                None => return,
            }
        }
    }

    /// Connects again and goes on where the session was.
    async fn come_back(&self, parting: Parting, epoch: u64) -> Option<Live> {
        if parting == Parting::Break {
            tokio::time::sleep(DAY_ABSENCE).await;
        }
        let from_ns = self.tally.clock.now_ns();
        let seq = self.tally.state.cursor.load(Relaxed);
        match dial::retried(|| open_once(&self.way, Some(Cursor { epoch, seq }))).await {
            Ok(live) => {
                self.tally.state.reconnected(Wire::Quic(live.connection.clone()));
                match parting {
                    Parting::Storm => self.tally.resumed(live.head),
                    Parting::Break => self.tally.aside(aside::BACK, from_ns, Some(self.tally.clock.now_ns())),
                }
                Some(live)
            }
            Err(why) => {
                self.tally.fault(format!("coming back: {why}"));
                None
            }
        }
    }

    async fn write(&mut self, mut stream: quinn::SendStream) {
        let room = RoomId(self.way.plan.room);
        let mut id = SUBSCRIBE_ID;
        let mut requests = aside::Requests::new(&self.way.plan.watched);
        loop {
            id += 1;
            let frame = tokio::select! {
                due_ns = self.due.recv() => {
                    let Some(due_ns) = due_ns else { return };
                    self.tally.state.open(id, due_ns);
                    (Some(due_ns), post(room, due_ns, self.body_bytes).frame(id))
                }
                request = requests.next(room, &self.tally), if self.mixed => {
                    self.tally.state.open_aside(id, request.due_ns, request.name);
                    (None, request.command.frame(id))
                }
            };
            if let Err(error) = stream.write_chunk(frame.1).await {
                return self.tally.fault(format!("a send could not be written: {error}"));
            }
            if let Some(due_ns) = frame.0 {
                self.tally.written(due_ns);
            }
        }
    }
}

/// Ends when a visitor leaves: they must not march in step. When the measurement is over it stays, so that what was sent last arrives.
async fn visit(clock: &Clock) {
    let part = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    tokio::time::sleep(DAY_VISIT.mul_f64(0.5 + part)).await;
    if clock.is_over(clock.now_ns()) {
        std::future::pending::<()>().await;
    }
}

fn post(room: RoomId, due_ns: u64, body_bytes: u32) -> Command {
    Command::PostMessage(PostMessage {
        head: CommandHead { room, key: Key(Uuid::new_v4()), retry: false },
        body: Body { format: client_protocol::chat::format::TEXT, bytes: stamp::body(due_ns, body_bytes) },
        mentions: Vec::new(),
        tail: MessageTail::default(),
    })
}

async fn read(mut stream: quinn::RecvStream, mut receiver: Receiver, tally: Tally) {
    // What was read together with the reply to Subscribe.
    let mut taken = receiver.take(&[], tally.clock.now_ns());
    loop {
        if let Err(error) = taken {
            return tally.fault(format!("a frame that cannot be read: {error}"));
        }
        match stream.read_chunk(READ_BYTES_MAX, true).await {
            Ok(Some(chunk)) => taken = receiver.take(&chunk.bytes, tally.clock.now_ns()),
            Ok(None) => return tally.fault("the server ended a session's stream".to_owned()),
            Err(error) => return tally.fault(format!("a connection was lost: {error}")),
        }
    }
}
