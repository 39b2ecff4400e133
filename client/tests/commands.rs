//! Commands: each ends once, with the truth about its outcome.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use client_protocol::chat::{HistoryPage, PostMessage};
use client_protocol::presence::{Presence, TypingNotice, state};
use client_protocol::session::{Reply, ReplyTail};
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, CloseCode, Code, Command, Frame, Query, RoomId, ServerFrame};
use common::*;
use starling_client::{AccessToken, After, ClientError, NewRoom, Page, RoomItem, SessionItem};
use std::time::Duration;

fn post_of(command: Command) -> PostMessage {
    match command {
        Command::PostMessage(post) => post,
        other => panic!("{other:?} where PostMessage was due"),
    }
}

#[tokio::test]
async fn an_unanswered_command_is_sent_again_with_the_same_key_and_marked() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let serve = async {
        let (_, first) = session.request().await;
        session.close(CloseCode::Internal);
        let mut session = server.welcomed().await;
        let (id, second) = session.request().await;
        session.reply(id, Reply { tail: ReplyTail { time_ms: Some(99), ..ReplyTail::default() }, ..Reply::done(7) }).await;
        (post_of(first), post_of(second), session)
    };
    let (acked, (first, second, _session)) = tokio::join!(step(client.post(room(9), "hello")), serve);
    let acked = acked.unwrap();
    assert_eq!((acked.seq, acked.time_ms), (7, Some(99)));
    assert!(!first.head.retry && second.head.retry);
    assert_eq!((first.head.key, first.body), (second.head.key, second.body));
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_until_it_is_known() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let serve = async {
        let (id, first) = session.request().await;
        session.reply(id, Reply::retry_after(Code::OutcomeUnknown, 10)).await;
        let (id, second) = session.request().await;
        // A server without means says nothing about the first try.
        session.reply(id, Reply::retry_after(Code::Overloaded, 10)).await;
        let (id, third) = session.request().await;
        session.reply(id, Reply::done(12)).await;
        [first, second, third].map(post_of)
    };
    let (acked, posts) = tokio::join!(step(client.post(room(9), "hello")), serve);
    assert_eq!(acked.unwrap().seq, 12);
    assert_eq!(posts.each_ref().map(|post| post.head.retry), [false, true, true]);
    assert!(posts.iter().all(|post| post.head.key == posts[0].head.key));
}

#[tokio::test]
async fn refusals_are_final_and_carry_their_cause() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let serve = async {
        let (id, _) = session.request().await;
        session.reply(id, Reply::refused(Code::Forbidden, "moderators only")).await;
        let (id, _) = session.request().await;
        session.reply(id, Reply::retry_after(Code::RateLimited, 1500)).await;
    };
    let calls = async { (client.post(room(9), "a").await, client.kick(room(9), user(3)).await) };
    let ((first, second), ()) = tokio::join!(step(calls), serve);
    let refused = |code, detail: &str, retry_after| ClientError::Refused { code, detail: detail.to_owned(), retry_after };
    assert_eq!(first.unwrap_err(), refused(Code::Forbidden, "moderators only", None));
    assert_eq!(second.unwrap_err(), refused(Code::RateLimited, "", Some(Duration::from_millis(1500))));
}

#[tokio::test]
async fn the_deadline_tells_unknown_from_not_sent() {
    let server = FakeServer::start();
    let builder = server.builder(AccessToken::new("token")).request_deadline(Duration::from_millis(300));
    let (client, mut session) = step(async { tokio::join!(builder.connect(), server.welcomed()) }).await;
    let client = client.unwrap();
    let (answer, (_, command)) = tokio::join!(step(client.post(room(9), "a")), session.request());
    let key = post_of(command).head.key;
    assert_eq!(answer.unwrap_err(), ClientError::Unknown { key: Some(key) });
    session.close(CloseCode::GoingAway);
    let mut session = server.greeted().await;
    // Not welcomed: the command waits, and was never sent.
    assert_eq!(step(client.post(room(9), "b")).await.unwrap_err(), ClientError::Timeout);
    session.welcome(welcome()).await;
    let (acked, ()) = tokio::join!(step(client.post(room(9), "c")), async {
        let (id, command) = session.request().await;
        let post = post_of(command);
        assert_eq!((post.body.bytes.as_slice(), post.head.retry), (b"c".as_slice(), false));
        session.reply(id, Reply::done(1)).await;
    });
    assert_eq!(acked.unwrap().seq, 1);
}

#[tokio::test]
async fn no_more_requests_are_open_than_the_server_allows_and_answers_may_come_in_any_order() {
    let server = FakeServer::start();
    let connecting = server.builder(AccessToken::new("token")).connect();
    let serve = async {
        let mut session = server.greeted().await;
        session.welcome(client_protocol::session::Welcome { open_requests_max: 2, ..welcome() }).await;
        session
    };
    let (client, mut session) = step(async { tokio::join!(connecting, serve) }).await;
    let client = client.unwrap();
    let serve = async {
        let (first, _) = session.request().await;
        let (second, _) = session.request().await;
        let more = tokio::time::timeout(Duration::from_millis(200), session.recv.frame()).await;
        assert!(more.is_err(), "a third request came");
        session.reply(second, Reply::done(2)).await;
        let (third, _) = session.request().await;
        session.reply(third, Reply::done(3)).await;
        session.reply(first, Reply::done(1)).await;
    };
    let posts = async { tokio::join!(client.post(room(9), "1"), client.post(room(9), "2"), client.post(room(9), "3")) };
    let ((a, b, c), ()) = tokio::join!(step(posts), serve);
    assert_eq!([a, b, c].map(|acked| acked.unwrap().seq), [1, 2, 3]);
}

#[tokio::test]
async fn a_frame_above_the_bound_is_refused_without_being_sent() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let huge = "x".repeat(70_000);
    let refused = step(client.post(room(9), huge)).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { code: Code::TooLarge, .. }));
    let (acked, ()) = tokio::join!(step(client.post(room(9), "small")), async {
        let (id, _) = session.request().await;
        session.reply(id, Reply::done(1)).await;
    });
    assert!(acked.is_ok());
}

#[tokio::test]
async fn a_room_that_is_made_has_the_id_that_follows_from_its_key() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let serve = async {
        let (id, command) = session.request().await;
        session.reply(id, Reply::done(1)).await;
        let Command::CreateRoom(create) = command else { panic!("{command:?}") };
        let (id, _) = session.request().await;
        session.reply(id, Reply::done(1)).await;
        create
    };
    let calls =
        async { (client.create_room(NewRoom::public("Lobby")).await, client.create_room(NewRoom::direct(user(3))).await) };
    let ((made, direct), create) = tokio::join!(step(calls), serve);
    assert_eq!(made.unwrap(), RoomId::created(user(1), create.key));
    assert_eq!(direct.unwrap(), RoomId::direct(user(1), user(3)));
    assert_eq!(create.settings.name.as_deref(), Some("Lobby"));
}

#[tokio::test]
async fn queries_have_streams_of_their_own_and_survive_a_cut() {
    let server = FakeServer::start();
    let (client, session) = server.connected().await;
    let page = HistoryPage { messages: Vec::new(), more: true, head: 33, tail: EmptyTail::default() };
    let serve = async {
        let (_, query, send) = session.query().await;
        drop(send);
        session.close(CloseCode::GoingAway);
        let session = server.welcomed().await;
        let (id, again, mut send) = session.query().await;
        assert_eq!(query, again);
        send.write_all(&ServerFrame::HistoryPage(id, page.clone()).encode()).await.unwrap();
        send.finish().unwrap();
        let (id, refused, mut send) = session.query().await;
        assert!(matches!(refused, Query::ListMembers(_)));
        send.write_all(&ServerFrame::Reply(id, Reply::refused(Code::NotFound, "")).encode()).await.unwrap();
        send.finish().unwrap();
        (query, session)
    };
    let calls = async {
        let history = client.history(room(9), Page::Before(34), 1000).await;
        (history, client.members(room(9), user(0), 10).await)
    };
    let ((history, members), (query, _session)) = tokio::join!(step(calls), serve);
    assert_eq!(history.unwrap(), page);
    assert!(matches!(members.unwrap_err(), ClientError::Refused { code: Code::NotFound, .. }));
    let Query::History(query) = query else { panic!("{query:?}") };
    assert_eq!((query.before, query.after, query.limit), (34, 0, 100));
}

#[tokio::test]
async fn presence_is_watched_again_after_a_cut_and_typing_goes_by_datagram() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    let mut items = client.session_items();
    let serve = async {
        let (id, command) = session.request().await;
        session.reply(id, Reply::done(0)).await;
        command
    };
    let (watched, first) = tokio::join!(step(client.watch_presence(vec![user(2)])), serve);
    watched.unwrap();
    session.close(CloseCode::GoingAway);
    let mut session = server.welcomed().await;
    let (id, again) = session.request().await;
    assert_eq!(first, again);
    session.reply(id, Reply::done(0)).await;
    let presence = Presence { users: vec![(user(2), state::ONLINE)], tail: EmptyTail::default() };
    session.push(&ServerFrame::Presence(presence)).await;
    let seen = loop {
        if let SessionItem::Presence(users) = step(items.next()).await.unwrap() {
            break users;
        }
    };
    assert_eq!(*seen, [(user(2), state::ONLINE)]);

    let (events, _) = tokio::join!(step(client.subscribe(room(9), After::Live)), session.accept_subscription(0));
    assert!(client.typing(room(9)));
    assert!(!client.typing(room(9)), "twice in three seconds");
    let datagram = step(session.connection.read_datagram()).await.unwrap();
    assert!(
        matches!(ClientFrame::decode(&Frame::parse(datagram).unwrap()).unwrap(), ClientFrame::Typing(t) if t.room == room(9))
    );
    let notice = TypingNotice { room: room(9), user: user(2), tail: EmptyTail::default() };
    let notice = ServerFrame::TypingNotice(notice).encode().slice(client_protocol::frame::LENGTH_BYTES..);
    session.connection.send_datagram(notice).unwrap();
    assert_eq!(step(events.unwrap().next()).await, Some(RoomItem::Typing { user: user(2) }));
}
