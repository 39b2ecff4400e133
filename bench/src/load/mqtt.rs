//! What of MQTT 3.1.1 is needed: CONNECT, SUBSCRIBE, PUBLISH with QoS 0, PINGREQ, and their answers.

use super::broker::Heard;
use crate::limits::{IDLE_TIMEOUT, SOCKET_MESSAGE_BYTES_MAX};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Asks for a PINGRESP.
pub const PING: Bytes = Bytes::from_static(&[0xC0, 0]);

/// Says that the client leaves.
pub const DISCONNECT: Bytes = Bytes::from_static(&[0xE0, 0]);

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xD0;
/// The flag of CONNECT that wants nothing kept from an earlier session.
const CLEAN_SESSION: u8 = 0x02;
/// The identifier of the one SUBSCRIBE.
const SUBSCRIBE_ID: u16 = 1;
/// In SUBACK: no subscription.
const REFUSED: u8 = 0x80;
/// Bytes of a length, at most.
const LENGTH_BYTES_MAX: usize = 4;

fn packet(kind: u8, body: &[u8]) -> Bytes {
    let mut packet = BytesMut::with_capacity(1 + LENGTH_BYTES_MAX + body.len());
    packet.put_u8(kind);
    let mut rest = body.len();
    loop {
        let low = (rest % 128) as u8;
        rest /= 128;
        packet.put_u8(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.put_slice(body);
    packet.freeze()
}

/// A text and its length in front; topics and names here are far below 64 KiB.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

/// The first packet of a client of this name.
#[must_use]
pub fn connect(client: Uuid) -> Bytes {
    let mut body = Vec::new();
    put_text(&mut body, "MQTT");
    body.put_u8(4);
    body.put_u8(CLEAN_SESSION);
    body.put_u16(IDLE_TIMEOUT.as_secs() as u16);
    // Servers must take 23 characters of a name; more is up to them.
    put_text(&mut body, &client.simple().to_string()[..23]);
    packet(CONNECT, &body)
}

fn subscribe(room: Uuid) -> Bytes {
    let mut body = Vec::new();
    body.put_u16(SUBSCRIBE_ID);
    put_text(&mut body, &room.simple().to_string());
    body.put_u8(0);
    packet(SUBSCRIBE, &body)
}

/// One message to the room's topic.
#[must_use]
pub fn publish(room: Uuid, message: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(64 + message.len());
    put_text(&mut body, &room.simple().to_string());
    body.put_slice(message);
    packet(PUBLISH, &body)
}

/// Length of the rest of a packet, and how many bytes say so; `None` if they are not all there.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut length = 0;
    for (n, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            let whole = length <= SOCKET_MESSAGE_BYTES_MAX;
            return if whole { Ok(Some((length, n + 1))) } else { Err(format!("a packet of {length} bytes")) };
        }
    }
    if bytes.len() < LENGTH_BYTES_MAX { Ok(None) } else { Err("a length without an end".to_owned()) }
}

/// Takes the next packet off `buffer`, if it is whole.
///
/// # Errors
///
/// What makes no sense, or was refused.
pub fn split(buffer: &mut BytesMut, room: Uuid) -> Result<Option<Heard>, String> {
    let Some(kind) = buffer.first().copied() else { return Ok(None) };
    let Some((length, used)) = length(&buffer[1..])? else { return Ok(None) };
    if buffer.len() < 1 + used + length {
        return Ok(None);
    }
    buffer.advance(1 + used);
    let mut body = buffer.split_to(length).freeze();
    let strange = || format!("a packet of kind {kind:#04x} that makes no sense");
    match (kind, &body[..]) {
        (CONNACK, [_, 0]) => Ok(Some(Heard::Answer(subscribe(room)))),
        (CONNACK, [_, code]) => Err(format!("the server refused the connection with code {code}")),
        (SUBACK, [_, _, code]) if *code < REFUSED => Ok(Some(Heard::Subscribed)),
        (SUBACK, _) => Err("the server refused the subscription".to_owned()),
        (PUBLISH, [high, low, ..]) => {
            let topic = usize::from(u16::from_be_bytes([*high, *low]));
            if body.len() < 2 + topic {
                return Err(strange());
            }
            body.advance(2 + topic);
            Ok(Some(Heard::Message(body)))
        }
        (PINGRESP, []) => Ok(Some(Heard::Nothing)),
        _ => Err(strange()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROOM: Uuid = Uuid::from_u128(7);

    #[test]
    fn packets_are_those_of_the_standard() {
        let connect = connect(ROOM);
        assert_eq!(&connect[..14], b"\x10\x23\0\x04MQTT\x04\x02\0\x3c\0\x17");
        assert_eq!(connect.len(), 37);
        let subscribe = subscribe(ROOM);
        assert_eq!((&subscribe[..6], subscribe.last()), (&b"\x82\x25\0\x01\0\x20"[..], Some(&0)));
        let publish = publish(ROOM, &[b'x'; 128]);
        assert_eq!(&publish[..5], b"\x30\xa2\x01\0\x20");
        assert_eq!(publish.len(), 3 + 2 + 32 + 128);
    }

    #[test]
    fn packets_are_taken_off_in_whatever_pieces_they_come() {
        let sent = publish(ROOM, &[b'x'; 200]);
        let bytes = [&b"\x20\x02\0\0\x90\x03\0\x01\0"[..], &sent, b"\xd0\0"].concat();
        let mut buffer = BytesMut::new();
        let mut heard = Vec::new();
        for byte in bytes {
            buffer.put_u8(byte);
            heard.extend(split(&mut buffer, ROOM).unwrap());
        }
        let message = Heard::Message(Bytes::from_static(&[b'x'; 200]));
        assert_eq!(heard, [Heard::Answer(subscribe(ROOM)), Heard::Subscribed, message, Heard::Nothing]);
    }

    #[test]
    fn refusals_and_nonsense_are_errors() {
        let bad: [&[u8]; 5] =
            [b"\x20\x02\0\x05", b"\x90\x03\0\x01\x80", b"\x30\x02\0\x09", b"\x30\xff\xff\xff\xff", b"\x30\xff\xff\x7f"];
        for bytes in bad {
            assert!(split(&mut BytesMut::from(bytes), ROOM).is_err(), "{bytes:?}");
        }
    }
}
