//! Sessions of peers that speak WebSocket over TLS. What they say is in `bench/peers/`.

use super::dial::{self, Route};
use super::stamp;
use super::tally::Tally;
use super::wire::Wire;
use crate::limits::SOCKET_MESSAGE_BYTES_MAX;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use uuid::Uuid;

/// How a peer frames its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Binary messages, as `uws.js` says.
    Plain,
    /// socket.io 4 (Engine.IO 4), as `socketio.js` says.
    SocketIo,
}

/// What a message of the server means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is in the room.
    Joined,
    /// The next message of the room.
    Event {
        /// Its number.
        seq: u64,
        /// What it says.
        body: Bytes,
    },
    /// A request became an event.
    Acked {
        /// The request.
        id: u64,
        /// The event.
        seq: u64,
    },
    /// It wants this back at once.
    Answer(&'static str),
    /// Nothing that matters here.
    Nothing,
}

/// A session that is in its room.
pub struct Live {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    dialect: Dialect,
    /// Its connection.
    pub wire: Wire,
}

/// Connects and joins `room`; tries again where that fails.
///
/// # Errors
///
/// Why the last attempt failed, in words.
pub async fn open(route: &Route, is_slow: bool, dialect: Dialect, room: Uuid) -> Result<Live, String> {
    dial::retried(|| open_once(route, is_slow, dialect, room)).await
}

async fn open_once(route: &Route, is_slow: bool, dialect: Dialect, room: Uuid) -> Result<Live, String> {
    let (stream, wire) = route.secured(is_slow).await?;
    let path = match dialect {
        Dialect::Plain => format!("wss://localhost/?room={room}"),
        Dialect::SocketIo => format!("wss://localhost/socket.io/?EIO=4&transport=websocket&room={room}"),
    };
    let config = WebSocketConfig::default().max_message_size(Some(SOCKET_MESSAGE_BYTES_MAX));
    let upgraded = tokio_tungstenite::client_async_with_config(path, stream, Some(config)).await;
    let (mut socket, _) = upgraded.map_err(|error| format!("the upgrade: {error}"))?;
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(format!("joining: {error}")),
            None => return Err("the server ended the connection".to_owned()),
        };
        match dialect.hear(&message)? {
            Heard::Joined => return Ok(Live { socket, dialect, wire }),
            Heard::Answer(text) => socket.send(Message::text(text)).await.map_err(|error| error.to_string())?,
            _ => {}
        }
    }
}

impl Live {
    /// Closes the WebSocket, and what is below it.
    pub async fn leave(self) {
        let mut socket = self.socket;
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
        dial::leave(socket.into_inner()).await;
    }
}

/// Starts the task of a session in the runtime of the calling worker. `due` brings the due times of its sends.
pub fn start(live: Live, body_bytes: u32, due: mpsc::Receiver<u64>, tally: Tally) {
    tokio::spawn(async move {
        if let Err(why) = talk(live, body_bytes, due, &tally).await {
            tally.fault(why);
        }
    });
}

async fn talk(live: Live, body_bytes: u32, mut due: mpsc::Receiver<u64>, tally: &Tally) -> Result<(), String> {
    let Live { mut socket, dialect, .. } = live;
    let mut id = 0;
    loop {
        tokio::select! {
            message = socket.next() => {
                let message = message.ok_or("the server ended a connection")?.map_err(|error| format!("a connection was lost: {error}"))?;
                match dialect.hear(&message)? {
                    Heard::Event { seq, body } => tally.event(seq, &body),
                    Heard::Acked { id, seq } => tally.acked(id, seq, tally.clock.now_ns()),
                    Heard::Answer(text) => socket.send(Message::text(text)).await.map_err(|error| error.to_string())?,
                    Heard::Joined | Heard::Nothing => {}
                }
            }
            due_ns = due.recv() => {
                let Some(due_ns) = due_ns else { return Ok(()) };
                id += 1;
                tally.state.open(id, due_ns);
                let post = dialect.post(id, &stamp::body(due_ns, body_bytes));
                socket.send(post).await.map_err(|error| format!("a send could not be written: {error}"))?;
                tally.written(due_ns);
            }
        }
    }
}

impl Dialect {
    fn post(self, id: u64, body: &[u8]) -> Message {
        match self {
            Self::Plain => {
                let mut frame = BytesMut::with_capacity(8 + body.len());
                frame.put_u64_le(id);
                frame.put_slice(body);
                Message::Binary(frame.freeze())
            }
            // The body is ASCII without quotes or backslashes.
            Self::SocketIo => Message::text(format!("42{id}[\"post\",\"{}\"]", String::from_utf8_lossy(body))),
        }
    }

    fn hear(self, message: &Message) -> Result<Heard, String> {
        let strange = || format!("a message that makes no sense: {message:?}");
        match (self, message) {
            (_, Message::Ping(_) | Message::Pong(_)) => Ok(Heard::Nothing),
            (_, Message::Close(_)) => Err("the server closed a connection".to_owned()),
            (Self::Plain, Message::Binary(bytes)) => plain(bytes).ok_or_else(strange),
            (Self::SocketIo, Message::Text(text)) => socket_io(text).ok_or_else(strange),
            _ => Err(strange()),
        }
    }
}

/// A message in the words of `uws.js`; `None` for one that makes no sense.
pub(super) fn plain(bytes: &Bytes) -> Option<Heard> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    match bytes.first()? {
        0 => Some(Heard::Joined),
        1 => Some(Heard::Acked { id: number(1)?, seq: number(9)? }),
        2 => Some(Heard::Event { seq: number(1)?, body: bytes.slice(9..) }),
        _ => None,
    }
}

fn socket_io(text: &str) -> Option<Heard> {
    // Engine.IO: 0 open, 2 ping, 3 pong, 4 message. In a message, socket.io: 0 connect, 2 event, 3 acknowledgement.
    if text == "2" {
        return Some(Heard::Answer("3"));
    }
    if text.starts_with('0') {
        return Some(Heard::Answer("40"));
    }
    if text.starts_with("40") {
        return Some(Heard::Nothing);
    }
    if text == "42[\"joined\"]" {
        return Some(Heard::Joined);
    }
    if let Some(rest) = text.strip_prefix("42[\"message\",") {
        let (seq, body) = rest.split_once(',')?;
        let body = body.strip_prefix('"')?.strip_suffix("\"]")?;
        return Some(Heard::Event { seq: seq.parse().ok()?, body: Bytes::copy_from_slice(body.as_bytes()) });
    }
    let (id, seq) = text.strip_prefix("43")?.strip_suffix(']')?.split_once('[')?;
    Some(Heard::Acked { id: id.parse().ok()?, seq: seq.parse().ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn binary_messages_are_what_the_peer_says() {
        let post = Dialect::Plain.post(7, b"body").into_data();
        assert_eq!(&post[..], b"\x07\0\0\0\0\0\0\0body");
        let hear = |bytes: &[u8]| Dialect::Plain.hear(&Message::binary(bytes.to_vec()));
        assert_eq!(hear(&[0]).unwrap(), Heard::Joined);
        let acked = [&[1][..], &7_u64.to_le_bytes(), &9_u64.to_le_bytes()].concat();
        assert_eq!(hear(&acked).unwrap(), Heard::Acked { id: 7, seq: 9 });
        let event = [&[2][..], &9_u64.to_le_bytes(), b"body"].concat();
        assert_eq!(hear(&event).unwrap(), Heard::Event { seq: 9, body: Bytes::from_static(b"body") });
        assert!(hear(&[1, 2]).is_err() && hear(&[]).is_err() && hear(&[9]).is_err());
    }

    #[test]
    fn socket_io_messages_are_what_the_library_says() {
        let post = Dialect::SocketIo.post(7, b"body").into_text().unwrap();
        assert_eq!(post.as_str(), "427[\"post\",\"body\"]");
        let hear = |text: &str| Dialect::SocketIo.hear(&Message::text(text));
        assert_eq!(hear("0{\"sid\":\"x\"}").unwrap(), Heard::Answer("40"));
        assert_eq!(hear("40{\"sid\":\"x\"}").unwrap(), Heard::Nothing);
        assert_eq!(hear("2").unwrap(), Heard::Answer("3"));
        assert_eq!(hear("42[\"joined\"]").unwrap(), Heard::Joined);
        assert_eq!(hear("437[9]").unwrap(), Heard::Acked { id: 7, seq: 9 });
        let event = hear("42[\"message\",9,\"body\"]").unwrap();
        assert_eq!(event, Heard::Event { seq: 9, body: Bytes::from_static(b"body") });
        assert!(hear("44{\"message\":\"no\"}").is_err() && hear("43[").is_err());
    }
}
