//! Checks find what is not as the log says, and mend it.

use super::*;

#[tokio::test]
async fn a_check_finds_and_mends_every_projection() {
    let bench = bench(&EmbeddedOptions::default());
    let created = client_protocol::room::RoomCreated {
        kind: client_protocol::room::kind::PUBLIC,
        members: vec![UserId::from_bytes([2; 16])],
        settings: client_protocol::room::SettingsTail { name: Some("Harbour".to_owned()), ..Default::default() },
    };
    let edit = BodyEdited { target: 2, body: Body::text("ebb"), tail: EmptyTail {} };
    let mut records = vec![
        record(1, 0, EventBody::RoomCreated(created)),
        record(2, 1, posted_text("tide one")),
        record(3, 2, posted_text("tide two")),
        record(4, 2, EventBody::MessageEdited(edit)),
        record(5, 2, deleted(3)),
    ];
    records.extend((6..140).map(|seq| record(seq, seq - 3, posted_text(&format!("tide {seq}")))));
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
    wait_until_indexed(store);
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
    write(Table::Events, &blank, Some(&record(3, 2, posted_text("tide two")).bytes));
    let found = store.check(ROOM, true).await.unwrap();
    assert_eq!(found.differences, ["the body of event 3 should be blank"]);
    let after: Vec<_> = of_rooms.into_iter().map(rows).collect();
    assert_eq!(after, before, "everything is as it was");
    // What is wrong with a log itself is told, and left alone.
    write(Table::Events, &keys::room_number(ROOM, 2), None);
    let found = store.check(ROOM, true).await.unwrap();
    assert!(found.differences.iter().any(|difference| difference == "event 3 follows event 1"), "{found:?}");
}
