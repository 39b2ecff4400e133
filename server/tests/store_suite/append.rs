//! Appends: dense, durable, once.

use super::log::{Log, created, key, member, posted, room, user};
use super::{Rig, bytes_of, eventually};
use client_protocol::chat::Body;
use client_protocol::limits::BODY_BYTES_MAX;
use client_protocol::room::kind::{GROUP, PUBLIC};
use client_protocol::{EventBody, RoomId};
use components::edge::{AppendRequest, AppendThen, Record};
use components::limits::{APPEND_EVENTS_MAX, HYDRATE_TAIL_EVENTS};
use server::store::StoreWork;

/// A room with an owner (user 1) and a member (user 2).
pub async fn group(rig: &mut Rig, n: u16) -> Log {
    let mut log = Log::new(room(n));
    rig.write(&mut log, user(1), created(GROUP, "group", &[user(2)])).await;
    log
}

pub async fn dense_and_durable(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for n in 0..20 {
        rig.write(&mut log, user(1), posted(&format!("message {n}"))).await;
    }
    let snapshot = rig.room(log.room).await;
    let row = snapshot.row.unwrap();
    assert_eq!((row.head, row.message_no, row.time_ms), (21, 20, log.time_ms));
    assert_eq!(snapshot.tail.iter().map(|record| record.event.head.seq).collect::<Vec<_>>(), (1..=21).collect::<Vec<_>>());
    assert_eq!(snapshot.members.len(), 2);
}

pub async fn records_come_back_identical(mut rig: Rig) {
    let mut log = Log::new(room(1));
    // A body of a kind that no version knows yet: stored and given back as it is.
    let unknown = EventBody::Unknown { kind: 0x0077, bytes: vec![1, 2, 3, 0] };
    let bodies = vec![
        (user(1), created(GROUP, "group", &[])),
        (user(1), posted("one")),
        (user(1), unknown),
        (user(1), posted("two")),
    ];
    let records = rig.write_all(&mut log, bodies).await;
    let found = rig.page(log.room, 1, 100).await;
    assert_eq!(found, records);
    assert_eq!(bytes_of(&found), bytes_of(&records));
}

pub async fn conflict_says_what_stands_there(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let mut other = log.clone();
    let stored = rig.write_all(&mut log, vec![(user(1), posted("first")), (user(1), posted("second"))]).await;
    let late = other.record_with_key(user(2), key(9), posted("late"));
    let reply = rig.append(log.room, 2, vec![late]).await;
    assert_eq!((reply.appended, reply.then), (0, AppendThen::Conflict { log: stored }));
    assert_eq!(rig.room(log.room).await.row.unwrap().head, 3);
}

pub async fn duplicate_is_named(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let mut again = log.clone();
    let record = log.record_with_key(user(1), key(1), posted("once"));
    let time_ms = record.event.head.time_ms;
    assert_eq!(rig.append(log.room, 2, vec![record]).await.then, AppendThen::Done);
    again.seq = log.seq;
    again.message_no = log.message_no;
    again.time_ms = log.time_ms;
    let record = again.record_with_key(user(1), key(1), posted("twice"));
    let reply = rig.append(log.room, 3, vec![record]).await;
    assert_eq!((reply.appended, reply.then), (0, AppendThen::Duplicate { seq: 2, time_ms }));
    assert_eq!(rig.room(log.room).await.row.unwrap().head, 2);
    // The log goes on at the same place.
    rig.write(&mut log, user(1), posted("next")).await;
}

pub async fn prefix_before_a_duplicate_goes_in(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let known = log.record_with_key(user(1), key(1), posted("known"));
    let time_ms = known.event.head.time_ms;
    rig.append(log.room, 2, vec![known]).await;
    let records = vec![
        log.record_with_key(user(1), key(2), posted("new")),
        log.record_with_key(user(2), key(1), posted("new, by another")),
        log.record_with_key(user(1), key(1), posted("known again")),
        log.record_with_key(user(1), key(3), posted("after it")),
    ];
    let reply = rig.append(log.room, 3, records).await;
    assert_eq!((reply.appended, reply.then), (2, AppendThen::Duplicate { seq: 2, time_ms }));
    let snapshot = rig.room(log.room).await;
    assert_eq!((snapshot.row.unwrap().head, snapshot.tail.len()), (4, 4));
}

pub async fn duplicate_inside_a_batch(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let records =
        vec![log.record_with_key(user(1), key(1), posted("once")), log.record_with_key(user(1), key(1), posted("twice"))];
    let time_ms = records[0].event.head.time_ms;
    let reply = rig.append(log.room, 2, records).await;
    assert_eq!((reply.appended, reply.then), (1, AppendThen::Duplicate { seq: 2, time_ms }));
}

pub async fn duplicate_after_reopen(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let record = log.record_with_key(user(1), key(1), posted("once"));
    let time_ms = record.event.head.time_ms;
    rig.append(log.room, 2, vec![record]).await;
    let mut rig = rig.reopen().await;
    let record = log.record_with_key(user(1), key(1), posted("once, again"));
    let reply = rig.append(log.room, 3, vec![record]).await;
    assert_eq!((reply.appended, reply.then), (0, AppendThen::Duplicate { seq: 2, time_ms }));
}

pub async fn keys_are_of_room_and_actor(mut rig: Rig) {
    for n in 1..=2 {
        let mut log = group(&mut rig, n).await;
        for actor in [user(1), user(2)] {
            let record = log.record_with_key(actor, key(1), posted("the same key"));
            assert_eq!(rig.append(log.room, log.seq, vec![record]).await.then, AppendThen::Done);
        }
    }
}

pub async fn many_rooms_at_once(mut rig: Rig) {
    let appends: Vec<AppendRequest> = (1..=300)
        .map(|n| {
            let mut log = Log::new(room(n));
            let records = vec![log.record(user(1), created(GROUP, "group", &[])), log.record(user(1), posted("hello"))];
            AppendRequest { room: log.room, token: rig.token(), expected_seq: 1, records }
        })
        .collect();
    let tokens: Vec<u64> = appends.iter().map(|append| append.token).collect();
    rig.store.submit(StoreWork { appends, ..StoreWork::default() });
    for token in tokens {
        let reply = rig.append_reply(token).await;
        assert_eq!((reply.appended, reply.then), (2, AppendThen::Done));
    }
    for n in [1, 150, 300] {
        assert_eq!(rig.room(room(n)).await.row.unwrap().head, 2);
    }
}

pub async fn large_batch(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let bodies = (0..APPEND_EVENTS_MAX).map(|n| {
        let text = Body { format: 255, bytes: vec![n as u8; BODY_BYTES_MAX] };
        let EventBody::MessagePosted(mut message) = posted("") else { unreachable!() };
        message.body = text;
        (user(1), EventBody::MessagePosted(message))
    });
    let records = rig.write_all(&mut log, bodies.collect()).await;
    assert_eq!(rig.page(log.room, 2, log.seq).await, records);
}

pub async fn empty_append(mut rig: Rig) {
    let log = group(&mut rig, 1).await;
    let reply = rig.append(log.room, 2, Vec::new()).await;
    assert_eq!((reply.appended, reply.then), (0, AppendThen::Done));
}

pub async fn first_append_must_start_at_one(mut rig: Rig) {
    assert_eq!(rig.room(room(1)).await.row, None);
    let log = group(&mut rig, 1).await;
    let mut other = Log::new(log.room);
    let record = other.record_with_key(user(3), key(3), created(PUBLIC, "mine", &[]));
    let reply = rig.append(log.room, 1, vec![record]).await;
    assert_eq!(reply.appended, 0);
    assert!(matches!(reply.then, AppendThen::Conflict { log } if log.len() == 1));
}

pub async fn reopen_keeps_everything(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for n in 0..50 {
        rig.write(&mut log, user(1), posted(&format!("message {n}"))).await;
    }
    let (before, page) = (rig.room(log.room).await, rig.page(log.room, 1, 100).await);
    let mut rig = rig.reopen().await;
    assert_eq!(rig.room(log.room).await, before);
    assert_eq!(rig.page(log.room, 1, 100).await, page);
    rig.write(&mut log, user(1), posted("and on")).await;
}

pub async fn pages_are_dense(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let bodies = (0..99).map(|n| (user(1), posted(&n.to_string()))).collect();
    rig.write_all(&mut log, bodies).await;
    let seqs = |records: Vec<Record>| records.iter().map(|record| record.event.head.seq).collect::<Vec<_>>();
    assert_eq!(seqs(rig.page(log.room, 1, 64).await), (1..=64).collect::<Vec<_>>());
    assert_eq!(seqs(rig.page(log.room, 65, 128).await), (65..=100).collect::<Vec<_>>());
    assert!(rig.page(log.room, 101, 200).await.is_empty());
    assert!(rig.page(room(2), 1, 10).await.is_empty());
}

async fn is_dirty(rig: &Rig, room: RoomId) -> bool {
    rig.store.dirty_rooms().await.unwrap().contains(&room)
}

pub async fn dirty_until_level(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    group(&mut rig, 2).await;
    assert!(is_dirty(&rig, room(1)).await && is_dirty(&rig, room(2)).await);
    rig.level(log.room, 1);
    eventually("a level room is clean", || async { !is_dirty(&rig, log.room).await }).await;
    assert!(is_dirty(&rig, room(2)).await);
    let mut rig = rig.reopen().await;
    assert!(!is_dirty(&rig, log.room).await && is_dirty(&rig, room(2)).await);
    rig.write(&mut log, user(1), posted("more")).await;
    rig.write(&mut log, user(1), posted("and more")).await;
    assert!(is_dirty(&rig, log.room).await);
    // Level with what was the head, not with what is.
    rig.level(log.room, 2);
    rig.level(room(2), 1);
    eventually("the other room is clean", || async { !is_dirty(&rig, room(2)).await }).await;
    assert!(is_dirty(&rig, log.room).await);
    rig.level(log.room, 3);
    eventually("a level room is clean again", || async { !is_dirty(&rig, log.room).await }).await;
}

async fn level_and_wait(rig: &mut Rig, room: RoomId, seq: u64) {
    rig.level(room, seq);
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while rig.room(room).await.row.unwrap().notified_seq != seq {
        assert!(tokio::time::Instant::now() < deadline, "the level was never stored");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub async fn notified_seq_survives_appends(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), posted("one")).await;
    level_and_wait(&mut rig, log.room, 2).await;
    rig.write(&mut log, user(1), posted("two")).await;
    assert_eq!(rig.room(log.room).await.row.unwrap().notified_seq, 2);
    // A lower one does nothing.
    rig.level(log.room, 1);
    level_and_wait(&mut rig, log.room, 3).await;
    let mut rig = rig.reopen().await;
    assert_eq!(rig.room(log.room).await.row.unwrap().notified_seq, 3);
}

pub async fn tail_reaches_back_to_what_was_notified(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for _ in 0..3 {
        let bodies = (0..100).map(|n| (user(1), posted(&n.to_string()))).collect();
        rig.write_all(&mut log, bodies).await;
    }
    let first = |tail: &[Record]| (tail[0].event.head.seq, tail.len() as u64);
    assert_eq!(first(&rig.room(log.room).await.tail), (1, 301));
    level_and_wait(&mut rig, log.room, 100).await;
    assert_eq!(first(&rig.room(log.room).await.tail), (101, 201));
    level_and_wait(&mut rig, log.room, 301).await;
    assert_eq!(first(&rig.room(log.room).await.tail), (302 - HYDRATE_TAIL_EVENTS, HYDRATE_TAIL_EVENTS));
}

pub async fn ten_thousand_members(mut rig: Rig) {
    let mut log = Log::new(room(1));
    let first: Vec<_> = (2..=500).map(user).collect();
    rig.write(&mut log, user(1), created(PUBLIC, "hall", &first)).await;
    let joins: Vec<_> = (501..=10_000).map(|n| (user(n), EventBody::MemberJoined(member(user(n))))).collect();
    for joins in joins.chunks(APPEND_EVENTS_MAX) {
        rig.write_all(&mut log, joins.to_vec()).await;
    }
    let snapshot = rig.room(log.room).await;
    assert_eq!((snapshot.row.unwrap().members, snapshot.members.len()), (10_000, 10_000));
    assert!(snapshot.members.iter().all(components::rows::MemberRow::is_member));
}

pub async fn meta_is_kept(rig: Rig) {
    let meta = rig.store.meta();
    assert!(rig.store.is_ready());
    assert_ne!(meta.epoch, 0);
    let rig = rig.reopen().await;
    assert_eq!(rig.store.meta(), meta);
}
