//! Room: making, joining, leaving, roles, settings; who may do what, and who may know of what.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::limits::USER_ROOMS_MAX;
use client_protocol::room::{RoomCreated, SettingsTail, kind, role};
use client_protocol::{Code, Command, EventBody, Key, RoomId, ServerFrame, UserId};
use systems::testing::{AppendFault, EPOCH, Foreign, Scenario, commands};

/// Makes a command of (room, key, who is asked about, someone else).
type Verb = fn(RoomId, Key, UserId, UserId) -> Command;

#[test]
fn a_direct_room_exists_once_and_has_two_members_for_ever() {
    let mut s = Scenario::new();
    let (alice, bob, carol) = (s.user(1), s.user(2), s.user(3));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let (key_a, key_b) = (s.key(), s.key());
    let one = s.send(a, commands::create(key_a, kind::DIRECT, &[bob]));
    let other = s.send(b, commands::create(key_b, kind::DIRECT, &[alice]));
    s.run();
    let room = RoomId::direct(alice, bob);
    for request in [one, other] {
        assert_eq!((s.code(request), s.reply(request).tail.room), (Code::Ok, Some(room)));
    }
    assert_eq!(s.store.model.head(room), 1);
    let forbidden: [Verb; 6] = [
        |room, key, _, _| commands::leave(room, key),
        |room, key, _, carol| commands::add(room, key, carol),
        |room, key, bob, _| commands::kick(room, key, bob),
        |room, key, bob, _| commands::ban(room, key, bob),
        |room, key, bob, _| commands::set_role(room, key, bob, role::OWNER),
        |room, key, _, _| commands::update(room, key, SettingsTail { name: Some("us".into()), ..SettingsTail::default() }),
    ];
    for make in forbidden {
        let key = s.key();
        assert_eq!(s.ask_code(a, make(room, key, bob, carol)), Code::Forbidden);
    }
    let seq = s.posted(b, room, "pin me");
    let key = s.key();
    s.done(a, commands::pin(room, key, seq));
    for members in [vec![], vec![alice], vec![bob, carol]] {
        let key = s.key();
        assert_eq!(s.ask_code(a, commands::create(key, kind::DIRECT, &members)), Code::InvalidField);
    }
}

#[test]
fn a_room_is_made_once_for_a_key() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let key = s.key();
    let one = s.ask(a, commands::create(key, kind::GROUP, &[]));
    s.restart(false);
    let a = s.connect(alice);
    let again = s.ask(a, commands::create(key, kind::GROUP, &[]));
    assert_eq!((one.seq, one.tail.room), (again.seq, again.tail.room));
    assert_eq!(s.store.model.head(one.tail.room.unwrap()), 1);
}

#[test]
fn members_must_exist() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let nobody = UserId::from_bytes([9; 16]);
    let key = s.key();
    assert_eq!(s.ask_code(a, commands::create(key, kind::GROUP, &[nobody])), Code::NotFound);
    let room = s.create(a, kind::GROUP, &[]);
    for make in [commands::add, commands::ban] as [fn(RoomId, Key, UserId) -> Command; 2] {
        let key = s.key();
        assert_eq!(s.ask_code(a, make(room, key, nobody)), Code::NotFound);
    }
}

#[test]
fn the_last_owner_does_not_leave_others_behind() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let key = s.key();
    assert_eq!(s.ask_code(a, commands::leave(room, key)), Code::Conflict);
    let key = s.key();
    s.done(b, commands::leave(room, key));
    let key = s.key();
    s.done(a, commands::leave(room, key));
    assert_eq!(s.store.model.log(room).row.members, 0);
}

#[test]
fn the_last_owner_does_not_leave_one_behind_who_comes_in_the_same_tick() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::PUBLIC, &[]);
    let keys = [s.key(), s.key()];
    let requests = [s.send(b, commands::join(room, keys[0])), s.send(a, commands::leave(room, keys[1]))];
    s.run();
    assert_eq!(requests.map(|request| s.code(request)), [Code::Ok, Code::Conflict]);
}

#[test]
fn settings_are_checked_and_kept() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let with = |settings: SettingsTail, code: Code, s: &mut Scenario| {
        let key = s.key();
        assert_eq!(s.ask_code(a, commands::update(room, key, settings)), code);
    };
    let none = SettingsTail::default;
    with(SettingsTail { name: Some("n".repeat(129)), ..none() }, Code::TooLarge, &mut s);
    with(SettingsTail { name: Some("a\nb".into()), ..none() }, Code::InvalidField, &mut s);
    with(SettingsTail { topic: Some("t".repeat(1_025)), ..none() }, Code::TooLarge, &mut s);
    with(SettingsTail { post_role: Some(9), ..none() }, Code::InvalidField, &mut s);
    with(SettingsTail { name: Some("name".into()), post_role: Some(role::MODERATOR), ..none() }, Code::Ok, &mut s);
    with(SettingsTail { topic: Some("topic".into()), ..none() }, Code::Ok, &mut s);
    let row = &s.store.model.log(room).row;
    assert_eq!((row.name.as_str(), row.topic.as_str(), row.post_role), ("name", "topic", role::MODERATOR));
    let request = s.post(b, room, "quiet");
    s.run();
    assert_eq!(s.code(request), Code::Forbidden);
    s.posted(a, room, "loud");
}

#[test]
fn a_kick_and_a_post_in_one_tick_have_the_order_of_the_log() {
    for kick_first in [true, false] {
        let mut s = Scenario::new();
        let (alice, bob) = (s.user(1), s.user(2));
        let (a, b) = (s.connect(alice), s.connect(bob));
        let room = s.create(a, kind::PUBLIC, &[bob]);
        let key = s.key();
        let kick = commands::kick(room, key, bob);
        let (kick, post) = if kick_first {
            let kick = s.send(a, kick);
            (kick, s.post(b, room, "too late"))
        } else {
            let post = s.post(b, room, "in time");
            (s.send(a, kick), post)
        };
        s.run();
        assert_eq!(s.code(kick), Code::Ok);
        let log = s.store.model.log(room);
        if kick_first {
            assert_eq!(s.code(post), Code::Forbidden);
            assert_eq!(log.row.head, 2);
        } else {
            assert_eq!(s.code(post), Code::Ok);
            assert!(matches!(log.event(3).unwrap().body, EventBody::MemberKicked(_)));
        }
    }
}

#[test]
fn commands_about_one_who_was_just_added_wait_for_it() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[]);
    let keys = [s.key(), s.key(), s.key(), s.key()];
    let requests = [
        s.send(a, commands::add(room, keys[0], bob)),
        s.send(a, commands::set_role(room, keys[1], bob, role::MODERATOR)),
        s.send(b, commands::post(room, keys[2], "thanks")),
        s.send(a, commands::kick(room, keys[3], bob)),
    ];
    s.run();
    assert_eq!(requests.map(|request| (s.code(request), s.reply(request).seq)), [2, 3, 4, 5].map(|seq| (Code::Ok, seq)));
}

#[test]
fn another_nodes_kick_is_learned_from_the_conflict() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::PUBLIC, &[bob]);
    s.subscribe(b, room, 0);
    let key = s.key();
    let kick = EventBody::MemberKicked(client_protocol::room::MemberChanged {
        user: bob,
        tail: client_protocol::tail::EmptyTail::default(),
    });
    s.store.fail_append(room, AppendFault::conflict(vec![Foreign { actor: alice, key, body: kick }]));
    let request = s.post(b, room, "still here?");
    s.run();
    assert_eq!(s.code(request), Code::Forbidden);
    assert_eq!(s.client(b).seqs(room), [1, 2]);
    assert!(!s.client(b).next.contains_key(&room), "the subscription ended");
}

#[test]
fn an_event_that_must_be_understood_stops_its_room_only() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let strange = s.create(a, kind::GROUP, &[bob]);
    let other = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, strange, 0);
    s.subscribe(b, other, 0);
    let key = s.key();
    let body = EventBody::Unknown { kind: 0x8fff, bytes: vec![0] };
    s.store.fail_append(strange, AppendFault::conflict(vec![Foreign { actor: alice, key, body }]));
    let request = s.post(a, strange, "into the unknown");
    s.run();
    assert_eq!(s.code(request), Code::Unavailable);
    let ended = s.client(b).picked(|frame| match frame {
        ServerFrame::SubscriptionEnded(ended) => Some((ended.room, ended.last_seq, ended.code)),
        _ => None,
    });
    assert_eq!(ended, [(strange, 1, Code::Unavailable.number())]);
    s.posted(a, other, "all well here");
    assert_eq!(s.client(b).texts(other), ["all well here"]);
    // It stays so, also for one who brings it in anew.
    s.advance(120_000);
    assert_eq!(s.ask_code(b, commands::subscribe(strange, EPOCH, 0)), Code::Unavailable);
    let request = s.post(a, strange, "still?");
    s.run();
    assert_eq!(s.code(request), Code::Unavailable);
}

#[test]
fn an_event_of_an_unknown_kind_that_needs_no_understanding_is_passed_on() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, 0);
    let key = s.key();
    let body = EventBody::Unknown { kind: 0x0fff, bytes: vec![1, 2, 3] };
    s.store.fail_append(room, AppendFault::conflict(vec![Foreign { actor: alice, key, body }]));
    s.posted(a, room, "after it");
    assert_eq!(s.client(a).seqs(room), [1, 2, 3]);
}

#[test]
fn rooms_and_users_leave_memory_and_come_back() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    s.posted(a, room, "one");
    s.disconnect(b);
    s.advance(200_000);
    let population = s.population();
    assert_eq!((population.rooms, population.users, population.hot_log_bytes), (0, 1, 0));
    s.posted(a, room, "two");
    let b = s.connect(bob);
    s.subscribe(b, room, 0);
    assert_eq!(s.client(b).texts(room), ["one", "two"]);
    s.disconnect(a);
    s.disconnect(b);
    s.advance(200_000);
    assert_eq!(s.population(), systems::core::Population::default());
}

#[test]
fn a_room_with_a_reader_stays_in_memory() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let expires_ms = s.now.wall_ms + 3_600_000;
    let a = s.connect_with(alice, 1, expires_ms);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, 0);
    s.advance(200_000);
    assert_eq!(s.population().rooms, 1);
    s.done(a, commands::unsubscribe(room));
    s.advance(200_000);
    assert_eq!(s.population().rooms, 0);
}

#[test]
fn a_user_is_in_so_many_rooms_and_no_more() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let b = s.connect(bob);
    let open = s.create(b, kind::PUBLIC, &[]);
    // All but one of the rooms that a user may be in, made elsewhere.
    for n in 1..USER_ROOMS_MAX as u128 {
        let key = s.key();
        let created = RoomCreated { kind: kind::GROUP, members: vec![], settings: SettingsTail::default() };
        let body = EventBody::RoomCreated(created);
        s.store.model.append_foreign(RoomId::from_bytes((n << 64).to_be_bytes()), Foreign { actor: alice, key, body }, 0);
    }
    let a = s.connect(alice);
    s.run();
    let last = s.create(a, kind::GROUP, &[]);
    let (join, create, add, direct) = (s.key(), s.key(), s.key(), s.key());
    assert_eq!(s.ask_code(a, commands::join(open, join)), Code::TooManyRooms);
    assert_eq!(s.ask_code(a, commands::create(create, kind::GROUP, &[])), Code::TooManyRooms);
    assert_eq!(s.ask_code(b, commands::add(open, add, alice)), Code::TooManyRooms);
    assert_eq!(s.ask_code(b, commands::create(direct, kind::DIRECT, &[alice])), Code::TooManyRooms);
    let leave = s.key();
    s.done(a, commands::leave(last, leave));
    let join = s.key();
    assert_eq!(s.ask_code(a, commands::join(open, join)), Code::Ok);
}
