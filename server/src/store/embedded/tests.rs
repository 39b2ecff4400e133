//! What is true of this store only: its folder, a full disk, faults in requests, bytes on the disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use bytes::Bytes;
use client_protocol::chat::{Body, MessageDeleted, MessagePosted, MessageTail};
use client_protocol::tail::EmptyTail;
use client_protocol::{Event, EventBody, EventHead, Key};
use components::edge::{AppendReply, AppendRequest, AppendThen, Record};
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tempfile::{TempDir, tempdir};

const ROOM: RoomId = RoomId::from_bytes([2; 16]);

struct Bench {
    store: EmbeddedStore,
    replies: Receiver<StoreReply>,
    folder: TempDir,
}

fn bench(options: &EmbeddedOptions) -> Bench {
    let folder = tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options).unwrap();
    let (sender, replies) = channel();
    store.connect(Arc::new(move |batch| batch.into_iter().for_each(|reply| sender.send(reply).unwrap())));
    Bench { store, replies, folder }
}

impl Bench {
    fn append(&self, expected_seq: u64, records: Vec<Record>) -> AppendReply {
        let request = AppendRequest { room: ROOM, token: expected_seq, expected_seq, records };
        self.store.submit(StoreWork { appends: vec![request], ..StoreWork::default() });
        match self.replies.recv_timeout(Duration::from_secs(30)).unwrap() {
            StoreReply::Append(reply) => reply,
            other => panic!("{other:?}"),
        }
    }
}

fn record(seq: u64, message_no: u64, body: EventBody) -> Record {
    let head = EventHead {
        seq,
        time_ms: 1_000 + seq,
        actor: UserId::from_bytes([1; 16]),
        key: Key::derived(b't', ROOM, seq),
        node: NodeId(1),
        message_no,
    };
    let event = Event { head, body };
    let bytes = Bytes::from(event.record());
    Record { event, bytes }
}

fn posted(text: &[u8]) -> EventBody {
    let body = Body { format: 255, bytes: text.to_vec() };
    EventBody::MessagePosted(MessagePosted { body, mentions: Vec::new(), tail: MessageTail::default() })
}

fn deleted(target: u64) -> EventBody {
    EventBody::MessageDeleted(MessageDeleted { target, tail: EmptyTail {} })
}

#[test]
fn folder_is_of_one_process() {
    let bench = bench(&EmbeddedOptions::default());
    let error = EmbeddedStore::open(bench.folder.path(), &EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("another process")), "{error}");
    let Bench { store, folder, .. } = bench;
    drop(store);
    EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
}

#[test]
fn unknown_schema_is_refused() {
    let Bench { store, folder, .. } = bench(&EmbeddedOptions::default());
    store.shared.tables.spaces()[0].insert("schema", 99_u64.to_be_bytes()).unwrap();
    drop(store);
    let error = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(why) if why.contains("schema 99")), "{error}");
}

#[test]
fn full_disk_is_unavailable_until_it_is_not() {
    let bench = bench(&EmbeddedOptions::default());
    let disk = &bench.store.shared.disk;
    disk.set_free_bytes_min(u64::MAX);
    let reply = bench.append(1, vec![record(1, 1, posted(b"one"))]);
    assert_eq!((reply.appended, reply.then), (0, AppendThen::Unavailable));
    assert!(!bench.store.is_ready());
    disk.look();
    assert!(!bench.store.is_ready());
    disk.set_free_bytes_min(0);
    disk.look();
    assert!(bench.store.is_ready());
    assert!(!bench.folder.path().join("probe").exists());
    // Nothing of what was refused stays.
    let reply = bench.append(1, vec![record(1, 1, posted(b"one"))]);
    assert_eq!((reply.appended, reply.then), (1, AppendThen::Done));
}

#[test]
fn writer_finds_out_that_the_disk_takes_writes_again() {
    let bench = bench(&EmbeddedOptions { free_bytes_min: u64::MAX, ..EmbeddedOptions::default() });
    assert!(!bench.store.is_ready());
    bench.store.shared.disk.set_free_bytes_min(0);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !bench.store.is_ready() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn faulty_requests_are_refused() {
    let bench = bench(&EmbeddedOptions::default());
    let unavailable =
        |reply: AppendReply, appended| assert_eq!((reply.appended, reply.then), (appended, AppendThen::Unavailable));
    // Ahead of the log.
    unavailable(bench.append(5, vec![record(5, 1, posted(b"one"))]), 0);
    // Numbers that do not follow.
    unavailable(bench.append(1, vec![record(2, 1, posted(b"one"))]), 0);
    unavailable(bench.append(1, vec![record(1, 7, posted(b"one"))]), 0);
    // What cannot be understood goes no further; what was before it is in.
    let unknown = EventBody::Unknown { kind: client_protocol::event::MUST_UNDERSTAND | 0x77, bytes: vec![0] };
    unavailable(bench.append(1, vec![record(1, 1, posted(b"one")), record(2, 1, unknown), record(3, 2, posted(b"two"))]), 1);
    let reply = bench.append(2, vec![record(2, 2, posted(b"two"))]);
    assert_eq!((reply.appended, reply.then), (1, AppendThen::Done));
}

fn files_of(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_of(&path, found) } else { found.push(path) }
    }
}

/// Whether any file of the folder has these bytes.
fn on_disk(folder: &Path, needle: &[u8]) -> bool {
    let mut files = Vec::new();
    files_of(folder, &mut files);
    files.iter().any(|file| std::fs::read(file).unwrap().windows(needle.len()).any(|window| window == needle))
}

#[test]
fn deleted_in_the_same_commit_never_reaches_the_disk() {
    let bench = bench(&EmbeddedOptions::default());
    let reply = bench.append(1, vec![record(1, 1, posted(b"never-written-body")), record(2, 1, deleted(1))]);
    assert_eq!(reply.appended, 2);
    bench.store.close();
    assert!(!on_disk(bench.folder.path(), b"never-written-body"));
}

/// The journal keeps what was written until its file is given up, the tables until they are merged: then nothing is left.
#[test]
fn deleted_leaves_the_disk_with_journal_and_compaction() {
    let bench = bench(&EmbeddedOptions { sync: false, ..EmbeddedOptions::default() });
    bench.append(1, vec![record(1, 1, posted(b"a-body-to-be-deleted"))]);
    let spaces = bench.store.shared.tables.spaces();
    let settle = || {
        for space in spaces {
            space.rotate_memtable_and_wait().unwrap();
        }
        for space in spaces {
            space.major_compact().unwrap();
        }
    };
    settle();
    assert!(on_disk(bench.folder.path(), b"a-body-to-be-deleted"));
    bench.append(2, vec![record(2, 1, deleted(1))]);
    // Enough for the journal to begin a new file: it does once it has 64 MB.
    for n in 0..70_u64 {
        let mut filler = vec![0; 1024 * 1024];
        getrandom::fill(&mut filler).unwrap();
        spaces[0].insert(format!("filler {n}"), filler).unwrap();
    }
    settle();
    settle();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while on_disk(bench.folder.path(), b"a-body-to-be-deleted") {
        assert!(std::time::Instant::now() < deadline, "the body of a deleted message is still on the disk");
        std::thread::sleep(Duration::from_millis(200));
        settle();
    }
}
