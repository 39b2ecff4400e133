//! Bytes that mean harm: claims without substance, cuts, leftovers, noise. Decoding them must end in an error or a value, soon,
//! without a panic and without much memory, which a counting allocator measures.

#![allow(clippy::unwrap_used, clippy::expect_used, unsafe_code)]

mod common;

use bytes::{Bytes, BytesMut};
use client_protocol::chat::{Attachment, Body, HistoryPage, Message, MessageTail, PostMessage};
use client_protocol::codec;
use client_protocol::limits::{DECODE_BYTES_MAX, FRAME_BYTES_MAX};
use client_protocol::room::CommandHead;
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Command, Event, EventBody, Frame, Query, ServerFrame};
use common::{Sample, Value, key, room, samples, user};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Counts what each thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counters any more.
    let _gone = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _gone = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may live side by side for a moment.
        count(size as isize);
        // SAFETY: the caller's promises are passed on.
        let moved = unsafe { System.realloc(place, layout, size) };
        count(-(layout.size() as isize));
        moved
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Memory that one decode may hold at its worst, whatever the bytes: two claims, of the body and of a tail in it.
const PEAK_BYTES_MAX: usize = 2 * DECODE_BYTES_MAX;
/// The same for whole frames of a server that are packed with elements: these a client reads, from a server that it chose.
const PACKED_BYTES_MAX: usize = 8 * DECODE_BYTES_MAX;
/// Time of one decode. Microseconds in fact; the bound allows for a busy machine.
const DECODE_TIME_MAX: Duration = Duration::from_secs(1);

/// Runs a decode; returns its result and the most that it held.
fn measured<T>(decode: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let start = Instant::now();
    let result = decode();
    let took = start.elapsed();
    assert!(took < DECODE_TIME_MAX, "a decode took {took:?}");
    (result, (PEAK.get() - before).unsigned_abs())
}

#[test]
fn the_measure_measures() {
    let (_, peak) = measured(|| (vec![0_u8; 1_000], vec![1_u16; 1_000]));
    assert_eq!(peak, 3_000);
    assert_eq!(measured(|| drop(vec![7_u8; 500])).1, 500);
}

/// Decodes as everything that could be meant, within the bound; says whether the given way found a value.
fn survive(way: &str, kind: u16, bytes: &[u8]) -> bool {
    let rest = Bytes::copy_from_slice(bytes);
    let frame = Frame { kind, rest };
    let (is_value, peak) = measured(|| match way {
        "record" => Event::decode_records(&frame.rest).is_ok(),
        way if way.starts_with("client") => ClientFrame::decode(&frame).is_ok(),
        _ => match ServerFrame::decode(&frame) {
            Ok(ServerFrame::Events(events)) => Event::decode_records(&events.records).is_ok(),
            other => other.is_ok(),
        },
    });
    assert!(peak < PEAK_BYTES_MAX, "{way} {kind:#06x}: {peak} bytes for {}", common::hex(bytes));
    is_value
}

/// What is decoded of a sample: the rest of its frame, or its record.
fn body_of(sample: &Sample) -> Vec<u8> {
    match sample.value {
        Value::Record(_) => sample.bytes().to_vec(),
        _ => sample.frame().rest.to_vec(),
    }
}

fn claim(length: u64, bytes: u8) -> Vec<u8> {
    let mut out = vec![bytes];
    out.extend_from_slice(
        &length.to_le_bytes()[..match bytes {
            251 => 2,
            252 => 4,
            _ => 8,
        }],
    );
    out
}

#[test]
fn claims_of_any_length_at_any_place_allocate_little() {
    let claims = [
        claim(1 << 63, 253),
        claim(u64::MAX, 253),
        claim(u64::MAX / 16 + 1, 253),
        claim(u64::from(u32::MAX), 252),
        claim(DECODE_BYTES_MAX as u64, 252),
        claim(DECODE_BYTES_MAX as u64 - 64, 252),
        claim(65_535, 251),
        claim(4_000, 251),
        vec![250],
        vec![254],
        vec![255],
    ];
    for sample in samples() {
        let body = body_of(&sample);
        for at in 0..body.len() {
            for claim in &claims {
                // Instead of what stands there, with and without what followed.
                let mut bytes = body[..at].to_vec();
                bytes.extend_from_slice(claim);
                survive(sample.way(), sample.kind, &bytes);
                bytes.extend_from_slice(&body[at + 1..]);
                survive(sample.way(), sample.kind, &bytes);
                bytes.resize(bytes.len() + 300, 0);
                survive(sample.way(), sample.kind, &bytes);
            }
        }
    }
}

#[test]
fn every_byte_may_be_any_other() {
    for sample in samples() {
        let mut body = body_of(&sample);
        for at in 0..body.len() {
            let was = body[at];
            for value in [0, 1, 2, 127, 128, 250, 251, 252, 253, 254, 255] {
                body[at] = value;
                survive(sample.way(), sample.kind, &body);
            }
            body[at] = was;
        }
    }
}

/// Where records end inside the rest of an `Events` frame: a cut there leaves fewer records, which the count tells.
fn record_ends(sample: &Sample) -> Vec<usize> {
    let Value::Server(ServerFrame::Events(events)) = &sample.value else { return vec![] };
    let mut at = sample.frame().rest.len() - events.records.len();
    let mut ends = vec![at];
    for event in Event::decode_records(&events.records).unwrap() {
        at += event.record().len();
        ends.push(at);
    }
    ends
}

#[test]
fn a_body_cut_anywhere_is_an_error() {
    for sample in samples() {
        let body = body_of(&sample);
        let ends = record_ends(&sample);
        for end in (0..body.len()).filter(|end| !ends.contains(end)) {
            let no_record = end == 0 && matches!(sample.value, Value::Record(_));
            assert_eq!(survive(sample.way(), sample.kind, &body[..end]), no_record, "{} cut to {end} bytes", sample.name);
        }
    }
}

#[test]
fn a_byte_after_the_body_is_an_error() {
    for sample in samples() {
        for extra in [0, 1, 255] {
            let mut body = body_of(&sample);
            body.push(extra);
            assert!(!survive(sample.way(), sample.kind, &body), "{} with {extra} after it", sample.name);
        }
    }
}

#[test]
fn a_record_is_consumed_whole_and_bounded() {
    let event = common::sample_events().remove(0);
    let mut inner = event.record().split_off(1);
    inner.push(0);
    let mut longer = codec::encode(&(inner.len() as u32));
    longer.extend_from_slice(&inner);
    assert!(Event::decode_record(&longer).is_err(), "a byte after the body, inside the record");
    let bytes = vec![1; client_protocol::limits::RECORD_BYTES_MAX + 1];
    let large = Event { head: event.head, body: EventBody::Unknown { kind: 0x777, bytes } };
    assert!(Event::decode_record(&large.record()).is_err(), "a record above the bound");
}

fn small_attachment() -> Attachment {
    Attachment { id: String::new(), name: String::new(), mime: String::new(), size: 0, tail: EmptyTail {} }
}

/// A message that is packed with as many elements as the decoder lets through.
fn packed(attachments: usize) -> PostMessage {
    PostMessage {
        head: CommandHead { room: room(1), key: key(1), retry: false },
        body: Body { format: 0, bytes: vec![7; 8_192] },
        mentions: vec![user(1); 64],
        tail: MessageTail { relation: None, attachments: Some(vec![small_attachment(); attachments]) },
    }
}

#[test]
fn packed_requests_stay_within_the_bound() {
    let (mut read, mut refused) = (0, 0);
    for attachments in [16, 1_000, 3_000, 3_270, 3_300, 5_000, 10_000] {
        let whole = Command::PostMessage(packed(attachments)).frame(1);
        assert!(whole.len() <= FRAME_BYTES_MAX);
        let frame = Frame::parse(whole.slice(4..)).unwrap();
        let (decoded, peak) = measured(|| Command::decode(&frame));
        assert!(peak < PEAK_BYTES_MAX, "{attachments} attachments: {peak} bytes");
        if decoded.is_ok() { read += 1 } else { refused += 1 }
    }
    assert!(read > 0 && refused > 0, "both sides of the bound were tried");
}

#[test]
fn packed_pages_stay_within_their_bound() {
    let message = |attachments| Message {
        seq: 1,
        message_no: 1,
        time_ms: 1,
        actor: user(1),
        key: key(1),
        body: Body::default(),
        mentions: vec![],
        edited_ms: 0,
        deleted: false,
        pinned: false,
        reactions: vec![],
        as_of: 1,
        tail: MessageTail { relation: None, attachments: Some(vec![small_attachment(); attachments]) },
    };
    for (messages, attachments) in [(4, 3_200), (12, 1_000), (90, 100), (900, 1)] {
        let page = HistoryPage { messages: vec![message(attachments); messages], more: false, head: 1, tail: EmptyTail {} };
        let whole = ServerFrame::HistoryPage(1, page).encode();
        assert!(whole.len() <= FRAME_BYTES_MAX, "{messages} x {attachments}: {} bytes", whole.len());
        let frame = Frame::parse(whole.slice(4..)).unwrap();
        let (decoded, peak) = measured(|| ServerFrame::decode(&frame));
        assert!(decoded.is_ok(), "{messages} x {attachments}");
        assert!(peak < PACKED_BYTES_MAX, "{messages} x {attachments}: {peak} bytes");
    }
}

fn kinds() -> Vec<(&'static str, u16)> {
    let client = Command::KINDS.iter().chain(Query::KINDS).map(|(_, kind)| ("client-frame", *kind));
    let server = ServerFrame::KINDS.iter().map(|(_, kind)| ("server-frame", *kind));
    let records = EventBody::KINDS.iter().map(|(_, kind)| ("record", *kind));
    client.chain([("client-frame", 0x0100), ("client-frame", 0x0150)]).chain(server).chain(records).collect()
}

/// Mostly small numbers and the marks of long ones, so that noise gets past the first field.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0_u8..4, 1 => any::<u8>(), 1 => 250_u8..=255];
    prop::collection::vec(byte, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_never_harms(bytes in noise()) {
        for (way, kind) in kinds() {
            survive(way, kind, &bytes);
            if way == "record" {
                // Past the head: noise as the body of a known kind.
                let head = common::sample_events().remove(0).head;
                let record = Event { head, body: EventBody::Unknown { kind, bytes: bytes.clone() } }.record();
                survive(way, kind, &record);
            }
        }
    }

    #[test]
    fn noisy_streams_never_harm(bytes in noise()) {
        let (_, peak) = measured(|| {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = Frame::split(&mut buffer, FRAME_BYTES_MAX) {
                let _any = (ClientFrame::decode(&frame), ServerFrame::decode(&frame));
            }
        });
        prop_assert!(peak < PEAK_BYTES_MAX);
    }

    #[test]
    fn damaged_frames_never_harm(which in any::<prop::sample::Index>(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let all = samples();
        let sample = which.get(&all);
        let mut body = body_of(sample);
        for (at, value) in hits {
            let at = at.index(body.len());
            body[at] = value;
        }
        survive(sample.way(), sample.kind, &body);
    }
}
