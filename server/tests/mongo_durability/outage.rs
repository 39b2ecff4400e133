//! The database freezes, dies and comes back: no false answer, an answer in time, and everything goes on by itself.

use crate::store_suite::log::{Log, created, posted, room, user};
use crate::{Node, assert_log};
use client_protocol::room::kind::GROUP;
use components::edge::{AppendThen, Record};
use mongo_server::MongoServer;
use server::store::Store;
use std::time::{Duration, Instant};

/// A request ends by then, whatever its outcome.
const ANSWER: Duration = Duration::from_secs(2);
/// Everything goes on by then after the database is back.
const RECOVERY: Duration = Duration::from_secs(5);

/// What brings a database down, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Frozen,
    Killed,
}

impl Outage {
    fn begin(self, server: &MongoServer) {
        match self {
            Self::Frozen => server.freeze(),
            Self::Killed => server.kill9(),
        }
    }

    fn end(self, server: &mut MongoServer) {
        match self {
            Self::Frozen => server.thaw(),
            Self::Killed => server.restart().unwrap(),
        }
    }
}

async fn until(what: &str, bound: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < bound, "not {what} after {bound:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn outage(outage: Outage) {
    let mut server = tokio::task::spawn_blocking(MongoServer::start).await.unwrap().unwrap();
    let uri = server.uri("starling");
    let mut node = Node::open(&uri).await;
    let mut log = Log::new(room(1));
    let mut records = vec![log.record(user(1), created(GROUP, "group", &[]))];
    assert_eq!(node.append(log.room, 1, records.clone()).await.then, AppendThen::Done);

    for round in 0..2 {
        outage.begin(&server);
        let began = Instant::now();
        // Nobody knows yet.
        let expected_seq = log.seq + 1;
        let batch: Vec<Record> = (0..3).map(|n| log.record(user(1), posted(&format!("{round} {n}")))).collect();
        let token = node.submit(log.room, expected_seq, batch.clone());
        let first = tokio::time::timeout(ANSWER, node.replies.recv()).await.expect("an answer in time").unwrap();
        assert_eq!(first.token, token);
        until("not ready", Duration::from_secs(4), || !node.store.is_ready()).await;
        // Once it is known, what is new is refused at once.
        let mut other = Log::new(room(100 + round));
        let refused = vec![other.record(user(2), created(GROUP, "other", &[]))];
        if first.then == AppendThen::InDoubt {
            let asked = Instant::now();
            let token = node.submit(other.room, 1, refused);
            let answered = node.replies.recv().await.unwrap();
            assert_eq!((answered.token, answered.appended, answered.then), (token, 0, AppendThen::Unavailable));
            assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        }
        assert!(node.store.room(log.room).await.is_err(), "a query says so");
        tokio::time::sleep(Duration::from_secs(3).saturating_sub(began.elapsed())).await;

        server = tokio::task::spawn_blocking(move || {
            outage.end(&mut server);
            server
        })
        .await
        .unwrap();
        let back = Instant::now();
        until("ready", RECOVERY, || node.store.is_ready()).await;
        match first.then {
            AppendThen::InDoubt => {
                let answered = node.answer(token).await;
                assert_eq!((answered.appended, answered.then), (3, AppendThen::Done));
                records.extend(batch);
            }
            AppendThen::Unavailable => {
                assert_eq!(first.appended, 0);
                log = Log { seq: log.seq - 3, message_no: log.message_no - 3, ..log };
            }
            other => panic!("{other:?} of a database that is down"),
        }
        records.push(goes_on(&mut node, &mut log, back).await);
    }
    node.close().await;
    assert_log(&uri, &log, &records).await;
}

/// Appends one more record, within [`RECOVERY`] of the time at which the database was back.
async fn goes_on(node: &mut Node, log: &mut Log, back: Instant) -> Record {
    let expected_seq = log.seq + 1;
    let more = log.record(user(1), posted("and on"));
    assert_eq!(node.append(log.room, expected_seq, vec![more.clone()]).await.then, AppendThen::Done);
    assert!(back.elapsed() < RECOVERY, "{:?} until it went on", back.elapsed());
    more
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_freezes() {
    outage(Outage::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed() {
    outage(Outage::Killed).await;
}

/// Killed while it works, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_in_the_middle_of_batches() {
    let mut server = tokio::task::spawn_blocking(MongoServer::start).await.unwrap().unwrap();
    let uri = server.uri("starling");
    let mut node = Node::open(&uri).await;
    let mut log = Log::new(room(1));
    let mut records = vec![log.record(user(1), created(GROUP, "group", &[]))];
    assert_eq!(node.append(log.room, 1, records.clone()).await.then, AppendThen::Done);
    for kill in 0..25_u64 {
        let killer = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(5 + (kill * 37) % 90));
            server.kill9();
            server.restart().unwrap();
            server
        });
        loop {
            let before = log.clone();
            let batch: Vec<Record> = (0..20).map(|n| log.record(user(1), posted(&format!("{kill} {n}")))).collect();
            let answered = node.append(log.room, before.seq + 1, batch.clone()).await;
            records.extend(batch[..answered.appended].iter().cloned());
            if answered.then != AppendThen::Done {
                assert_eq!(answered.then, AppendThen::Unavailable);
                let appended = answered.appended as u64;
                log = Log { seq: before.seq + appended, message_no: before.message_no + appended, ..log };
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if killer.is_finished() {
                break;
            }
        }
        server = killer.await.unwrap();
    }
    let back = Instant::now();
    until("ready", RECOVERY, || node.store.is_ready()).await;
    records.push(goes_on(&mut node, &mut log, back).await);
    node.close().await;
    assert_log(&uri, &log, &records).await;
}
