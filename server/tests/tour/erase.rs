//! Erase and export of a user, from the outside: over HTTP, with somebody else looking on, and through a crash.

use crate::admin;
use crate::common::chat::{Chat, PASSWORD};
use crate::common::scan::documents_with;
use crate::common::web::{Person, Web};
use crate::common::{STEP, Server, Stored};
use serde_json::{Value, json};
use std::time::Instant;

const NONE: Value = Value::Null;

/// The lines of an export.
async fn export(web: &Web, who: &Person) -> Vec<Value> {
    let response = web.request("GET", "/v1/users/me/export").bearer_auth(&who.token).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    response.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn room(web: &Web, owner: &Person, name: &str, members: &[&Person]) -> String {
    let members: Vec<&str> = members.iter().map(|person| person.id.as_str()).collect();
    let new = json!({ "kind": "group", "name": name, "members": members });
    web.ok(owner, 201, "POST /v1/rooms", new).await["id"].as_str().unwrap().to_owned()
}

async fn post(web: &Web, who: &Person, room: &str, text: &str) -> Value {
    web.ok(who, 201, &format!("POST /v1/rooms/{room}/messages"), json!({ "text": text })).await["seq"].clone()
}

#[tokio::test]
async fn a_user_takes_their_data_and_goes() {
    takes_their_data_and_goes(Stored::Embedded).await;
}

#[tokio::test]
async fn a_user_takes_their_data_and_goes_on_mongodb() {
    takes_their_data_and_goes(Stored::Mongo).await;
}

async fn takes_their_data_and_goes(stored: Stored) {
    let server = Server::start_for_restarts(stored, &[]);
    let (web, chat) = (Web::new(&server), Chat::new(&server));
    let (ann, ben) = (web.register("ann").await, web.register("ben").await);
    let crew = room(&web, &ann, "crew", &[&ben]).await;
    let left = room(&web, &ben, "left", &[&ann]).await;
    let first = post(&web, &ann, &crew, "Land ahoy").await;
    post(&web, &ben, &crew, "Aye").await;
    post(&web, &ann, &left, "Farewell").await;
    web.ok(&ann, 200, &format!("POST /v1/rooms/{left}/leave"), NONE).await;
    let edited = format!("PATCH /v1/rooms/{crew}/messages/{first}");
    web.ok(&ann, 200, &edited, json!({ "text": "Land in sight" })).await;

    let lines = export(&web, &ann).await;
    let of = |sort: &str| lines.iter().filter(|line| line["type"] == sort).collect::<Vec<_>>();
    assert_eq!((of("profile")[0]["email"].as_str(), of("login").len()), (Some("ann@example.org"), 1));
    let states: Vec<_> =
        of("room").iter().map(|line| (line["id"].as_str().unwrap(), line["state"].as_str().unwrap())).collect();
    assert!(states.contains(&(&crew, "member")) && states.contains(&(&left, "left")), "{states:?}");
    let mut texts: Vec<_> = of("message").iter().map(|line| line["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["Farewell", "Land in sight"]);
    assert_eq!(lines.last().unwrap(), &json!({ "type": "end", "messages": 2 }));

    let secrets = ["land ahoy", "land in sight", "farewell", "ahoy", "sight", "ann@example.org"];
    for secret in secrets {
        let Some(uri) = server.database_uri() else { break };
        assert!(!documents_with(uri, secret).await.is_empty(), "{secret} was never stored: the test would find nothing");
    }
    let login = |chat: &Chat| chat.run(&["--profile", "ben", "login", "ben"]).code;
    assert_eq!(login(&chat), Some(0));
    let mut tail = chat.follow("ben", &["tail", &crew]);
    tail.of_type("connection");
    web.refused(&ann, 401, "invalid_credentials", "DELETE /v1/users/me", json!({ "password": "wrong wrong" })).await;
    web.ok(&ann, 204, "DELETE /v1/users/me", json!({ "password": PASSWORD })).await;
    loop {
        let event = tail.of_type("event");
        if event["kind"] == "user_erased" {
            assert_eq!((&event["user"], &event["heir"]), (&json!(ann.id), &json!(ben.id)));
            break;
        }
    }
    gone(&web, &ann, &ben, &crew, &left).await;
    for secret in secrets {
        // What is in the files of the embedded store is a matter of compaction: its own tests look at them.
        let Some(uri) = server.database_uri() else { break };
        assert_eq!(documents_with(uri, secret).await, [], "{secret} is still there");
    }
    // The name is free again.
    let again = web.register("ann").await;
    assert_ne!(again.id, ann.id);
}

/// Nothing of what Ann wrote is left in the two rooms.
async fn gone(web: &Web, ann: &Person, ben: &Person, crew: &str, left: &str) {
    let (status, _) = web.call(ann, "GET /v1/users/me", NONE).await;
    assert_eq!(status, 401);
    let (status, _) = web.open("POST /v1/auth/login", json!({ "login": "ann", "password": PASSWORD })).await;
    assert_eq!(status, 401);
    web.refused(ben, 404, "not_found", &format!("GET /v1/users/{}", ann.id), NONE).await;
    for room in [crew, left] {
        let page = web.ok(ben, 200, &format!("GET /v1/rooms/{room}/messages"), NONE).await;
        for message in page["messages"].as_array().unwrap().iter().filter(|message| message["actor"] == json!(ann.id)) {
            assert_eq!((&message["deleted"], message.get("text")), (&json!(true), None), "{message}");
        }
        for text in ["land", "fare", "sight"] {
            let found = web.ok(ben, 200, &format!("GET /v1/rooms/{room}/search?q={text}"), NONE).await;
            assert_eq!(found["messages"], json!([]), "{text}");
        }
        let members = web.ok(ben, 200, &format!("GET /v1/rooms/{room}/members"), NONE).await;
        assert_eq!(members["members"].as_array().unwrap().len(), 1);
    }
    let page = web.ok(ben, 200, "GET /v1/users/search?q=ann", NONE).await;
    assert_eq!(page["users"], json!([]));
}

#[tokio::test]
async fn an_erase_goes_on_after_a_crash() {
    goes_on_after_a_crash(Stored::Embedded, 60).await;
}

#[tokio::test]
async fn an_erase_goes_on_after_a_crash_on_mongodb() {
    goes_on_after_a_crash(Stored::Mongo, 20).await;
}

/// The process is killed while an erase is under way: the next start goes on with it.
async fn goes_on_after_a_crash(stored: Stored, count: usize) {
    let mut server = Server::start_for_restarts(stored, &[]);
    let web = Web::new(&server);
    let (ann, ben) = (web.register("ann").await, web.register("ben").await);
    let mut rooms = Vec::new();
    for n in 0..count {
        let id = room(&web, &ben, &format!("room {n}"), &[&ann]).await;
        post(&web, &ann, &id, "Land ahoy").await;
        rooms.push(id);
    }
    // Nobody waits for the answer: the process is gone before it.
    let request = web.request("DELETE", "/v1/users/me").bearer_auth(&ann.token).json(&json!({ "password": PASSWORD }));
    let asked = tokio::spawn(request.send());
    let erased = format!("GET /v1/users/{}", ann.id);
    let deadline = Instant::now() + STEP;
    while web.call(&ben, &erased, NONE).await.0 != 404 {
        assert!(Instant::now() < deadline, "the account was not erased");
    }
    server.kill9();
    let _broken = asked.await.unwrap();
    server.restart();
    let deadline = Instant::now() + STEP;
    for room in &rooms {
        loop {
            let page = web.ok(&ben, 200, &format!("GET /v1/rooms/{room}/messages"), NONE).await;
            let members = web.ok(&ben, 200, &format!("GET /v1/rooms/{room}/members"), NONE).await;
            if page["messages"][0]["deleted"] == true && members["members"].as_array().unwrap().len() == 1 {
                break;
            }
            assert!(Instant::now() < deadline, "the erase did not go on: {page}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    let deadline = Instant::now() + STEP;
    while admin::stat(server.data().as_ref(), "erases_under_way") > 0 {
        assert!(Instant::now() < deadline, "the erase does not end");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // What went on is the erase that was begun, not another one.
    let checked = admin::lines(server.data().as_ref(), &["verify"]);
    assert_eq!(checked.last().unwrap()["differences"], 0, "{checked:?}");
    server.stop();
}
