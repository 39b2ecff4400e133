//! How the server ends: by a signal, or not at all.

use crate::common::raw::{assert_closed, connect, device, transport};
use crate::common::{Hooked, Raw, Server, Stored, post, register, step};
use client_protocol::room::LIVE;
use client_protocol::{CloseCode, Code, ServerFrame};
use quinn::ConnectionError;
use starling_client::SessionItem;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_drain_answers_what_was_asked() {
    let mut server = Server::start(&["--drain-s", "1"]);
    let account = register(&server, "uwe").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    session.subscribe(room, 0).await;
    let mut asked = Vec::new();
    for number in 0..20 {
        asked.push(session.send(&post(room, &format!("message {number}"))).await);
    }
    server.terminate();
    let range = session
        .wait_for("the goaway", |frame| match frame {
            ServerFrame::Goaway(goaway) => Some(goaway.reconnect_after_ms),
            _ => None,
        })
        .await;
    assert!(range.0 <= range.1 && range.1 > 0);
    // Until it is closed, a session works as before; nobody new comes in.
    asked.push(session.send(&post(room, "after the goaway")).await);
    for id in asked {
        assert_eq!(session.reply(id).await.code(), Code::Ok);
    }
    session.events_through(room, 1, 22).await;
    let refused = step("the refusal", connect(&server, transport())).await;
    assert!(matches!(refused, Err(ConnectionError::ConnectionClosed(_))), "{refused:?}");
    assert_closed(session.connection(), CloseCode::GoingAway).await;
    assert!(server.wait().success());

    server.restart();
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    session.subscribe(room, 0).await;
    session.events_through(room, 1, 22).await;
}

#[tokio::test]
async fn a_drain_answers_all_that_it_took_from_senders_that_never_stop() {
    let args = ["--drain-s", "1", "--user-rate", "1000000", "--user-burst", "1000000"];
    let mut server = Server::start_for_restarts(Stored::Embedded, &args);
    let account = register(&server, "tess").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    let Hooked { mut send, mut recv, connection, .. } = session.hooked;
    let sending = tokio::spawn(async move {
        for id in 1_000_u64.. {
            if send.write_all(&post(room, "on and on").frame(id)).await.is_err() {
                return;
            }
        }
    });
    let mut acked = 0;
    let mut told = false;
    while let Some(frame) = step("an answer", recv.next()).await {
        if let ServerFrame::Reply(_, reply) = frame {
            assert_eq!(reply.code(), Code::Ok);
            acked += 1;
        }
        if acked == 100 && !std::mem::replace(&mut told, true) {
            server.terminate();
        }
    }
    assert_closed(&connection, CloseCode::GoingAway).await;
    step("the sender's end", sending).await.unwrap();
    assert!(server.wait().success());
    server.restart();
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let head = session.subscribe(room, LIVE).await;
    assert_eq!(head, 1 + acked, "what is in the log was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_when_everybody_has_gone() {
    let mut server = Server::start_for_restarts(Stored::Embedded, &["--drain-s", "60"]);
    let account = register(&server, "vera").await;
    let client = server.client(&account).connect().await.unwrap();
    let mut items = client.session_items();
    let room = client.create_room(starling_client::NewRoom::public("Quay")).await.unwrap();
    client.mark_read(room, 1).await.unwrap();
    server.terminate();
    loop {
        match step("the goaway", items.next()).await {
            Some(SessionItem::Goaway { .. }) => break,
            Some(_) => {}
            None => panic!("the session ended"),
        }
    }
    let began = Instant::now();
    let status = server.wait();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(20), "the client left, and the server waited: {:?}", began.elapsed());
    server.restart();
    let acked = step("a post after the restart", client.post(room, "back")).await.unwrap();
    assert_eq!(acked.seq, 2);
    client.close().await;
    server.stop();
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--drain-s", "60"]);
    let account = register(&server, "wim").await;
    let session = Raw::connect(&server, &account.tokens.access_token).await;
    server.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    server.terminate();
    assert_eq!(server.wait().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(session);
}

#[tokio::test]
async fn clients_of_a_crashed_server_learn_it_from_the_next_one() {
    let mut server = Server::start_for_restarts(Stored::Embedded, &[]);
    let account = register(&server, "xaver").await;
    let mut patient = transport();
    patient.max_idle_timeout(Some(Duration::from_secs(600).try_into().unwrap()));
    patient.keep_alive_interval(Some(Duration::from_millis(200)));
    let session = Raw::connect_with(&server, &account.tokens.access_token, device(), patient).await;
    server.kill9();
    server.restart();
    let began = Instant::now();
    let reason = step("the reset", session.connection().closed()).await;
    assert_eq!(reason, ConnectionError::Reset, "a stateless reset");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
