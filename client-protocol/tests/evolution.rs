//! How the protocol grows: what a later version sends must be readable by this one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use bytes::{BufMut, Bytes, BytesMut};
use client_protocol::codec::{self, CodecError, Encode};
use client_protocol::event::MUST_UNDERSTAND;
use client_protocol::frame::{KIND_BYTES, LENGTH_BYTES, events_frame};
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::session::{Reply, ReplyTail};
use client_protocol::{ClientFrame, Code, Command, Event, EventBody, Frame, FrameError, Query, ServerFrame};
use common::{Sample, Value, read, room, sample_events, samples};

/// The bytes of a sample whose tail has fields of a later version: an `Option` with a number and bytes without any structure.
fn with_longer_tail(sample: &Sample) -> Option<Vec<u8>> {
    let (tail, fields) = sample.tail.as_ref()?;
    let whole = sample.bytes();
    let start = whole.len() - tail.len();
    assert_eq!(&whole[start..], tail, "{} does not end in its tail", sample.name);
    let mut longer: Vec<u8> = codec::decode(tail).unwrap();
    if longer.is_empty() {
        // Known fields that are left out in the middle of a tail are there as `None`.
        longer.resize(*fields, 0);
    }
    longer.extend_from_slice(&[1, 251, 0x34, 0x12, 0xff, 0xff, 0xff]);
    let mut out = whole[..start].to_vec();
    codec::encode_into(&longer, &mut out);
    Some(relength(sample, out))
}

/// Corrects the length in front of a frame or record.
fn relength(sample: &Sample, mut bytes: Vec<u8>) -> Vec<u8> {
    match sample.value {
        Value::Record(_) => {
            let (_, start) = codec::decode_prefix::<u32>(&bytes).unwrap();
            let mut out = codec::encode(&((bytes.len() - start) as u32));
            out.extend_from_slice(&bytes[start..]);
            out
        }
        _ if sample.is_datagram() => bytes,
        _ => {
            let length = (bytes.len() - LENGTH_BYTES) as u32;
            bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            bytes
        }
    }
}

#[test]
fn longer_tails_are_read_and_what_is_unknown_is_skipped() {
    let mut tried = 0;
    for sample in samples() {
        if let Some(longer) = with_longer_tail(&sample) {
            assert_eq!(read(sample.way(), &longer), Ok(sample.value), "{}", sample.name);
            tried += 1;
        }
    }
    assert!(tried > 70, "only {tried} samples have a tail that can grow");
}

#[test]
fn the_tail_of_an_events_frame_may_grow() {
    let event = sample_events().remove(0);
    let mut body = codec::encode(&(room(1), 300_u64, 1_u32));
    codec::encode_into(&vec![1_u8, 2, 3], &mut body);
    body.extend_from_slice(&event.record());
    let frame = Frame { kind: client_protocol::frame::kinds::EVENTS, rest: body.into() };
    let Ok(ServerFrame::Events(events)) = ServerFrame::decode(&frame) else { panic!("not read") };
    assert_eq!(Event::decode_records(&events.records), Ok(vec![event]));
}

#[test]
fn elements_of_lists_may_grow() {
    // An attachment and a reaction count of a later version: the same fields, a longer tail.
    let attachment = codec::encode(&("id", "name", "mime", 5_u64, vec![9_u8, 9]));
    let read: client_protocol::chat::Attachment = codec::decode(&attachment).unwrap();
    assert_eq!((read.name.as_str(), read.size), ("name", 5));
    let count = codec::encode(&("ok", 3_u32, true, vec![9_u8, 9]));
    let read: client_protocol::chat::ReactionCount = codec::decode(&count).unwrap();
    assert_eq!((read.reaction.as_str(), read.count, read.mine), ("ok", 3, true));
}

#[test]
fn missing_fields_in_the_middle_of_a_tail_are_none_also_at_its_end() {
    // A writer may leave the `None`s at the end in; only the shortest form is ever written here.
    let mut bytes = codec::encode(&(0_u16, 9_u64));
    codec::encode_into(&vec![0_u8, 0, 0, 0], &mut bytes);
    assert_eq!(codec::decode::<Reply>(&bytes), Ok(Reply::done(9)));
    let detail = ReplyTail { detail: Some("x".into()), ..ReplyTail::default() };
    assert_eq!(codec::encode(&detail), [4, 0, 1, 1, b'x']);
}

#[test]
fn a_tail_that_ends_inside_a_known_field_is_malformed() {
    for tail in [&[1_u8][..], &[1, 251], &[0, 1, 5, b'x'], &[2]] {
        let mut bytes = codec::encode(&(0_u16, 9_u64));
        codec::encode_into(&tail.to_vec(), &mut bytes);
        assert!(matches!(codec::decode::<Reply>(&bytes), Err(CodecError::Malformed(_))), "{tail:?}");
    }
}

/// A whole frame of any kind.
fn frame(kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut out = ((KIND_BYTES + rest.len()) as u32).to_le_bytes().to_vec();
    out.put_u16_le(kind);
    out.extend_from_slice(rest);
    out
}

#[test]
fn requests_of_unknown_kinds_are_reported_with_their_id_and_the_stream_goes_on() {
    let mut stream = BytesMut::new();
    for (kind, id) in [(0x01ee_u16, 77_u64), (0x0160, 65_536), (0x7fff, 1)] {
        let mut rest = codec::encode(&id);
        rest.extend_from_slice(b"what nobody knows");
        stream.extend_from_slice(&frame(kind, &rest));
        let unknown = Frame::split(&mut stream.clone(), FRAME_BYTES_MAX).unwrap().unwrap();
        let expected = Err(FrameError::UnknownKind { kind, request: Some(id) });
        assert_eq!(Command::decode(&unknown).map(|_| ()), expected.clone());
        assert_eq!(Query::decode(&unknown).map(|_| ()), expected.clone());
        assert_eq!(ClientFrame::decode(&unknown).map(|_| ()), expected);
        let _ = Frame::split(&mut stream, FRAME_BYTES_MAX).unwrap().unwrap();
    }
    let known = samples().remove(0);
    stream.extend_from_slice(&known.bytes());
    let next = Frame::split(&mut stream, FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!(ClientFrame::decode(&next).map(Value::Client), Ok(known.value));
}

#[test]
fn a_request_of_unknown_kind_without_an_id_is_malformed() {
    let nothing = Frame { kind: 0x01ee, rest: Bytes::new() };
    assert!(matches!(Command::decode(&nothing), Err(FrameError::Body { kind: 0x01ee, request: None, .. })));
}

#[test]
fn a_known_request_with_a_bad_body_is_reported_with_its_id() {
    let mut rest = codec::encode(&300_u64);
    rest.push(1);
    let bad = Frame { kind: 0x0130, rest: rest.into() };
    assert!(matches!(Command::decode(&bad), Err(FrameError::Body { kind: 0x0130, request: Some(300), .. })));
}

#[test]
fn server_frames_of_unknown_kinds_are_skipped() {
    for kind in [0x02ee, 0x0110, 0xffff] {
        let unknown = Frame { kind, rest: Bytes::from_static(b"what nobody knows") };
        let expected = FrameError::UnknownKind { kind, request: None };
        assert_eq!(ServerFrame::decode(&unknown), Err(expected));
    }
}

#[test]
fn unknown_events_are_skipped_by_their_length_and_kept_byte_for_byte() {
    let mut events = sample_events();
    let unknown = |kind, seq: u64| Event {
        head: client_protocol::EventHead { seq, ..sample_events()[0].head.clone() },
        body: EventBody::Unknown { kind, bytes: b"of a later version".to_vec() },
    };
    events.insert(1, unknown(0x0777, 301));
    events.push(unknown(MUST_UNDERSTAND | 0x0777, 304));
    events.push(Event { body: EventBody::Unknown { kind: 0x0778, bytes: vec![] }, ..unknown(0x0778, 305) });
    let records: Vec<u8> = events.iter().flat_map(Event::record).collect();
    let whole = events_frame(room(1), 300, events.len() as u32, &records);
    let Ok(Value::Server(ServerFrame::Events(pushed))) = read("server-frame", &whole) else { panic!("not read") };
    let read = Event::decode_records(&pushed.records).unwrap();
    assert_eq!(read, events);
    let again: Vec<u8> = read.iter().flat_map(Event::record).collect();
    assert_eq!(again, records);
    assert!(!read[1].body.stops_old_nodes() && read[4].body.stops_old_nodes() && !read[5].body.stops_old_nodes());
    assert_eq!((read[1].body.kind(), read[4].body.kind()), (0x0777, 0x8777));
}

#[test]
fn codes_of_later_versions_are_kept() {
    let reply = Reply { code: 4_711, ..Reply::done(0) };
    let back: Reply = codec::decode(&codec::encode(&reply)).unwrap();
    assert_eq!(back.code(), Code::Other(4_711));
    assert_eq!(back.code().to_string(), "code 4711");
}

#[test]
fn an_empty_tail_is_one_byte() {
    assert_eq!(codec::encode(&client_protocol::tail::EmptyTail {}), [0]);
    for sample in samples().iter().filter(|sample| sample.tail.as_ref().is_some_and(|(_, fields)| *fields == 0)) {
        assert_eq!(sample.bytes().last(), Some(&0), "{}", sample.name);
    }
}

fn encoded(value: impl Encode) -> Vec<u8> {
    codec::encode(&value)
}

#[test]
fn primitives_are_encoded_as_documented() {
    assert_eq!(encoded(250_u64), [250]);
    assert_eq!(encoded(251_u64), [251, 251, 0]);
    assert_eq!(encoded(65_535_u64), [251, 255, 255]);
    assert_eq!(encoded(65_536_u64), [252, 0, 0, 1, 0]);
    assert_eq!(encoded(u64::from(u32::MAX)), [252, 255, 255, 255, 255]);
    assert_eq!(encoded(1_u64 << 32), [253, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(encoded(u32::MAX), [252, 255, 255, 255, 255]);
    assert_eq!(encoded(u16::MAX), [251, 255, 255]);
    assert_eq!(encoded(255_u8), [255]);
    assert_eq!(encoded((false, true)), [0, 1]);
    assert_eq!(encoded((None::<u8>, Some(251_u8))), [0, 1, 251]);
    assert_eq!(encoded("é"), [2, 0xc3, 0xa9]);
    assert_eq!(encoded(vec![300_u64, 1]), [2, 251, 44, 1, 1]);
    assert_eq!(encoded(room(1)), [0xa1; 16]);
    assert_eq!(encoded((1_u32, 300_u32)), [1, 251, 44, 1]);
}

#[test]
fn primitives_outside_their_range_are_malformed_and_longer_forms_are_read() {
    // Writers use the shortest form; readers take longer ones.
    assert_eq!(codec::decode::<u64>(&[251, 1, 0]), Ok(1));
    assert_eq!(codec::decode::<u64>(&[253, 1, 0, 0, 0, 0, 0, 0, 0]), Ok(1));
    assert!(codec::decode::<u64>(&[254, 1, 0, 0, 0, 0, 0, 0, 0]).is_err());
    assert!(codec::decode::<u64>(&[255]).is_err());
    assert!(codec::decode::<u32>(&[253, 1, 0, 0, 0, 0, 0, 0, 0]).is_err());
    assert!(codec::decode::<u16>(&[252, 1, 0, 0, 0]).is_err());
    assert!(codec::decode::<bool>(&[2]).is_err());
    assert!(codec::decode::<Option<u8>>(&[2, 0]).is_err());
    assert!(codec::decode::<String>(&[1, 0xff]).is_err());
}
