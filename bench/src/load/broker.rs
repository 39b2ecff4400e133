//! Sessions of message brokers over TLS: a member of a room subscribes to one topic and publishes to it. Brokers number nothing and
//! acknowledge nothing here, so that what is checked is the count: every member gets as many messages as were sent to its room.

use super::dial::{self, Route};
use super::stamp;
use super::tally::Tally;
use super::wire::Wire;
use super::{mqtt, nats};
use crate::limits::{KEEP_ALIVE, READ_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

/// What a broker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The text protocol of NATS: plain PUB.
    Nats,
    /// MQTT 3.1.1 with QoS 0.
    Mqtt,
}

/// What a message of a broker means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The session's turn to say this.
    Answer(Bytes),
    /// It is subscribed.
    Subscribed,
    /// A message of the room.
    Message(Bytes),
    /// Nothing that matters here.
    Nothing,
}

impl Language {
    /// What the client says first, if it speaks first.
    fn hello(self) -> Option<Bytes> {
        match self {
            Self::Nats => None,
            Self::Mqtt => Some(mqtt::connect(Uuid::new_v4())),
        }
    }

    /// Takes the next message off `buffer`, if it is whole.
    fn split(self, buffer: &mut BytesMut, room: Uuid) -> Result<Option<Heard>, String> {
        match self {
            Self::Nats => nats::split(buffer, room),
            Self::Mqtt => mqtt::split(buffer, room),
        }
    }

    fn publish(self, room: Uuid, body: &[u8]) -> Bytes {
        match self {
            Self::Nats => nats::publish(room, body),
            Self::Mqtt => mqtt::publish(room, body),
        }
    }

    /// What the client says last, if there is a word for it.
    const fn good_bye(self) -> Option<Bytes> {
        match self {
            Self::Nats => None,
            Self::Mqtt => Some(mqtt::DISCONNECT),
        }
    }

    fn ping(self) -> Bytes {
        match self {
            Self::Nats => nats::PING,
            Self::Mqtt => mqtt::PING,
        }
    }
}

/// A session that is subscribed to its room.
pub struct Live {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    language: Language,
    room: Uuid,
    /// Its connection.
    pub wire: Wire,
}

/// Connects and subscribes to `room`; tries again where that fails.
///
/// # Errors
///
/// Why the last attempt failed, in words.
pub async fn open(route: &Route, is_slow: bool, language: Language, room: Uuid) -> Result<Live, String> {
    dial::retried(|| open_once(route, is_slow, language, room)).await
}

async fn open_once(route: &Route, is_slow: bool, language: Language, room: Uuid) -> Result<Live, String> {
    let (stream, wire) = route.secured(is_slow).await?;
    let mut live = Live { stream, buffer: BytesMut::new(), language, room, wire };
    if let Some(hello) = language.hello() {
        live.say(&hello).await?;
    }
    loop {
        match live.hear().await? {
            Heard::Subscribed => return Ok(live),
            Heard::Answer(answer) => live.say(&answer).await?,
            Heard::Message(_) | Heard::Nothing => {}
        }
    }
}

impl Live {
    /// Says good-bye where the language has a word for it, and closes the connection.
    pub async fn leave(mut self) {
        if let Some(end) = self.language.good_bye() {
            // Who cannot be told is gone.
            let _gone = self.say(&end).await;
        }
        dial::leave(self.stream).await;
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| format!("writing: {error}"))?;
        self.stream.flush().await.map_err(|error| format!("writing: {error}"))
    }

    /// The next message. Nothing is lost if it is cancelled.
    async fn hear(&mut self) -> Result<Heard, String> {
        loop {
            if let Some(heard) = self.language.split(&mut self.buffer, self.room)? {
                return Ok(heard);
            }
            self.buffer.reserve(READ_BYTES_MAX / 16);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err("the server ended a connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("a connection was lost: {error}")),
            }
        }
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

async fn talk(mut live: Live, body_bytes: u32, mut due: mpsc::Receiver<u64>, tally: &Tally) -> Result<(), String> {
    let mut ping = tokio::time::interval(KEEP_ALIVE);
    loop {
        tokio::select! {
            heard = live.hear() => match heard? {
                Heard::Message(body) => {
                    tally.state.cursor.fetch_add(1, Relaxed);
                    tally.meter.deliveries.fetch_add(1, Relaxed);
                    tally.message(&body, tally.clock.now_ns());
                }
                Heard::Answer(answer) => live.say(&answer).await?,
                Heard::Subscribed | Heard::Nothing => {}
            },
            due_ns = due.recv() => {
                let Some(due_ns) = due_ns else { return Ok(()) };
                let message = live.language.publish(live.room, &stamp::body(due_ns, body_bytes));
                live.say(&message).await?;
                tally.state.sent.fetch_add(1, Relaxed);
                tally.written(due_ns);
            }
            _ = ping.tick() => {
                let ping = live.language.ping();
                live.say(&ping).await?;
            }
        }
    }
}
