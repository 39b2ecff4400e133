//! Checks find what is not as the log says, and mend it.

use super::*;
use client_protocol::room::role;
use mongodb::bson::Bson;

const OF_ROOMS: [Collection; 4] = [Collection::Events, Collection::Rooms, Collection::Members, Collection::Marks];

async fn all(link: &Link) -> Vec<Vec<Document>> {
    let mut all = Vec::new();
    for collection in OF_ROOMS {
        all.push(documents(link, collection).await);
    }
    all
}

/// What somebody does to a document; `None` removes it.
type Fault = (Collection, String, Option<Document>);

async fn tamper(link: &Link, (collection, id, change): Fault) {
    let documents = link.collection::<Document>(collection);
    let filter = doc! { "_id": &id };
    let changed = match change {
        Some(change) => documents.update_one(filter, change).await.unwrap().matched_count,
        None => documents.delete_one(filter).await.unwrap().deleted_count,
    };
    assert_eq!(changed, 1, "{id} of {} is not there", collection.name());
}

#[test]
fn a_check_finds_and_mends_every_projection() {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let rig = Rig::open(&database.uri, folder.path());
    for (room, first, records) in script() {
        assert_eq!(rig.append(room, first, records), AppendThen::Done);
    }
    // Then rows that wait are written.
    rig.store.close();
    let rig = Rig::open(&database.uri, folder.path());
    let runtime = runtime();
    let (group, own) = (room(1), RoomId::self_log(user(2)));
    let check = |room, mend| runtime.block_on(rig.store.check(room, mend)).unwrap();
    assert_eq!((check(group, false).count, check(own, false).count), (0, 0));
    let link = runtime.block_on(Link::new(&database.uri)).unwrap();
    let before = runtime.block_on(all(&link));
    let event = |seq| super::super::ids::event_id(group, seq);
    let member = |who| super::super::ids::member_id(group, who);
    let room_id = super::super::ids::id(group.bytes());
    let mark = super::super::ids::mark_id(user(2), group);
    let set = |field: &str, value: Bson| Some(doc! { "$set": { field: value } });
    // The body of a message that was deleted, as it was.
    let secret = script()[1].2[1].bytes.to_vec();
    let secret = Bson::Binary(mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: secret });
    let faults: Vec<(RoomId, Fault)> = vec![
        (group, (Collection::Rooms, room_id.clone(), None)),
        (group, (Collection::Rooms, room_id.clone(), set("members", 99_i64.into()))),
        (group, (Collection::Rooms, room_id, set("name", "another".into()))),
        (group, (Collection::Members, member(user(2)), None)),
        (group, (Collection::Members, member(user(2)), set("role", i64::from(role::OWNER).into()))),
        (group, (Collection::Events, event(4), Some(doc! { "$unset": { "now": "" } }))),
        (group, (Collection::Events, event(4), set("now.deleted", false.into()))),
        (group, (Collection::Events, event(4), set("record", secret))),
        (own, (Collection::Marks, mark.clone(), None)),
        (own, (Collection::Marks, mark, set("seq", 1_i64.into()))),
    ];
    for (room, fault) in faults {
        let what = format!("{fault:?}");
        runtime.block_on(tamper(&link, fault));
        let found = check(room, false);
        assert!(found.count > 0 && !found.differences.is_empty(), "{what}");
        assert!(check(room, true).count > 0, "{what}");
        assert_eq!(check(room, false).differences, Vec::<String>::new(), "{what} was mended");
        assert_eq!(runtime.block_on(all(&link)), before, "{what}: everything is as it was");
    }
    // What is wrong with a log itself is told, and left alone.
    runtime.block_on(tamper(&link, (Collection::Events, event(2), None)));
    let found = check(group, true);
    assert!(found.differences.iter().any(|difference| difference == "event 3 follows event 1"), "{found:?}");
    runtime.block_on(link.end());
    rig.store.close();
}
