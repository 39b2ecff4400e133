//! The indexes of search: made for data of before, and walked within bounds.

use super::*;
use crate::store::blocks;

#[test]
fn data_of_schema_1_gets_its_indexes() {
    let bench = bench(&EmbeddedOptions::default());
    let edit = BodyEdited { target: 2, body: Body::text("ebb"), tail: EmptyTail {} };
    let mut records = vec![
        record(1, 1, posted_text("tide one")),
        record(2, 2, posted_text("tide two")),
        record(3, 3, posted_text("tide three")),
        record(4, 3, EventBody::MessageEdited(edit)),
        record(5, 3, deleted(3)),
    ];
    records.extend((6..200).map(|seq| record(seq, seq - 2, posted_text("spring tide"))));
    assert_eq!(bench.append(1, records).then, AppendThen::Done);
    wait_until_indexed(&bench.store);
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
    let indexes = |store: &EmbeddedStore| -> Vec<(Vec<u8>, Vec<u8>)> {
        let view = store.shared.tables.view();
        let rows = [Table::Words, Table::Names].into_iter().flat_map(|table| view.all(table));
        rows.map(|item| item.into_inner().unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    let expected = indexes(&store);
    assert_eq!(expected.len(), 1 + 3, "a block; ada, ada lovelace and lovelace");
    // As a version of before search left it.
    let mut overlay = tables::Overlay::new(&store.shared.tables);
    for table in [Table::Words, Table::Names] {
        for item in store.shared.tables.view().all(table) {
            overlay.remove(table, &item.key().unwrap());
        }
    }
    overlay.put(Table::Meta, b"schema", &1_u64.to_be_bytes());
    overlay.commit(&store.shared.disk, disk::Durable::Synced).unwrap();
    drop(store);
    let store = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
    wait_until_indexed(&store);
    assert_eq!(indexes(&store), expected);
    let schema = store.shared.tables.view().value(Table::Meta, b"schema").unwrap().unwrap();
    assert_eq!(keys::number(&schema), Some(migrate::SCHEMA));
}

#[tokio::test]
async fn nothing_of_the_words_of_schema_3_stays() {
    let bench = bench(&EmbeddedOptions::default());
    let posts = (1..=130).map(|seq| record(seq, seq, posted_text("spring tide"))).collect();
    assert_eq!(bench.append(1, posts).then, AppendThen::Done);
    let mut overlay = tables::Overlay::new(&bench.store.shared.tables);
    overlay.put(Table::Meta, b"schema", &3_u64.to_be_bytes());
    overlay.commit(&bench.store.shared.disk, disk::Durable::Synced).unwrap();
    let Bench { store, folder, .. } = bench;
    drop(store);
    {
        let db = Database::builder(folder.path().join("db")).open().unwrap();
        let words = db.keyspace("words", fjall::KeyspaceCreateOptions::default).unwrap();
        words.insert([ROOM.bytes(), &b"qzword7731\0"[..], &1_u64.to_be_bytes()].concat(), []).unwrap();
        words.rotate_memtable_and_wait().unwrap();
        words.insert([ROOM.bytes(), &b"qzword9954\0"[..], &2_u64.to_be_bytes()].concat(), []).unwrap();
        db.persist(PersistMode::SyncAll).unwrap();
    }
    let secrets = ["qzword7731", "qzword9954"];
    for secret in secrets {
        assert!(!on_disk(folder.path(), secret.as_bytes()).is_empty(), "{secret} was never written");
    }
    for _ in 0..2 {
        let store = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
        wait_until_indexed(&store);
        assert_eq!(store.shared.tables.view().all(Table::Words).count(), 1);
        assert_eq!(found(&store, "spring tide ").await.len(), 50);
        store.purge().await.unwrap();
        for secret in secrets {
            let left = on_disk(folder.path(), secret.as_bytes());
            assert!(left.is_empty(), "{secret} is still in {left:?}");
        }
    }
}

#[test]
fn data_of_schema_2_gets_the_places_of_its_messages() {
    let bench = bench(&EmbeddedOptions::default());
    let text = || posted_text("ebb");
    let edit = |target| EventBody::MessageEdited(BodyEdited { target, body: Body::text("flow"), tail: EmptyTail {} });
    let bodies = [text(), text(), edit(1), edit(2), text(), edit(5), text(), text(), text(), edit(9)];
    let (mut records, mut seqs) = (Vec::new(), Vec::new());
    for (body, seq) in bodies.into_iter().zip(1..) {
        if body.is_message() {
            seqs.push(seq);
        }
        records.push(record(seq, seqs.len() as u64, body));
    }
    assert_eq!(bench.append(1, records).then, AppendThen::Done);
    let Bench { store, folder, .. } = bench;
    let places = |store: &EmbeddedStore| -> Vec<(u64, u64)> {
        let rows = store.shared.tables.view().all(Table::Messages).map(|item| item.into_inner().unwrap());
        rows.map(|(key, seq)| (keys::last_number(&key).unwrap(), keys::number(&seq).unwrap())).collect()
    };
    let expected = [(3, 5), (4, 7), (7, 11)];
    assert_eq!(places(&store), expected);
    let mut overlay = tables::Overlay::new(&store.shared.tables);
    overlay.remove(Table::Messages, &keys::room_number(ROOM, 7));
    for (seq, number) in seqs.iter().zip(1..) {
        overlay.put(Table::Messages, &keys::room_number(ROOM, number), &u64::to_be_bytes(*seq));
    }
    overlay.put(Table::Meta, b"schema", &2_u64.to_be_bytes());
    overlay.commit(&store.shared.disk, disk::Durable::Synced).unwrap();
    drop(store);
    let store = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
    assert_eq!(places(&store), expected);
    let sight = crate::store::shown::Sight { viewer: UserId::from_bytes([1; 16]), last_seq: u64::MAX, head: 10 };
    let view = store.shared.tables.view();
    for guess in [None, Some(1), Some(4), Some(5), Some(11)] {
        let found = (1..=seqs.len() as u64).map(|number| history::message(&view, ROOM, number, guess, &sight).unwrap().seq);
        assert_eq!(found.collect::<Vec<_>>(), seqs, "{guess:?}");
    }
    assert!(history::message(&view, ROOM, 7, None, &sight).is_err(), "there is no seventh");
}

async fn found(store: &EmbeddedStore, text: &str) -> Vec<u64> {
    let wanted = crate::store::words::Wanted::parse(text).unwrap();
    let (viewer, last_seq) = (UserId::from_bytes([1; 16]), u64::MAX);
    let query = SearchQuery { room: ROOM, viewer, wanted, before: 0, last_seq, limit: 50 };
    store.search(query).await.unwrap().messages.iter().map(|message| message.seq).collect()
}

#[tokio::test]
async fn what_changes_a_message_changes_its_block() {
    let bench = bench(&EmbeddedOptions::default());
    let posts = (1..=300).map(|seq| record(seq, seq, posted_text(&format!("tide n{seq}")))).collect();
    assert_eq!(bench.append(1, posts).then, AppendThen::Done);
    wait_until_indexed(&bench.store);
    let edit =
        |target, text: &str| EventBody::MessageEdited(BodyEdited { target, body: Body::text(text), tail: EmptyTail {} });
    let changes = vec![
        record(301, 300, edit(5, "flow m5")),
        record(302, 300, deleted(6)),
        record(303, 300, edit(300, "flow m300")),
        record(304, 300, deleted(299)),
    ];
    assert_eq!(bench.append(301, changes).then, AppendThen::Done);
    assert_eq!(bench.store.check(ROOM, false).await.unwrap().differences, Vec::<String>::new());
    bench.store.erase(ROOM, UserId::from_bytes([1; 16]), vec![7, 298], 305).await.unwrap();
    let nobody = Vec::<u64>::new();
    let look = async || {
        for (text, seqs) in [
            ("n8 tide ", vec![8]),
            ("n129 ", vec![129]),
            ("n297 ", vec![297]),
            ("flow ", vec![300, 5]),
            ("flow m3", vec![300]),
            ("n12", vec![129, 128, 127, 126, 125, 124, 123, 122, 121, 120, 12]),
        ] {
            assert_eq!(found(&bench.store, text).await, seqs, "{text}");
        }
        for gone in ["n5 ", "n6 ", "n7 ", "n298 ", "n299 ", "n300 ", "n8 n9 "] {
            assert_eq!(found(&bench.store, gone).await, nobody, "{gone}");
        }
    };
    look().await;
    wait_until_indexed(&bench.store);
    look().await;
    let view = bench.store.shared.tables.view();
    let blocks: Vec<_> = view.all(Table::Words).map(|item| item.value().unwrap().to_vec()).collect();
    assert_eq!(blocks.len(), 2, "the last 44 messages are not a whole block");
    for word in ["n5", "n6", "n7"] {
        let wanted = crate::store::words::Wanted::parse(&format!("{word} ")).unwrap();
        assert_eq!(blocks::find(&blocks[0], &wanted).unwrap(), 0, "{word} is in no row");
    }
}

#[tokio::test]
async fn blocks_that_a_crash_left_are_indexed_after_it() {
    let bench = bench(&EmbeddedOptions::default());
    for first in [1, 129] {
        let posts = (first..first + 128).map(|seq| record(seq, seq, posted_text(&format!("tide n{seq}")))).collect();
        assert_eq!(bench.append(first, posts).then, AppendThen::Done);
    }
    wait_until_indexed(&bench.store);
    let Bench { store, folder, .. } = bench;
    let rows = |store: &EmbeddedStore| -> Vec<_> {
        store.shared.tables.view().all(Table::Words).map(|item| item.into_inner().unwrap()).collect()
    };
    let expected = rows(&store);
    assert_eq!(expected.len(), 2);
    let mut overlay = tables::Overlay::new(&store.shared.tables);
    overlay.remove(Table::Words, &keys::room_number(ROOM, 1));
    overlay.put(Table::Unindexed, &keys::room_number(ROOM, 1), &[]);
    overlay.commit(&store.shared.disk, disk::Durable::Synced).unwrap();
    assert_eq!(found(&store, "n200 ").await, [200], "a message of a block that is not indexed is found");
    assert_eq!(store.check(ROOM, false).await.unwrap().count, 0, "waiting is no difference");
    drop(store);
    let store = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
    wait_until_indexed(&store);
    assert_eq!(rows(&store), expected);
    assert_eq!(found(&store, "n200 ").await, [200]);
}

/// Two words that never stand in one message, all over a long room: the search ends, says where to go on, and comes to the end.
#[tokio::test]
async fn a_search_does_bounded_work() {
    let bench = bench(&EmbeddedOptions { sync: false, ..EmbeddedOptions::default() });
    let messages = crate::limits::SEARCH_BLOCKS_MAX as u64 * crate::limits::WORD_BLOCK_MESSAGES + 2_000;
    let messages = messages.next_multiple_of(200);
    for first in (1..=messages).step_by(200) {
        let lot =
            (first..first + 200).map(|seq| record(seq, seq, posted_text(if seq % 2 == 0 { "ebb x1" } else { "flow x2" })));
        assert_eq!(bench.append(first, lot.collect()).then, AppendThen::Done);
    }
    wait_until_indexed(&bench.store);
    for (wanted, found) in [("ebb flow ", 0), ("ebb x2 ", 0), ("ebb fl", 0), ("flow ebb x", 0), ("ebb x1 ", messages / 2)] {
        let wanted = crate::store::words::Wanted::parse(wanted).unwrap();
        let (mut before, mut pages, mut seen) = (0, 0, 0);
        loop {
            let (viewer, last_seq) = (UserId::from_bytes([1; 16]), u64::MAX);
            let query = SearchQuery { room: ROOM, viewer, wanted: wanted.clone(), before, last_seq, limit: 50 };
            let page = bench.store.search(query).await.unwrap();
            (pages, seen) = (pages + 1, seen + page.messages.len() as u64);
            if page.next == 0 {
                break;
            }
            assert!(before == 0 || page.next < before, "a search moves on");
            before = page.next;
        }
        assert_eq!(seen, found, "{wanted:?}");
        assert!(pages > 1 && pages < 1_000, "{wanted:?}: {pages} pages");
    }
}
