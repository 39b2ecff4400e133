//! A world that panics takes the process with it: a server that answers health checks and nothing else would be worse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bevy_app::{App as World, Plugin};
use bevy_ecs::prelude::*;
use client_protocol::EventBody;
use server::App;
use server::config::Config;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use systems::delivery::Settled;
use systems::schedule::{Feature, In, Stage, Tick};

/// Says to this very program that it is the server.
const AS_SERVER: &str = "PANICS_TEST_DATA";

struct Clumsy;

impl Plugin for Clumsy {
    fn build(&self, app: &mut World) {
        app.add_systems(Tick, stumble.in_set(In(Stage::Deliver, Feature::Extension)));
    }
}

fn stumble(mut settled: MessageReader<Settled>) {
    for settled in settled.read() {
        let created = settled.records.iter().any(|record| matches!(record.event.body, EventBody::RoomCreated(_)));
        assert!(!created, "a plugin stumbles");
    }
}

/// A server with that plugin, and one who makes a room on it.
fn serve(data: &str) -> ! {
    let config = Config { data: data.into(), port: 0, quic_port: 0, ..Config::default() };
    server::telemetry::init_log(&config).unwrap();
    let running = App::new(config).add_plugins(Clumsy).start().unwrap();
    let base = format!("http://{}", running.rest_address());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let person = serde_json::json!({ "username": "ada", "email": "ada@example.org", "password": "correct horse" });
        let answer = http.post(format!("{base}/v1/auth/register")).json(&person).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let token = answer["tokens"]["access_token"].as_str().unwrap().to_owned();
        let room = serde_json::json!({ "kind": "group" });
        let _cut = http.post(format!("{base}/v1/rooms")).bearer_auth(token).json(&room).send().await;
        // The process ends before this does.
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    });
    std::process::exit(0)
}

#[test]
fn a_plugin_that_panics_ends_the_process() {
    if let Ok(data) = std::env::var(AS_SERVER) {
        serve(&data);
    }
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_plugin_that_panics_ends_the_process", "--nocapture"])
        .env(AS_SERVER, folder.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "{:?}\n{said}", output.status);
    assert!(said.contains("a plugin stumbles"), "{said}");
}
