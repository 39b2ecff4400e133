//! Flush: when events leave, how many at a time, and in whose turn; batches and queues are bounded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::room::{LIVE, kind};
use client_protocol::{Code, RoomId};
use components::limits::{FLUSH_PIECE_READERS_MIN, SLOT_SESSION_BYTES_MAX};
use components::time::Tuning;
use systems::testing::{AppendFault, ClientId, EPOCH, Scenario, commands};

/// Large rooms are handed out as fast as hand-overs allow.
fn at_once() -> Scenario {
    Scenario::with(Tuning { flush_us_per_reader: 0, ..Tuning::default() }, |_| {})
}

/// A room, who writes to it, and sessions that read it and are level.
fn room_with_readers(s: &mut Scenario, count: usize) -> (ClientId, RoomId, Vec<ClientId>) {
    let alice = s.user(1);
    let writer = s.connect(alice);
    let room = s.create(writer, kind::GROUP, &[]);
    let readers: Vec<_> = (0..count).map(|_| s.connect(alice)).collect();
    for &reader in &readers {
        s.subscribe(reader, room, LIVE);
    }
    s.advance(1_000);
    (writer, room, readers)
}

/// A room of 200 that was flushed just now, and how many appends there were until then.
fn room_just_flushed(s: &mut Scenario) -> (ClientId, RoomId, Vec<ClientId>, u64) {
    let (writer, room, readers) = room_with_readers(s, 200);
    s.post(writer, room, "first");
    s.advance(5);
    (writer, room, readers, s.store.appends)
}

#[test]
fn a_lone_event_leaves_at_once_and_the_next_waits_for_its_turn() {
    let mut s = Scenario::new();
    let (a, room, readers) = room_with_readers(&mut s, 200);
    s.post(a, room, "first");
    // One tick to take it, one for the store's answer.
    s.tick();
    s.tick();
    assert_eq!(s.last_sends, 200);
    s.post(a, room, "second");
    s.advance(55);
    assert_eq!(s.client(readers[0]).texts(room), ["first"]);
    s.post(a, room, "third");
    s.advance(6);
    assert_eq!(s.client(readers[199]).texts(room), ["first", "second", "third"]);
    assert_eq!(s.client(readers[199]).event_frames, 2);
}

#[test]
fn what_is_said_before_a_rooms_next_flush_is_appended_together() {
    let mut s = Scenario::new();
    let (a, room, readers, appends) = room_just_flushed(&mut s);
    let requests = ["second", "third", "fourth"].map(|text| {
        let request = s.post(a, room, text);
        s.advance(13);
        request
    });
    assert_eq!(s.store.appends, appends, "44 ms after the flush");
    s.advance(9);
    assert_eq!(s.store.appends, appends + 1, "10 ms before the next one");
    assert!(requests.iter().all(|&request| s.code(request) == Code::Ok));
    let last = s.post(a, room, "fifth");
    s.advance(3);
    assert_eq!((s.store.appends, s.code(last)), (appends + 2, Code::Ok), "what comes then waits for nothing");
    s.advance(8);
    assert_eq!(s.client(readers[7]).texts(room), ["first", "second", "third", "fourth", "fifth"]);
    assert_eq!(s.client(readers[7]).event_frames, 2);
}

/// How often a reader of a room of 200 gets something within 600 ms in which somebody speaks every `every_ms`.
fn flushes_in_600_ms(every_ms: u64) -> u64 {
    let tuning = Tuning { user_burst: 1e9, room_burst: 1e9, ..Tuning::default() };
    let mut s = Scenario::with(tuning, |_| {});
    let (a, room, readers) = room_with_readers(&mut s, 200);
    let speak = |s: &mut Scenario| {
        for n in 0..600 / every_ms {
            s.post(a, room, &n.to_string());
            s.advance(every_ms);
        }
    };
    speak(&mut s);
    let before = s.client(readers[0]).event_frames;
    speak(&mut s);
    s.client(readers[0]).event_frames - before
}

#[test]
fn a_room_in_which_much_is_said_is_flushed_earlier() {
    assert!((9..=11).contains(&flushes_in_600_ms(10)), "every 60 ms");
    assert!((18..=21).contains(&flushes_in_600_ms(1)), "every 30 ms: sixteen events come in less");
    // Twenty events would come in 60 ms.
    assert!((11..=15).contains(&flushes_in_600_ms(3)), "every 48 ms");
}

#[test]
fn a_new_reader_does_not_make_a_room_wait_longer() {
    let mut s = Scenario::new();
    let (a, room, readers, appends) = room_just_flushed(&mut s);
    let waits = s.post(a, room, "second");
    s.advance(25);
    let late = s.connect_device(s.client(readers[0]).user, 2);
    s.subscribe(late, room, LIVE);
    assert_eq!(s.store.appends, appends, "it waits still");
    s.advance(24);
    assert_eq!((s.store.appends, s.code(waits)), (appends + 1, Code::Ok), "10 ms before the flush that was to be");
}

#[test]
fn no_command_waits_long_for_others_and_a_full_append_for_none() {
    let tuning = Tuning {
        flush_us_per_reader: 5_000,
        flush_us_max: 1_000_000,
        user_burst: 1e9,
        room_burst: 1e9,
        ..Tuning::default()
    };
    let mut s = Scenario::with(tuning, |_| {});
    let (a, room, _) = room_with_readers(&mut s, 200);
    s.advance(2_000);
    s.post(a, room, "first");
    s.advance(5);
    let appends = s.store.appends;
    let waits = s.post(a, room, "second");
    s.advance(49);
    assert_eq!((s.store.appends, s.answer(waits)), (appends, None));
    s.advance(3);
    assert_eq!((s.store.appends, s.code(waits)), (appends + 1, Code::Ok));
    let many: Vec<_> = (0..200).map(|n| s.post(a, room, &n.to_string())).collect();
    s.advance(3);
    assert_eq!((s.store.appends, s.store.largest_append.0), (appends + 2, 200));
    assert!(many.iter().all(|&request| s.code(request) == Code::Ok));
}

#[test]
fn a_large_room_is_handed_out_over_its_interval_and_nobody_is_left_behind() {
    let mut s = Scenario::new();
    let (a, room, readers) = room_with_readers(&mut s, 600);
    let have =
        |s: &Scenario, texts: &[&str]| readers.iter().filter(|reader| s.client(**reader).texts(room) == texts).count();
    s.post(a, room, "first");
    s.tick();
    s.tick();
    assert_eq!(s.last_sends, FLUSH_PIECE_READERS_MIN, "a piece");
    s.advance(20);
    let some = have(&s, &["first"]);
    assert!((100..300).contains(&some), "{some} after a while");
    // In the middle of the pass, and nothing after it: those who came first get it with the next.
    s.post(a, room, "second");
    s.advance(150);
    assert_eq!(have(&s, &["first"]) + have(&s, &["first", "second"]), 600);
    s.advance(200);
    assert_eq!(have(&s, &["first", "second"]), 600);
}

#[test]
fn a_large_room_that_is_busy_does_not_fall_behind() {
    let mut s = Scenario::new();
    let (a, room, readers) = room_with_readers(&mut s, 600);
    let texts: Vec<String> = (0..60).map(|n| format!("text {n}")).collect();
    for text in &texts {
        // Three in each flush interval: a pass takes no longer for that.
        s.post(a, room, text);
        s.advance(50);
    }
    s.advance(300);
    let behind = readers.iter().filter(|&&reader| s.client(reader).texts(room) != texts).count();
    assert_eq!(behind, 0, "of 600 readers");
}

#[test]
fn a_reader_who_takes_again_within_a_pass_is_not_forgotten() {
    let mut s = Scenario::new();
    let (a, room, readers) = room_with_readers(&mut s, 600);
    s.block(readers[3], true);
    s.post(a, room, "only");
    s.advance(10);
    assert!(s.client(readers[599]).texts(room).is_empty(), "the pass is under way");
    s.block(readers[3], false);
    s.advance(200);
    assert!(readers.iter().all(|&reader| s.client(reader).texts(room) == ["only"]));
}

#[test]
fn one_hand_over_is_bounded_and_a_small_room_does_not_wait() {
    let mut s = at_once();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let large = s.create(a, kind::GROUP, &[]);
    let small = s.create(b, kind::GROUP, &[]);
    let readers: Vec<_> = (0..1_000).map(|_| s.connect(alice)).collect();
    for &reader in &readers {
        s.send(reader, commands::subscribe(large, EPOCH, LIVE));
    }
    s.subscribe(b, small, LIVE);
    s.advance(1_000);
    s.post(a, large, "to all");
    s.post(b, small, "to me");
    s.tick();
    s.tick();
    assert_eq!(s.last_sends, 256);
    assert_eq!(s.client(b).texts(small), ["to me"]);
    for _ in 0..3 {
        s.tick();
    }
    assert!(readers.iter().all(|&reader| s.client(reader).texts(large) == ["to all"]));
}

#[test]
fn one_session_gets_a_bounded_part_of_a_hand_over() {
    const ROOMS: usize = 20;
    let mut s = Scenario::with(Tuning { user_burst: 1e9, ..Tuning::default() }, |_| {});
    let alice = s.user(1);
    let a = s.connect(alice);
    let rooms: Vec<RoomId> = (0..ROOMS).map(|_| s.create(a, kind::GROUP, &[])).collect();
    for &room in &rooms {
        for _ in 0..3 {
            s.posted(a, room, &"x".repeat(8_000));
        }
    }
    let reader = s.connect_device(alice, 2);
    s.block(reader, true);
    for &room in &rooms {
        s.subscribe(reader, room, 0);
    }
    // It takes something again, and may be blocked by what it gets: it must not get all that there is at once.
    s.block(reader, false);
    let received = |s: &Scenario| rooms.iter().map(|room| s.client(reader).texts(*room).len()).sum::<usize>();
    let (mut before, mut hand_overs) = (received(&s), 0);
    while before < ROOMS * 3 {
        s.tick();
        let now = received(&s);
        assert!((now - before) * 8_000 < SLOT_SESSION_BYTES_MAX + 4 * 8_000, "{} messages at once", now - before);
        hand_overs += usize::from(now > before);
        before = now;
    }
    assert!(hand_overs >= ROOMS * 3 * 8_000 / (SLOT_SESSION_BYTES_MAX + 4 * 8_000), "{hand_overs} hand-overs");
}

#[test]
fn a_large_room_does_not_wait_for_ever_behind_small_ones() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let large = s.create(a, kind::GROUP, &[bob]);
    let readers: Vec<_> = (0..400).map(|_| s.connect(alice)).collect();
    for &reader in &readers {
        s.send(reader, commands::subscribe(large, EPOCH, LIVE));
    }
    // Small rooms that have more to send in a tick than one hand-over takes.
    let small: Vec<_> = (0..40).map(|_| s.create(b, kind::GROUP, &[])).collect();
    for &room in &small {
        for _ in 0..10 {
            let reader = s.connect(bob);
            s.send(reader, commands::subscribe(room, EPOCH, LIVE));
        }
    }
    s.advance(5_000);
    s.node.tuning.user_burst = 1e9;
    s.core_mut().world_mut().resource_mut::<components::time::Node>().tuning.user_burst = 1e9;
    s.post(a, large, "to all");
    for _ in 0..150 {
        for &room in &small {
            s.post(b, room, "busy");
        }
        s.tick();
    }
    assert!(readers.iter().all(|&reader| s.client(reader).texts(large) == ["to all"]));
}

#[test]
fn readers_who_go_do_not_set_a_hand_over_back() {
    let mut s = at_once();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let readers: Vec<_> = (0..900).map(|_| s.connect(alice)).collect();
    for &reader in &readers {
        s.send(reader, commands::subscribe(room, EPOCH, LIVE));
    }
    s.advance(1_000);
    for (n, &reader) in readers[..10].iter().enumerate() {
        s.post(a, room, &n.to_string());
        s.disconnect(reader);
        s.tick();
    }
    // A reader gets all that there is in its turn, so the later ones take more sends: seven more hand-overs, whatever came and went meanwhile.
    for _ in 0..7 {
        s.tick();
    }
    assert!(readers[10..].iter().all(|&reader| !s.client(reader).texts(room).is_empty()));
}

#[test]
fn a_batch_is_bounded_and_so_is_a_rooms_queue() {
    let tuning = Tuning { user_burst: 1e9, room_burst: 1e9, ..Tuning::default() };
    let mut s = Scenario::with(tuning, |_| {});
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.store.fail_append(room, AppendFault::delayed(1_000_000));
    let first = s.post(a, room, "slow");
    s.tick();
    let requests: Vec<_> = (0..4_097).map(|n| s.post(a, room, &n.to_string())).collect();
    s.tick();
    assert_eq!(s.code(requests[4_096]), Code::Overloaded);
    assert!(s.answer(first).is_none());
    s.run();
    assert!(requests[..4_096].iter().all(|request| s.code(*request) == Code::Ok));
    assert_eq!(s.store.largest_append.0, 200);
    let long = "x".repeat(8_000);
    for _ in 0..100 {
        s.post(a, room, &long);
    }
    s.run();
    assert!(s.store.largest_append.1 <= 256 * 1024 + 9_000);
}

#[test]
fn a_world_at_rest_does_nothing() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(a, room, 0);
    s.subscribe(b, room, 0);
    s.posted(a, room, "one");
    s.done(b, commands::mark(room, 2));
    s.advance(100_000);
    let ticks = s.ticks;
    s.advance(300_000);
    // One look at the room in each idle time.
    assert!(s.ticks - ticks <= 11, "{} ticks", s.ticks - ticks);
}
