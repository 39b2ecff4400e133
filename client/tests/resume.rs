//! Following rooms: across cuts, without a gap or a duplicate.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use client_protocol::room::{LIVE, Reset, SubscriptionEnded, reset_reason};
use client_protocol::session::{Goaway, Reply};
use client_protocol::tail::EmptyTail;
use client_protocol::{CloseCode, Code, Command, ServerFrame};
use common::*;
use starling_client::{AccessToken, After, Client, ClientError, Cursor, RoomItem, SessionItem, Trust};
use std::time::Duration;

#[tokio::test]
async fn a_cut_connection_resumes_after_the_last_event() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, subscribe) = tokio::join!(step(client.subscribe(room(9), After::Start)), session.accept_subscription(3));
    let mut events = events.unwrap();
    assert_eq!((subscribe.epoch, subscribe.after_seq, events.head()), (EPOCH, 0, 3));
    session.events(room(9), 1..=3).await;
    for seq in 1..=3 {
        expect_event(&mut events, seq).await;
    }
    session.close(CloseCode::GoingAway);

    let mut session = server.welcomed().await;
    let subscribe = session.accept_subscription(4).await;
    assert_eq!((subscribe.epoch, subscribe.after_seq), (EPOCH, 3));
    session.events(room(9), 4..=4).await;
    expect_event(&mut events, 4).await;
    assert_eq!(events.cursor(), Cursor { epoch: EPOCH, seq: 4 });
    client.close().await;
    assert_eq!(session.closed_by_client().await, CloseCode::Normal as u64);
    assert!(step(events.next()).await.is_none());
}

#[tokio::test]
async fn a_live_subscription_resumes_from_the_head_it_was_given() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, subscribe) = tokio::join!(step(client.subscribe(room(9), After::Live)), session.accept_subscription(41));
    let mut events = events.unwrap();
    assert_eq!(subscribe.after_seq, LIVE);
    // Cut before anything came: the head counts as received, so what comes in between is not missed.
    session.close(CloseCode::Internal);
    let mut session = server.welcomed().await;
    assert_eq!(session.accept_subscription(43).await.after_seq, 41);
    session.events(room(9), 42..=43).await;
    expect_event(&mut events, 42).await;
    expect_event(&mut events, 43).await;
}

#[tokio::test]
async fn events_seen_before_are_dropped_and_gaps_are_errors_of_the_server() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Seq(2))), session.accept_subscription(5));
    let mut events = events.unwrap();
    session.events(room(9), 2..=4).await;
    session.events(room(9), 3..=5).await;
    for seq in 3..=5 {
        expect_event(&mut events, seq).await;
    }
    session.events(room(9), 7..=7).await;
    assert_eq!(session.closed_by_client().await, CloseCode::ProtocolError as u64);
    let mut session = server.welcomed().await;
    assert_eq!(session.accept_subscription(7).await.after_seq, 5);
    session.events(room(9), 6..=7).await;
    expect_event(&mut events, 6).await;
    expect_event(&mut events, 7).await;
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_again_and_again_is_given_up() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Seq(0))), session.accept_subscription(5));
    let mut events = events.unwrap();
    for _ in 1..starling_client::limits::PROTOCOL_ERRORS_MAX {
        session.events(room(9), 3..=3).await;
        session = server.welcomed().await;
        session.accept_subscription(5).await;
    }
    session.events(room(9), 3..=3).await;
    assert!(matches!(step(client.closed()).await, ClientError::Protocol(_)));
    assert!(step(events.next()).await.is_none());
}

#[tokio::test]
async fn frames_of_later_versions_are_skipped() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Start)), session.accept_subscription(1));
    session.send.write_all(&unknown_frame()).await.unwrap();
    session.events(room(9), 1..=1).await;
    expect_event(&mut events.unwrap(), 1).await;
}

#[tokio::test]
async fn a_reset_is_told_and_its_place_is_the_new_cursor() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let kept = Cursor { epoch: 3, seq: 500 };
    let (events, subscribe) =
        tokio::join!(step(client.subscribe(room(9), After::Cursor(kept))), session.accept_subscription(20));
    let mut events = events.unwrap();
    assert_eq!((subscribe.epoch, subscribe.after_seq), (3, 500));
    let reset = Reset { room: room(9), epoch: EPOCH, head: 20, reason: reset_reason::EPOCH, tail: EmptyTail::default() };
    session.push(&ServerFrame::Reset(reset)).await;
    session.events(room(9), 21..=21).await;
    let cursor = Cursor { epoch: EPOCH, seq: 20 };
    assert_eq!(step(events.next()).await, Some(RoomItem::Reset { cursor, reason: reset_reason::EPOCH }));
    expect_event(&mut events, 21).await;
    session.close(CloseCode::GoingAway);
    let mut session = server.welcomed().await;
    let subscribe = session.accept_subscription(21).await;
    assert_eq!((subscribe.epoch, subscribe.after_seq), (EPOCH, 21));
}

#[tokio::test]
async fn an_end_is_told_and_the_room_can_be_followed_again() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Start)), session.accept_subscription(2));
    let mut events = events.unwrap();
    session.events(room(9), 1..=2).await;
    let ended = SubscriptionEnded { room: room(9), last_seq: 2, code: Code::Banned.number(), tail: EmptyTail::default() };
    session.push(&ServerFrame::SubscriptionEnded(ended)).await;
    expect_event(&mut events, 1).await;
    expect_event(&mut events, 2).await;
    assert_eq!(step(events.next()).await, Some(RoomItem::Ended { last_seq: 2, code: Code::Banned }));
    assert_eq!(step(events.next()).await, None);
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Seq(2))), session.accept_subscription(2));
    assert!(events.is_ok());
}

#[tokio::test]
async fn a_room_that_cannot_be_served_for_a_while_is_asked_for_again() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Start)), session.accept_subscription(3));
    let mut events = events.unwrap();
    session.events(room(9), 1..=2).await;
    let code = Code::Unavailable.number();
    let ended = SubscriptionEnded { room: room(9), last_seq: 2, code, tail: EmptyTail::default() };
    session.push(&ServerFrame::SubscriptionEnded(ended)).await;
    assert_eq!(session.accept_subscription(3).await.after_seq, 2);
    session.events(room(9), 3..=3).await;
    for seq in 1..=3 {
        expect_event(&mut events, seq).await;
    }
}

#[tokio::test]
async fn a_room_lost_while_away_ends() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Live)), session.accept_subscription(2));
    let mut events = events.unwrap();
    session.close(CloseCode::GoingAway);
    let mut session = server.welcomed().await;
    let (id, _) = session.subscribe_request().await;
    session.reply(id, Reply::refused(Code::NotFound, "")).await;
    assert_eq!(step(events.next()).await, Some(RoomItem::Ended { last_seq: 0, code: Code::NotFound }));
    assert_eq!(step(events.next()).await, None);
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_of_the_call() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let refuse = async {
        let (id, _) = session.subscribe_request().await;
        session.reply(id, Reply::refused(Code::NotFound, "no such room")).await;
    };
    let (events, ()) = tokio::join!(step(client.subscribe(room(9), After::Start)), refuse);
    assert!(matches!(events, Err(ClientError::Refused { code: Code::NotFound, .. })));
}

#[tokio::test]
async fn one_stream_a_room_and_dropping_it_ends_the_subscription() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Start)), session.accept_subscription(2));
    let second = step(client.subscribe(room(9), After::Start)).await;
    assert_eq!(second.unwrap_err(), ClientError::AlreadySubscribed(room(9)));
    drop(events);
    // The next one waits until the server has ended the first, so that events of both cannot mix.
    let again = async {
        let (id, command) = session.request().await;
        assert!(matches!(command, Command::Unsubscribe(_)));
        session.events(room(9), 1..=2).await;
        session.reply(id, Reply::done(0)).await;
        let subscribe = session.accept_subscription(2).await;
        session.events(room(9), 2..=2).await;
        subscribe
    };
    let (events, subscribe) = tokio::join!(step(client.subscribe(room(9), After::Seq(1))), again);
    assert_eq!(subscribe.after_seq, 1);
    expect_event(&mut events.unwrap(), 2).await;
}

#[tokio::test]
async fn goaway_makes_the_client_come_back_by_itself() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let mut items = client.session_items();
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Live)), session.accept_subscription(5));
    session.push(&ServerFrame::Goaway(Goaway { reconnect_after_ms: (10, 50), tail: EmptyTail::default() })).await;
    assert_eq!(session.closed_by_client().await, CloseCode::Normal as u64);
    let mut session = server.welcomed().await;
    assert_eq!(session.accept_subscription(6).await.after_seq, 5);
    session.events(room(9), 6..=6).await;
    expect_event(&mut events.unwrap(), 6).await;
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.push(match step(items.next()).await.unwrap() {
            SessionItem::Connected { .. } => "connected",
            SessionItem::Rooms { .. } => "rooms",
            SessionItem::Goaway { .. } => "goaway",
            SessionItem::Disconnected { reconnect_in: Some(_), .. } => "disconnected",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["connected", "rooms", "goaway", "disconnected", "connected", "rooms"]);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_long_before_quic_gives_it_up() {
    let server = FakeServer::start();
    let relay = Relay::start(server.address).await;
    let connecting = Client::builder(relay.address.to_string())
        .trust(Trust::CaPem(server.pem.clone().into_bytes()))
        .tokens(AccessToken::new("token"))
        .backoff(Duration::from_millis(10), Duration::from_millis(50))
        .connect();
    let (client, session) = step(async { tokio::join!(connecting, server.welcomed()) }).await;
    let (client, mut session) = (client.unwrap(), session);
    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Start)), session.accept_subscription(1));
    let mut events = events.unwrap();
    session.events(room(9), 1..=1).await;
    expect_event(&mut events, 1).await;
    let mut items = client.session_items();
    while let Some(item) = step(items.next()).await {
        if matches!(item, SessionItem::Rooms { .. }) {
            break;
        }
    }
    relay.set_open(false);
    let posting = tokio::spawn({
        let client = client.clone();
        async move { client.post(room(9), "is anybody there?").await }
    });
    // The step is shorter than the idle time-out of QUIC.
    assert!(STEP < starling_client::limits::IDLE_TIMEOUT);
    match step(items.next()).await {
        Some(SessionItem::Disconnected { reason, reconnect_in: Some(_) }) => {
            assert!(reason.to_string().contains("no answer"), "{reason}");
        }
        other => panic!("{other:?} where the silence was due"),
    }
    relay.set_open(true);
    let mut session = server.welcomed().await;
    let mut seen = (None, false);
    while seen.0.is_none() || !seen.1 {
        match session.request().await {
            (id, Command::Subscribe(subscribe)) => {
                seen.0 = Some(subscribe.after_seq);
                session.reply(id, Reply::done(1)).await;
            }
            (id, Command::PostMessage(post)) => {
                assert!(post.head.retry);
                seen.1 = true;
                session.reply(id, Reply::done(2)).await;
            }
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(seen.0, Some(1));
    assert_eq!(step(posting).await.unwrap().unwrap().seq, 2);
}
