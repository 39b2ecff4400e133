//! Room lists, public rooms, members.

use super::Rig;
use super::append::group;
use super::log::{Log, created, member, posted, read_marked, room, settings_changed, user};
use client_protocol::limits::{FRAME_BYTES_MAX, ROOM_TOPIC_BYTES_MAX};
use client_protocol::room::kind::{DIRECT, GROUP, PUBLIC};
use client_protocol::room::{MemberEntry, RoomEntry, Rooms, SettingsTail, role};
use client_protocol::tail::EmptyTail;
use client_protocol::{EventBody, RoomId, UserId};
use components::edge::{Found, Read};

fn ids(entries: &[RoomEntry]) -> Vec<RoomId> {
    entries.iter().map(|entry| entry.room).collect()
}

pub async fn rooms_newest_first(mut rig: Rig) {
    let mut logs = Vec::new();
    for n in 1..=4 {
        logs.push(group(&mut rig, n).await);
    }
    // Room 2 last, room 4 before it.
    logs[3].time_ms += 5_000;
    rig.write(&mut logs[3], user(1), posted("late")).await;
    logs[1].time_ms += 9_000;
    rig.write(&mut logs[1], user(1), posted("later")).await;
    let (rooms, next) = rig.store.rooms_of(user(2), 0, 10).await.unwrap();
    assert_eq!((&ids(&rooms)[..2], rooms.len(), next), (&[room(2), room(4)][..], 4, 0));
    let entry = &rooms[0];
    assert_eq!((entry.kind, entry.role, entry.head, entry.message_no), (GROUP, role::MEMBER, 2, 1));
    assert_eq!((entry.time_ms, entry.tail.name.as_deref(), entry.tail.members), (logs[1].time_ms, Some("group"), Some(2)));
    assert_eq!(rig.read(Read::Rooms { user: user(2) }).await, Found::Rooms(rooms, 0));
}

pub async fn rooms_paged(mut rig: Rig) {
    for n in 1..=25 {
        let mut log = Log::new(room(n));
        log.time_ms += u64::from(n) * 1_000;
        rig.write(&mut log, user(1), created(GROUP, "group", &[])).await;
    }
    let (mut found, mut offset) = (Vec::new(), 0);
    loop {
        let (rooms, next) = rig.store.rooms_of(user(1), offset, 10).await.unwrap();
        assert!(rooms.len() <= 10);
        found.extend(ids(&rooms));
        if next == 0 {
            break;
        }
        assert_eq!(next as usize, found.len());
        offset = next;
    }
    assert_eq!(found, (1..=25).rev().map(room).collect::<Vec<_>>());
    assert_eq!(rig.store.rooms_of(user(1), 99, 10).await.unwrap(), (vec![], 0));
    assert_eq!(rig.store.rooms_of(user(9), 0, 10).await.unwrap(), (vec![], 0));
}

pub async fn unread_follows_marks(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for n in 10..15 {
        rig.write(&mut log, user(1), posted("message")).await;
        rig.write(&mut log, user(1), EventBody::MemberAdded(member(user(n)))).await;
    }
    let unread = async |rig: &Rig| rig.store.rooms_of(user(2), 0, 10).await.unwrap().0[0].unread();
    assert_eq!(unread(&rig).await, 5);
    let mut own = Log::new(RoomId::self_log(user(2)));
    let epoch = rig.store.meta().epoch;
    rig.write(&mut own, user(2), read_marked(log.room, epoch, 6, 3)).await;
    assert_eq!(unread(&rig).await, 2);
    rig.write(&mut log, user(1), posted("message")).await;
    assert_eq!(unread(&rig).await, 3);
    let rig = rig.reopen().await;
    assert_eq!(unread(&rig).await, 3);
}

pub async fn left_rooms_are_not_listed(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(2), EventBody::MemberLeft(member(user(2)))).await;
    assert_eq!(rig.store.rooms_of(user(2), 0, 10).await.unwrap(), (vec![], 0));
    rig.write(&mut log, user(1), EventBody::MemberAdded(member(user(2)))).await;
    assert_eq!(rig.store.rooms_of(user(2), 0, 10).await.unwrap().0.len(), 1);
    rig.write(&mut log, user(1), EventBody::MemberBanned(member(user(2)))).await;
    assert_eq!(rig.store.rooms_of(user(2), 0, 10).await.unwrap().0.len(), 0);
    rig.write(&mut log, user(1), EventBody::MemberUnbanned(member(user(2)))).await;
    assert_eq!(rig.store.rooms_of(user(2), 0, 10).await.unwrap().0.len(), 0);
}

pub async fn direct_rooms_name_the_peer(mut rig: Rig) {
    let mut log = Log::new(RoomId::direct(user(1), user(2)));
    rig.write(&mut log, user(1), created(DIRECT, "", &[user(2)])).await;
    for (me, peer) in [(user(1), user(2)), (user(2), user(1))] {
        let (rooms, _) = rig.store.rooms_of(me, 0, 10).await.unwrap();
        assert_eq!((rooms[0].kind, rooms[0].tail.peer, rooms[0].tail.members), (DIRECT, Some(peer), Some(2)));
    }
    group(&mut rig, 1).await;
    let (rooms, _) = rig.store.rooms_of(user(1), 0, 10).await.unwrap();
    assert!(rooms.iter().all(|entry| (entry.kind == DIRECT) == entry.tail.peer.is_some()));
}

pub async fn rooms_page_fits_in_a_frame(mut rig: Rig) {
    let topic = "t".repeat(ROOM_TOPIC_BYTES_MAX);
    for n in 1..=90 {
        let mut log = Log::new(room(n));
        let settings = SettingsTail { topic: Some(topic.clone()), ..SettingsTail::default() };
        rig.write_all(&mut log, vec![(user(1), created(GROUP, "group", &[])), (user(1), settings_changed(settings))]).await;
    }
    let (mut offset, mut found) = (0, 0);
    loop {
        let (rooms, next) = rig.store.rooms_of(user(1), offset, 100).await.unwrap();
        found += rooms.len();
        let frame = client_protocol::codec::encode(&Rooms { rooms, next, tail: EmptyTail {} });
        assert!(frame.len() < FRAME_BYTES_MAX - 64);
        offset = next;
        if next == 0 {
            break;
        }
    }
    assert_eq!(found, 90);
}

pub async fn public_rooms_by_name(mut rig: Rig) {
    let names = ["Tea room", "Engine room", "Straße", "Tearoom", "Hidden"];
    let mut logs = Vec::new();
    for (n, name) in (1..).zip(names) {
        let mut log = Log::new(room(n));
        let kind = if name == "Hidden" { GROUP } else { PUBLIC };
        rig.write(&mut log, user(1), created(kind, name, &[])).await;
        logs.push(log);
    }
    let found = async |rig: &Rig, name: &str, after, limit| {
        let (rows, more) = rig.store.public_rooms(name.to_owned(), after, limit).await.unwrap();
        (rows.into_iter().map(|row| row.room).collect::<Vec<_>>(), more)
    };
    let start = RoomId::from_bytes([0; 16]);
    assert_eq!(found(&rig, "", start, 10).await, ((1..=4).map(room).collect(), false));
    assert_eq!(found(&rig, "TEA", start, 10).await, (vec![room(1), room(4)], false));
    assert_eq!(found(&rig, "straße", start, 10).await, (vec![room(3)], false));
    assert_eq!(found(&rig, "", start, 2).await, (vec![room(1), room(2)], true));
    assert_eq!(found(&rig, "", room(2), 2).await, (vec![room(3), room(4)], false));
    let settings = SettingsTail { name: Some("Coffee room".to_owned()), ..SettingsTail::default() };
    rig.write(&mut logs[0], user(1), settings_changed(settings)).await;
    assert_eq!(found(&rig, "tea", start, 10).await, (vec![room(4)], false));
    assert_eq!(found(&rig, "coffee", start, 10).await, (vec![room(1)], false));
}

pub async fn members_paged(mut rig: Rig) {
    let mut log = Log::new(room(1));
    rig.write(&mut log, user(1), created(GROUP, "group", &(2..=30).map(user).collect::<Vec<_>>())).await;
    rig.write(&mut log, user(7), EventBody::MemberLeft(member(user(7)))).await;
    let (mut found, mut after): (Vec<MemberEntry>, _) = (Vec::new(), UserId::from_bytes([0; 16]));
    loop {
        let (members, more) = rig.store.members(log.room, after, 10).await.unwrap();
        after = members.last().unwrap().user;
        found.extend(members);
        if !more {
            break;
        }
    }
    let wanted: Vec<_> = (1..=30).filter(|n| *n != 7).map(user).collect();
    assert_eq!(found.iter().map(|entry| entry.user).collect::<Vec<_>>(), wanted);
    assert_eq!((found[0].role, found[1].role, found[1].joined_seq), (role::OWNER, role::MEMBER, 1));
    assert_eq!(rig.store.members(room(2), UserId::from_bytes([0; 16]), 10).await.unwrap(), (vec![], false));
}
