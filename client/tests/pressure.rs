//! A slow reader: bounded memory, answers get through, nothing is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use client_protocol::session::Reply;
use client_protocol::{Command, ServerFrame};
use common::*;
use starling_client::{After, RoomItem};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const LOG: u64 = 8_000;
const CHUNK: u64 = 50;

/// Serves one room with a log of [`LOG`] events, as fast as the connection takes them. Counts events sent and subscriptions made.
async fn serve(session: FakeSession, sent: Arc<AtomicU64>, subscriptions: Arc<AtomicU64>) {
    let FakeSession { connection, mut send, mut recv, .. } = session;
    let (frames, mut waiting) = mpsc::channel::<bytes::Bytes>(1);
    let (cursor, mut cursors) = watch::channel(None::<u64>);
    let writer = tokio::spawn(async move {
        while let Some(frame) = waiting.recv().await {
            if send.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    let events = frames.clone();
    let feeder = tokio::spawn(async move {
        loop {
            let Some(mut at) = *cursors.borrow_and_update() else {
                if cursors.changed().await.is_err() {
                    return;
                }
                continue;
            };
            while at < LOG && !cursors.has_changed().unwrap_or(true) {
                let to = (at + CHUNK).min(LOG);
                if events.send(events_of(room(9), at + 1..=to)).await.is_err() {
                    return;
                }
                sent.fetch_add(to - at, Ordering::SeqCst);
                at = to;
            }
            if cursors.changed().await.is_err() {
                return;
            }
        }
    });
    while let Some(frame) = recv.frame().await {
        let (id, command) = Command::decode(&frame).unwrap();
        let (reply, next) = match command {
            Command::Subscribe(subscribe) => {
                subscriptions.fetch_add(1, Ordering::SeqCst);
                (Reply::done(LOG), Some(Some(subscribe.after_seq)))
            }
            Command::Unsubscribe(_) => {
                cursor.send_replace(None);
                // What the feeder had in hand goes out before the reply.
                tokio::time::sleep(Duration::from_millis(20)).await;
                (Reply::done(0), None)
            }
            _ => (Reply::done(LOG + 1), None),
        };
        frames.send(ServerFrame::Reply(id, reply).encode()).await.unwrap();
        if let Some(next) = next {
            cursor.send_replace(next);
        }
    }
    feeder.abort();
    writer.abort();
    drop(connection);
}

#[tokio::test]
async fn a_reader_that_does_not_read_neither_grows_memory_nor_stops_answers() {
    let server = FakeServer::start();
    let (client, session) = server.connected().await;
    let (sent, subscriptions) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let serving = tokio::spawn(serve(session, Arc::clone(&sent), Arc::clone(&subscriptions)));
    let mut events = step(client.subscribe(room(9), After::Start)).await.unwrap();

    // Nobody reads the events. Answers come all the same.
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..3 {
        let acked = tokio::time::timeout(Duration::from_secs(2), client.post(room(9), "hello")).await;
        assert_eq!(acked.expect("the answer is stuck behind events").unwrap().seq, LOG + 1);
    }
    // Once the subscription is paused, nothing more is taken in.
    let before = sent.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sent.load(Ordering::SeqCst), before);
    assert_eq!(subscriptions.load(Ordering::SeqCst), 1);
    assert!(before < LOG, "all of the log was sent to a reader that does not read");

    // Then it reads: everything, in order, once.
    let mut seq = 0;
    while seq < LOG {
        match step(events.next()).await {
            Some(RoomItem::Event(event)) => {
                assert_eq!(event.head.seq, seq + 1);
                seq += 1;
            }
            other => panic!("{other:?}"),
        }
        if seq == LOG / 2 {
            // A second pause on the way.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    assert!(subscriptions.load(Ordering::SeqCst) >= 2);
    client.close().await;
    step(serving).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_keeps_up_is_never_unsubscribed() {
    let server = FakeServer::start();
    let (client, session) = server.connected().await;
    let (sent, subscriptions) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let serving = tokio::spawn(serve(session, Arc::clone(&sent), Arc::clone(&subscriptions)));
    let mut events = step(client.subscribe(room(9), After::Start)).await.unwrap();
    for seq in 1..=LOG {
        expect_event(&mut events, seq).await;
    }
    assert_eq!(subscriptions.load(Ordering::SeqCst), 1);
    assert_eq!(sent.load(Ordering::SeqCst), LOG);
    client.close().await;
    step(serving).await.unwrap();
}
