//! The MongoDB store when the network or the database does what they do: every answer that it gives is true, and nothing is lost, doubled
//! or left out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../store_suite/mod.rs"]
mod store_suite;

mod faults;
mod nodes;
mod outage;
mod proxy;

use client_protocol::RoomId;
use components::edge::{AppendReply, AppendRequest, AppendThen, Found, Read, ReadRequest, StoreReply};
use server::store::mongo::MongoStore;
use server::store::{Store, StoreWork};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store_suite::log::Log;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Longer than anything that a store does here, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store and the replies to its appends.
struct Node {
    store: Arc<MongoStore>,
    replies: UnboundedReceiver<AppendReply>,
    reads: UnboundedReceiver<Found>,
    last_token: u64,
    _folder: tempfile::TempDir,
}

/// The final answer to an append, and when the first one came.
struct Answered {
    appended: usize,
    then: AppendThen,
    first_after: Duration,
    was_in_doubt: bool,
}

impl Node {
    async fn open(uri: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (uri, path) = (uri.to_owned(), folder.path().to_owned());
        let store = tokio::task::spawn_blocking(move || MongoStore::open(&uri, &path).unwrap()).await.unwrap();
        let (sender, replies) = unbounded_channel();
        let (found, reads) = unbounded_channel();
        store.connect(Arc::new(move |batch| {
            for reply in batch {
                let _taken = match reply {
                    StoreReply::Append(reply) => sender.send(reply).is_ok(),
                    StoreReply::Read(_, read) => found.send(read).is_ok(),
                };
            }
        }));
        Self { store: Arc::new(store), replies, reads, last_token: 0, _folder: folder }
    }

    fn submit(&mut self, room: RoomId, expected_seq: u64, records: Vec<components::edge::Record>) -> u64 {
        self.last_token += 1;
        let request = AppendRequest { room, token: self.last_token, expected_seq, records };
        self.store.submit(StoreWork { appends: vec![request], ..StoreWork::default() });
        self.last_token
    }

    /// The final answer to an append, which must be the only one that is open.
    async fn answer(&mut self, token: u64) -> Answered {
        let began = Instant::now();
        let (mut first_after, mut was_in_doubt) = (None, false);
        loop {
            let reply = tokio::time::timeout(PATIENCE, self.replies.recv()).await.expect("an answer in time").unwrap();
            assert_eq!(reply.token, token);
            let first_after = *first_after.get_or_insert_with(|| began.elapsed());
            if reply.then == AppendThen::InDoubt {
                was_in_doubt = true;
                continue;
            }
            return Answered { appended: reply.appended, then: reply.then, first_after, was_in_doubt };
        }
    }

    async fn append(&mut self, room: RoomId, expected_seq: u64, records: Vec<components::edge::Record>) -> Answered {
        let token = self.submit(room, expected_seq, records);
        self.answer(token).await
    }

    /// The log of a room, as text.
    async fn said(&mut self, room: RoomId) -> String {
        let read = Read::Page { room, first_seq: 1, last_seq: 1_000 };
        self.store.submit(StoreWork { reads: vec![ReadRequest { token: 0, read }], ..StoreWork::default() });
        match tokio::time::timeout(PATIENCE, self.reads.recv()).await.expect("an answer in time") {
            Some(Found::Page(records)) => records.iter().map(|record| String::from_utf8_lossy(&record.bytes)).collect(),
            other => panic!("{other:?}"),
        }
    }

    async fn close(self) {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    }
}

/// Asserts that a room's log in the database is these records, and nothing else, and that its row is level with it.
async fn assert_log(uri: &str, log: &Log, records: &[components::edge::Record]) {
    let (folder, uri) = (tempfile::tempdir().unwrap(), uri.to_owned());
    let place = folder.path().to_owned();
    let open = move || Box::pin(open_store(uri.clone(), place.clone())) as store_suite::Opening;
    let mut rig = store_suite::Rig::new(store_suite::Backend::new(folder, open)).await;
    let stored = rig.page(log.room, 1, 1_000_000).await;
    assert_eq!(stored, records, "the log is another one than was acknowledged");
    let row = rig.store.room(log.room).await.unwrap().expect("a row");
    let messages = records.iter().filter(|record| record.event.body.is_message()).count() as u64;
    assert_eq!((row.head, row.message_no), (records.len() as u64, messages));
    let store = rig.store.clone();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

async fn open_store(uri: String, place: std::path::PathBuf) -> Arc<dyn Store> {
    let store = tokio::task::spawn_blocking(move || MongoStore::open(&uri, &place).unwrap()).await.unwrap();
    Arc::new(store)
}
