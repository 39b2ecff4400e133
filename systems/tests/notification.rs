//! Notification: read marks, unread counts, own logs, bumps; and that followers finish, whatever happens.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::notification::notified;
use client_protocol::room::{Bump, LIVE, kind};
use client_protocol::{Code, EventBody, RoomId, ServerFrame, UserId};
use components::edge::{Control, Read, ReadRequest};
use components::time::Tuning;
use systems::testing::{AppendFault, ClientId, ReadFault, Scenario, commands};

/// What a user's own log says, short.
fn own(s: &Scenario, user: UserId) -> Vec<String> {
    let Some(log) = s.store.model.rooms.get(&RoomId::self_log(user)) else { return Vec::new() };
    let say = |event: &client_protocol::Event| match &event.body {
        EventBody::RoomListed(listed) => format!("listed {}", listed.seq),
        EventBody::RoomUnlisted(unlisted) => format!("unlisted {}", unlisted.seq),
        EventBody::ReadMarked(marked) => format!("read {}/{}", marked.seq, marked.message_no),
        EventBody::Notified(notified) => format!("notified {} {}", notified.seq, notified.kind),
        other => format!("{other:?}"),
    };
    log.events.iter().map(say).collect()
}

fn bumps(s: &Scenario, client: ClientId) -> Vec<Bump> {
    s.client(client).picked(|frame| match frame {
        ServerFrame::Bump(bump) => Some(bump.clone()),
        _ => None,
    })
}

fn unread(s: &Scenario, user: UserId, room: RoomId) -> u64 {
    s.store.model.entries_of(user).iter().find(|entry| entry.room == room).unwrap().unread()
}

#[test]
fn the_first_mark_is_durable_and_later_ones_are_merged() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    for n in 0..4 {
        s.posted(a, room, &n.to_string());
    }
    assert_eq!(unread(&s, bob, room), 4);
    s.done(b, commands::mark(room, 3));
    assert_eq!(own(&s, bob), ["listed 1", "read 3/2"]);
    assert_eq!(unread(&s, bob, room), 2);
    for seq in [5, 4, 2] {
        assert_eq!(s.ask_code(b, commands::mark(room, seq)), Code::Ok);
    }
    assert_eq!(own(&s, bob).len(), 2, "not stored yet");
    s.advance(5_000);
    assert_eq!(own(&s, bob)[2..], ["read 5/4"], "the highest of them");
    assert_eq!(unread(&s, bob, room), 0);
    s.advance(5_000);
    s.done(b, commands::mark(room, 2));
    assert_eq!(unread(&s, bob, room), 0, "a mark never goes back");
}

#[test]
fn a_mark_is_not_acked_before_it_is_stored() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.run();
    s.store.fail_append(RoomId::self_log(alice), AppendFault::delayed(100_000));
    let request = s.send(a, commands::mark(room, 1));
    s.advance(90);
    assert!(s.answer(request).is_none());
    s.advance(30);
    assert_eq!(s.code(request), Code::Ok);
}

#[test]
fn marks_above_the_head_count_as_the_head() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.posted(a, room, "one");
    s.done(b, commands::mark(room, 1_000));
    assert_eq!(own(&s, bob)[1..], ["read 2/1"]);
    s.posted(a, room, "two");
    assert_eq!(unread(&s, bob, room), 1);
}

#[test]
fn marks_of_one_who_left_end_where_they_did() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let key = s.key();
    s.done(b, commands::leave(room, key));
    for n in 0..3 {
        s.posted(a, room, &n.to_string());
    }
    s.done(b, commands::mark(room, 4));
    assert_eq!(own(&s, bob).last().unwrap(), "read 2/0");
}

#[test]
fn a_drain_stores_marks_at_once() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.posted(a, room, "one");
    s.done(b, commands::mark(room, 1));
    s.done(b, commands::mark(room, 2));
    s.control(Control::Drain);
    s.run();
    assert_eq!(own(&s, bob).last().unwrap(), "read 2/1");
}

#[test]
fn joins_and_reactions_do_not_count_as_unread() {
    let mut s = Scenario::new();
    let (alice, bob, carol) = (s.user(1), s.user(2), s.user(3));
    let (a, c) = (s.connect(alice), s.connect(carol));
    let room = s.create(a, kind::PUBLIC, &[bob]);
    let seq = s.posted(a, room, "one");
    let keys = [s.key(), s.key(), s.key()];
    s.done(c, commands::join(room, keys[0]));
    s.done(c, commands::react(room, keys[1], seq, "+1"));
    assert_eq!(unread(&s, bob, room), 1);
    s.done(a, commands::delete(room, keys[2], seq));
    assert_eq!(unread(&s, bob, room), 1, "a later delete changes nothing");
}

#[test]
fn own_logs_follow_the_rooms() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    s.subscribe(b, RoomId::self_log(bob), 0);
    let room = s.create(a, kind::PUBLIC, &[bob]);
    let keys = [s.key(), s.key(), s.key(), s.key()];
    s.done(b, commands::leave(room, keys[0]));
    s.done(b, commands::join(room, keys[1]));
    s.done(a, commands::ban(room, keys[2], bob));
    assert_eq!(own(&s, bob), ["listed 1", "unlisted 2", "listed 3", "unlisted 4"]);
    assert_eq!(s.client(b).seqs(RoomId::self_log(bob)), [1, 2, 3, 4], "devices follow it as any room");
    assert_eq!(own(&s, alice), ["listed 1"]);
    s.advance(3_000);
    assert_eq!(s.store.model.dirty_rooms(), []);
}

#[test]
fn mentions_and_direct_messages_notify_those_who_do_not_read() {
    let mut s = Scenario::new();
    let (alice, bob, carol, dave) = (s.user(1), s.user(2), s.user(3), s.user(4));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob, carol]);
    let key = s.key();
    s.done(a, commands::mention(room, key, "all of you", &[alice, bob, carol, carol, dave]));
    let direct = s.create(a, kind::DIRECT, &[bob]);
    s.posted(a, direct, "psst");
    s.subscribe(b, direct, LIVE);
    s.posted(a, direct, "you are here");
    let notified = |seq: u64, kind: u8| format!("notified {seq} {kind}");
    assert_eq!(own(&s, bob)[1..], [notified(2, notified::MENTION), "listed 1".into(), notified(2, notified::DIRECT)]);
    assert_eq!(own(&s, carol)[1..], [notified(2, notified::MENTION)]);
    assert_eq!((own(&s, alice).len(), own(&s, dave).len()), (2, 0));
}

#[test]
fn bumps_come_at_once_and_then_once_a_second() {
    let mut s = Scenario::new();
    let (alice, bob, carol) = (s.user(1), s.user(2), s.user(3));
    let (a, b, c) = (s.connect(alice), s.connect(bob), s.connect(carol));
    let room = s.create(a, kind::GROUP, &[bob, carol]);
    s.subscribe(c, room, LIVE);
    s.advance(2_000);
    let before = bumps(&s, b).len();
    s.posted(a, room, "one");
    s.posted(a, room, "two");
    let key = s.key();
    s.done(a, commands::mention(room, key, "three", &[bob]));
    let told = |s: &Scenario| -> Vec<_> {
        bumps(s, b)[before..].iter().map(|bump| (bump.head, bump.message_no, bump.mentioned)).collect()
    };
    assert_eq!(told(&s), [(2, 1, false)]);
    s.advance(1_000);
    assert_eq!(told(&s), [(2, 1, false), (4, 3, true)]);
    s.advance(5_000);
    assert_eq!(told(&s).len(), 2);
    s.posted(a, room, "four");
    assert_eq!(told(&s)[2..], [(5, 4, false)], "a mention is told once");
    assert_eq!(bumps(&s, c).len(), 1, "whoever reads the room needs none");
}

#[test]
fn bumps_that_a_blocked_session_missed_are_made_up_for() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.advance(2_000);
    s.block(b, true);
    s.posted(a, room, "one");
    s.advance(2_000);
    let told = bumps(&s, b).len();
    s.block(b, false);
    s.run();
    assert_eq!(bumps(&s, b).len(), told);
    let lists = s.client(b).picked(|frame| match frame {
        ServerFrame::Rooms(rooms) => Some(rooms.rooms.iter().map(|entry| entry.unread()).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(lists.last().unwrap(), &[1]);
}

#[test]
fn the_first_list_comes_before_every_bump() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[bob]);
    s.advance(2_000);
    // The list comes after the message, of which it may know or not.
    s.store.fail_read(|request| matches!(request.read, Read::Rooms { .. }), ReadFault::stale(400_000));
    let b = s.connect(bob);
    s.posted(a, room, "one");
    s.advance(2_000);
    let told = s.client(b).picked(|frame| match frame {
        ServerFrame::Rooms(rooms) => Some(rooms.rooms.iter().map(|entry| entry.unread()).collect::<Vec<_>>()),
        ServerFrame::Bump(_) => Some(Vec::new()),
        _ => None,
    });
    assert_eq!(told, [vec![1], vec![1]], "the list, and once more, since something was written meanwhile");
}

#[test]
fn followers_finish_after_a_crash_exactly_once() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.advance(5_000);
    // The process dies when the room's event is durable and nothing has followed from it.
    let keys = [s.key(), s.key()];
    s.send(a, commands::add(room, keys[0], bob));
    while s.store.model.head(room) < 2 {
        s.tick();
    }
    s.restart(false);
    assert!(own(&s, bob).is_empty());
    assert_eq!(s.store.model.dirty_rooms(), [room]);
    s.sweep();
    s.advance(5_000);
    assert_eq!(own(&s, bob), ["listed 2"]);
    assert_eq!(s.store.model.dirty_rooms(), []);
    // Again, with the own log written and the room not known to be level.
    let a = s.connect(alice);
    s.done(a, commands::mention(room, keys[1], "hello", &[bob]));
    s.restart(false);
    s.sweep();
    s.advance(5_000);
    assert_eq!(own(&s, bob), ["listed 2", "notified 3 1"]);
    s.advance(200_000);
    assert_eq!(s.population(), systems::core::Population::default(), "nothing stays for the sweep's sake");
}

#[test]
fn a_sweep_that_cannot_read_tries_again() {
    fn is_room(read: &ReadRequest) -> bool {
        matches!(read.read, Read::Room { .. })
    }
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.advance(5_000);
    let key = s.key();
    s.send(a, commands::add(room, key, bob));
    while s.store.model.head(room) < 2 {
        s.tick();
    }
    s.restart(false);
    s.store.fail_read(is_room, ReadFault::unavailable());
    s.store.fail_read(is_room, ReadFault::unavailable());
    s.sweep();
    s.advance(20_000);
    assert_eq!(own(&s, bob), ["listed 2"]);
}

#[test]
fn followers_far_behind_after_a_crash_read_what_they_missed() {
    fn is_bobs_log(read: &ReadRequest) -> bool {
        read.read == Read::Room { room: RoomId::from_bytes([2; 16]) }
    }
    let rates = Tuning { user_burst: 1e9, room_burst: 1e9, ..Tuning::default() };
    let mut s = Scenario::with(rates, |_| {});
    let (alice, bob) = (s.user(1), s.user(2));
    assert_eq!(RoomId::self_log(bob), RoomId::from_bytes([2; 16]));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.advance(5_000);
    s.store.fail_read(is_bobs_log, ReadFault::unavailable());
    let key = s.key();
    s.send(a, commands::add(room, key, bob));
    // More than a room brings along, in less time than followers take to be level.
    let mut head = 2;
    for _ in 0..3 {
        for _ in 0..3_500 {
            s.post(a, room, "more");
        }
        head += 3_500;
        while s.store.model.head(room) < head {
            s.tick();
        }
    }
    s.restart(false);
    assert!(own(&s, bob).is_empty());
    s.sweep();
    s.advance(10_000);
    assert_eq!(own(&s, bob), ["listed 2"]);
    assert_eq!(s.store.model.dirty_rooms(), []);
}

#[test]
fn followers_that_fail_try_again_while_the_room_goes_on() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(a, room, LIVE);
    for _ in 0..3 {
        s.store.fail_append(RoomId::self_log(bob), AppendFault::unavailable());
    }
    let key = s.key();
    s.done(a, commands::mention(room, key, "hello", &[bob]));
    for n in 0..40 {
        s.posted(a, room, &n.to_string());
        s.advance(500);
    }
    assert_eq!(own(&s, bob), ["listed 1", "notified 2 1"]);
    s.advance(2_000);
    assert_eq!(s.store.model.dirty_rooms(), []);
}

#[test]
fn a_busy_room_becomes_level_as_it_goes() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::DIRECT, &[bob]);
    // There is always a follow-up on its way.
    for n in 0..100 {
        s.post(a, room, &n.to_string());
        s.store.fail_append(RoomId::self_log(bob), AppendFault::delayed(60_000));
        s.advance(40);
    }
    let row = &s.store.model.log(room).row;
    assert!(row.notified_seq > 30, "{} of {}", row.notified_seq, row.head);
}
