//! Requests: keys and retries; what happens when the store does not answer well; load and rates. Every request ends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::Body;
use client_protocol::room::{LIVE, kind};
use client_protocol::{Code, EventBody};
use components::edge::{AppendReply, AppendThen, Found, Read, ReadRequest, StoreReply};
use components::time::Tuning;
use systems::testing::{AppendFault, EPOCH, Foreign, ReadFault, Scenario, commands};

#[test]
fn a_key_has_one_seq_for_ever() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::PUBLIC, &[bob]);
    let key = s.key();
    let post = commands::post(room, key, "once");
    // Twice in one tick, then again, then by a retry after being removed, then after a restart.
    let requests = [s.send(b, post.clone()), s.send(b, post.clone())];
    s.run();
    assert_eq!(requests.map(|request| s.reply(request).seq), [2, 2]);
    assert_eq!(s.done(b, post.clone()), 2);
    let kick = s.key();
    s.done(a, commands::kick(room, kick, bob));
    assert_eq!(s.ask_code(b, post.clone()), Code::Forbidden, "without the flag a refusal is final");
    assert_eq!(s.done(b, commands::retry(post.clone())), 2);
    s.restart(false);
    let b = s.connect(bob);
    assert_eq!(s.done(b, commands::retry(post)), 2);
    let key = s.key();
    assert_eq!(s.ask_code(b, commands::retry(commands::post(room, key, "new"))), Code::Forbidden);
    assert_eq!(s.store.model.head(room), 3);
}

#[test]
fn a_retry_of_what_is_so_already_is_answered_with_its_own_event() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::PUBLIC, &[]);
    let keys = [s.key(), s.key(), s.key()];
    assert_eq!(s.done(b, commands::join(room, keys[0])), 2);
    s.done(b, commands::leave(room, keys[1]));
    assert_eq!(s.done(b, commands::join(room, keys[2])), 4);
    assert_eq!(s.done(b, commands::retry(commands::join(room, keys[0]))), 2);
}

#[test]
fn a_partial_append_acks_what_is_in_and_refuses_the_rest() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, LIVE);
    s.store.fail_append(room, AppendFault::partial(2));
    let requests: Vec<_> = (0..4).map(|n| s.post(a, room, &n.to_string())).collect();
    s.run();
    let codes: Vec<_> = requests.iter().map(|request| s.code(*request)).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::Unavailable, Code::Unavailable]);
    assert_eq!(s.client(a).texts(room), ["0", "1"]);
    assert_eq!(s.posted(a, room, "later"), 4);
}

#[test]
fn a_doubt_is_waited_for_and_the_room_takes_nothing_else() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, LIVE);
    s.store.fail_append(room, AppendFault::in_doubt(3_000_000, true));
    let first = s.post(a, room, "first");
    s.advance(1_500);
    let second = s.post(a, room, "second");
    s.advance(499);
    assert!(s.answer(first).is_none());
    s.advance(5);
    assert_eq!(s.code(first), Code::OutcomeUnknown);
    assert!(s.client(a).texts(room).is_empty());
    s.advance(1_500);
    assert_eq!(s.code(second), Code::Ok, "the doubt is over");
    assert_eq!(s.client(a).texts(room), ["first", "second"]);
    let retry = s.client(a).replies.len();
    assert_eq!(retry, 4, "one answer each");
}

#[test]
fn a_doubt_that_comes_to_nothing_refuses_and_goes_on() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.store.fail_append(room, AppendFault::in_doubt(500_000, false));
    let first = s.post(a, room, "first");
    s.advance(600);
    assert_eq!(s.code(first), Code::Unavailable);
    assert_eq!(s.posted(a, room, "second"), 2);
}

#[test]
fn what_was_told_unknown_and_did_not_land_is_not_sent_by_the_world_later() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, _) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let key = s.key();
    // Another node writes while it is in doubt: the slot is taken, so this batch did not land.
    let mut fault = AppendFault::late_commit(2_500_000);
    let body = EventBody::MessagePosted(client_protocol::chat::MessagePosted {
        body: Body::text("elsewhere"),
        mentions: Vec::new(),
        tail: client_protocol::chat::MessageTail::default(),
    });
    fault.before.push(systems::testing::Foreign { actor: bob, key, body });
    s.store.fail_append(room, fault);
    let post = s.post(a, room, "mine");
    s.advance(3_000);
    assert_eq!(s.code(post), Code::OutcomeUnknown);
    assert_eq!(s.store.model.head(room), 2);
}

#[test]
fn every_waiting_state_ends_in_time() {
    fn is_target(read: &ReadRequest) -> bool {
        matches!(read.read, Read::Target { .. })
    }
    fn is_key(read: &ReadRequest) -> bool {
        matches!(read.read, Read::Key { .. })
    }
    fn is_room(read: &ReadRequest) -> bool {
        matches!(read.read, Read::Room { .. })
    }
    fn is_account(read: &ReadRequest) -> bool {
        matches!(read.read, Read::Account { .. })
    }
    let never = ReadFault::stale(60_000_000);
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let seq = s.posted(a, room, "one");
    let key = client_protocol::Key::from_bytes([200; 16]);
    s.store.fail_read(is_target, never);
    let request = s.send(a, commands::edit(room, key, seq, "x"));
    s.advance(2_010);
    assert_eq!(s.code(request), Code::Unavailable, "waits for its target");
    s.store.fail_read(is_key, never);
    let request = s.send(a, commands::retry(commands::kick(room, key, bob)));
    s.advance(2_010);
    assert_eq!(s.code(request), Code::OutcomeUnknown, "waits for its key");
    s.store.fail_read(is_account, never);
    let request = s.send(a, commands::add(room, key, bob));
    s.advance(2_010);
    assert_eq!(s.code(request), Code::Unavailable, "waits for an account");
    s.store.fail_append(room, AppendFault::delayed(60_000_000));
    let request = s.post(a, room, "slow");
    s.advance(2_010);
    assert_eq!(s.code(request), Code::OutcomeUnknown, "waits for the store");
    let request = s.post(a, room, "behind it");
    s.advance(2_010);
    assert_eq!(s.code(request), Code::Unavailable, "waits for its turn");
    let absent = client_protocol::RoomId::from_bytes([66; 16]);
    for command in [commands::subscribe(absent, 7, 0), commands::mark(absent, 1), commands::join(absent, key)] {
        s.store.fail_read(is_room, never);
        let request = s.send(a, command);
        s.advance(2_010);
        assert_eq!(s.code(request), Code::Unavailable, "waits for its room");
    }
}

#[test]
fn overload_is_refused_before_any_work() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let request = s.post(a, room, "too much");
    s.queue_wait_us(500_001);
    let appends = s.store.appends;
    s.run();
    assert_eq!(s.code(request), Code::Overloaded);
    assert!(s.reply(request).tail.retry_after_ms.unwrap() > 0);
    assert_eq!(s.store.appends, appends);
    s.posted(a, room, "again");
}

#[test]
fn rates_are_held_and_say_when_to_come_back() {
    let mut s = Scenario::with(Tuning { user_rate: 10.0, user_burst: 5.0, ..Tuning::default() }, |_| {});
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let requests: Vec<_> = (0..5).map(|n| s.post(a, room, &n.to_string())).collect();
    s.run();
    let codes: Vec<_> = requests.iter().map(|request| s.code(*request)).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::Ok, Code::Ok, Code::RateLimited]);
    let wait_ms = s.reply(requests[4]).tail.retry_after_ms.unwrap();
    assert!((50..=100).contains(&wait_ms), "{wait_ms}");
    s.advance(wait_ms);
    s.posted(a, room, "in time");
    let mut s = Scenario::with(Tuning { room_rate: 1.0, room_burst: 2.0, ..Tuning::default() }, |_| {});
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let requests = [s.post(a, room, "one"), s.post(a, room, "two")];
    s.run();
    assert_eq!(requests.map(|request| s.code(request)), [Code::Ok, Code::RateLimited]);
}

#[test]
fn a_subscribe_that_is_overtaken_by_another_is_answered_too() {
    fn is_room(read: &ReadRequest) -> bool {
        matches!(read.read, Read::Room { .. })
    }
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.restart(false);
    let a = s.connect(alice);
    s.store.fail_read(is_room, ReadFault::stale(50_000));
    let first = s.send(a, commands::subscribe(room, EPOCH, LIVE));
    s.advance(10);
    let second = s.send(a, commands::subscribe(room, EPOCH, 0));
    s.run();
    assert_eq!((s.code(first), s.code(second)), (Code::Conflict, Code::Ok));
    assert_eq!(s.client(a).seqs(room), [1]);
}

#[test]
fn a_session_has_two_hundred_subscriptions() {
    let mut s = Scenario::with(Tuning { user_burst: 1e9, ..Tuning::default() }, |_| {});
    let alice = s.user(1);
    let a = s.connect(alice);
    let rooms: Vec<_> = (0..201).map(|_| s.create(a, kind::GROUP, &[])).collect();
    for &room in &rooms[..200] {
        s.subscribe(a, room, LIVE);
    }
    assert_eq!(s.ask_code(a, commands::subscribe(rooms[200], EPOCH, LIVE)), Code::TooManySubscriptions);
    assert_eq!(s.ask_code(a, commands::subscribe(rooms[0], EPOCH, 0)), Code::Ok, "moving a cursor needs no place");
    s.done(a, commands::unsubscribe(rooms[1]));
    s.subscribe(a, rooms[200], LIVE);
    s.posted(a, rooms[1], "unheard");
    s.posted(a, rooms[200], "heard");
    assert!(s.client(a).texts(rooms[1]).is_empty());
    assert_eq!(s.client(a).texts(rooms[200]), ["heard"]);
}

#[test]
fn a_key_that_another_node_has_taken_is_answered_with_its_seq() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, LIVE);
    let key = s.key();
    let body = EventBody::MessagePosted(client_protocol::chat::MessagePosted {
        body: Body::text("by way of another node"),
        mentions: Vec::new(),
        tail: client_protocol::chat::MessageTail::default(),
    });
    s.store.fail_append(room, AppendFault::conflict(vec![Foreign { actor: alice, key, body }]));
    let requests = [s.send(a, commands::post(room, key, "here")), s.post(a, room, "next")];
    s.run();
    assert_eq!(requests.map(|request| (s.code(request), s.reply(request).seq)), [(Code::Ok, 2), (Code::Ok, 3)]);
    assert_eq!(s.client(a).texts(room), ["by way of another node", "next"]);
}

#[test]
fn late_words_of_the_store_are_dropped() {
    let mut s = Scenario::with(Tuning { idle_us: 500_000, ..Tuning::default() }, |_| {});
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let other = s.create(a, kind::GROUP, &[]);
    s.advance(3_000);
    let before = s.population();
    // To requests that are over, that never were, of rooms that are not in memory: whoever asked is gone.
    for token in 0..50 {
        for room in [room, other] {
            let then = AppendThen::Duplicate { seq: 1, time_ms: 1 };
            s.store_says(StoreReply::Append(AppendReply { room, token, appended: 1, then }));
        }
        s.store_says(StoreReply::Read(token, Found::Page(Vec::new())));
    }
    s.run();
    assert_eq!(s.population(), before);
    // A room that leaves memory while a page is being read for a reader who is gone.
    for n in 0..150 {
        s.post(a, room, &n.to_string());
    }
    s.advance(3_000);
    s.store.fail_read(|read| matches!(read.read, Read::Page { .. }), ReadFault::stale(5_000_000));
    s.send(b, commands::subscribe(room, EPOCH, 0));
    s.advance(100);
    s.disconnect(b);
    s.advance(3_000);
    assert_eq!(s.population().rooms, 0);
    s.advance(5_000);
    assert_eq!(s.population().open_reads, 0);
    assert_eq!(s.posted(a, room, "on we go"), 152);
}

#[test]
fn a_room_in_which_something_waits_stays_in_memory() {
    let mut s = Scenario::with(Tuning { idle_us: 100_000, ..Tuning::default() }, |_| {});
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let seq = s.posted(a, room, "typo");
    s.advance(5_000);
    s.store.fail_read(|read| matches!(read.read, Read::Target { .. }), ReadFault::stale(1_000_000));
    let key = s.key();
    let request = s.send(a, commands::edit(room, key, seq, "type"));
    s.advance(1_500);
    assert_eq!(s.code(request), Code::Ok);
}

#[test]
fn retries_that_are_refused_hold_nobody_up() {
    let mut s = Scenario::new();
    let (alice, mallory) = (s.user(1), s.user(2));
    let (a, m) = (s.connect(alice), s.connect(mallory));
    let room = s.create(a, kind::PUBLIC, &[]);
    // The store takes its time for each of them.
    let retries: Vec<_> = (0..30)
        .map(|_| {
            s.store.fail_read(|read| matches!(read.read, Read::Key { .. }), ReadFault::stale(200_000));
            let key = s.key();
            s.send(m, commands::retry(commands::post(room, key, "let me in")))
        })
        .collect();
    s.tick();
    let post = s.post(a, room, "hello");
    s.advance(10);
    assert_eq!(s.code(post), Code::Ok, "it does not wait for them");
    s.advance(300);
    assert!(retries.iter().all(|&retry| s.code(retry) == Code::Forbidden));
    // Nor do they use up what the room takes.
    assert_eq!(s.posted(a, room, "again"), 3);
}
