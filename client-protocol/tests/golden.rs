//! Golden vectors: the bytes of every frame and every record, and every number that has a meaning. They are what clients in other
//! languages were written against, so a line that is there never changes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use client_protocol::codes::{CloseCode, Code};
use client_protocol::event::MUST_UNDERSTAND;
use client_protocol::frame::kinds;
use client_protocol::{Command, EventBody, Key, Query, RoomId, ServerFrame};
use common::{hex, key, read, room, samples, unhex, user};
use std::collections::{BTreeMap, BTreeSet};

const FRAMES: &str = include_str!("golden/frames.txt");
const NUMBERS: &str = include_str!("golden/numbers.txt");
const IDS: &str = include_str!("golden/ids.txt");

/// Lines of a golden file that are neither empty nor comments, split at blanks.
fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| line.split(' ').collect())
}

#[test]
fn frames_and_records_have_the_bytes_of_the_golden_file() {
    let mut golden = BTreeMap::new();
    for line in lines(FRAMES) {
        let [way, name, kind, bytes] = line[..] else { panic!("not four words: {line:?}") };
        assert!(golden.insert(name, (way, kind, bytes)).is_none(), "{name} is there twice");
    }
    let mut missing = String::new();
    for sample in samples() {
        let bytes = sample.bytes();
        let kind = format!("{:#06x}", sample.kind);
        match golden.remove(sample.name) {
            Some(line) => {
                assert_eq!(line, (sample.way(), kind.as_str(), hex(&bytes).as_str()), "{} changed", sample.name);
                assert_eq!(read(line.0, &unhex(line.2)), Ok(sample.value), "{} reads differently", sample.name);
            }
            None => missing.push_str(&format!("{} {} {kind} {}\n", sample.way(), sample.name, hex(&bytes))),
        }
    }
    assert!(golden.is_empty(), "no sample for {:?}", golden.keys());
    assert!(missing.is_empty(), "samples without a line; append:\n{missing}");
}

#[test]
fn every_kind_has_a_vector() {
    let known: BTreeSet<(String, String)> = lines(FRAMES)
        .map(|line| {
            let what = line[0].split('-').next_back().unwrap().replace("datagram", "frame");
            (format!("{what} {}", line[1].split('/').next().unwrap()), line[2].to_owned())
        })
        .collect();
    let frames = Command::KINDS.iter().chain(Query::KINDS).chain(ServerFrame::KINDS);
    let frames = frames.chain(&[("Hello", kinds::HELLO), ("Typing", kinds::TYPING)]).map(|kind| ("frame", kind));
    for (what, (name, number)) in frames.chain(EventBody::KINDS.iter().map(|kind| ("record", kind))) {
        let kind = (format!("{what} {name}"), format!("{number:#06x}"));
        assert!(known.contains(&kind), "{kind:?} has no golden vector");
    }
}

fn close_codes() -> Vec<(&'static str, CloseCode)> {
    let all = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::Overloaded,
        CloseCode::Internal,
        CloseCode::HelloTimeout,
        CloseCode::TokenExpired,
        CloseCode::ProtocolError,
        CloseCode::FrameTooLarge,
        CloseCode::Unauthenticated,
        CloseCode::SessionRevoked,
        CloseCode::AccountDisabled,
        CloseCode::Replaced,
    ];
    let named = |code| match code {
        // A new code must be added to the list above as well.
        CloseCode::Normal => "Normal",
        CloseCode::GoingAway => "GoingAway",
        CloseCode::Overloaded => "Overloaded",
        CloseCode::Internal => "Internal",
        CloseCode::HelloTimeout => "HelloTimeout",
        CloseCode::TokenExpired => "TokenExpired",
        CloseCode::ProtocolError => "ProtocolError",
        CloseCode::FrameTooLarge => "FrameTooLarge",
        CloseCode::Unauthenticated => "Unauthenticated",
        CloseCode::SessionRevoked => "SessionRevoked",
        CloseCode::AccountDisabled => "AccountDisabled",
        CloseCode::Replaced => "Replaced",
    };
    all.into_iter().map(|code| (named(code), code)).collect()
}

fn numbers() -> Vec<String> {
    let mut all = Vec::new();
    let frames = [("Hello", kinds::HELLO), ("Typing", kinds::TYPING)];
    for (name, kind) in frames.iter().chain(Command::KINDS).chain(Query::KINDS).chain(ServerFrame::KINDS) {
        all.push(format!("frame {kind:#06x} {name}"));
    }
    for (name, kind) in EventBody::KINDS {
        all.push(format!("event {kind:#06x} {name}"));
    }
    for code in Code::ALL {
        all.push(format!("code {} {}", code.number(), code.name()));
    }
    for (name, code) in close_codes() {
        all.push(format!("close {:#05x} {name}", code as u32));
    }
    all
}

#[test]
fn numbers_keep_their_meaning() {
    let golden: BTreeSet<String> = lines(NUMBERS).map(|line| line.join(" ")).collect();
    let now: BTreeSet<String> = numbers().into_iter().collect();
    let gone: Vec<_> = golden.difference(&now).collect();
    assert!(gone.is_empty(), "numbers that lost their meaning: {gone:#?}");
    let new: Vec<_> = now.difference(&golden).cloned().collect();
    assert!(new.is_empty(), "numbers without a line; append:\n{}", new.join("\n"));
}

#[test]
fn no_number_has_two_meanings() {
    for what in ["frame", "event", "code", "close"] {
        let mut seen = BTreeMap::new();
        for line in lines(NUMBERS).filter(|line| line[0] == what) {
            let [_, number, name] = line[..] else { panic!("not three words: {line:?}") };
            assert_eq!(seen.insert(number, name), None, "{what} {number} stands twice");
        }
        let names: BTreeSet<_> = seen.values().collect();
        assert_eq!(names.len(), seen.len(), "a {what} has two numbers");
    }
}

#[test]
fn codes_and_close_codes_read_back() {
    for code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), *code);
    }
    for number in [2, 99, 104, 310, 999, u16::MAX] {
        assert_eq!(Code::from_number(number), Code::Other(number));
        assert_eq!(Code::Other(number).number(), number);
    }
    for (name, code) in close_codes() {
        assert_eq!(CloseCode::may_reconnect(code as u64), (0x100..0x200).contains(&(code as u32)), "{name}");
    }
    assert!(CloseCode::may_reconnect(0x1ff) && !CloseCode::may_reconnect(0x2ff) && !CloseCode::may_reconnect(0x300));
}

#[test]
fn authority_kinds_must_be_understood() {
    for (name, kind) in EventBody::KINDS {
        let base = kind & !MUST_UNDERSTAND;
        assert_eq!(kind & MUST_UNDERSTAND != 0, (0x10..0x100).contains(&base), "{name} {kind:#06x}");
    }
}

#[test]
fn derived_ids_are_those_of_the_golden_file() {
    let now = [
        format!("direct {} {} {}", user(1), user(2), RoomId::direct(user(1), user(2))),
        format!("direct {} {} {}", user(2), user(1), RoomId::direct(user(2), user(1))),
        format!("created {} {} {}", user(1), key(1), RoomId::created(user(1), key(1))),
        format!("self {} {}", user(1), RoomId::self_log(user(1))),
        format!("key 110 {} 300 {}", room(1), Key::derived(b'n', room(1), 300)),
        format!("text order-66 {}", Key::from_text("order-66")),
        format!("text {} {}", key(1), Key::from_text(&key(1).to_string())),
    ];
    let golden: Vec<String> = lines(IDS).map(|line| line.join(" ")).collect();
    assert_eq!(golden, now);
}
