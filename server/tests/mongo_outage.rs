//! A server whose database is away: sessions stay, requests end in time, everything goes on by itself; and starts that cannot be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use client_protocol::Code;
use common::chat::PASSWORD;
use common::web::Web;
use common::{Raw, Server, post, register, step, text_of};
use mongo_server::MongoServer;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// A request ends by then: two seconds, and a little for a machine that is busy.
const ANSWER: Duration = Duration::from_millis(2_500);
/// Everything goes on by then after the database is back.
const RECOVERY: Duration = Duration::from_secs(5);

/// A server, and a database of its own that can be frozen.
async fn start() -> (MongoServer, Server) {
    let start = || {
        let database = MongoServer::start().unwrap();
        let server = Server::start_with_env(&[], &[("MONGODB_URI", &database.uri("starling"))]);
        (database, server)
    };
    tokio::task::spawn_blocking(start).await.unwrap()
}

async fn ready(web: &Web) -> bool {
    web.open("GET /readyz", Value::Null).await.0 == 200
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_stay_and_sends_end_in_time_while_the_database_is_frozen() {
    let (database, server) = start().await;
    let web = Web::new(&server);
    let ann = register(&server, "ann").await;
    let mut session = Raw::connect(&server, &ann.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    let other = session.create_group(Vec::new()).await;
    session.subscribe(room, 0).await;
    assert_eq!(session.done(&post(room, "before")).await, 2);
    assert!(ready(&web).await);

    database.freeze();
    let asked = Instant::now();
    let command = post(room, "during");
    let reply = session.request(&command).await;
    assert!(matches!(reply.code(), Code::OutcomeUnknown | Code::Unavailable), "{reply:?}");
    assert!(asked.elapsed() < ANSWER, "{:?}", asked.elapsed());
    let deadline = Instant::now() + RECOVERY;
    while ready(&web).await {
        assert!(Instant::now() < deadline, "it says that it is ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The other room has nothing in doubt: it refuses at once.
    let asked = Instant::now();
    let refused = session.request(&post(other, "refused")).await;
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(asked.elapsed() < server::limits::MONGO_CALL_TIMEOUT, "it waited for the database: {:?}", asked.elapsed());
    assert_eq!(web.open("GET /healthz", Value::Null).await.0, 200, "nobody should restart it");

    database.thaw();
    let back = Instant::now();
    while !ready(&web).await {
        assert!(back.elapsed() < RECOVERY, "it is not ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut again = command;
    if let client_protocol::Command::PostMessage(message) = &mut again {
        message.head.retry = true;
    }
    let seq = loop {
        let reply = session.request(&again).await;
        match reply.code() {
            Code::Ok => break reply.seq,
            Code::Unavailable | Code::OutcomeUnknown => assert!(back.elapsed() < RECOVERY, "{reply:?}"),
            code => panic!("{code:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(seq, 3, "once, at the next place");
    assert_eq!(session.done(&post(room, "after")).await, 4);
    let events = session.events_through(room, 1, 4).await;
    assert_eq!(events.iter().filter_map(text_of).collect::<Vec<_>>(), ["before", "during", "after"]);
    session.close().await;
    let mut server = server;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erase_goes_on_when_the_database_is_back() {
    let (database, server) = start().await;
    let web = Web::new(&server);
    let (ann, ben) = (web.register("ann").await, web.register("ben").await);
    let mut rooms = Vec::new();
    for _ in 0..8 {
        let new = json!({ "kind": "group", "name": "crew", "members": [ann.id] });
        let room = web.ok(&ben, 201, "POST /v1/rooms", new).await["id"].as_str().unwrap().to_owned();
        web.ok(&ann, 201, &format!("POST /v1/rooms/{room}/messages"), json!({ "text": "Land ahoy" })).await;
        rooms.push(room);
    }
    let request = web.request("DELETE", "/v1/users/me").bearer_auth(&ann.token).json(&json!({ "password": PASSWORD }));
    let asked = tokio::spawn(request.send());
    let erased = format!("GET /v1/users/{}", ann.id);
    let deadline = Instant::now() + RECOVERY;
    while web.call(&ben, &erased, Value::Null).await.0 != 404 {
        assert!(Instant::now() < deadline, "the account was not erased");
    }
    // Longer than anybody waits for anything.
    database.freeze();
    tokio::time::sleep(Duration::from_secs(4)).await;
    database.thaw();
    let _done_or_accepted = asked.await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    for room in &rooms {
        let history = format!("GET /v1/rooms/{room}/messages");
        loop {
            let (status, page) = web.call(&ben, &history, Value::Null).await;
            if status == 200 && page["messages"][0]["deleted"] == true {
                break;
            }
            assert!(Instant::now() < deadline, "the erase does not go on: {page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut server = server;
    server.stop();
}

fn start_with(uri: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command.env_clear().env("MONGODB_URI", uri).args(["--port", "0", "--quic-port", "0", "--data"]).arg(folder.path());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_said_in_time() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let began = Instant::now();
    let uri = format!("mongodb://ann:hunter2@127.0.0.1:{port}/chat");
    let (code, said) = step("a start", async { tokio::task::spawn_blocking(move || start_with(&uri)).await.unwrap() }).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("database chat"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let (code, said) = start_with("mongodb://ann:hunter2:@@x/");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("MONGODB_URI") && !said.contains("hunter2"), "{said}");
}
