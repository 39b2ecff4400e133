//! What it costs to write and read frames: `cargo bench -p starling-client-protocol`.
#![allow(missing_docs, clippy::unwrap_used)]

use bytes::BytesMut;
use client_protocol::chat::{Body, MessagePosted, MessageTail, PostMessage};
use client_protocol::frame::{Frame, LENGTH_BYTES, events_frame};
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::room::CommandHead;
use client_protocol::session::Reply;
use client_protocol::{ClientFrame, Command, Event, EventBody, EventHead, Key, NodeId, RoomId, ServerFrame, UserId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Bytes of a message: as in the load harness.
const BODY_BYTES: usize = 128;

fn text() -> String {
    "a".repeat(BODY_BYTES)
}

fn event(seq: u64) -> Event {
    let head = EventHead {
        seq,
        time_ms: 1_700_000_000_000,
        actor: UserId::from_bytes([1; 16]),
        key: Key::from_bytes([2; 16]),
        node: NodeId(1),
        message_no: seq,
    };
    let posted = MessagePosted { body: Body::text(text()), mentions: Vec::new(), tail: MessageTail::default() };
    Event { head, body: EventBody::MessagePosted(posted) }
}

fn post() -> Command {
    let head = CommandHead { room: RoomId::from_bytes([3; 16]), key: Key::from_bytes([2; 16]), retry: false };
    Command::PostMessage(PostMessage { head, body: Body::text(text()), mentions: Vec::new(), tail: MessageTail::default() })
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("PostMessage");
    let command = post();
    group.bench_function("encode", |bench| bench.iter(|| black_box(&command).frame(7)));
    let frame = Frame::parse(command.frame(7).slice(LENGTH_BYTES..)).unwrap();
    group.bench_function("decode", |bench| bench.iter(|| ClientFrame::decode(black_box(&frame)).unwrap()));
    group.finish();
    let mut group = criterion.benchmark_group("Reply");
    group.bench_function("encode", |bench| bench.iter(|| ServerFrame::Reply(7, Reply::done(black_box(9))).encode()));
    group.finish();
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Event");
    let one = event(1);
    let mut record = Vec::new();
    one.encode_record(&mut record);
    group.bench_function("encode", |bench| {
        let mut out = Vec::with_capacity(record.len());
        bench.iter(|| {
            out.clear();
            black_box(&one).encode_record(&mut out);
        });
    });
    group.bench_function("decode", |bench| bench.iter(|| Event::decode_record(black_box(&record)).unwrap()));
    group.finish();

    let mut group = criterion.benchmark_group("Events frame");
    for count in [1_u64, 50] {
        let mut records = Vec::new();
        (1..=count).for_each(|seq| event(seq).encode_record(&mut records));
        let room = RoomId::from_bytes([3; 16]);
        let bytes = events_frame(room, 1, count as u32, &records);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("encode, {count}"), |bench| {
            bench.iter(|| events_frame(room, 1, count as u32, black_box(&records)));
        });
        group.bench_function(format!("split and decode, {count}"), |bench| {
            bench.iter(|| {
                let mut buffer = BytesMut::from(&bytes[..]);
                let frame = Frame::split(&mut buffer, FRAME_BYTES_MAX).unwrap().unwrap();
                let ServerFrame::Events(events) = ServerFrame::decode(&frame).unwrap() else { unreachable!() };
                let (mut rest, mut read): (&[u8], u64) = (&events.records, 0);
                while !rest.is_empty() {
                    let (event, used) = Event::decode_record(rest).unwrap();
                    rest = &rest[used..];
                    read += event.head.message_no;
                }
                read
            });
        });
    }
    group.finish();
}

criterion_group!(codec, commands, events);
criterion_main!(codec);
