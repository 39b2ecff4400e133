//! Chat: posts, edits, deletes, reactions, pins; keys and retries; what happens when the store does not answer well.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::{Body, Relation, format, relation};
use client_protocol::room::{LIVE, SettingsTail, kind};
use client_protocol::{Code, Command};
use components::edge::{Read, ReadRequest};
use systems::testing::{ReadFault, Scenario, commands};

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
fn a_message_refers_to_messages_of_its_room_only() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let first = s.posted(a, room, "first");
    let mut reply = |seq, kind| {
        let key = s.key();
        let Command::PostMessage(mut post) = commands::post(room, key, "to that") else { unreachable!() };
        post.tail.relation = Some(Relation { kind, seq });
        s.ask_code(a, Command::PostMessage(post))
    };
    assert_eq!(reply(first, relation::REPLY), Code::Ok);
    assert_eq!(reply(first, relation::THREAD), Code::Ok);
    // No such event, an event that is no message, and one that is yet to come.
    for seq in [0, 1, first + 3, u64::MAX] {
        assert_eq!(reply(seq, relation::REPLY), Code::NotFound, "{seq}");
    }
    let key = s.key();
    s.done(a, commands::delete(room, key, first));
    let key = s.key();
    let Command::PostMessage(mut post) = commands::post(room, key, "to what is gone") else { unreachable!() };
    post.tail.relation = Some(Relation { kind: relation::REPLY, seq: first });
    assert_eq!(s.ask_code(a, Command::PostMessage(post)), Code::Ok);
}
