//! A native session: connect, hello, subscribe; then one task that reads and one that writes. No reconnecting, no caches: what the
//! client costs must not drown what the server costs.

use super::dial;
use super::receiver::Receiver;
use super::stamp;
use super::tally::Tally;
use crate::control::SessionPlan;
use crate::limits::READ_BYTES_MAX;
use bytes::BytesMut;
use client_protocol::chat::{Body, MessageTail, PostMessage};
use client_protocol::frame::Frame;
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::room::{CommandHead, LIVE, Subscribe};
use client_protocol::session::Hello;
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Code, Command, DeviceId, Key, MINOR_VERSION, RoomId, ServerFrame};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;
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
    /// The room's head when it subscribed.
    pub head: u64,
}

/// Connects, says hello and subscribes; tries again where the server refuses for now.
///
/// # Errors
///
/// Why the last attempt failed, in words.
pub async fn open(endpoint: &quinn::Endpoint, address: SocketAddr, name: &str, plan: &SessionPlan) -> Result<Live, String> {
    dial::retried(|| open_once(endpoint, address, name, plan)).await
}

async fn open_once(endpoint: &quinn::Endpoint, address: SocketAddr, name: &str, plan: &SessionPlan) -> Result<Live, String> {
    let connecting = endpoint.connect(address, name).map_err(|error| error.to_string())?;
    let connection = connecting.await.map_err(|error| format!("connecting: {error}"))?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| format!("opening the stream: {error}"))?;
    let hello = Hello {
        minor: MINOR_VERSION,
        features: 0,
        device: DeviceId(Uuid::new_v4()),
        token: plan.token.clone(),
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
    let room = RoomId(plan.room);
    let subscribe = Subscribe { room, epoch, after_seq: LIVE, tail: EmptyTail {} };
    send.write_chunk(Command::Subscribe(subscribe).frame(SUBSCRIBE_ID)).await.map_err(written)?;
    let head = loop {
        if let ServerFrame::Reply(SUBSCRIBE_ID, reply) = next(&mut receive, &mut buffer).await? {
            match reply.code() {
                Code::Ok => break reply.seq,
                code => return Err(format!("subscribing to room {room}: {code}")),
            }
        }
    };
    Ok(Live { connection, send, receive, buffer, head })
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

/// Starts the two tasks of a session in the runtime of the calling worker. `due` brings the due times of its sends; the session's
/// stream stays open until it is closed.
pub fn start(live: Live, plan: &SessionPlan, body_bytes: u32, due: mpsc::Receiver<u64>, tally: &Tally) {
    tally.state.cursor.store(live.head, Relaxed);
    let room = RoomId(plan.room);
    let receiver = Receiver::new(room, live.buffer, tally.clone());
    tokio::spawn(read(live.receive, receiver, tally.clone()));
    tokio::spawn(write(live.send, room, body_bytes, due, tally.clone()));
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

async fn write(mut stream: quinn::SendStream, room: RoomId, body_bytes: u32, mut due: mpsc::Receiver<u64>, tally: Tally) {
    let mut id = SUBSCRIBE_ID;
    while let Some(due_ns) = due.recv().await {
        id += 1;
        let post = PostMessage {
            head: CommandHead { room, key: Key(Uuid::new_v4()), retry: false },
            body: Body { format: client_protocol::chat::format::TEXT, bytes: stamp::body(due_ns, body_bytes) },
            mentions: Vec::new(),
            tail: MessageTail::default(),
        };
        let frame = Command::PostMessage(post).frame(id);
        tally.state.open(id, due_ns);
        if let Err(error) = stream.write_chunk(frame).await {
            return tally.fault(format!("a send could not be written: {error}"));
        }
        tally.written(due_ns);
    }
}
