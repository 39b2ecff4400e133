//! The thinnest thread through everything: register, connect, make a room, read it, post, crash, resume; on either store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use client_protocol::{Code, EventBody};
use common::{Raw, Server, Stored, head, post, post_as, raw, register, step, text_of};
use starling_client::{After, RoomItem};

#[tokio::test]
async fn from_registration_to_resume_after_a_crash() {
    from_registration_to_resume(Stored::Embedded).await;
}

#[tokio::test]
async fn from_registration_to_resume_after_a_crash_on_mongodb() {
    from_registration_to_resume(Stored::Mongo).await;
}

async fn from_registration_to_resume(stored: Stored) {
    let mut server = Server::start_for_restarts(stored, &[]);
    let alice = register(&server, "alice").await;
    let token = alice.tokens.access_token.clone();
    let device = raw::device();

    let mut session = Raw::connect_as(&server, &token, device).await;
    assert_eq!(session.welcome.user, alice.user.id);
    assert!(session.rooms.rooms.is_empty());
    let room = session.create_group(Vec::new()).await;
    session.subscribe(room, 0).await;
    let first = head(room);
    assert_eq!(session.done(&post_as(first, "hello")).await, 2);
    assert_eq!(session.done(&post(room, "world")).await, 3);
    let events = session.events_through(room, 1, 3).await;
    assert!(matches!(events[0].body, EventBody::RoomCreated(_)));
    assert_eq!(events.iter().filter_map(text_of).collect::<Vec<_>>(), ["hello", "world"]);
    let epoch = session.welcome.epoch;

    server.kill9();
    server.restart();

    let mut session = Raw::connect_as(&server, &token, device).await;
    assert_eq!(session.welcome.epoch, epoch);
    let listed = &session.rooms.rooms;
    assert_eq!((listed.len(), listed[0].room, listed[0].head, listed[0].message_no), (1, room, 3, 2));
    assert_eq!(session.subscribe(room, 2).await, 3);
    let missed = session.events_through(room, 3, 3).await;
    assert_eq!(text_of(&missed[0]).as_deref(), Some("world"));
    let mut again = first;
    again.retry = true;
    assert_eq!(session.done(&post_as(again, "hello")).await, 2, "a known key has its first seq");
    assert_eq!(session.done(&post(room, "after")).await, 4);
    assert_eq!(session.events_through(room, 4, 4).await.len(), 1);
    let refused = session.request(&post_as(head(client_protocol::RoomId(uuid::Uuid::new_v4())), "nowhere")).await;
    assert_eq!(refused.code(), Code::NotFound);
    session.close().await;
    server.stop();
}

#[tokio::test]
async fn the_client_library_follows_a_room_through_a_crash() {
    the_client_library_follows_a_room(Stored::Embedded).await;
}

#[tokio::test]
async fn the_client_library_follows_a_room_through_a_crash_on_mongodb() {
    the_client_library_follows_a_room(Stored::Mongo).await;
}

async fn the_client_library_follows_a_room(stored: Stored) {
    let mut server = Server::start_for_restarts(stored, &[]);
    let bob = register(&server, "bob").await;
    let client = server.client(&bob).connect().await.unwrap();
    let room = client.create_room(starling_client::NewRoom::public("Lobby")).await.unwrap();
    let mut events = client.subscribe(room, After::Start).await.unwrap();
    for number in 0..10 {
        client.post(room, format!("message {number}")).await.unwrap();
    }
    server.kill9();
    server.restart();
    // Sent again by the library until it is known.
    let acked = step("a post over a reconnect", client.post(room, "after the crash")).await.unwrap();
    assert_eq!(acked.seq, 12);
    for seq in 1..=12 {
        match step("an event", events.next()).await {
            Some(RoomItem::Event(event)) => assert_eq!(event.head.seq, seq),
            other => panic!("{other:?} where event {seq} was due"),
        }
    }
    client.close().await;
    server.stop();
}
