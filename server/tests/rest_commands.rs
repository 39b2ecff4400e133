//! How requests become commands, and how the world's answers become statuses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rest_support;

use client_protocol::chat::{format, relation};
use client_protocol::room::{kind, role};
use client_protocol::session::Reply;
use client_protocol::{Code, Command, Key, RoomId, UserId};
use reqwest::{Method, StatusCode};
use rest_support::{Rig, is, refusing};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

fn room() -> RoomId {
    RoomId::from_bytes([9; 16])
}

fn path(rest: &str) -> String {
    format!("/v1/rooms/{}{rest}", room())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_has_its_status() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let expected = [
        (Code::OutcomeUnknown, 504),
        (Code::Malformed, 400),
        (Code::InvalidField, 422),
        (Code::UnknownKind, 400),
        (Code::TooLarge, 413),
        (Code::Unauthenticated, 401),
        (Code::TokenExpired, 401),
        (Code::AccountDisabled, 403),
        (Code::SessionRevoked, 401),
        (Code::NotFound, 404),
        (Code::Forbidden, 403),
        (Code::Banned, 403),
        (Code::Muted, 403),
        (Code::Conflict, 409),
        (Code::RoomFull, 409),
        (Code::TooManyRooms, 409),
        (Code::MessageDeleted, 409),
        (Code::LimitReached, 409),
        (Code::TooManySubscriptions, 409),
        (Code::Overloaded, 503),
        (Code::RateLimited, 429),
        (Code::Unavailable, 503),
        (Code::Internal, 500),
    ];
    assert_eq!(expected.len() + 1, Code::ALL.len(), "every code but `ok`");
    for (code, status) in expected {
        rig.answer(refusing(code));
        let answer = rig.call(&ada, Method::POST, &path("/join"), Value::Null).await;
        is(&answer, status, code.name());
        let again = [Code::OutcomeUnknown, Code::Overloaded, Code::RateLimited, Code::Unavailable].contains(&code);
        assert_eq!(answer.1.get("retry_after_ms").is_some(), again, "{code}");
    }
    rig.answer(|_, _| Some(Reply::retry_after(Code::RateLimited, 2_500)));
    let response = rig.request(Method::POST, &path("/join")).bearer_auth(&ada.access).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "3");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_does_not_answer_is_an_unknown_outcome() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    rig.answer(|_, _| None);
    let start = Instant::now();
    let answer = rig.call(&ada, Method::POST, &path("/messages"), json!({ "text": "hello" })).await;
    is(&answer, 504, "outcome_unknown");
    assert!(answer.1["detail"].as_str().unwrap().contains("Idempotency-Key"));
    assert!(start.elapsed() < Duration::from_secs(5), "every request ends");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_taken_as_they_are() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let post = |key: Option<&str>| {
        let request = rig.request(Method::POST, &path("/messages")).bearer_auth(&ada.access).json(&json!({ "text": "hi" }));
        match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        }
    };
    let head = || match rig.last_command() {
        Command::PostMessage(post) => post.head,
        other => panic!("{other:?}"),
    };
    let (status, done) = rig.send(post(None)).await;
    assert_eq!((status, done), (StatusCode::CREATED, json!({ "room": room().to_string(), "seq": 7 })));
    let first = head();
    assert!(!first.retry && first.key.0.get_version_num() == 4);
    rig.send(post(None)).await;
    assert_ne!(head().key, first.key, "each write has its own");
    let uuid = Uuid::now_v7();
    rig.send(post(Some(&uuid.to_string()))).await;
    assert_eq!((head().key, head().retry), (Key(uuid), true));
    rig.send(post(Some("order 17"))).await;
    assert_eq!((head().key, head().retry), (Key::from_text("order 17"), true));
    is(&rig.send(post(Some(&"k".repeat(256)))).await, 422, "invalid_field");
    is(&rig.send(post(Some(" "))).await, 422, "invalid_field");
    is(&rig.send(post(Some("one")).header("idempotency-key", "two")).await, 422, "invalid_field");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_and_members_become_commands() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let bob = UserId::from_bytes([5; 16]);
    let with_bob = |rest: &str| path(&rest.replace("BOB", &bob.to_string()));
    for (method, route, body, expected) in [
        (Method::POST, path("/join"), Value::Null, 0x0111),
        (Method::POST, path("/leave"), Value::Null, 0x0112),
        (Method::POST, path("/members"), json!({ "user": bob.to_string() }), 0x0113),
        (Method::DELETE, with_bob("/members/BOB"), Value::Null, 0x0114),
        (Method::PUT, with_bob("/bans/BOB"), Value::Null, 0x0115),
        (Method::DELETE, with_bob("/bans/BOB"), Value::Null, 0x0116),
        (Method::PUT, with_bob("/members/BOB/role"), json!({ "role": "moderator" }), 0x0117),
        (Method::PATCH, path(""), json!({ "name": "new", "post_role": "admin", "edit_window_s": 60 }), 0x0118),
    ] {
        let (status, done) = rig.call(&ada, method, &route, body).await;
        assert_eq!((status, &done["seq"]), (StatusCode::OK, &json!(7)), "{route}: {done}");
        let (user, command) = rig.commands.lock().unwrap().last().unwrap().clone();
        assert_eq!((user, command.kind()), (ada.user, expected), "{route}");
        match command {
            Command::AddMember(change) | Command::KickMember(change) => {
                assert_eq!((change.head.room, change.user), (room(), bob))
            }
            Command::BanMember(change) | Command::UnbanMember(change) => {
                assert_eq!((change.head.room, change.user), (room(), bob));
            }
            Command::SetRole(set) => assert_eq!((set.user, set.role), (bob, role::MODERATOR)),
            Command::UpdateRoom(update) => {
                let settings = update.settings;
                assert_eq!((settings.name.as_deref(), settings.topic), (Some("new"), None));
                assert_eq!((settings.post_role, settings.edit_window_s), (Some(role::ADMIN), Some(60)));
            }
            Command::JoinRoom(_) | Command::LeaveRoom(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let body = json!({ "kind": "group", "name": "g", "members": [bob.to_string()] });
    // The scripted world made no room, so there is none to show; but it was asked for one.
    is(&rig.call(&ada, Method::POST, "/v1/rooms", body).await, 404, "not_found");
    let Command::CreateRoom(create) = rig.last_command() else { panic!("no room was asked for") };
    assert_eq!((create.kind, create.members, create.settings.name.as_deref()), (kind::GROUP, vec![bob], Some("g")));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_become_commands() {
    let rig = Rig::new().await;
    let ada = rig.register("ada").await;
    let send = async |body: Value| rig.call(&ada, Method::POST, &path("/messages"), body).await;
    let file = json!({ "id": "f1", "name": "a.png", "mime": "image/png", "size": 12 });
    let bob = UserId::from_bytes([5; 16]);
    let full =
        json!({ "text": "*hi*", "format": "markdown", "mentions": [bob.to_string()], "reply_to": 3, "attachments": [file] });
    assert_eq!(send(full).await.0, StatusCode::CREATED);
    let Command::PostMessage(post) = rig.last_command() else { panic!("no message") };
    assert_eq!((post.body.format, post.body.bytes.as_slice()), (format::MARKDOWN, b"*hi*".as_slice()));
    assert_eq!((post.head.room, post.mentions), (room(), vec![bob]));
    let related = post.tail.relation.unwrap();
    assert_eq!((related.kind, related.seq), (relation::REPLY, 3));
    assert_eq!(post.tail.attachments.unwrap()[0].mime, "image/png");
    send(json!({ "opaque": "AAEC/w==", "thread": 2 })).await;
    let Command::PostMessage(post) = rig.last_command() else { panic!("no message") };
    assert_eq!((post.body.format, post.body.bytes), (format::OPAQUE, vec![0, 1, 2, 255]));
    assert_eq!(post.tail.relation.unwrap().kind, relation::THREAD);
    for wrong in [
        json!({}),
        json!({ "text": "a", "opaque": "AA==" }),
        json!({ "opaque": "no base64!" }),
        json!({ "opaque": "AA==", "format": "text" }),
        json!({ "text": "a", "format": "html" }),
        json!({ "text": "a", "reply_to": 1, "thread": 1 }),
        json!({ "text": "a", "mentions": ["bob"] }),
        json!({ "text": "a", "colour": "red" }),
    ] {
        is(&send(wrong).await, 422, "invalid_field");
    }
    for (method, rest, body, expected) in [
        (Method::PATCH, "/messages/4", json!({ "text": "b" }), 0x0131),
        (Method::DELETE, "/messages/4", Value::Null, 0x0132),
        (Method::PUT, "/messages/4/reactions/%F0%9F%91%8D", Value::Null, 0x0133),
        (Method::DELETE, "/messages/4/reactions/a%2Fb", Value::Null, 0x0134),
        (Method::PUT, "/messages/4/pin", Value::Null, 0x0135),
        (Method::DELETE, "/messages/4/pin", Value::Null, 0x0136),
    ] {
        let (status, done) = rig.call(&ada, method, &path(rest), body).await;
        assert_eq!(status, StatusCode::OK, "{rest}: {done}");
        let command = rig.last_command();
        assert_eq!(command.kind(), expected);
        match command {
            Command::EditMessage(edit) => assert_eq!((edit.target, edit.body.bytes.as_slice()), (4, b"b".as_slice())),
            Command::AddReaction(react) => assert_eq!((react.target, react.reaction.as_str()), (4, "👍")),
            Command::RemoveReaction(react) => assert_eq!(react.reaction, "a/b"),
            Command::DeleteMessage(about) | Command::PinMessage(about) | Command::UnpinMessage(about) => {
                assert_eq!(about.target, 4)
            }
            other => panic!("{other:?}"),
        }
    }
    is(&rig.call(&ada, Method::PUT, &path("/messages/four/pin"), Value::Null).await, 400, "malformed");
    rig.end().await;
}
