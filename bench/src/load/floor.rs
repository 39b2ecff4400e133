//! Sessions of the floor on quinn ([`crate::floor::quic`]): one stream, frames with their length in front.

use super::dial;
use super::stamp;
use super::tally::Tally;
use super::websocket::{Heard, plain};
use crate::floor::quic::{frame, split};
use crate::limits::READ_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use quinn::{ClientConfig, Endpoint};
use std::net::SocketAddr;
use tokio::sync::mpsc;
use uuid::Uuid;

/// A session that is in its room.
pub struct Live {
    /// Its connection.
    pub connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    buffer: BytesMut,
}

/// Connects and joins `room`; tries again where that fails.
///
/// # Errors
///
/// Why the last attempt failed, in words.
pub async fn open(socket: &(Endpoint, ClientConfig), address: SocketAddr, room: Uuid) -> Result<Live, String> {
    dial::retried(|| open_once(socket, address, room)).await
}

async fn open_once((endpoint, config): &(Endpoint, ClientConfig), address: SocketAddr, room: Uuid) -> Result<Live, String> {
    let connecting = endpoint.connect_with(config.clone(), address, "localhost").map_err(|error| error.to_string())?;
    let connection = connecting.await.map_err(|error| format!("connecting: {error}"))?;
    let (mut send, receive) = connection.open_bi().await.map_err(|error| format!("opening the stream: {error}"))?;
    send.write_chunk(frame(&[room.as_bytes()])).await.map_err(|error| format!("writing: {error}"))?;
    let mut live = Live { connection, send, receive, buffer: BytesMut::new() };
    while hear(&mut live.receive, &mut live.buffer).await? != Heard::Joined {}
    Ok(live)
}

/// The next message.
async fn hear(stream: &mut quinn::RecvStream, buffer: &mut BytesMut) -> Result<Heard, String> {
    loop {
        if let Some(bytes) = split(buffer)? {
            return plain(&bytes).ok_or_else(|| "a message that makes no sense".to_owned());
        }
        match stream.read_chunk(READ_BYTES_MAX, true).await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
            Ok(None) => return Err("the server ended a session's stream".to_owned()),
            Err(error) => return Err(format!("a connection was lost: {error}")),
        }
    }
}

/// Starts the two tasks of a session in the runtime of the calling worker. `due` brings the due times of its sends.
pub fn start(live: Live, body_bytes: u32, due: mpsc::Receiver<u64>, tally: &Tally) {
    tokio::spawn(read(live.receive, live.buffer, tally.clone()));
    tokio::spawn(write(live.send, body_bytes, due, tally.clone()));
}

async fn read(mut stream: quinn::RecvStream, mut buffer: BytesMut, tally: Tally) {
    loop {
        match hear(&mut stream, &mut buffer).await {
            Ok(Heard::Event { seq, body }) => tally.event(seq, &body),
            Ok(Heard::Acked { id, seq }) => tally.acked(id, seq, tally.clock.now_ns()),
            Ok(_) => {}
            Err(why) => return tally.fault(why),
        }
    }
}

async fn write(mut stream: quinn::SendStream, body_bytes: u32, mut due: mpsc::Receiver<u64>, tally: Tally) {
    let mut id = 0_u64;
    while let Some(due_ns) = due.recv().await {
        id += 1;
        let message: Bytes = frame(&[&id.to_le_bytes(), &stamp::body(due_ns, body_bytes)]);
        tally.state.open(id, due_ns);
        if let Err(error) = stream.write_chunk(message).await {
            return tally.fault(format!("a send could not be written: {error}"));
        }
        tally.written(due_ns);
    }
}
