//! What of the NATS client protocol is needed: lines that end in CR LF, and payloads whose length is said in the line before.

use super::broker::Heard;
use crate::limits::SOCKET_MESSAGE_BYTES_MAX;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Asks for a PONG.
pub const PING: Bytes = Bytes::from_static(b"PING\r\n");

const END: &[u8] = b"\r\n";

/// One message to the room's subject.
#[must_use]
pub fn publish(room: Uuid, body: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(64 + body.len());
    line.put_slice(format!("PUB {} {}\r\n", room.simple(), body.len()).as_bytes());
    line.put_slice(body);
    line.put_slice(END);
    line.freeze()
}

/// What is said when the server has introduced itself. PONG comes when all before it has been done.
fn introduction(room: Uuid) -> Bytes {
    let options =
        "{\"verbose\":false,\"pedantic\":false,\"tls_required\":true,\"echo\":true,\"lang\":\"rust\",\"version\":\"0\"}";
    Bytes::from(format!("CONNECT {options}\r\nSUB {} 1\r\nPING\r\n", room.simple()))
}

/// Takes the next message off `buffer`, if it is whole.
///
/// # Errors
///
/// What the server complains of, or what makes no sense.
pub fn split(buffer: &mut BytesMut, room: Uuid) -> Result<Option<Heard>, String> {
    let Some(end) = buffer.windows(END.len()).take(SOCKET_MESSAGE_BYTES_MAX).position(|bytes| bytes == END) else {
        let endless = buffer.len() > SOCKET_MESSAGE_BYTES_MAX;
        return if endless { Err("a line without an end".to_owned()) } else { Ok(None) };
    };
    let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let body_at = end + END.len();
    let mut words = line.split_ascii_whitespace();
    let heard = match words.next() {
        Some("MSG") => {
            // MSG, subject, subscription, perhaps where to reply, length.
            let length = words.nth(2).map(|third| words.next().unwrap_or(third)).and_then(|word| word.parse::<usize>().ok());
            let length = length.filter(|length| *length <= SOCKET_MESSAGE_BYTES_MAX).ok_or_else(|| strange(&line))?;
            if buffer.len() < body_at + length + END.len() {
                return Ok(None);
            }
            buffer.advance(body_at);
            let body = buffer.split_to(length).freeze();
            buffer.advance(END.len());
            return Ok(Some(Heard::Message(body)));
        }
        Some("INFO") => Heard::Answer(introduction(room)),
        Some("PING") => Heard::Answer(Bytes::from_static(b"PONG\r\n")),
        Some("PONG") => Heard::Subscribed,
        Some("+OK") => Heard::Nothing,
        _ => return Err(strange(&line)),
    };
    buffer.advance(body_at);
    Ok(Some(heard))
}

fn strange(line: &str) -> String {
    format!("the server said {line:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROOM: Uuid = Uuid::from_u128(7);

    #[test]
    fn messages_are_taken_off_in_whatever_pieces_they_come() {
        let bytes = b"INFO {\"a\":1}\r\nPONG\r\nMSG room 1 6\r\na\r\nb\r\n\r\nPING\r\n";
        let mut buffer = BytesMut::new();
        let mut heard = Vec::new();
        for byte in bytes {
            buffer.put_u8(*byte);
            heard.extend(split(&mut buffer, ROOM).unwrap());
        }
        let (said, asked) = (introduction(ROOM), Bytes::from_static(b"PONG\r\n"));
        let message = Heard::Message(Bytes::from_static(b"a\r\nb\r\n"));
        assert_eq!(heard, [Heard::Answer(said), Heard::Subscribed, message, Heard::Answer(asked)]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_message_says_its_length_first() {
        let expected = format!("PUB {} 4\r\nbody\r\n", ROOM.simple());
        assert_eq!(publish(ROOM, b"body"), expected);
    }

    #[test]
    fn complaints_and_nonsense_are_errors() {
        for line in ["-ERR 'Slow Consumer'\r\n", "\r\n", "MSG room 1\r\n", "MSG room 1 99999999\r\n"] {
            assert!(split(&mut BytesMut::from(line), ROOM).is_err(), "{line}");
        }
        assert!(split(&mut BytesMut::zeroed(SOCKET_MESSAGE_BYTES_MAX + 1), ROOM).is_err());
    }
}
