//! Delivery: durable before shown, cursors, catching up. How it is handed out is in `flush.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::room::{LIVE, kind, reset_reason};
use client_protocol::{Code, EventBody, RoomId, ServerFrame, UserId};
use components::edge::Read;
use components::limits::HOT_LOG_BYTES_MAX;
use components::time::Tuning;
use systems::testing::{AppendFault, ClientId, EPOCH, Foreign, ReadFault, Scenario, commands};

fn resets(s: &Scenario, client: ClientId) -> Vec<(u8, u64)> {
    s.client(client).picked(|frame| match frame {
        ServerFrame::Reset(reset) => Some((reset.reason, reset.head)),
        _ => None,
    })
}

/// Another node writes `count` messages.
fn fill(s: &mut Scenario, room: RoomId, actor: UserId, count: u64) {
    for n in 0..count {
        let key = s.key();
        let body = EventBody::MessagePosted(client_protocol::chat::MessagePosted {
            body: client_protocol::chat::Body::text(format!("{n}")),
            mentions: Vec::new(),
            tail: client_protocol::chat::MessageTail::default(),
        });
        let wall_ms = s.now.wall_ms;
        s.store.model.append_foreign(room, Foreign { actor, key, body }, wall_ms);
    }
    let head = s.store.model.head(room);
    s.store.model.level(room, head);
}

#[test]
fn nothing_is_acked_or_shown_before_it_is_durable() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, LIVE);
    // Lands after 50 ms, answered 50 ms later.
    s.store.fail_append(room, AppendFault { apply_us: 50_000, reply_us: 50_000, ..AppendFault::default() });
    let request = s.post(a, room, "slow");
    s.advance(95);
    assert!(s.answer(request).is_none() && s.client(b).texts(room).is_empty());
    s.advance(20);
    assert_eq!(s.code(request), Code::Ok);
    assert_eq!(s.client(b).texts(room), ["slow"]);
}

#[test]
fn a_cursor_replays_what_was_missed_and_joins_live() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    for n in 0..300 {
        s.post(a, room, &n.to_string());
        if n % 10 == 0 {
            s.advance(300);
        }
    }
    s.run();
    s.subscribe(b, room, 100);
    s.posted(a, room, "live");
    assert_eq!(s.client(b).seqs(room), (101..=302).collect::<Vec<_>>());
    assert_eq!(s.client(b).texts(room).last().unwrap(), "live");
}

#[test]
fn live_wants_nothing_of_the_past() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.posted(a, room, "before");
    s.subscribe(a, room, LIVE);
    s.posted(a, room, "after");
    assert_eq!(s.client(a).texts(room), ["after"]);
}

#[test]
fn a_cursor_that_cannot_be_served_is_reset() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.posted(a, room, "one");
    for (command, reason) in [
        (commands::subscribe(room, EPOCH + 1, 1), reset_reason::EPOCH),
        (commands::subscribe(room, EPOCH, 9), reset_reason::AHEAD),
    ] {
        let before = resets(&s, a).len();
        s.done(a, command);
        assert_eq!(resets(&s, a)[before..], [(reason, 2)]);
    }
    s.posted(a, room, "two");
    assert_eq!(s.client(a).texts(room), ["two"]);
}

#[test]
fn more_than_ten_thousand_behind_is_a_reset() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.advance(120_000);
    assert_eq!(s.population().rooms, 0);
    fill(&mut s, room, alice, 10_001);
    let b = s.connect(alice);
    s.subscribe(b, room, 1);
    assert_eq!(resets(&s, b), [(reset_reason::TOO_FAR_BEHIND, 10_002)]);
    let c = s.connect(alice);
    s.subscribe(c, room, 2);
    assert_eq!(resets(&s, c), []);
    assert_eq!(s.client(c).seqs(room), (3..=10_002).collect::<Vec<_>>());
}

#[test]
fn a_slow_reader_catches_up_from_pages() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b, c) = (s.connect(alice), s.connect(bob), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    s.subscribe(c, room, 0);
    s.block(b, true);
    let long = "x".repeat(4_000);
    for n in 0..400 {
        s.post(a, room, &format!("{n} {long}"));
        s.advance(21);
    }
    s.run();
    assert_eq!(s.client(b).seqs(room), [1]);
    assert_eq!(s.client(c).seqs(room).len(), 401);
    assert!(s.population().hot_log_bytes < 300_000);
    let reads = s.store.model.reads;
    s.block(b, false);
    s.run();
    assert!(s.store.model.reads > reads, "it was behind the hot log");
    assert_eq!(s.client(b).seqs(room), (1..=401).collect::<Vec<_>>());
}

#[test]
fn a_reader_who_is_left_too_far_behind_is_reset() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    s.block(b, true);
    s.run();
    fill(&mut s, room, alice, 10_001);
    s.posted(a, room, "last");
    s.block(b, false);
    s.run();
    assert_eq!(resets(&s, b), [(reset_reason::TOO_FAR_BEHIND, 10_003)]);
    s.posted(a, room, "after");
    assert_eq!(s.client(b).texts(room), ["after"]);
}

#[test]
fn the_own_leave_is_the_last_event_and_ends_the_subscription() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    let key = s.key();
    s.done(b, commands::leave(room, key));
    s.posted(a, room, "behind their back");
    let ended = s.client(b).picked(|frame| match frame {
        ServerFrame::SubscriptionEnded(ended) => Some((ended.room, ended.last_seq, ended.code)),
        _ => None,
    });
    assert_eq!(ended, [(room, 2, Code::NotFound.number())]);
    assert_eq!(s.client(b).seqs(room), [1, 2]);
}

#[test]
fn a_clock_that_steps_back_does_not_take_the_log_along() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.posted(a, room, "one");
    let before = s.store.model.log(room).row.time_ms;
    s.now.wall_ms -= 60_000;
    s.posted(a, room, "two");
    assert_eq!(s.store.model.log(room).row.time_ms, before);
}

#[test]
fn one_who_becomes_writable_while_a_room_is_loading_is_served_when_it_is_there() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.restart(false);
    let a = s.connect(alice);
    s.store.fail_read(|read| matches!(read.read, Read::Room { .. }), ReadFault::stale(50_000));
    s.send(a, commands::subscribe(room, EPOCH, 0));
    s.tick();
    s.block(a, true);
    s.tick();
    s.block(a, false);
    s.run();
    assert_eq!(s.client(a).seqs(room), [1]);
}

#[test]
fn a_page_that_cannot_be_read_is_asked_for_again() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    fill(&mut s, room, alice, 500);
    s.restart(false);
    let readers: Vec<_> = (0..6).map(|_| s.connect(alice)).collect();
    for _ in 0..3 {
        s.store.fail_read(|read| matches!(read.read, Read::Page { .. }), ReadFault::unavailable());
    }
    // More readers, at more places, than a room keeps pages.
    for (&reader, after) in readers.iter().zip([0, 90, 150, 260, 300, 390]) {
        s.send(reader, commands::subscribe(room, EPOCH, after));
    }
    s.advance(1_000);
    for (&reader, after) in readers.iter().zip([0, 90, 150, 260, 300, 390]) {
        assert_eq!(s.client(reader).seqs(room), (after + 1..=501).collect::<Vec<_>>());
    }
}

#[test]
fn one_who_has_gone_is_not_told_how_the_room_goes_on() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    let kick = s.key();
    let kicked = s.done(a, commands::kick(room, kick, bob));
    for n in 0..5 {
        s.posted(a, room, &n.to_string());
    }
    assert_eq!(s.done(b, commands::subscribe(room, EPOCH, 0)), kicked);
    assert_eq!(s.client(b).seqs(room), [1, kicked]);
    assert_eq!(s.ask_code(b, commands::subscribe(room, EPOCH, kicked)), Code::NotFound);
}

#[test]
fn hot_logs_together_keep_their_bound_and_readers_lose_nothing() {
    let fast = Tuning { user_rate: 1e6, user_burst: 1e6, ..Tuning::default() };
    let mut s = Scenario::with(fast, |_| {});
    let alice = s.user(1);
    let a = s.connect(alice);
    let long = "x".repeat(8_000);
    let count = HOT_LOG_BYTES_MAX / (4 * 8_000) + 100;
    let mut rooms = Vec::new();
    for n in 0..count {
        let room = s.create(a, kind::GROUP, &[]);
        for _ in 0..4 {
            s.post(a, room, &long);
        }
        if n % 8 == 0 {
            s.advance(20);
        }
        rooms.push(room);
        assert!(s.population().hot_log_bytes <= HOT_LOG_BYTES_MAX, "{}", s.population().hot_log_bytes);
    }
    s.advance(2_000);
    assert!(s.population().hot_log_bytes > HOT_LOG_BYTES_MAX / 2);
    for room in [rooms[0], rooms[count / 2], rooms[count - 1]] {
        let b = s.connect(alice);
        s.subscribe(b, room, 0);
        s.advance(50);
        assert_eq!(s.client(b).seqs(room), [1, 2, 3, 4, 5]);
        s.posted(a, room, "on it goes");
        s.advance(50);
        assert_eq!(s.client(b).seqs(room), [1, 2, 3, 4, 5, 6]);
    }
}
