//! What is true of this store only: its folder, a full disk, faults in requests, bytes on the disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check;
mod erase;
mod index;

use super::tables::Table;
use super::*;
use crate::store::{Account, Login, SearchQuery, StoreWork};
use bytes::Bytes;
use client_protocol::chat::{Body, BodyEdited, MessageDeleted, MessagePosted, MessageTail};
use client_protocol::tail::EmptyTail;
use client_protocol::{Event, EventBody, EventHead, Key, RoomId, SessionId, UserId};
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

/// Waits until everything that can be indexed is.
fn wait_until_indexed(store: &EmbeddedStore) {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while store.shared.tables.view().all(Table::Unindexed).next().is_some() {
        assert!(std::time::Instant::now() < end, "blocks are left to be indexed");
        std::thread::sleep(Duration::from_millis(5));
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

fn posted_text(text: &str) -> EventBody {
    EventBody::MessagePosted(MessagePosted { body: Body::text(text), mentions: Vec::new(), tail: MessageTail::default() })
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

/// The files of the folder that have these bytes.
fn on_disk(folder: &Path, needle: &[u8]) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    files_of(folder, &mut files);
    files.retain(|file| std::fs::read(file).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle)));
    files
}

#[test]
fn deleted_in_the_same_commit_never_reaches_the_disk() {
    let bench = bench(&EmbeddedOptions::default());
    let reply = bench.append(1, vec![record(1, 1, posted(b"never-written-body")), record(2, 1, deleted(1))]);
    assert_eq!(reply.appended, 2);
    bench.store.close();
    assert_eq!(on_disk(bench.folder.path(), b"never-written-body"), Vec::<std::path::PathBuf>::new());
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
    assert!(!on_disk(bench.folder.path(), b"a-body-to-be-deleted").is_empty());
    bench.append(2, vec![record(2, 1, deleted(1))]);
    // Enough for the journal to begin a new file: it does once it has 64 MB.
    for n in 0..70_u64 {
        let mut filler = vec![0; 1024 * 1024];
        getrandom::fill(&mut filler).unwrap();
        spaces[0].insert(format!("filler {n}"), filler).unwrap();
    }
    let mut seq = 3;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        // Files that were merged are given up as work goes on.
        bench.append(seq, vec![record(seq, seq - 1, posted(b"another"))]);
        seq += 1;
        settle();
        let left = on_disk(bench.folder.path(), b"a-body-to-be-deleted");
        if left.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the body of a deleted message is still in {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() { copy_folder(&path, &copy) } else { std::fs::copy(&path, &copy).map(drop).unwrap() }
    }
}

/// Opens a copy of a folder that was never closed, as it is after a crash, and says where the log of the room ends.
fn head_after_crash(folder: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> Result<u64, StoreError> {
    let copy = tempdir().unwrap();
    copy_folder(folder, copy.path());
    let mut files = Vec::new();
    files_of(copy.path(), &mut files);
    let journal = files.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "jnl")).unwrap();
    let mut bytes = std::fs::read(&journal).unwrap();
    damage(&mut bytes);
    std::fs::write(&journal, bytes).unwrap();
    let store = EmbeddedStore::open(copy.path(), &EmbeddedOptions::default())?;
    let row = query::room(&store.shared.tables.view(), ROOM)?;
    Ok(row.map_or(0, |row| row.head))
}

fn written(journal: &[u8]) -> usize {
    journal.iter().rposition(|&byte| byte != 0).unwrap() + 1
}

#[test]
fn acknowledged_survives_a_crash() {
    let bench = bench(&EmbeddedOptions::default());
    for seq in 1..=3 {
        assert_eq!(bench.append(seq, vec![record(seq, seq, posted(b"a message"))]).appended, 1);
        assert_eq!(head_after_crash(bench.folder.path(), |_| {}).unwrap(), seq);
    }
}

/// A power cut during the sync of a commit: any of its pages may be missing. What was acknowledged before is there.
#[test]
fn torn_commit_is_dropped() {
    let bench = bench(&EmbeddedOptions::default());
    bench.append(1, vec![record(1, 1, posted(b"a message"))]);
    let mut start = 0;
    head_after_crash(bench.folder.path(), |journal| start = written(journal)).unwrap();
    let mut body = vec![0; 8 * 1024];
    getrandom::fill(&mut body).unwrap();
    let records = (2..=6).map(|seq| record(seq, seq, posted(&body))).collect();
    assert_eq!(bench.append(2, records).appended, 5);
    let mut end = 0;
    assert_eq!(head_after_crash(bench.folder.path(), |journal| end = written(journal)).unwrap(), 6);
    for cut in [start + 1, start + 5, start + 200, start + 9_000, end - 20, end - 1] {
        assert_eq!(head_after_crash(bench.folder.path(), |journal| journal[cut..].fill(0)).unwrap(), 1, "cut at {cut}");
    }
    for page in start / 4096 + 1..end / 4096 {
        let head = head_after_crash(bench.folder.path(), |journal| journal[page * 4096..][..4096].fill(0));
        assert_eq!(head.unwrap(), 1, "page {page} of {start}..{end}");
    }
    for sector in (start / 512 + 1..end / 512).step_by(23) {
        let head = head_after_crash(bench.folder.path(), |journal| journal[sector * 512..][..512].fill(0));
        assert_eq!(head.unwrap(), 1, "sector {sector} of {start}..{end}");
    }
    // What is damaged otherwise is no torn commit: nobody may drop what was acknowledged.
    let damaged = head_after_crash(bench.folder.path(), |journal| journal[end - 4_000] ^= 1);
    assert!(matches!(damaged, Err(StoreError::Corrupt(_))), "{damaged:?}");
    let damaged = head_after_crash(bench.folder.path(), |journal| journal[start - 60] ^= 1);
    assert!(damaged.is_err(), "{damaged:?}");
}

#[cfg(unix)]
#[test]
fn the_store_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |folder: &Path| std::fs::metadata(folder).unwrap().permissions().mode() & 0o777;
    let data = tempdir().unwrap();
    std::fs::set_permissions(data.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for folder in [data.path().join("store"), data.path().join("missing/store")] {
        EmbeddedStore::open(&folder, &EmbeddedOptions::default()).unwrap().close();
        assert_eq!((mode(&folder), mode(data.path())), (0o700, 0o755));
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        EmbeddedStore::open(&folder, &EmbeddedOptions::default()).unwrap().close();
        assert_eq!(mode(&folder), 0o700, "one that was open to others");
    }
    assert_eq!(mode(&data.path().join("missing")), 0o700);
}
