//! A crash before every write of appends, and migrations: what needs to look inside. Everything else is tested from the outside.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check;
mod index;
#[path = "../../../tests/store_suite/mod.rs"]
mod store_suite;

use super::fault::Fault;
use super::link::Link;
use super::queries::{Collection, META};
use super::schema::{Migration, SCHEMA, migrate};
use super::{MongoStore, StoreError};
use crate::store::{Store, StoreWork};
use client_protocol::room::kind::GROUP;
use client_protocol::{EventBody, RoomId, UserId};
use components::edge::{AppendReply, AppendRequest, AppendThen, Found, Read, ReadRequest, Record, StoreReply};
use mongodb::bson::{Document, doc};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use store_suite::fold_model::Model;
use store_suite::log::{Log, created, deleted, edited, key, member, posted, reacted, read_marked, room, user};

/// An event that posts a message.
pub(super) fn message(seq: u64, message_no: u64, text: &str) -> Record {
    let mut log = Log { seq: seq - 1, message_no: message_no - 1, ..Log::new(room(1)) };
    log.record(user(1), posted(text))
}

const PATIENCE: Duration = Duration::from_secs(30);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// All documents of a collection, by id.
async fn documents(link: &Link, collection: Collection) -> Vec<Document> {
    let mut cursor = link.collection::<Document>(collection).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let mut found = Vec::new();
    while cursor.advance().await.unwrap() {
        found.push(cursor.deserialize_current().unwrap());
    }
    found
}

/// An open store and what it says.
struct Rig {
    store: MongoStore,
    appended: Receiver<AppendReply>,
    found: Receiver<Found>,
}

impl Rig {
    fn open(uri: &str, folder: &Path) -> Self {
        let store = MongoStore::open(uri, folder).unwrap();
        let (appended_in, appended) = channel();
        let (found_in, found) = channel();
        store.connect(Arc::new(move |replies| {
            for reply in replies {
                let _gone = match reply {
                    StoreReply::Append(reply) => appended_in.send(reply).is_ok(),
                    StoreReply::Read(_, found) => found_in.send(found).is_ok(),
                };
            }
        }));
        Self { store, appended, found }
    }

    /// The first answer, which is the last one unless it is `InDoubt`.
    fn append(&self, room: RoomId, expected_seq: u64, records: Vec<Record>) -> AppendThen {
        let request = AppendRequest { room, token: 1, expected_seq, records };
        self.store.submit(StoreWork { appends: vec![request], ..StoreWork::default() });
        self.appended.recv_timeout(PATIENCE).unwrap().then
    }

    fn read(&self, read: Read) -> Found {
        self.store.submit(StoreWork { reads: vec![ReadRequest { token: 1, read }], ..StoreWork::default() });
        self.found.recv_timeout(PATIENCE).unwrap()
    }

    fn log(&self, room: RoomId) -> Vec<Record> {
        match self.read(Read::Page { room, first_seq: 1, last_seq: 1_000 }) {
            Found::Page(records) => records,
            other => panic!("{other:?}"),
        }
    }

    /// The process is gone: nothing is said or written any more.
    fn crash(self) {
        self.store.shared.queries.close();
        let running = self.store.running.lock().unwrap().take().unwrap();
        running.runtime.shutdown_background();
    }
}

/// What is appended, one batch after the other: everything that writes rows of some sort.
fn script() -> Vec<(RoomId, u64, Vec<Record>)> {
    let (mut log, mut own) = (Log::new(room(1)), Log::new(RoomId::self_log(user(2))));
    let mut batches = Vec::new();
    let mut batch = |log: &mut Log, bodies: Vec<(UserId, EventBody)>| {
        let first = log.seq + 1;
        let records = bodies.into_iter().map(|(actor, body)| log.record(actor, body)).collect();
        batches.push((log.room, first, records));
    };
    batch(&mut log, vec![(user(1), created(GROUP, "group", &[user(2)])), (user(1), posted("one"))]);
    batch(&mut log, vec![(user(1), EventBody::MemberAdded(member(user(3)))), (user(1), posted("secret-one"))]);
    batch(&mut log, vec![(user(1), edited(4, "secret-two")), (user(2), reacted(4, "tea"))]);
    batch(&mut own, vec![(user(2), read_marked(log.room, 1, 4, 2))]);
    batch(&mut log, vec![(user(3), EventBody::MemberLeft(member(user(3)))), (user(1), deleted(4))]);
    batch(&mut own, vec![(user(2), read_marked(log.room, 1, 8, 2))]);
    batch(&mut log, vec![(user(1), posted("last"))]);
    batches
}

/// Asserts that everything stored about a room is what its log says.
fn assert_healed(rig: &Rig, room: RoomId, what: &str) {
    let records = rig.log(room);
    let mut model = Model::new(room);
    records.iter().for_each(|record| model.fold(&record.event));
    let runtime = runtime();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let row = runtime.block_on(rig.store.room(room)).unwrap();
        if row.as_ref().map_or(0, |row| row.head) == model.row.head {
            assert!(records.is_empty() || row.as_ref() == Some(&model.row), "{what}: {row:?}");
            break;
        }
        assert!(Instant::now() < deadline, "{what}: the room was never healed");
        std::thread::sleep(Duration::from_millis(10));
    }
    for wanted in model.members() {
        assert_eq!(runtime.block_on(rig.store.member(room, wanted.user)).unwrap(), Some(wanted), "{what}");
    }
    for record in &records {
        let seq = record.event.head.seq;
        let Found::Target(Some(target)) = rig.read(Read::Target { room, seq }) else { panic!("{what}: event {seq}") };
        assert_eq!((target.event, target.now), (model.event(seq), model.now(seq)), "{what}: event {seq}");
    }
}

#[test]
fn a_crash_before_every_write_heals_without_a_visitor() {
    let script = script();
    for crash_before in 0.. {
        let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
        let rig = Rig::open(&database.uri, folder.path());
        rig.store.shared.link.writes_left.store(crash_before, Ordering::SeqCst);
        let mut acknowledged: BTreeMap<RoomId, u64> = BTreeMap::new();
        let mut has_crashed = false;
        for (room, first, records) in &script {
            match rig.append(*room, *first, records.clone()) {
                AppendThen::Done => {
                    acknowledged.insert(*room, first + records.len() as u64 - 1);
                }
                AppendThen::InDoubt | AppendThen::Unavailable => {
                    has_crashed = true;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        rig.crash();
        let rig = Rig::open(&database.uri, folder.path());
        let runtime = runtime();
        // What the sweep after a start does, and nobody else.
        for room in runtime.block_on(rig.store.dirty_rooms()).unwrap() {
            assert!(matches!(rig.read(Read::Room { room }), Found::Room(_)));
        }
        for (room, _, _) in &script {
            let what = format!("a crash before write {crash_before}, of {room}");
            assert!(rig.log(*room).len() as u64 >= acknowledged.get(room).copied().unwrap_or(0), "{what}");
            assert_healed(&rig, *room, &what);
        }
        // The rest of the script goes on from wherever it was.
        for (room, first, records) in &script {
            let there = rig.log(*room).len() as u64;
            let rest: Vec<Record> = records.iter().filter(|record| record.event.head.seq > there).cloned().collect();
            if let Some(next) = rest.first() {
                assert_eq!(rig.append(*room, next.event.head.seq, rest.clone()), AppendThen::Done, "{first}");
            }
            assert_healed(&rig, *room, "the end of the script");
        }
        rig.store.close();
        if !has_crashed {
            assert!(crash_before > 20, "the script writes {crash_before} times only");
            return;
        }
    }
}

#[test]
fn rooms_of_a_node_that_is_gone_are_looked_after() {
    let database = mongo_server::database();
    let (mine, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (rig, other) = (Rig::open(&database.uri, mine.path()), Rig::open(&database.uri, theirs.path()));
    let mut log = Log::new(room(1));
    let records = vec![log.record(user(1), created(GROUP, "group", &[user(2)]))];
    assert_eq!(other.append(log.room, 1, records), AppendThen::Done);
    let runtime = runtime();
    let dirty = || runtime.block_on(rig.store.dirty_rooms()).unwrap();
    assert_eq!(dirty(), [], "its node is alive");
    let node = i64::from(other.store.meta().node.0);
    other.crash();
    runtime.block_on(async {
        // As if the time had passed.
        let link = Link::new(&database.uri).await.unwrap();
        let nodes = link.collection::<Document>(Collection::Nodes);
        let seen = nodes.update_one(doc! { "_id": node }, doc! { "$set": { "seen_ms": 1_i64 } }).await.unwrap();
        assert_eq!(seen.matched_count, 1);
        link.end().await;
    });
    assert_eq!(dirty(), [log.room]);
    assert!(matches!(rig.read(Read::Room { room: log.room }), Found::Room(_)));
    rig.store.submit(StoreWork { levels: vec![(log.room, 1)], ..StoreWork::default() });
    let deadline = Instant::now() + PATIENCE;
    while dirty() == [log.room] {
        assert!(Instant::now() < deadline, "its mark stays for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(dirty(), []);
}

#[test]
fn what_stands_behind_a_taken_key_goes_in_all_the_same() {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let rig = Rig::open(&database.uri, folder.path());
    let mut logs: Vec<Log> = (1..=4).map(|n| Log::new(room(n))).collect();
    for log in &mut logs {
        let records =
            vec![log.record(user(1), created(GROUP, "group", &[])), log.record_with_key(user(1), key(9), posted("one"))];
        assert_eq!(rig.append(log.room, 1, records), AppendThen::Done);
    }
    // In one ordered insert: the second room uses its key once more with its second event, the others go on.
    let request = |log: &mut Log| {
        let expected_seq = log.seq + 1;
        let again = if log.room == room(2) { key(9) } else { key(10) };
        let records = vec![log.record(user(1), posted("two")), log.record_with_key(user(1), again, posted("three"))];
        AppendRequest { room: log.room, token: 1, expected_seq, records }
    };
    rig.store.submit(StoreWork { appends: logs.iter_mut().map(request).collect(), ..StoreWork::default() });
    let mut ended = BTreeMap::new();
    while ended.len() < logs.len() {
        let reply = rig.appended.recv_timeout(PATIENCE).unwrap();
        if reply.then != AppendThen::InDoubt {
            ended.insert(reply.room, (reply.appended, reply.then));
        }
    }
    for log in &logs {
        let (appended, then) = &ended[&log.room];
        if log.room == room(2) {
            assert!(matches!((appended, then), (1, AppendThen::Duplicate { seq: 2, .. })), "{appended} {then:?}");
        } else {
            assert_eq!((*appended, then), (2, &AppendThen::Done));
        }
        assert_eq!(rig.log(log.room).len(), 2 + appended);
    }
}

#[test]
fn rows_that_wait_are_written_also_while_a_room_is_busy() {
    let database = mongo_server::database();
    let (mine, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (rig, other) = (Rig::open(&database.uri, mine.path()), Rig::open(&database.uri, theirs.path()));
    let runtime = runtime();
    let mut log = Log::new(room(1));
    let head = |rig: &Rig| runtime.block_on(rig.store.room(room(1))).unwrap().map_or(0, |row| row.head);
    let records = vec![log.record(user(1), created(GROUP, "group", &[]))];
    assert_eq!(rig.append(log.room, 1, records), AppendThen::Done);
    assert_eq!((head(&rig), head(&other)), (1, 1), "a row that is new does not wait");
    // One append after the other: nothing but the room's reach changes, and it is never idle.
    let deadline = Instant::now() + PATIENCE;
    while head(&other) < 3 {
        assert!(Instant::now() < deadline, "the row of a busy room is never written");
        let record = log.record(user(1), posted("next"));
        let seq = record.event.head.seq;
        assert_eq!(rig.append(log.room, seq, vec![record]), AppendThen::Done);
        assert_eq!(head(&rig), seq, "who appended shows it at once");
    }
    // Another server that checks it waits for the row, which is not wrong.
    let record = log.record(user(1), posted("last"));
    let seq = record.event.head.seq;
    assert_eq!(rig.append(log.room, seq, vec![record]), AppendThen::Done);
    assert_eq!(runtime.block_on(other.store.check(log.room, false)).unwrap().differences, Vec::<String>::new());
    assert_eq!(head(&other), seq);
}

async fn versions(link: &Link) -> Vec<i64> {
    let found: Vec<Document> = link.many(META.equal(["starling".into()]), false, 10).await.unwrap();
    let number =
        |meta: &Document| meta.get("version").and_then(|version| version.as_i64().or(version.as_i32().map(i64::from)));
    found.iter().map(|meta| number(meta).unwrap()).collect()
}

#[tokio::test]
async fn migrations_go_step_by_step_and_only_forwards() {
    let database = mongo_server::database();
    let link = Link::new(&database.uri).await.unwrap();
    link.insert(Collection::Meta, &doc! { "_id": "starling", "version": 1_i64, "epoch": 5_i64 }).await.unwrap();
    let leaves_a_trace = |from| Migration {
        from,
        run: |link| {
            Box::pin(async move {
                let trace = uuid::Uuid::new_v4().to_string();
                link.insert(Collection::Nodes, &doc! { "_id": trace }).await
            })
        },
    };
    let steps = [leaves_a_trace(1), leaves_a_trace(2)];
    migrate(&link, 1, &steps, 3).await.unwrap();
    assert_eq!(versions(&link).await, [3]);
    assert_eq!(
        link.collection::<Document>(Collection::Nodes).estimated_document_count().await.unwrap(),
        2,
        "each step was made"
    );
    // Once done, nothing is left to do.
    migrate(&link, 3, &steps, 3).await.unwrap();
    // A step that fails leaves the version as it was.
    let fails = [Migration { from: 3, run: |_| Box::pin(async { Err(Fault::NotDone("no".to_owned())) }) }];
    assert!(migrate(&link, 3, &fails, 4).await.is_err());
    assert_eq!(versions(&link).await, [3]);
    assert!(matches!(migrate(&link, 3, &steps, 5).await, Err(StoreError::Corrupt(_))), "there is no way");
    assert!(matches!(migrate(&link, 3, &steps, 2).await, Err(StoreError::Corrupt(_))), "never back");
    link.end().await;
    // A server of this version does not open it either.
    let (uri, folder) = (database.uri.clone(), tempfile::tempdir().unwrap());
    let opened = tokio::task::spawn_blocking(move || MongoStore::open(&uri, folder.path()).map(|_| ())).await.unwrap();
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("schema 3") && error.contains(&SCHEMA.to_string()), "{error}");
}
