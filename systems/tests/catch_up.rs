//! Catching up: how many pages there are at once, and that everybody's turn comes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::{Body, MessagePosted, MessageTail};
use client_protocol::room::{LIVE, kind};
use client_protocol::{EventBody, RoomId, UserId};
use components::edge::{Read, ReadRequest};
use components::limits::{PAGES_MAX, SESSION_PAGES_MAX};
use systems::testing::{ClientId, EPOCH, Foreign, ReadFault, Scenario, commands};

const EVENTS: u64 = 300;

fn is_page(read: &ReadRequest) -> bool {
    matches!(read.read, Read::Page { .. })
}

/// Rooms with logs that do not fit into what hydrate brings along, out of memory.
fn long_rooms(s: &mut Scenario, count: usize, owner: UserId, members: &[UserId]) -> Vec<RoomId> {
    let a = s.connect(owner);
    let rooms: Vec<_> = (0..count).map(|_| s.create(a, kind::GROUP, members)).collect();
    for &room in &rooms {
        for n in 1..EVENTS {
            let key = s.key();
            let message =
                MessagePosted { body: Body::text(n.to_string()), mentions: Vec::new(), tail: MessageTail::default() };
            let wall_ms = s.now.wall_ms;
            s.store.model.append_foreign(
                room,
                Foreign { actor: owner, key, body: EventBody::MessagePosted(message) },
                wall_ms,
            );
        }
        s.store.model.level(room, EVENTS);
    }
    s.restart(false);
    rooms
}

/// A session for each of these rooms, which asks for all of its log.
fn readers(s: &mut Scenario, user: UserId, rooms: &[RoomId]) -> Vec<(ClientId, RoomId)> {
    let mut ask = |&room| {
        let reader = s.connect(user);
        s.send(reader, commands::subscribe(room, EPOCH, 0));
        (reader, room)
    };
    rooms.iter().map(&mut ask).collect()
}

/// Reads of pages are slow from here on.
fn slow_pages(s: &mut Scenario, count: usize) {
    for _ in 0..count {
        s.store.fail_read(is_page, ReadFault::stale(20_000));
    }
}

/// Lets time pass; answers how many pages there were at most.
fn most_pages(s: &mut Scenario, ms: u64) -> usize {
    (0..ms)
        .map(|_| {
            s.advance(1);
            s.population().pages
        })
        .max()
        .unwrap()
}

fn has_all(s: &Scenario, client: ClientId, room: RoomId) -> bool {
    s.client(client).seqs(room) == (1..=EVENTS).collect::<Vec<_>>()
}

#[test]
fn a_session_behind_in_many_rooms_reads_pages_in_few_at_once() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let rooms = long_rooms(&mut s, 40, alice, &[]);
    let a = s.connect(alice);
    slow_pages(&mut s, 20);
    for &room in &rooms {
        s.send(a, commands::subscribe(room, EPOCH, 0));
    }
    let most = most_pages(&mut s, 500);
    assert!(most <= SESSION_PAGES_MAX, "{most} pages");
    assert!(rooms.iter().all(|&room| has_all(&s, a, room)));
    assert_eq!(s.population().pages, 0);
}

#[test]
fn many_sessions_behind_share_what_pages_there_are() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let rooms = long_rooms(&mut s, 3 * PAGES_MAX, alice, &[]);
    slow_pages(&mut s, 100);
    let readers = readers(&mut s, alice, &rooms);
    let most = most_pages(&mut s, 500);
    assert_eq!(most, PAGES_MAX);
    for (reader, room) in readers {
        assert!(has_all(&s, reader, room));
    }
    assert_eq!(s.population().pages, 0);
}

#[test]
fn whoever_goes_makes_room_for_those_who_wait() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let rooms = long_rooms(&mut s, PAGES_MAX + 4, alice, &[]);
    // These pages never come.
    for _ in 0..PAGES_MAX {
        s.store.fail_read(is_page, ReadFault::stale(600_000_000));
    }
    let first = readers(&mut s, alice, &rooms[..PAGES_MAX]);
    s.advance(20);
    assert_eq!(s.population().pages, PAGES_MAX);
    let late = readers(&mut s, alice, &rooms[PAGES_MAX..]);
    s.advance(50);
    assert!(late.iter().all(|&(reader, room)| s.client(reader).seqs(room).is_empty()));
    // One goes, one stops reading, one cannot take anything, one moves its cursor.
    s.disconnect(first[0].0);
    s.send(first[1].0, commands::unsubscribe(first[1].1));
    s.block(first[2].0, true);
    s.send(first[3].0, commands::subscribe(first[3].1, EPOCH, LIVE));
    s.advance(50);
    for (reader, room) in late {
        assert!(has_all(&s, reader, room));
    }
}

#[test]
fn a_session_goes_on_in_other_rooms_when_it_leaves_those_it_waits_in() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let rooms = long_rooms(&mut s, SESSION_PAGES_MAX + 2, alice, &[]);
    let a = s.connect(alice);
    for _ in 0..SESSION_PAGES_MAX {
        s.store.fail_read(is_page, ReadFault::stale(600_000_000));
    }
    for &room in &rooms {
        s.send(a, commands::subscribe(room, EPOCH, 0));
        s.advance(5);
    }
    assert!(rooms.iter().all(|&room| s.client(a).seqs(room).is_empty()));
    for &room in &rooms[..SESSION_PAGES_MAX] {
        s.send(a, commands::unsubscribe(room));
    }
    s.advance(50);
    assert!(rooms[SESSION_PAGES_MAX..].iter().all(|&room| has_all(&s, a, room)));
}
