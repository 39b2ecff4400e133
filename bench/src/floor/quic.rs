//! A bare broadcast server on quinn, with TLS and the transport settings of Starling: one thread, one stream a client, one task a client that
//! writes. What it lacks against Starling is the world, the store, batching by rooms and all checks.
//!
//! A frame is its length (4 bytes, little-endian) and that many bytes. The client first says 16 bytes of room and hears `[0]`; then it is
//! as in `bench/peers/uws.js`: `[8 bytes request][body]` is answered by `[1][8 bytes request][8 bytes seq]`, and every member of the room,
//! the sender too, gets `[2][8 bytes seq][body]`.

use crate::error::BenchError;
use crate::limits::{
    FLOOR_DATAGRAM_BUFFER, FLOOR_QUEUE_MAX, FLOOR_RECEIVE_WINDOW, FLOOR_SEND_WINDOW, FLOOR_STREAM_RECEIVE_WINDOW,
    FLOOR_STREAMS_MAX, FLOOR_WRITE_MAX, IDLE_TIMEOUT, READ_BYTES_MAX, SOCKET_MESSAGE_BYTES_MAX, UDP_BUFFER_BYTES,
};
use crate::tls;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;
/// Bytes of a room's name and of a request.
const ROOM_BYTES: usize = 16;
const REQUEST_BYTES: usize = 8;

/// A frame of these parts.
#[must_use]
pub fn frame(parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + length);
    frame.put_u32_le(length as u32);
    for part in parts {
        frame.put_slice(part);
    }
    frame.freeze()
}

/// Takes the next frame's bytes off `buffer`, if it is whole; an error where it is longer than any message.
///
/// # Errors
///
/// In words.
pub fn split(buffer: &mut BytesMut) -> Result<Option<Bytes>, String> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > SOCKET_MESSAGE_BYTES_MAX {
        return Err(format!("a frame of {length} bytes"));
    }
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[derive(Default)]
struct Room {
    seq: u64,
    members: Vec<mpsc::Sender<Bytes>>,
}

type RoomName = [u8; ROOM_BYTES];
type Rooms = Rc<RefCell<HashMap<RoomName, Room>>>;

/// Serves until the process is ended; says `PORT` and its port first.
///
/// # Errors
///
/// [`BenchError`] where it cannot begin.
pub fn serve(cert: &Path, key: &Path) -> Result<(), BenchError> {
    let config = server_config(cert, key)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::io("a runtime"))?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BenchError::io("a UDP socket"))?;
        let sized = socket2::SockRef::from(&socket);
        // The kernel may grant less.
        let _less = sized.set_send_buffer_size(UDP_BUFFER_BYTES);
        let _less = sized.set_recv_buffer_size(UDP_BUFFER_BYTES);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(quinn::TokioRuntime))
            .map_err(BenchError::io("an endpoint"))?;
        println!("PORT {}", endpoint.local_addr().map_err(BenchError::io("an endpoint"))?.port());
        let rooms = Rooms::default();
        while let Some(incoming) = endpoint.accept().await {
            tokio::task::spawn_local(session(incoming, Rc::clone(&rooms)));
        }
        Ok(())
    })
}

fn server_config(cert: &Path, key: &Path) -> Result<quinn::ServerConfig, BenchError> {
    let failed = |why: String| BenchError::Server(format!("TLS: {why}"));
    let cert = CertificateDer::from_pem_file(cert).map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(error.to_string()))?;
    let provider = Arc::new(tls::server_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|tls| tls.with_no_client_auth().with_single_cert(vec![cert], key))
        .map_err(|error| failed(error.to_string()))?;
    tls.alpn_protocols = vec![client_protocol::ALPN.to_vec()];
    tls.max_early_data_size = 0;
    tls.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| failed(error.to_string()))?;
    tls.send_tls13_tickets = 1;
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| failed(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(FLOOR_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(FLOOR_STREAM_RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(FLOOR_RECEIVE_WINDOW))
        .send_window(FLOOR_SEND_WINDOW)
        .datagram_receive_buffer_size(Some(FLOOR_DATAGRAM_BUFFER))
        .datagram_send_buffer_size(FLOOR_DATAGRAM_BUFFER)
        .ack_frequency_config(Some(quinn::AckFrequencyConfig::default()))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok());
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// A client, until it goes or says what makes no sense.
async fn session(incoming: quinn::Incoming, rooms: Rooms) {
    let (out, outs) = mpsc::channel(FLOOR_QUEUE_MAX);
    let mut room = None;
    let _gone = talk(incoming, &rooms, &mut room, (&out, outs)).await;
    let mut rooms = rooms.borrow_mut();
    // In a room in which nobody posts it would be kept for ever.
    if let Some(room) = room.as_ref().and_then(|name| rooms.get_mut(name)) {
        room.members.retain(|member| !member.same_channel(&out));
    }
}

async fn talk(
    incoming: quinn::Incoming,
    rooms: &Rooms,
    room: &mut Option<RoomName>,
    (out, outs): (&mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>),
) -> Option<()> {
    let connection = incoming.await.ok()?;
    let (send, mut receive) = connection.accept_bi().await.ok()?;
    tokio::task::spawn_local(write(send, outs));
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = split(&mut buffer).ok()? {
            match room {
                None => {
                    let name = frame[..].try_into().ok()?;
                    rooms.borrow_mut().entry(name).or_default().members.push(out.clone());
                    *room = Some(name);
                    out.try_send(self::frame(&[&[0]])).ok()?;
                }
                Some(room) => post(rooms.borrow_mut().get_mut(room)?, &frame, out)?,
            }
        }
        buffer.extend_from_slice(&receive.read_chunk(READ_BYTES_MAX, true).await.ok()??.bytes);
    }
}

fn post(room: &mut Room, message: &Bytes, sender: &mpsc::Sender<Bytes>) -> Option<()> {
    let (request, body) = message.split_at_checked(REQUEST_BYTES)?;
    room.seq += 1;
    let seq = room.seq.to_le_bytes();
    let event = frame(&[&[2], &seq, body]);
    // Who does not keep up, or has gone, is dropped.
    room.members.retain(|member| member.try_send(event.clone()).is_ok());
    sender.try_send(frame(&[&[1], request, &seq])).ok()
}

/// Writes what waits, together, to a client's stream.
async fn write(mut stream: quinn::SendStream, mut outs: mpsc::Receiver<Bytes>) {
    let mut waiting = Vec::with_capacity(FLOOR_WRITE_MAX);
    while outs.recv_many(&mut waiting, FLOOR_WRITE_MAX).await > 0 {
        if stream.write_all_chunks(&mut waiting).await.is_err() {
            return;
        }
        waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn frames_come_in_whatever_pieces() {
        let bytes = [&frame(&[b"ab", b"c"])[..], &frame(&[]), &frame(&[b"d"])].concat();
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in bytes {
            buffer.put_u8(byte);
            while let Some(frame) = split(&mut buffer).unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [&b"abc"[..], b"", b"d"]);
        assert!(split(&mut BytesMut::from(&[0xff; 4][..])).is_err());
    }

    #[test]
    fn a_message_goes_to_every_member_and_is_acknowledged() {
        let (one, mut ones) = mpsc::channel(4);
        let (two, mut twos) = mpsc::channel(4);
        let mut room = Room { seq: 8, members: vec![one.clone(), two] };
        post(&mut room, &Bytes::from_static(b"\x07\0\0\0\0\0\0\0body"), &one).unwrap();
        let event = frame(&[&[2], &9_u64.to_le_bytes(), b"body"]);
        assert_eq!((ones.try_recv().unwrap(), twos.try_recv().unwrap()), (event.clone(), event));
        assert_eq!(ones.try_recv().unwrap(), frame(&[&[1], &7_u64.to_le_bytes(), &9_u64.to_le_bytes()]));
        drop(twos);
        post(&mut room, &Bytes::from_static(b"\x08\0\0\0\0\0\0\0body"), &one).unwrap();
        assert_eq!(room.members.len(), 1);
        assert!(post(&mut room, &Bytes::from_static(b"short"), &one).is_none());
    }
}
