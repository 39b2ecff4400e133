//! Chat: posts, edits, deletes, reactions, pins; keys and retries; what happens when the store does not answer well.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::{Body, format};
use client_protocol::room::{LIVE, SettingsTail, kind};
use client_protocol::{Code, Command, EventBody};
use components::edge::{Read, ReadRequest};
use components::time::Tuning;
use systems::testing::{AppendFault, ReadFault, Scenario, commands};

#[test]
fn a_post_reaches_every_reader() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    let request = s.post(a, room, "hello");
    s.run();
    assert_eq!(s.code(request), Code::Ok);
    assert_eq!(s.client(b).texts(room), ["hello"]);
    assert_eq!(s.notices.len(), 4, "other services hear of the room, the message, and what is in two own logs");
}

#[test]
fn rest_and_sessions_write_to_the_same_log() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, LIVE);
    let key = s.key();
    let token = s.send_rest(alice, commands::post(room, key, "from the web"));
    s.run();
    assert_eq!((s.rest[&token].code(), s.rest[&token].seq), (Code::Ok, 2));
    assert_eq!(s.client(a).texts(room), ["from the web"]);
}

#[test]
fn bodies_are_checked_in_themselves() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let body = |format, bytes: &[u8]| Body { format, bytes: bytes.to_vec() };
    for (body, expected) in [
        (body(format::TEXT, b""), Code::InvalidField),
        (body(format::TEXT, b"\xff"), Code::InvalidField),
        (body(format::OPAQUE, b"\xff"), Code::Ok),
        (body(9, b"x"), Code::InvalidField),
        (body(format::TEXT, &[b'x'; 8_192]), Code::Ok),
        (body(format::TEXT, &[b'x'; 8_193]), Code::TooLarge),
    ] {
        let key = s.key();
        let Command::PostMessage(mut post) = commands::post(room, key, "") else { unreachable!() };
        post.body = body;
        assert_eq!(s.ask_code(a, Command::PostMessage(post)), expected);
    }
    let users: Vec<_> = (0..65).map(|n| client_protocol::UserId::from_bytes([n; 16])).collect();
    let key = s.key();
    assert_eq!(s.ask_code(a, commands::mention(room, key, "all", &users)), Code::TooLarge);
    for reaction in ["", "a\tb", &"x".repeat(65)] {
        let key = s.key();
        assert_eq!(s.ask_code(a, commands::react(room, key, 2, reaction)), Code::InvalidField);
    }
}

#[test]
fn messages_are_edited_reacted_to_and_pinned() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let seq = s.posted(b, room, "frist");
    let keys = [s.key(), s.key(), s.key(), s.key(), s.key(), s.key()];
    assert_eq!(s.ask_code(a, commands::edit(room, keys[0], seq, "mine now")), Code::Forbidden);
    s.done(b, commands::edit(room, keys[0], seq, "first"));
    s.done(a, commands::react(room, keys[1], seq, "+1"));
    s.done(b, commands::react(room, keys[2], seq, "+1"));
    s.done(a, commands::unreact(room, keys[3], seq, "+1"));
    s.done(a, commands::pin(room, keys[4], seq));
    let now = &s.store.model.log(room).nows[&seq];
    assert_eq!(now.body, Some(Body::text("first")));
    assert_eq!(now.reactions, [("+1".to_owned(), bob)]);
    assert!(now.pinned && now.edited_ms > 0);
    for target in [1, 99] {
        let key = s.key();
        assert_eq!(s.ask_code(a, commands::react(room, key, target, "+1")), Code::NotFound, "no message");
    }
}

#[test]
fn the_time_for_edits_ends() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let key = s.key();
    s.done(a, commands::update(room, key, SettingsTail { edit_window_s: Some(10), ..SettingsTail::default() }));
    let seq = s.posted(a, room, "typo");
    s.advance(9_000);
    let key = s.key();
    s.done(a, commands::edit(room, key, seq, "type"));
    s.advance(2_000);
    let key = s.key();
    assert_eq!(s.ask_code(a, commands::edit(room, key, seq, "late")), Code::Forbidden);
}

#[test]
fn a_reaction_taken_back_and_given_again_in_one_go_is_there() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let seq = s.posted(a, room, "well");
    let keys = [s.key(), s.key(), s.key()];
    s.done(a, commands::react(room, keys[0], seq, "+1"));
    s.send(a, commands::unreact(room, keys[1], seq, "+1"));
    s.send(a, commands::react(room, keys[2], seq, "+1"));
    s.run();
    assert_eq!(s.store.model.log(room).nows[&seq].reactions.len(), 1);
}

#[test]
fn a_deleted_body_is_gone_from_the_hot_log_pages_and_the_store() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b, c) = (s.connect(alice), s.connect(bob), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    let seq = s.posted(a, room, "secret");
    let key = s.key();
    s.done(a, commands::edit(room, key, seq, "secret, again"));
    s.posted(a, room, "harmless");
    let key = s.key();
    let deleted = s.done(a, commands::delete(room, key, seq));
    assert_eq!(s.client(b).texts(room), ["secret", "secret, again", "harmless"], "it was seen before");
    s.subscribe(c, room, 0);
    assert_eq!(s.client(c).texts(room), ["", "", "harmless"], "from the hot log");
    s.disconnect(b);
    s.disconnect(c);
    s.advance(200_000);
    assert_eq!(s.population().rooms, 0);
    let d = s.connect(alice);
    s.subscribe(d, room, 0);
    assert_eq!(s.client(d).texts(room), ["", "", "harmless"], "from the store");
    assert_eq!(s.store.model.log(room).event(seq).unwrap().head.actor, alice, "who and when stay");
    // A second delete says when it was; nothing else is done to it any more.
    let key = s.key();
    assert_eq!(s.done(a, commands::delete(room, key, seq)), deleted);
    for command in [commands::edit(room, key, seq, "x"), commands::react(room, key, seq, "x"), commands::pin(room, key, seq)]
    {
        assert_eq!(s.ask_code(a, command), Code::MessageDeleted);
    }
}

#[test]
fn an_edit_that_was_on_its_way_when_its_message_was_deleted_has_no_body() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, LIVE);
    let seq = s.posted(a, room, "secret");
    let (delete, edit) = (s.key(), s.key());
    s.send(a, commands::delete(room, delete, seq));
    let edit = s.send(a, commands::edit(room, edit, seq, "secret, again"));
    s.run();
    assert_eq!(s.code(edit), Code::Ok);
    assert_eq!(s.client(b).texts(room), ["secret", ""]);
    assert!(s.store.model.log(room).nows[&seq].deleted);
    assert!(!format!("{:?}", s.notices).contains(&format!("{:?}", b"secret, again".to_vec())));
}

#[test]
fn a_page_that_was_read_before_a_delete_is_not_served_after_it() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let secret = s.posted(a, room, "secret");
    for n in 0..150 {
        s.post(a, room, &n.to_string());
    }
    s.run();
    s.advance(200_000);
    assert_eq!(s.population().rooms, 0);
    // The page is read at once and comes late; the delete is durable in between.
    fn is_page(read: &ReadRequest) -> bool {
        matches!(read.read, Read::Page { .. })
    }
    s.store.fail_read(is_page, ReadFault::stale(100_000));
    s.store.fail_read(is_page, ReadFault::stale(200_000));
    s.send(b, commands::subscribe(room, 7, 0));
    s.advance(20);
    let key = s.key();
    s.send(a, commands::delete(room, key, secret));
    s.advance(20);
    s.run();
    assert_eq!(s.client(b).seqs(room).len(), 153);
    assert_eq!(s.client(b).texts(room)[0], "");
}

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
