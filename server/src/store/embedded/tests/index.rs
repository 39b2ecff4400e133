//! The indexes of search: made for data of before, and walked within bounds.

use super::*;

#[test]
fn data_of_schema_1_gets_its_indexes() {
    let bench = bench(&EmbeddedOptions::default());
    let edit = BodyEdited { target: 2, body: Body::text("ebb"), tail: EmptyTail {} };
    let records = vec![
        record(1, 1, posted_text("tide one")),
        record(2, 2, posted_text("tide two")),
        record(3, 3, posted_text("tide three")),
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

/// Two words that never stand in one message, all over a long room: the search ends, says where to go on, and comes to the end.
#[tokio::test]
async fn a_search_does_bounded_work() {
    let bench = bench(&EmbeddedOptions { sync: false, ..EmbeddedOptions::default() });
    let messages = crate::limits::SEARCH_STEPS_MAX as u64 + 2_000;
    for first in (1..=messages).step_by(200) {
        let lot =
            (first..first + 200).map(|seq| record(seq, seq, posted_text(if seq % 2 == 0 { "ebb x1" } else { "flow x2" })));
        assert_eq!(bench.append(first, lot.collect()).then, AppendThen::Done);
    }
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
