//! Projections: what the log makes of rooms, members and messages.

use super::Rig;
use super::append::group;
use super::fold_model::Model;
use super::log::{
    Log, created, deleted, edited, key, member, mentioning, pinned, posted, reacted, read_marked, role_changed, room,
    settings_changed, unpinned, unreacted, user,
};
use client_protocol::chat::Body;
use client_protocol::limits::REACTIONS_MAX;
use client_protocol::notification::RoomListed;
use client_protocol::room::kind::{GROUP, PUBLIC, SELF};
use client_protocol::room::{SettingsTail, role};
use client_protocol::tail::EmptyTail;
use client_protocol::{EventBody, RoomId, UserId};
use components::edge::{Found, Read};
use components::rows::{MemberRow, membership};
use server::store::HistoryQuery;

async fn state(rig: &Rig, room: RoomId, user: UserId) -> MemberRow {
    rig.store.member(room, user).await.unwrap().expect("a member row")
}

pub async fn join_and_leave(mut rig: Rig) {
    let mut log = Log::new(room(1));
    rig.write(&mut log, user(1), created(PUBLIC, "hall", &[])).await;
    assert_eq!(rig.store.member(log.room, user(2)).await.unwrap(), None);
    rig.write(&mut log, user(2), EventBody::MemberJoined(member(user(2)))).await;
    let row = state(&rig, log.room, user(2)).await;
    assert_eq!((row.state, row.role, row.joined_seq, row.left_seq), (membership::MEMBER, role::MEMBER, 2, 0));
    rig.write(&mut log, user(2), EventBody::MemberLeft(member(user(2)))).await;
    let row = state(&rig, log.room, user(2)).await;
    assert_eq!((row.state, row.joined_seq, row.left_seq, row.seq), (membership::LEFT, 2, 3, 3));
    assert_eq!(rig.store.room(log.room).await.unwrap().unwrap().members, 1);
    rig.write(&mut log, user(1), EventBody::MemberAdded(member(user(2)))).await;
    let row = state(&rig, log.room, user(2)).await;
    assert_eq!((row.state, row.joined_seq, row.left_seq), (membership::MEMBER, 4, 0));
    // Rows of those who left stay.
    assert_eq!(rig.room(log.room).await.members.len(), 2);
}

pub async fn kick_ban_unban(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), EventBody::MemberKicked(member(user(2)))).await;
    assert_eq!(state(&rig, log.room, user(2)).await.state, membership::KICKED);
    rig.write(&mut log, user(1), EventBody::MemberAdded(member(user(2)))).await;
    rig.write(&mut log, user(1), EventBody::MemberBanned(member(user(2)))).await;
    let row = state(&rig, log.room, user(2)).await;
    assert_eq!((row.state, row.left_seq), (membership::BANNED, 4));
    // One who was never there can be kept out.
    rig.write(&mut log, user(1), EventBody::MemberBanned(member(user(3)))).await;
    let row = state(&rig, log.room, user(3)).await;
    assert_eq!((row.state, row.joined_seq), (membership::BANNED, 0));
    rig.write(&mut log, user(1), EventBody::MemberUnbanned(member(user(2)))).await;
    assert_eq!(state(&rig, log.room, user(2)).await.state, membership::KICKED);
    assert_eq!(rig.store.room(log.room).await.unwrap().unwrap().members, 1);
}

pub async fn roles_and_owners(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    assert_eq!(state(&rig, log.room, user(1)).await.role, role::OWNER);
    rig.write(&mut log, user(1), role_changed(user(2), role::OWNER)).await;
    assert_eq!(rig.store.room(log.room).await.unwrap().unwrap().owners, 2);
    rig.write(&mut log, user(2), role_changed(user(1), role::ADMIN)).await;
    assert_eq!(rig.store.room(log.room).await.unwrap().unwrap().owners, 1);
    assert_eq!(state(&rig, log.room, user(1)).await.role, role::ADMIN);
}

pub async fn settings(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let change = SettingsTail { topic: Some("about".to_owned()), post_role: Some(role::ADMIN), ..SettingsTail::default() };
    rig.write(&mut log, user(1), settings_changed(change)).await;
    let row = rig.store.room(log.room).await.unwrap().unwrap();
    assert_eq!((row.kind, row.name.as_str(), row.topic.as_str(), row.post_role), (GROUP, "group", "about", role::ADMIN));
    assert_eq!((row.creator, row.created_ms), (user(1), 1_000_010));
    assert_eq!(rig.store.room(room(2)).await.unwrap(), None);
}

pub async fn edit(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), posted("first")).await;
    let event = rig.write(&mut log, user(1), edited(2, "second")).await;
    rig.write(&mut log, user(1), edited(1, "no message")).await;
    let (_, now) = rig.target(log.room, 2).await.unwrap();
    assert_eq!((now.body, now.edited_ms, now.edits), (Some(Body::text("second")), event.head.time_ms, vec![3]));
    assert_eq!(now.as_of, 3);
}

/// Everything that any read says of a room, as text and as bytes.
async fn all_that_is_said(rig: &mut Rig, log: &Log) -> Vec<u8> {
    let page = rig.page(log.room, 1, log.seq).await;
    let mut said = super::bytes_of(&page).to_vec();
    let mut other = log.clone();
    (other.seq, other.message_no) = (0, 0);
    let late = other.record_with_key(user(9), key(9), posted("late"));
    said.extend(format!("{:?}", rig.append(log.room, 1, vec![late]).await.then).into_bytes());
    said.extend(format!("{:?}", rig.room(log.room).await).into_bytes());
    for seq in 1..=log.seq {
        said.extend(format!("{:?}", rig.target(log.room, seq).await).into_bytes());
    }
    let query = HistoryQuery { room: log.room, viewer: user(1), before: 0, after: 0, limit: 100, last_seq: u64::MAX };
    said.extend(format!("{:?}", rig.store.history(query).await.unwrap()).into_bytes());
    said
}

/// Whether `text` is among the bytes, as such or in the way in which bytes are shown.
fn says(said: &[u8], text: &str) -> bool {
    let shown = format!("{:?}", text.as_bytes());
    let shown = shown.trim_matches(['[', ']']).as_bytes().to_vec();
    [text.as_bytes().to_vec(), shown].iter().any(|needle| said.windows(needle.len()).any(|window| window == needle))
}

pub async fn delete_leaves_no_body(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), mentioning("secret-one", &[user(2)])).await;
    rig.write(&mut log, user(1), edited(2, "secret-two")).await;
    rig.write(&mut log, user(1), posted("stays")).await;
    rig.write(&mut log, user(1), edited(2, "secret-three")).await;
    let said = all_that_is_said(&mut rig, &log).await;
    assert!(["secret-one", "secret-two", "secret-three", "stays"].iter().all(|text| says(&said, text)));
    rig.write(&mut log, user(1), deleted(2)).await;
    let mut rig = rig.reopen().await;
    let said = all_that_is_said(&mut rig, &log).await;
    assert!(!says(&said, "secret-"), "a deleted body is still there");
    assert!(says(&said, "stays"));
    let (event, now) = rig.target(log.room, 2).await.unwrap();
    assert_eq!((event.head.seq, event.head.actor, event.body.kind()), (2, user(1), posted("").kind()));
    assert!(now.deleted && now.body.is_none());
}

pub async fn delete_in_the_batch_of_the_message(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let bodies = vec![(user(1), posted("secret-one")), (user(1), edited(2, "secret-two")), (user(1), deleted(2))];
    rig.write_all(&mut log, bodies).await;
    let said = all_that_is_said(&mut rig, &log).await;
    assert!(!says(&said, "secret-"));
    assert_eq!(rig.room(log.room).await.row.unwrap().message_no, 1);
}

pub async fn late_edit_is_blanked(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), posted("secret-one")).await;
    rig.write(&mut log, user(1), deleted(2)).await;
    rig.write(&mut log, user(1), edited(2, "secret-two")).await;
    rig.write(&mut log, user(1), reacted(2, "+1")).await;
    let said = all_that_is_said(&mut rig, &log).await;
    assert!(!says(&said, "secret-"));
    let (_, now) = rig.target(log.room, 2).await.unwrap();
    assert!(now.deleted && now.reactions.is_empty());
}

pub async fn reactions(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), posted("first")).await;
    let both = [(user(1), "+1"), (user(2), "+1"), (user(1), "+1"), (user(2), "tea")];
    rig.write_all(&mut log, both.iter().map(|(by, reaction)| (*by, reacted(2, reaction))).collect()).await;
    let (_, now) = rig.target(log.room, 2).await.unwrap();
    let given = |list: &[(UserId, &str)]| list.iter().map(|(by, text)| ((*text).to_owned(), *by)).collect::<Vec<_>>();
    assert_eq!(now.reactions, given(&[(user(1), "+1"), (user(2), "+1"), (user(2), "tea")]));
    rig.write(&mut log, user(1), unreacted(2, "+1")).await;
    let (_, now) = rig.target(log.room, 2).await.unwrap();
    assert_eq!(now.reactions, given(&[(user(2), "+1"), (user(2), "tea")]));
    // As many as one message may have, and one more.
    let many: Vec<_> = (0..=REACTIONS_MAX as u16).map(|n| (user(100 + n), reacted(2, "tea"))).collect();
    for many in many.chunks(200) {
        rig.write_all(&mut log, many.to_vec()).await;
    }
    let (_, now) = rig.target(log.room, 2).await.unwrap();
    assert_eq!(now.reactions.len(), REACTIONS_MAX);
}

pub async fn pins(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    rig.write(&mut log, user(1), posted("first")).await;
    rig.write(&mut log, user(1), pinned(2)).await;
    assert!(rig.target(log.room, 2).await.unwrap().1.pinned);
    rig.write(&mut log, user(1), unpinned(2)).await;
    assert!(!rig.target(log.room, 2).await.unwrap().1.pinned);
}

pub async fn read_marks_only_grow(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    for _ in 0..5 {
        rig.write(&mut log, user(1), posted("message")).await;
    }
    let epoch = rig.store.meta().epoch;
    let mut own = Log::new(RoomId::self_log(user(2)));
    for seq in [3, 5, 4] {
        rig.write(&mut own, user(2), read_marked(log.room, epoch, seq, seq - 1)).await;
    }
    let (rooms, _) = rig.store.rooms_of(user(2), 0, 10).await.unwrap();
    assert_eq!((rooms[0].read_seq, rooms[0].read_message_no, rooms[0].unread()), (5, 4, 1));
    // A mark of a later epoch counts more, whatever its seq.
    rig.write(&mut own, user(2), read_marked(log.room, epoch + 1, 2, 1)).await;
    let (rooms, _) = rig.store.rooms_of(user(2), 0, 10).await.unwrap();
    assert_eq!((rooms[0].read_seq, rooms[0].read_message_no), (2, 1));
}

pub async fn target_and_key_reads(mut rig: Rig) {
    let mut log = group(&mut rig, 1).await;
    let record = log.record_with_key(user(1), key(1), posted("first"));
    rig.append(log.room, 2, vec![record.clone()]).await;
    let (event, now) = rig.target(log.room, 2).await.unwrap();
    assert_eq!((event, now), (record.event.clone(), components::rows::NowRow::default()));
    assert_eq!(rig.target(log.room, 3).await, None);
    let sent = |actor, key| Read::Key { room: log.room, actor, key };
    assert_eq!(rig.read(sent(user(1), key(1))).await, Found::Key(Some((2, record.event.head.time_ms))));
    assert_eq!(rig.read(sent(user(2), key(1))).await, Found::Key(None));
    assert_eq!(rig.read(sent(user(1), key(2))).await, Found::Key(None));
}

pub async fn own_logs_are_no_rooms(mut rig: Rig) {
    let log = group(&mut rig, 1).await;
    let mut own = Log::new(RoomId::self_log(user(2)));
    rig.write(&mut own, user(2), EventBody::RoomListed(RoomListed { room: log.room, seq: 1, tail: EmptyTail {} })).await;
    let snapshot = rig.room(own.room).await;
    assert_eq!((snapshot.row.unwrap().kind, snapshot.members.len(), snapshot.tail.len()), (SELF, 0, 1));
    let (rooms, next) = rig.store.rooms_of(user(2), 0, 10).await.unwrap();
    assert_eq!((rooms.len(), rooms[0].room, next), (1, log.room, 0));
}

/// What other nodes appended is found by asking for heads: all that go on, and no others.
pub async fn heads_of_rooms_that_go_on(mut rig: Rig) {
    let (first, mut second) = (group(&mut rig, 1).await, group(&mut rig, 2).await);
    let mut own = Log::new(RoomId::self_log(user(2)));
    rig.write(&mut own, user(2), EventBody::RoomListed(RoomListed { room: first.room, seq: 1, tail: EmptyTail {} })).await;
    rig.write_all(&mut second, (0..40).map(|_| (user(1), posted("message"))).collect()).await;
    let known = [(first.room, 1), (second.room, 1), (own.room, 0), (room(9), 0), (room(10), 5)];
    let wanted = [(second.room, 41), (own.room, 1)];
    found_at_last(&mut rig, &known, &wanted).await;
    found_at_last(&mut rig, &[(first.room, 0), (second.room, 41)], &[(first.room, 1)]).await;
    let mut rig = rig.reopen().await;
    found_at_last(&mut rig, &known, &wanted).await;
    found_at_last(&mut rig, &[], &[]).await;
}

/// Heads may be told up to a second late, never too high.
async fn found_at_last(rig: &mut Rig, known: &[(RoomId, u64)], wanted: &[(RoomId, u64)]) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
    loop {
        let Found::Heads(mut heads) = rig.read(Read::Heads { rooms: known.to_vec() }).await else { panic!("no heads") };
        heads.sort_unstable_by_key(|head| wanted.iter().position(|wanted| wanted.0 == head.0));
        if heads == wanted {
            return;
        }
        let high = |head: &(RoomId, u64)| wanted.iter().all(|wanted| wanted.0 != head.0 || wanted.1 < head.1);
        assert!(!heads.iter().any(high), "{heads:?} is more than there is: {wanted:?}");
        assert!(tokio::time::Instant::now() < deadline, "{heads:?} are told, {wanted:?} there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A long log of everything, in pseudo-random order and batches, folded by the store and by a model in memory.
pub async fn says_what_the_fold_says(mut rig: Rig) {
    let mut log = Log::new(room(1));
    let mut model = Model::new(log.room);
    let first = log.record(user(1), created(PUBLIC, "hall", &[user(2), user(3)]));
    model.fold(&first.event);
    assert_eq!(rig.append(log.room, 1, vec![first]).await.appended, 1);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) % below
    };
    for _ in 0..60 {
        let expected_seq = log.seq + 1;
        let mut records = Vec::new();
        for _ in 0..=next(12) {
            let (actor, other) = (user(1 + next(6) as u16), user(1 + next(6) as u16));
            let target = 1 + next(log.seq + 2);
            let body = match next(20) {
                0..=5 => posted(&format!("text {}", log.seq)),
                6 | 7 => edited(target, &format!("edit {}", log.seq)),
                8 => deleted(target),
                9 | 10 => reacted(target, ["a", "b", "c"][next(3) as usize]),
                11 => unreacted(target, "a"),
                12 => pinned(target),
                13 => unpinned(target),
                14 => EventBody::MemberJoined(member(actor)),
                15 => EventBody::MemberLeft(member(actor)),
                16 => EventBody::MemberKicked(member(other)),
                17 => EventBody::MemberBanned(member(other)),
                18 => EventBody::MemberUnbanned(member(other)),
                _ => role_changed(other, 1 + next(4) as u8),
            };
            let record = log.record(actor, body);
            model.fold(&record.event);
            records.push(record);
        }
        let wanted = records.len();
        assert_eq!(rig.append(log.room, expected_seq, records).await.appended, wanted);
    }
    let mut rig = rig.reopen().await;
    let snapshot = rig.room(log.room).await;
    assert_eq!(snapshot.row.as_ref(), Some(&model.row));
    assert_eq!(snapshot.members, model.members());
    for seq in 1..=log.seq {
        let (event, now) = rig.target(log.room, seq).await.unwrap();
        assert_eq!(event, model.event(seq), "event {seq}");
        assert_eq!(now, model.now(seq), "what event {seq} is now");
    }
}
