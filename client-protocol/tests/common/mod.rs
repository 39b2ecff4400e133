//! Fixed sample values of everything that crosses the wire, shared by the tests of this folder.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod client;
mod records;
mod server;

use bytes::{Bytes, BytesMut};
use client_protocol::codec::{self, Encode};
use client_protocol::frame::{LENGTH_BYTES, kinds};
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::{ClientFrame, DeviceId, Event, Frame, FrameError, Key, RoomId, ServerFrame, SessionId, UserId};
use std::fmt::Write as _;

/// A value that crosses the wire, by the way in which it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A frame on a stream, to the server.
    Client(ClientFrame),
    /// A frame on a stream, from the server.
    Server(ServerFrame),
    /// A record inside an `Events` frame.
    Record(Event),
}

/// A value with the name of its golden vector.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Kind and variant: `PostMessage/full`.
    pub name: &'static str,
    /// The number of the kind.
    pub kind: u16,
    /// The value.
    pub value: Value,
    /// The tail at its end, as it is on the wire, and how many fields of it are known. `None` where fields are left out at its end.
    pub tail: Option<(Vec<u8>, usize)>,
}

impl Sample {
    /// A sample whose tail is given, so that a test can make it longer.
    pub fn new(name: &'static str, value: Value, tail: &impl Encode, fields: usize) -> Self {
        let tail = codec::encode(tail);
        let whole = fields == 0 || tail.len() > 1;
        Self { name, kind: kind_of(&value), value, tail: whole.then_some((tail, fields)) }
    }

    /// A sample whose tail ends before its last known field.
    pub fn partial(name: &'static str, value: Value) -> Self {
        Self { name, kind: kind_of(&value), value, tail: None }
    }

    /// Whether the frame travels in a datagram, without its length.
    pub fn is_datagram(&self) -> bool {
        matches!(self.kind, kinds::TYPING | kinds::TYPING_NOTICE) && !matches!(self.value, Value::Record(_))
    }

    /// How it travels, as the golden file says it.
    pub fn way(&self) -> &'static str {
        match self.value {
            Value::Client(_) if self.is_datagram() => "client-datagram",
            Value::Client(_) => "client-frame",
            Value::Server(_) if self.is_datagram() => "server-datagram",
            Value::Server(_) => "server-frame",
            Value::Record(_) => "record",
        }
    }

    /// The bytes as they travel.
    pub fn bytes(&self) -> Bytes {
        let whole = match &self.value {
            Value::Client(frame) => frame.encode(),
            Value::Server(frame) => frame.encode(),
            Value::Record(event) => return Bytes::from(event.record()),
        };
        if self.is_datagram() { whole.slice(LENGTH_BYTES..) } else { whole }
    }

    /// What is decoded of the frame: kind and rest. For frames only.
    pub fn frame(&self) -> Frame {
        let whole = self.bytes();
        Frame::parse(if self.is_datagram() { whole } else { whole.slice(LENGTH_BYTES..) }).unwrap()
    }
}

fn kind_of(value: &Value) -> u16 {
    let whole = match value {
        Value::Client(frame) => frame.encode(),
        Value::Server(frame) => frame.encode(),
        Value::Record(event) => return event.body.kind(),
    };
    u16::from_le_bytes([whole[LENGTH_BYTES], whole[LENGTH_BYTES + 1]])
}

/// Reads bytes that travelled in the given way, to the last one.
pub fn read(way: &str, bytes: &[u8]) -> Result<Value, String> {
    match way {
        "client-frame" => decode(&whole(bytes)?, Value::Client, ClientFrame::decode),
        "server-frame" => decode(&whole(bytes)?, Value::Server, ServerFrame::decode),
        "client-datagram" => decode(&datagram(bytes)?, Value::Client, ClientFrame::decode),
        "server-datagram" => decode(&datagram(bytes)?, Value::Server, ServerFrame::decode),
        "record" => match Event::decode_record(bytes) {
            Ok((event, used)) if used == bytes.len() => Ok(Value::Record(event)),
            Ok((_, used)) => Err(format!("{} bytes after the record", bytes.len() - used)),
            Err(error) => Err(error.to_string()),
        },
        way => Err(format!("no such way: {way}")),
    }
}

fn decode<T>(
    frame: &Frame,
    wrap: impl FnOnce(T) -> Value,
    decode: impl FnOnce(&Frame) -> Result<T, FrameError>,
) -> Result<Value, String> {
    decode(frame).map(wrap).map_err(|error| error.to_string())
}

fn whole(bytes: &[u8]) -> Result<Frame, String> {
    let mut buffer = BytesMut::from(bytes);
    match Frame::split(&mut buffer, FRAME_BYTES_MAX) {
        Ok(Some(frame)) if buffer.is_empty() => Ok(frame),
        other => Err(format!("{other:?}, {} bytes left", buffer.len())),
    }
}

fn datagram(bytes: &[u8]) -> Result<Frame, String> {
    Frame::parse(Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())
}

/// Every sample, in the order of the golden file.
pub fn samples() -> Vec<Sample> {
    let mut all = client::samples();
    all.extend(server::samples());
    all.extend(records::samples());
    all
}

/// Records that the samples of `Events` carry.
pub fn sample_events() -> Vec<Event> {
    records::three()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hex digits; blanks are skipped.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).expect("a hex digit")).collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {text}");
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// A user of the samples.
pub const fn user(n: u8) -> UserId {
    UserId::from_bytes([0x10 | n; 16])
}

/// A room of the samples.
pub const fn room(n: u8) -> RoomId {
    RoomId::from_bytes([0xa0 | n; 16])
}

/// A key of the samples.
pub const fn key(n: u8) -> Key {
    Key::from_bytes([0xc0 | n; 16])
}

/// The device of the samples.
pub const DEVICE: DeviceId = DeviceId::from_bytes(*b"device-of-sample");

/// The login of the samples.
pub const LOGIN: SessionId = SessionId::from_bytes(*b"login--of-sample");
