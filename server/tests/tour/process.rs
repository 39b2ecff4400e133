//! The process: what it says about a bad configuration, how it ends, what it keeps.

use crate::common::chat::Chat;
use crate::common::web::{Person, Web};
use crate::common::{Raw, Server, Stored, head, post_as, raw, register, step};
use client_protocol::{CloseCode, ServerFrame};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts the server, which must refuse its configuration; what it says.
fn refused(args: &[&str], env: &[(&str, &str)], file: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(folder.path().join("starling.toml"), text).unwrap();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_starling"))
        .env_clear()
        .envs(env.iter().copied())
        .args(args)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?} {env:?} {file:?}: {said}");
    assert!(!folder.path().join("data").exists(), "it began before it knew its configuration");
    said
}

fn names(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn a_bad_configuration_is_refused_with_its_reasons() {
    let ports = "0 to 65535";
    names(&refused(&["--port", "99999"], &[], None), &["--port", "`99999`", ports]);
    names(&refused(&[], &[("PORT", "http")], None), &["PORT", "`http`", ports]);
    names(&refused(&[], &[], Some("quic_port = -1")), &["starling.toml", "quic_port", "`-1`", ports]);
    names(&refused(&[], &[], Some("colour = \"red\"")), &["colour", "no such setting", "quic_port"]);
    names(&refused(&[], &[], Some("port = ")), &["starling.toml"]);
    names(&refused(&["--config", "missing.toml"], &[], None), &["missing.toml"]);
    names(&refused(&["--prot", "1"], &[], None), &["--prot"]);
    let said = refused(&[], &[("JWT_SECRET", "hunter2")], None);
    names(&said, &["JWT_SECRET", "7 bytes", "at least 32 bytes"]);
    assert!(!said.contains("hunter2"), "{said}");
    let said = refused(&[], &[("MONGODB_URI", "amqp://ann:hunter2@x")], None);
    names(&said, &["MONGODB_URI", "mongodb://"]);
    assert!(!said.contains("hunter2"), "{said}");
    names(&refused(&[], &[("MSG_BROKER_URL", "amqp://x")], None), &["MSG_BROKER_URL"]);
}

#[test]
fn a_password_in_a_wrong_uri_is_not_said() {
    for uri in ["mongodb://admin:hunter2/starling", "mongodb://ann:hunter2%40host/db"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        command.env_clear().env("MONGODB_URI", uri).args(["--quic-port", "0", "--port", "0", "--data"]).arg(folder.path());
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        names(&said, &["MONGODB_URI", "percent-encoded", "HOST:PORT"]);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_folder_in_use_and_a_port_in_use_are_said() {
    let server = Server::start(&[]);
    let start = |data: &std::path::Path, port: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        command.env_clear().args(["--quic-port", "0", "--port", port, "--data"]).arg(data);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = start(&server.data(), "0");
    assert_eq!(code, Some(1), "{said}");
    names(&said, &["starling:"]);
    let (code, said) = start(&server.folder().join("other"), &server.rest.port().to_string());
    assert_eq!(code, Some(1), "{said}");
    names(&said, &[&server.rest.to_string()]);
}

#[tokio::test]
async fn an_interrupt_drains_and_ends_well() {
    let mut server = Server::start(&["--drain-s", "1"]);
    let ann = register(&server, "ann").await;
    let mut session = Raw::connect(&server, &ann.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    let sent = head(room);
    let request = session.send(&post_as(sent, "last words")).await;
    session.reply(request).await;
    server.interrupt();
    let goaway = session.wait_for("the request to go", |frame| match frame {
        ServerFrame::Goaway(goaway) => Some(goaway.reconnect_after_ms),
        _ => None,
    });
    let (first, last) = goaway.await;
    assert!(first <= last);
    raw::assert_closed(session.connection(), CloseCode::GoingAway).await;
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{}", server.log());

    server.restart();
    let mut session = Raw::connect(&server, &ann.tokens.access_token).await;
    assert_eq!(session.rooms.rooms[0].head, 2);
    assert_eq!(session.done(&post_as(sent, "last words")).await, 2, "it was kept");
    session.close().await;
    server.stop();
}

#[tokio::test]
async fn the_data_folder_is_kept_over_a_restart() {
    let mut server = Server::start_for_restarts(Stored::Embedded, &[]);
    let web = Web::new(&server);
    let ann = web.register("ann").await;
    let certificate = std::fs::read(server.certificate()).unwrap();
    let (_, keys) = web.open("GET /.well-known/jwks.json", Value::Null).await;
    let chat = Chat::new(&server);
    chat.register("ben");
    chat.one("ben", &["create", "public", "lobby"]);
    server.stop();
    server.restart();
    assert_eq!(std::fs::read(server.certificate()).unwrap(), certificate);
    assert_eq!(web.open("GET /.well-known/jwks.json", Value::Null).await.1, keys);
    web.ok(&ann, 200, "GET /v1/users/me", Value::Null).await;
    let (status, tokens) = web.open("POST /v1/auth/refresh", serde_json::json!({ "refresh_token": ann.refresh })).await;
    assert_eq!(status, 200, "{tokens}");
    let ann = Person { token: tokens["access_token"].as_str().unwrap().to_owned(), ..ann };
    let rooms = web.ok(&ann, 200, "GET /v1/rooms/public", Value::Null).await;
    assert_eq!(rooms["rooms"][0]["name"], "lobby");
    assert_eq!(chat.one("ben", &["rooms"])["name"], "lobby", "the program trusts the same certificate");
    step("the stop", async { server.stop() }).await;
}
