//! The program `starling-chat` from the outside: exit codes, what it prints, what it keeps.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use client_protocol::room::{RoomEntry, RoomEntryTail, Rooms, kind, role};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, CloseCode, Code, Command, Query, ServerFrame};
use common::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server with both of its interfaces, and a folder for profiles.
struct Place {
    quic: Arc<FakeServer>,
    api: String,
    home: tempfile::TempDir,
    refreshed: Arc<AtomicU32>,
}

impl Place {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let refreshed = Arc::new(AtomicU32::new(0));
        tokio::spawn(serve_rest(listener, Arc::clone(&refreshed)));
        let quic = Arc::new(FakeServer::start());
        let place = Self { quic, api, home: tempfile::tempdir().unwrap(), refreshed };
        std::fs::write(place.home.path().join("ca.pem"), &place.quic.pem).unwrap();
        place
    }

    fn profile(&self) -> PathBuf {
        self.home.path().join("default.json")
    }

    async fn run(&self, args: &[&str]) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_starling-chat"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STARLING_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .env("STARLING_CHAT_HOME", self.home.path())
            .env("STARLING_API", &self.api)
            .env("STARLING_SERVER", self.quic.address.to_string())
            .env("STARLING_CA", self.home.path().join("ca.pem"))
            .env("STARLING_PASSWORD", "secret")
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        step(tokio::task::spawn_blocking(move || command.output())).await.unwrap().unwrap()
    }

    async fn log_in(&self) {
        let output = self.run(&["login", "alice"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    /// Serves sessions until the test ends: one room, `Lobby`, in which everything is event 2.
    fn serve_sessions(&self) {
        let server = Arc::clone(&self.quic);
        tokio::spawn(async move {
            loop {
                let session = server.greeted().await;
                tokio::spawn(serve_session(session));
            }
        });
    }
}

async fn serve_session(mut session: FakeSession) {
    session.welcome(welcome()).await;
    let connection = session.connection.clone();
    let queries = tokio::spawn(async move {
        while let Ok((mut send, recv)) = connection.accept_bi().await {
            let frame = FakeReader::new(recv).frame().await.unwrap();
            let Ok(ClientFrame::Query(id, Query::ListRooms(_))) = ClientFrame::decode(&frame) else { continue };
            let rooms = Rooms { rooms: vec![lobby()], next: 0, tail: EmptyTail::default() };
            send.write_all(&ServerFrame::RoomsPage(id, rooms).encode()).await.unwrap();
            send.finish().unwrap();
        }
    });
    while let Some(frame) = session.recv.frame().await {
        let (id, command) = Command::decode(&frame).unwrap();
        let reply = match &command {
            Command::KickMember(_) => Reply::refused(Code::Forbidden, "moderators only"),
            Command::PinMessage(_) => Reply::refused(Code::OutcomeUnknown, ""),
            _ => Reply::done(2),
        };
        session.reply(id, reply).await;
        if matches!(command, Command::Subscribe(_)) {
            session.events(room(9), 1..=2).await;
        }
    }
    queries.abort();
}

fn lobby() -> RoomEntry {
    RoomEntry {
        room: room(9),
        kind: kind::PUBLIC,
        role: role::OWNER,
        head: 2,
        message_no: 2,
        time_ms: 1_700_000_000_000,
        read_seq: 1,
        read_message_no: 1,
        tail: RoomEntryTail { name: Some("Lobby".into()), members: Some(3), ..RoomEntryTail::default() },
    }
}

async fn serve_rest(listener: TcpListener, refreshed: Arc<AtomicU32>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&refreshed)));
    }
}

/// One request a connection.
async fn answer(mut stream: TcpStream, refreshed: Arc<AtomicU32>) {
    let mut request = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            break (head.to_owned(), length.unwrap_or(0_usize));
        }
    };
    while request.len() < head.len() + 4 + length {
        stream.read_buf(&mut request).await.unwrap();
    }
    let body: Value = serde_json::from_slice(&request[head.len() + 4..]).unwrap_or_default();
    let user = json!({ "id": user(1).0, "username": "alice", "display_name": null, "created_ms": 1 });
    let tokens = |n: u32| {
        let names = (format!("access-{n}"), format!("refresh-{n}"));
        json!({ "access_token": names.0, "token_type": "Bearer", "expires_in": 600, "refresh_token": names.1, "session_id": user["id"] })
    };
    let path = head.split(' ').nth(1).unwrap();
    let (status, answer) = match path {
        "/v1/auth/login" if body["password"] == "secret" => (200, json!({ "user": user, "tokens": tokens(0) })),
        "/v1/auth/login" => (401, json!({ "code": "unauthenticated", "title": "Wrong", "status": 401 })),
        "/v1/auth/refresh" => {
            let n = refreshed.fetch_add(1, Ordering::SeqCst);
            match body["refresh_token"] == format!("refresh-{n}") {
                true => (200, tokens(n + 1)),
                false => (401, json!({ "code": "session_revoked" })),
            }
        }
        "/v1/auth/logout" => (204, Value::Null),
        path if path.ends_with("/by-name/alice") => (200, user),
        _ => (404, json!({ "code": "not_found", "detail": "no such user" })),
    };
    let body = if answer.is_null() { String::new() } else { answer.to_string() };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_login_is_kept_for_its_owner_only_and_forgotten_at_logout() {
    let place = Place::start().await;
    let output = place.run(&["whoami"]).await;
    assert_eq!(output.status.code(), Some(3));
    let output = place.run(&["--json", "login", "alice"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lines(&output.stdout)[0]["username"], "alice");
    let mode = std::fs::metadata(place.profile()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let output = place.run(&["whoami"]).await;
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("alice  "));
    assert_eq!(place.run(&["logout"]).await.status.code(), Some(0));
    assert!(!place.profile().exists());
}

#[tokio::test]
async fn a_command_ends_with_the_code_of_its_outcome() {
    let place = Place::start().await;
    assert_eq!(place.run(&["send"]).await.status.code(), Some(2), "usage");
    assert_eq!(place.run(&["rooms"]).await.status.code(), Some(3), "not logged in");
    place.log_in().await;
    place.serve_sessions();
    let output = place.run(&["--json", "send", "Lobby", "hello", "--key", "k"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = json!({ "type": "done", "room": room(9).0, "seq": 2, "key": client_protocol::Key::from_text("k").0 });
    assert_eq!(lines(&output.stdout), [expected]);
    let output = place.run(&["--json", "kick", "lobby", "@alice"]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = &lines(&output.stderr)[0];
    assert_eq!((&error["code"], &error["exit"]), (&json!("forbidden"), &json!(1)));
    assert_eq!(place.run(&["kick", "Lobby", "@nobody"]).await.status.code(), Some(1), "no such user");
    assert_eq!(place.run(&["kick", "Nowhere", "@alice"]).await.status.code(), Some(2), "no such room");
    let output = place.run(&["pin", "Lobby", "2", "--timeout", "1"]).await;
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    assert_eq!(place.run(&["--server", &address, "rooms"]).await.status.code(), Some(4), "nobody answers");
}

#[tokio::test]
async fn rooms_are_shown_as_a_table_or_as_objects() {
    let place = Place::start().await;
    place.log_in().await;
    place.serve_sessions();
    let output = place.run(&["rooms"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..5], ["1", "Lobby", "public", "owner", "3"]);
    let output = place.run(&["rooms", "--json"]).await;
    let object = &lines(&output.stdout)[0];
    assert_eq!((&object["name"], &object["unread"], &object["kind"]), (&json!("Lobby"), &json!(1), &json!("public")));
}

#[tokio::test]
async fn tail_ends_after_so_many_events() {
    let place = Place::start().await;
    place.log_in().await;
    place.serve_sessions();
    let output = place.run(&["tail", "Lobby", "--json", "--quiet", "--since", "0", "--count", "2"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let objects = lines(&output.stdout);
    let events: Vec<&Value> = objects.iter().filter(|object| object["type"] == "event").collect();
    assert_eq!(events.len(), 2);
    assert_eq!((&events[1]["seq"], &events[1]["text"]), (&json!(2), &json!("message 2")));
}

#[tokio::test]
async fn programs_of_one_profile_renew_the_token_once() {
    let place = Place::start().await;
    place.log_in().await;
    place.serve_sessions();
    let mut saved: Value = serde_json::from_slice(&std::fs::read(place.profile()).unwrap()).unwrap();
    saved["access_expires_ms"] = json!(0);
    std::fs::write(place.profile(), saved.to_string()).unwrap();
    let programs = [["rooms"]; 4].map(|args| {
        let place = &place;
        async move { place.run(&args).await }
    });
    let [a, b, c, d] = programs;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    for output in [a, b, c, d] {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(place.refreshed.load(Ordering::SeqCst), 1);
    let saved: Value = serde_json::from_slice(&std::fs::read(place.profile()).unwrap()).unwrap();
    assert_eq!(saved["tokens"]["refresh_token"], "refresh-1");
}

#[tokio::test]
async fn a_login_that_was_ended_elsewhere_is_told_as_such() {
    let place = Place::start().await;
    place.log_in().await;
    let refuse = async {
        // The token, and then the one that replaced it.
        for _ in 0..2 {
            place.quic.greeted().await.close(CloseCode::Unauthenticated);
        }
    };
    let (output, ()) = tokio::join!(place.run(&["rooms"]), refuse);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(place.refreshed.load(Ordering::SeqCst), 1);
}
