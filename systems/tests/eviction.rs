//! Eviction: what nobody uses leaves memory, however much there is in the store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::room::{RoomCreated, SettingsTail, kind};
use client_protocol::{Event, EventBody, EventHead, Key, NodeId, RoomId, UserId};
use components::edge::{AppendRequest, AppendThen, Control};
use systems::hot_log;
use systems::testing::{Scenario, commands};

const ROOMS: u64 = 100_000;
const ACTIVE: u64 = 100;

fn key(n: u64) -> Key {
    Key::derived(b't', RoomId::default(), n)
}

/// Puts a room into the store, as if it had been made long ago and its followers were level.
fn store_room(s: &mut Scenario, owner: UserId, n: u64) -> RoomId {
    let room = RoomId::created(owner, key(n));
    let settings = SettingsTail { name: Some(format!("room {n}")), ..SettingsTail::default() };
    let body = EventBody::RoomCreated(RoomCreated { kind: kind::PUBLIC, members: Vec::new(), settings });
    let head = EventHead { seq: 1, time_ms: 1_000, actor: owner, key: key(n), node: NodeId(9), message_no: 0 };
    let record = hot_log::record(Event { head, body });
    let reply = s.store.model.append(&AppendRequest { room, token: n, expected_seq: 1, records: vec![record] });
    assert_eq!(reply.then, AppendThen::Done);
    s.store.model.level(room, 1);
    room
}

#[test]
fn a_hundred_thousand_rooms_of_which_a_hundred_are_used() {
    let mut s = Scenario::new();
    let owner = s.user(1);
    let rooms: Vec<RoomId> = (0..ROOMS).map(|n| store_room(&mut s, owner, n)).collect();
    // A storm of visits: 5,000 rooms come into memory and are left alone.
    for visited in rooms[..5_000].chunks(50) {
        for room in visited {
            s.control(Control::Sweep { room: *room });
        }
        s.run();
    }
    assert!(s.population().rooms >= 5_000, "{:?}", s.population());
    // Then a hundred of all rooms are used, and go on being used.
    let active: Vec<RoomId> = rooms.iter().step_by((ROOMS / ACTIVE) as usize).copied().collect();
    assert_eq!(active.len() as u64, ACTIVE);
    for round in 0..8 {
        for (n, room) in active.iter().enumerate() {
            let post = commands::post(*room, key(1_000_000 + round * 1_000 + n as u64), "still here");
            s.send_rest(owner, post);
        }
        s.run();
        s.advance(10_000);
    }
    let population = s.population();
    assert!(population.rooms as u64 >= ACTIVE, "{population:?}");
    // The active rooms, and the owner's own log if it is still about.
    assert!(population.rooms as u64 <= ACTIVE + 10, "{population:?}");
    assert!(population.hot_log_bytes < 10 * 1024 * 1024, "{population:?}");
    assert_eq!(population.open_reads, 0);
    // And when those are left alone too, nothing remains.
    s.advance(120_000);
    let population = s.population();
    assert_eq!((population.rooms, population.users, population.hot_log_bytes), (0, 0, 0));
    // What was evicted comes back as it was.
    let token = s.send_rest(owner, commands::post(active[0], key(9_000_000), "back"));
    s.run();
    assert_eq!(s.rest[&token].seq, 10);
}
