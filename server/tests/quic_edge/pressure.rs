//! Readers that do not read, while a lot flows.

use crate::common::raw::{decode_events, device, transport};
use crate::common::{Raw, Server, head, post_as, register, step};
use client_protocol::chat::{Body, MessageTail, PostMessage};
use client_protocol::limits::{OPEN_REQUESTS_MAX, REPLAY_EVENTS_MAX};
use client_protocol::{Code, Command, RoomId, ServerFrame};
use std::time::{Duration, Instant};

/// Bytes of a message.
const BODY: usize = 8_000;
/// Messages of 50 MB.
const MESSAGES: u64 = 50_000_000 / BODY as u64;
/// Readers that stop.
const STALLED: usize = 6;
const NO_RATES: &[&str] =
    &["--user-rate", "1000000", "--user-burst", "1000000", "--room-rate", "1000000", "--room-burst", "1000000"];

fn message(room: RoomId, text: &str) -> Command {
    post_as(head(room), text)
}

/// Posts so many messages as fast as the window of requests allows; the seq of the last one.
async fn post_many(session: &mut Raw, room: RoomId, count: u64, text: &str) -> u64 {
    let (mut sent, mut answered, mut last) = (0, 0, 0);
    while answered < count {
        while sent < count && sent - answered < OPEN_REQUESTS_MAX as u64 {
            session.send(&message(room, text)).await;
            sent += 1;
        }
        match step("an answer", session.hooked.recv.next()).await.expect("the connection ended") {
            ServerFrame::Reply(_, reply) => {
                assert_eq!(reply.code(), Code::Ok, "{:?}", reply.tail.detail);
                answered += 1;
                last = last.max(reply.seq);
            }
            other => session.kept.push_back(other),
        }
    }
    last
}

/// Reads a room from `next` to `last`, as fast as it comes. Answers the seqs after which a Reset came.
async fn read_through(session: &mut Raw, room: RoomId, mut next: u64, last: u64) -> Vec<u64> {
    let mut resets = Vec::new();
    let mut others = std::collections::VecDeque::new();
    while next <= last {
        match session.frame().await {
            ServerFrame::Events(events) if events.room == room => {
                assert_eq!(events.first_seq, next, "a gap or a duplicate");
                next += decode_events(&events).len() as u64;
            }
            ServerFrame::Reset(reset) if reset.room == room => {
                assert!(reset.head >= next, "a reset goes forward");
                resets.push(reset.head);
                next = reset.head + 1;
            }
            other => others.push_back(other),
        }
    }
    session.kept = others;
    assert_eq!(next, last + 1);
    resets
}

/// A client with little room for what it does not read.
fn small() -> quinn::TransportConfig {
    let mut small = transport();
    small.stream_receive_window(65_536_u32.into()).receive_window(65_536_u32.into());
    small
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_costs_its_cursor() {
    let server = Server::start(NO_RATES);
    let account = register(&server, "rosa").await;
    let token = account.tokens.access_token.clone();
    let mut writer = Raw::connect(&server, &token).await;
    let room = writer.create_group(Vec::new()).await;
    let mut good = Raw::connect(&server, &token).await;
    good.subscribe(room, 0).await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut session = Raw::connect_with(&server, &token, device(), small()).await;
        session.subscribe(room, 0).await;
        stalled.push(session);
    }
    let text = "x".repeat(BODY);
    let before = server.resident_bytes();

    let reads = tokio::spawn(async move {
        let resets = read_through(&mut good, room, 1, 1 + MESSAGES).await;
        (resets, Instant::now())
    });
    let mut peak = before;
    let (mut posted, mut last) = (0, 1);
    while posted < MESSAGES {
        let lot = 250.min(MESSAGES - posted);
        last = post_many(&mut writer, room, lot, &text).await;
        posted += lot;
        peak = peak.max(server.resident_bytes());
    }
    let acked = Instant::now();
    assert_eq!(last, 1 + MESSAGES);
    let (resets, read) = step("the good reader", reads).await.unwrap();
    assert!(resets.is_empty(), "a reader that reads needs no reset");
    let behind = read.saturating_duration_since(acked);
    assert!(behind < Duration::from_secs(5), "the good reader was held up: {behind:?}");
    // What the store keeps in memory for 50 MB is in here as well; six copies of what the readers did not read would be 300 MB.
    let grown = peak - before;
    assert!(grown < 200 << 20, "the server grew by {grown} bytes");
    assert!(stalled.iter().all(|session| session.connection().close_reason().is_none()), "stalled readers are not closed");

    // A stalled session still gets its answers, behind what it did not read; and then all events, in order.
    let mut resumes = stalled.pop().unwrap();
    drop(stalled);
    let id = resumes.send(&message(room, "from the slow one")).await;
    let resets = read_through(&mut resumes, room, 1, last + 1).await;
    assert!(resets.is_empty(), "{MESSAGES} events are not too many for a replay");
    assert_eq!(resumes.reply(id).await.seq, last + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_too_far_behind_is_told_so() {
    let server = Server::start(NO_RATES);
    let account = register(&server, "sven").await;
    let token = account.tokens.access_token.clone();
    let mut writer = Raw::connect(&server, &token).await;
    let room = writer.create_group(Vec::new()).await;
    let mut stalled = Raw::connect_with(&server, &token, device(), small()).await;
    stalled.subscribe(room, 0).await;
    // Enough to fill what the transport takes, then more than a replay may be.
    post_many(&mut writer, room, 40, &"x".repeat(BODY)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let last = post_many(&mut writer, room, REPLAY_EVENTS_MAX + 200, "small").await;
    let resets = read_through(&mut stalled, room, 1, last).await;
    assert_eq!(resets.len(), 1, "once");
    let after = post_many(&mut writer, room, 3, "live again").await;
    assert!(read_through(&mut stalled, room, last + 1, after).await.is_empty());
}

#[tokio::test]
async fn the_largest_messages_pass() {
    let server = Server::start(NO_RATES);
    let account = register(&server, "tara").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    session.subscribe(room, 0).await;
    let largest = PostMessage {
        head: head(room),
        body: Body { format: 255, bytes: vec![0xfe; client_protocol::limits::BODY_BYTES_MAX] },
        mentions: vec![account.user.id; client_protocol::limits::MENTIONS_MAX],
        tail: MessageTail::default(),
    };
    assert_eq!(session.done(&Command::PostMessage(largest.clone())).await, 2);
    let mut larger = largest;
    larger.head = head(room);
    larger.body.bytes.push(0);
    assert_eq!(session.request(&Command::PostMessage(larger)).await.code(), Code::TooLarge);
    let events = session.events_through(room, 1, 2).await;
    assert!(
        matches!(&events[1].body, client_protocol::EventBody::MessagePosted(posted) if posted.body.bytes.len() == 8_192)
    );
}
