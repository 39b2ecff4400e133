//! docs/protocol.md says what the code does: its examples in hex, its numbers and its limits are compared with it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use client_protocol::chat::{Body, Events, MessagePosted, MessageTail, PostMessage};
use client_protocol::frame::kinds;
use client_protocol::limits;
use client_protocol::room::{CommandHead, CreateRoom, RoomCreated, SettingsTail, Subscribe, kind};
use client_protocol::session::{Hello, Reply, ReplyTail, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{
    ClientFrame, Code, Command, DeviceId, Event, EventBody, EventHead, Key, NodeId, Query, RoomId, ServerFrame, SessionId,
    UserId,
};
use common::{Value, hex, read, unhex};
use std::path::PathBuf;
use std::process::Command as Process;

const NO_TAIL: EmptyTail = EmptyTail {};

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn document() -> String {
    std::fs::read_to_string(docs().join("protocol.md")).unwrap()
}

/// The ids of the example.
const fn id(last: u8) -> [u8; 16] {
    [0x01, 0x98, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, last]
}

const ALICE: UserId = UserId::from_bytes(id(0x0a));
const BOB: UserId = UserId::from_bytes(id(0x0b));
const CREATE: Key = Key::from_bytes(id(0xc1));
const POST: Key = Key::from_bytes(id(0xc2));
const NOW_MS: u64 = 1_800_000_000_000;

fn harbour() -> SettingsTail {
    SettingsTail { name: Some("Harbour".into()), ..SettingsTail::default() }
}

fn done(id: u64, seq: u64, time_ms: Option<u64>) -> Value {
    let room = time_ms.map(|_| RoomId::created(ALICE, CREATE));
    let tail = ReplyTail { room, time_ms, ..ReplyTail::default() };
    Value::Server(ServerFrame::Reply(id, Reply { code: 0, seq, tail }))
}

fn pushed(key: Key, seq: u64, message_no: u64, body: EventBody) -> Value {
    let head = EventHead { seq, time_ms: NOW_MS + seq * 1_000, actor: ALICE, key, node: NodeId(1), message_no };
    let records = Event { head, body }.record().into();
    let room = RoomId::created(ALICE, CREATE);
    Value::Server(ServerFrame::Events(Events { room, first_seq: seq, count: 1, records }))
}

/// The session of the document, in its order.
fn examples() -> Vec<(&'static str, Value)> {
    let room = RoomId::created(ALICE, CREATE);
    let hello =
        Hello { minor: 0, features: 0, device: DeviceId::from_bytes(id(0xde)), token: "eyJ.eyJ.sig".into(), tail: NO_TAIL };
    let welcome = Welcome {
        minor: 0,
        features: 0,
        epoch: 7,
        user: ALICE,
        session: SessionId::from_bytes(id(0x5e)),
        expires_ms: NOW_MS + 600_000,
        now_ms: NOW_MS,
        subscriptions_max: 200,
        open_requests_max: 32,
        body_bytes_max: 8_192,
        reconnect_after_ms: (100, 3_000),
        tail: NO_TAIL,
    };
    let create = CreateRoom { key: CREATE, kind: kind::GROUP, members: vec![BOB], settings: harbour() };
    let created = RoomCreated { kind: kind::GROUP, members: vec![BOB], settings: harbour() };
    let subscribe = Subscribe { room, epoch: 7, after_seq: 0, tail: NO_TAIL };
    let body = Body::text("Ahoy ⚓");
    let head = CommandHead { room, key: POST, retry: false };
    let post = PostMessage { head, body: body.clone(), mentions: vec![BOB], tail: MessageTail::default() };
    let posted = MessagePosted { body, mentions: vec![BOB], tail: MessageTail::default() };
    let request = |id, command| Value::Client(ClientFrame::Request(id, command));
    vec![
        ("Hello", Value::Client(ClientFrame::Hello(hello))),
        ("Welcome", Value::Server(ServerFrame::Welcome(welcome))),
        ("CreateRoom", request(1, Command::CreateRoom(create))),
        ("Reply", done(1, 1, Some(NOW_MS + 1_000))),
        ("Subscribe", request(2, Command::Subscribe(subscribe))),
        ("Reply", done(2, 1, None)),
        ("Events", pushed(CREATE, 1, 0, EventBody::RoomCreated(created))),
        ("PostMessage", request(3, Command::PostMessage(post))),
        ("Reply", done(3, 2, Some(NOW_MS + 2_000))),
        ("Events", pushed(POST, 2, 1, EventBody::MessagePosted(posted))),
    ]
}

/// The blocks between "```hex NAME" and "```", comments left out.
fn blocks(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```hex ") else { continue };
        let digits: String =
            lines.by_ref().take_while(|line| *line != "```").map(|line| line.split('#').next().unwrap()).collect();
        found.push((name.to_owned(), unhex(&digits)));
    }
    found
}

#[test]
fn the_session_in_hex_is_what_the_code_sends() {
    let found = blocks(&document());
    let expected = examples();
    let wanted: String = expected
        .iter()
        .map(|(name, value)| match value {
            Value::Client(frame) => format!("{name} {}\n", hex(&frame.encode())),
            Value::Server(frame) => format!("{name} {}\n", hex(&frame.encode())),
            Value::Record(event) => format!("{name} {}\n", hex(&event.record())),
        })
        .collect();
    let there: String = found.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    assert_eq!(there, wanted);
    for ((_, bytes), (name, value)) in found.iter().zip(expected) {
        let way = if matches!(value, Value::Client(_)) { "client-frame" } else { "server-frame" };
        assert_eq!(read(way, bytes), Ok(value), "{name}");
    }
}

#[test]
fn every_kind_and_code_is_described() {
    let text = document();
    let frames = [("Hello", kinds::HELLO), ("Typing", kinds::TYPING)];
    let frames = frames.iter().chain(Command::KINDS).chain(Query::KINDS).chain(ServerFrame::KINDS);
    for (name, kind) in frames.chain(EventBody::KINDS) {
        let row = format!("| `{kind:#06x}` | {name} |");
        assert!(text.contains(&row), "no row {row}");
    }
    for code in Code::ALL {
        let row = format!("| {} | `{}` |", code.number(), code.name());
        assert!(text.contains(&row), "no row {row}");
    }
    for line in include_str!("golden/numbers.txt").lines() {
        let Some((number, name)) = line.strip_prefix("close ").and_then(|rest| rest.split_once(' ')) else { continue };
        let row = format!("| `{number}` | {name} |");
        assert!(text.contains(&row), "no row {row}");
    }
}

#[test]
fn ids_in_the_document_are_those_of_the_code() {
    let text = document();
    for id in [RoomId::direct(ALICE, BOB), RoomId::created(ALICE, CREATE)] {
        assert!(text.contains(&id.to_string()), "{id}");
    }
}

#[test]
fn limits_in_the_document_are_those_of_the_code() {
    let text = document();
    let limits: &[(&str, u64)] = &[
        ("FRAME_BYTES_MAX", limits::FRAME_BYTES_MAX as u64),
        ("HELLO_BYTES_MAX", limits::HELLO_BYTES_MAX as u64),
        ("HELLO_TIMEOUT_MS", limits::HELLO_TIMEOUT_MS),
        ("TOKEN_BYTES_MAX", limits::TOKEN_BYTES_MAX as u64),
        ("BODY_BYTES_MAX", limits::BODY_BYTES_MAX as u64),
        ("RECORD_BYTES_MAX", limits::RECORD_BYTES_MAX as u64),
        ("CHUNK_BYTES_MAX", limits::CHUNK_BYTES_MAX as u64),
        ("ROOM_MEMBERS_MAX", limits::ROOM_MEMBERS_MAX as u64),
        ("FIRST_MEMBERS_MAX", limits::FIRST_MEMBERS_MAX as u64),
        ("USER_ROOMS_MAX", limits::USER_ROOMS_MAX as u64),
        ("SUBSCRIPTIONS_MAX", limits::SUBSCRIPTIONS_MAX as u64),
        ("OPEN_REQUESTS_MAX", limits::OPEN_REQUESTS_MAX as u64),
        ("PRESENCE_WATCH_MAX", limits::PRESENCE_WATCH_MAX as u64),
        ("MENTIONS_MAX", limits::MENTIONS_MAX as u64),
        ("ATTACHMENTS_MAX", limits::ATTACHMENTS_MAX as u64),
        ("ATTACHMENT_FIELD_BYTES_MAX", limits::ATTACHMENT_FIELD_BYTES_MAX as u64),
        ("ROOM_NAME_BYTES_MAX", limits::ROOM_NAME_BYTES_MAX as u64),
        ("ROOM_TOPIC_BYTES_MAX", limits::ROOM_TOPIC_BYTES_MAX as u64),
        ("REACTION_BYTES_MAX", limits::REACTION_BYTES_MAX as u64),
        ("REACTION_KINDS_MAX", limits::REACTION_KINDS_MAX as u64),
        ("REACTIONS_MAX", limits::REACTIONS_MAX as u64),
        ("EDITS_MAX", limits::EDITS_MAX as u64),
        ("PAGE_BYTES_MAX", limits::PAGE_BYTES_MAX as u64),
        ("HISTORY_PAGE_MAX", limits::HISTORY_PAGE_MAX as u64),
        ("SEARCH_PAGE_MAX", limits::SEARCH_PAGE_MAX as u64),
        ("SEARCH_TEXT_BYTES_MAX", limits::SEARCH_TEXT_BYTES_MAX as u64),
        ("SEARCH_WORDS_MAX", limits::SEARCH_WORDS_MAX as u64),
        ("ROOMS_PAGE_MAX", limits::ROOMS_PAGE_MAX as u64),
        ("MEMBERS_PAGE_MAX", limits::MEMBERS_PAGE_MAX as u64),
        ("REPLAY_EVENTS_MAX", limits::REPLAY_EVENTS_MAX),
        ("TYPING_READERS_MAX", limits::TYPING_READERS_MAX as u64),
        ("TYPING_INTERVAL_MS", limits::TYPING_INTERVAL_MS),
        ("TYPING_EXPIRES_MS", limits::TYPING_EXPIRES_MS),
        ("REQUEST_TIMEOUT_MS", limits::REQUEST_TIMEOUT_MS),
    ];
    for (name, value) in limits {
        let row = format!("| `{name}` | {value} |");
        assert!(text.contains(&row), "no row {row}");
    }
}

#[test]
fn a_decoder_written_from_the_document_reads_every_golden_vector() {
    let script = docs().join("examples/decode.py");
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (what, file) in [("--golden", "frames.txt"), ("--ids", "ids.txt")] {
        match Process::new("python3").arg(&script).arg(what).arg(golden.join(file)).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => eprintln!("not tried: there is no python3 here"),
            Err(error) => panic!("python3 does not start: {error}"),
        }
    }
}
