//! What is true of this store only: its folder, a full disk, faults in requests, bytes on the disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::tables::Table;
use super::*;
use bytes::Bytes;
use client_protocol::chat::{Body, BodyEdited, MessageDeleted, MessagePosted, MessageTail};
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

#[test]
fn data_of_schema_1_gets_its_indexes() {
    let bench = bench(&EmbeddedOptions::default());
    let text = |text: &str| {
        let posted = MessagePosted { body: Body::text(text), mentions: Vec::new(), tail: MessageTail::default() };
        EventBody::MessagePosted(posted)
    };
    let edit = BodyEdited { target: 2, body: Body::text("ebb"), tail: EmptyTail {} };
    let records = vec![
        record(1, 1, text("tide one")),
        record(2, 2, text("tide two")),
        record(3, 3, text("tide three")),
        record(4, 3, EventBody::MessageEdited(edit)),
        record(5, 3, deleted(3)),
    ];
    assert_eq!(bench.append(1, records).then, AppendThen::Done);
    let account = Account {
        user: UserId::from_bytes([1; 16]),
        username: "ada".to_owned(),
        email: "ada@example.org".to_owned(),
        display_name: "Ada Lovelace".to_owned(),
        bio: String::new(),
        avatar_url: String::new(),
        password_hash: String::new(),
        status: components::rows::account::ACTIVE,
        created_ms: 1,
        updated_ms: 1,
    };
    accounts::create(&bench.store.shared, account).unwrap();
    let Bench { store, folder, .. } = bench;
    let indexes = |store: &EmbeddedStore| -> Vec<Vec<u8>> {
        let view = store.shared.tables.view();
        let keys = [Table::Words, Table::Names].into_iter().flat_map(|table| view.all(table));
        keys.map(|item| item.key().unwrap().to_vec()).collect()
    };
    let expected = indexes(&store);
    assert_eq!(expected.len(), 3 + 3, "tide, one and ebb; ada, ada lovelace and lovelace");
    // As a version of before search left it.
    let mut overlay = tables::Overlay::new(&store.shared.tables);
    for table in [Table::Words, Table::Names] {
        for item in store.shared.tables.view().all(table) {
            overlay.remove(table, &item.key().unwrap());
        }
    }
    overlay.put(Table::Meta, b"schema", &1_u64.to_be_bytes());
    overlay.commit(&store.shared.disk, disk::Durable::Synced).unwrap();
    assert!(indexes(&store).is_empty());
    drop(store);
    let store = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
    assert_eq!(indexes(&store), expected);
    let schema = store.shared.tables.view().value(Table::Meta, b"schema").unwrap().unwrap();
    assert_eq!(keys::number(&schema), Some(migrate::SCHEMA));
}

#[tokio::test]
async fn an_erase_leaves_no_byte_after_a_purge() {
    let bench = bench(&EmbeddedOptions::default());
    let ada = UserId::from_bytes([1; 16]);
    let account = Account {
        user: ada,
        username: "qzuser8124".to_owned(),
        email: "qzmail7315@example.org".to_owned(),
        display_name: "Qzname6193 Qzlast2846".to_owned(),
        bio: "qzbio5572".to_owned(),
        avatar_url: "https://example.org/qzface3391.png".to_owned(),
        password_hash: "$argon2id$qzhash9938".to_owned(),
        status: components::rows::account::ACTIVE,
        created_ms: 1,
        updated_ms: 1,
    };
    bench.store.create_account(account).await.unwrap();
    let login = Login {
        login: SessionId::from_bytes([5; 16]),
        user: ada,
        label: "qzlabel4471".to_owned(),
        created_ms: 1,
        used_ms: 1,
        expires_ms: 9_000_000_000_000,
    };
    bench.store.create_login(login, [7; 32]).await.unwrap();
    let text = |text: &str| Body::text(text);
    let post = |body| {
        let file = client_protocol::chat::Attachment {
            id: "qzfile1276".to_owned(),
            name: "qzfile1277".to_owned(),
            mime: "text/plain".to_owned(),
            size: 1,
            tail: EmptyTail {},
        };
        let tail = MessageTail { relation: None, attachments: Some(vec![file]) };
        EventBody::MessagePosted(MessagePosted { body, mentions: Vec::new(), tail })
    };
    let edit = BodyEdited { target: 1, body: text("second qzedit8843"), tail: EmptyTail {} };
    let records = vec![
        record(1, 1, post(text("first qzbody4412"))),
        record(2, 2, post(Body { format: 255, bytes: b"qzopaque2208".to_vec() })),
        record(3, 2, EventBody::MessageEdited(edit)),
    ];
    assert_eq!(bench.append(1, records).then, AppendThen::Done);
    let secrets = [
        "qzuser8124",
        "qzmail7315",
        "Qzname6193",
        "qzname6193",
        "qzlast2846",
        "qzbio5572",
        "qzface3391",
        "qzhash9938",
        "qzlabel4471",
        "qzfile1276",
        "qzfile1277",
        "qzbody4412",
        "qzopaque2208",
        "qzedit8843",
    ];
    let folder = bench.folder.path();
    for secret in secrets {
        assert!(!on_disk(folder, secret.as_bytes()).is_empty(), "{secret} was never written: the test would find nothing");
    }
    bench.store.set_account_status(ada, components::rows::account::ERASED, 2).await.unwrap();
    bench.store.erase(ROOM, ada, vec![1, 2, 3], 4).await.unwrap();
    bench.store.purge().await.unwrap();
    for secret in secrets {
        let left = on_disk(folder, secret.as_bytes());
        assert!(left.is_empty(), "{secret} is still in {left:?}");
    }
    let Bench { store, folder, .. } = bench;
    drop(store);
    let store = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
    assert_eq!(store.erasing().await.unwrap(), [ada]);
    assert_eq!(store.messages(ROOM, ada, vec![1, 2]).await.unwrap().len(), 2, "the messages have their places");
    for secret in secrets {
        assert!(on_disk(folder.path(), secret.as_bytes()).is_empty(), "{secret} came back");
    }
}

#[tokio::test]
async fn a_check_finds_and_mends_every_projection() {
    let bench = bench(&EmbeddedOptions::default());
    let text = |text: &str| {
        EventBody::MessagePosted(MessagePosted {
            body: Body::text(text),
            mentions: Vec::new(),
            tail: MessageTail::default(),
        })
    };
    let created = client_protocol::room::RoomCreated {
        kind: client_protocol::room::kind::PUBLIC,
        members: vec![UserId::from_bytes([2; 16])],
        settings: client_protocol::room::SettingsTail { name: Some("Harbour".to_owned()), ..Default::default() },
    };
    let edit = BodyEdited { target: 2, body: Body::text("ebb"), tail: EmptyTail {} };
    let records = vec![
        record(1, 0, EventBody::RoomCreated(created)),
        record(2, 1, text("tide one")),
        record(3, 2, text("tide two")),
        record(4, 2, EventBody::MessageEdited(edit)),
        record(5, 2, deleted(3)),
    ];
    assert_eq!(bench.append(1, records).then, AppendThen::Done);
    let store = &bench.store;
    let tables = &store.shared.tables;
    let rows = |table: Table| -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = tables.view().all(table).map(|item| item.into_inner().unwrap());
        rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    let of_rooms = [
        Table::Rooms,
        Table::Public,
        Table::Members,
        Table::RoomsOf,
        Table::RoomsEver,
        Table::Nows,
        Table::Messages,
        Table::Keys,
        Table::Words,
    ];
    let before: Vec<_> = of_rooms.into_iter().map(rows).collect();
    assert_eq!(store.check(ROOM, false).await.unwrap().count, 0);
    let write = |table: Table, key: &[u8], value: Option<&[u8]>| {
        let mut overlay = tables::Overlay::new(tables);
        match value {
            Some(value) => overlay.put(table, key, value),
            None => overlay.remove(table, key),
        }
        overlay.commit(&store.shared.disk, disk::Durable::Synced).unwrap();
    };
    for (table, good) in of_rooms.into_iter().zip(&before) {
        assert!(!good.is_empty(), "{table:?}");
        let (key, value) = &good[0];
        let mut strange = key.clone();
        *strange.last_mut().unwrap() ^= 0x40;
        let mut faults = vec![(key.clone(), None)];
        // Rows under keys of their own are looked for by key only.
        if ![Table::Rooms, Table::Public, Table::RoomsOf, Table::RoomsEver].contains(&table) {
            faults.push((strange, Some(value.clone())));
        }
        for (key, value) in faults {
            write(table, &key, value.as_deref());
            let found = store.check(ROOM, false).await.unwrap();
            assert!(found.count > 0 && !found.differences.is_empty(), "{table:?} {key:?}");
            assert!(store.check(ROOM, true).await.unwrap().count > 0, "{table:?}");
            assert_eq!(store.check(ROOM, false).await.unwrap().differences, Vec::<String>::new(), "{table:?} was mended");
        }
    }
    // A body that should be blank.
    let blank = keys::room_number(ROOM, 3);
    write(Table::Events, &blank, Some(&record(3, 2, text("tide two")).bytes));
    let found = store.check(ROOM, true).await.unwrap();
    assert_eq!(found.differences, ["the body of event 3 should be blank"]);
    let after: Vec<_> = of_rooms.into_iter().map(rows).collect();
    assert_eq!(after, before, "everything is as it was");
    // What is wrong with a log itself is told, and left alone.
    write(Table::Events, &keys::room_number(ROOM, 2), None);
    let found = store.check(ROOM, true).await.unwrap();
    assert!(found.differences.iter().any(|difference| difference == "event 3 follows event 1"), "{found:?}");
}
