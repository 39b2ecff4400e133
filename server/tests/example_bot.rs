//! The example plugin, in a server of this process, over sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/ping_bot/bot.rs"]
mod bot;
mod common;

use bot::{PONG, PingBot};
use client_protocol::chat::relation;
use client_protocol::{EventBody, UserId};
use common::register_at;
use server::config::Config;
use server::{App, Running};
use starling_client::rest::Rest;
use starling_client::{After, Client, NewRoom, RoomEvents, RoomItem, Trust};
use std::time::Duration;

const STEP: Duration = Duration::from_secs(30);

/// Who, what, and in answer to what.
async fn next_message(events: &mut RoomEvents) -> (UserId, String, Option<u64>) {
    loop {
        match tokio::time::timeout(STEP, events.next()).await.expect("an event") {
            Some(RoomItem::Event(event)) => {
                if let EventBody::MessagePosted(posted) = event.body {
                    let text = String::from_utf8(posted.body.bytes).unwrap();
                    let reply_to = posted.tail.relation.filter(|found| found.kind == relation::REPLY).map(|found| found.seq);
                    return (event.head.actor, text, reply_to);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn talk(running: &Running, bot: &PingBot) {
    let rest = Rest::new(&format!("http://{}", running.rest_address())).unwrap();
    let (alice, robot) = (register_at(&rest, "alice").await, register_at(&rest, "pingbot").await);
    let client = Client::builder(running.quic_address().to_string())
        .trust(Trust::AnyOnLoopback)
        .tokens(rest.tokens(alice.tokens.clone()))
        .connect()
        .await
        .unwrap();
    let with = client.create_room(NewRoom::group("With", vec![robot.user.id])).await.unwrap();
    let without = client.create_room(NewRoom::group("Without", Vec::new())).await.unwrap();
    let mut events = client.subscribe(with, After::Start).await.unwrap();

    client.post(with, "!ping").await.unwrap();
    assert_eq!(next_message(&mut events).await.1, "!ping");
    // It does not know yet who it is, and did not answer.
    bot.speak_as(robot.user.id);
    client.post(with, "hello").await.unwrap();
    assert_eq!(next_message(&mut events).await.1, "hello");
    for _ in 0..3 {
        let asked = client.post(with, "!ping").await.unwrap();
        assert_eq!(next_message(&mut events).await, (alice.user.id, "!ping".into(), None));
        assert_eq!(next_message(&mut events).await, (robot.user.id, PONG.into(), Some(asked.seq)));
    }
    // Where it is no member it may say nothing, as any user.
    client.post(without, "!ping").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let last = client.post(without, "nobody").await.unwrap();
    assert_eq!(last.seq, 3);
    client.close().await;
}

#[test]
fn the_bot_answers() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { port: 0, quic_port: 0, data: folder.path().join("data"), ..Config::default() };
    let bot = PingBot::default();
    let running = App::new(config).add_plugins(bot.clone()).start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(talk(&running, &bot));
    running.shut_down();
}
