//! Presence and typing: net per second, for those who share a room, never stored.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::presence::{Typing, state};
use client_protocol::room::{LIVE, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Code, RoomId, ServerFrame, UserId};
use systems::testing::{ClientId, Scenario, commands};

fn told(s: &Scenario, client: ClientId) -> Vec<Vec<(UserId, u8)>> {
    s.client(client).picked(|frame| match frame {
        ServerFrame::Presence(presence) => Some(presence.users.clone()),
        _ => None,
    })
}

#[test]
fn watchers_hear_what_changed_net_per_second() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(a, room, LIVE);
    s.advance(2_000);
    s.done(a, commands::watch(&[bob]));
    assert_eq!(told(&s, a), [vec![(bob, state::OFFLINE)]]);
    s.advance(2_000);
    let b = s.connect(bob);
    s.run();
    assert_eq!(told(&s, a)[1..], [vec![(bob, state::ONLINE)]], "the first change goes out at once");
    // Away, back, away within a second: only where it ended.
    for state in [state::AWAY, state::ONLINE, state::AWAY] {
        s.done(b, commands::set_presence(state));
    }
    assert_eq!(told(&s, a).len(), 2);
    s.advance(1_000);
    assert_eq!(told(&s, a)[2..], [vec![(bob, state::AWAY)]]);
    // Gone and back: nothing to say.
    s.disconnect(b);
    s.tick();
    let b = s.connect(bob);
    s.done(b, commands::set_presence(state::AWAY));
    s.advance(3_000);
    assert_eq!(told(&s, a).len(), 3);
    s.disconnect(b);
    s.advance(1_500);
    assert_eq!(told(&s, a)[3..], [vec![(bob, state::OFFLINE)]]);
}

#[test]
fn a_user_is_online_while_any_of_their_sessions_is() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b, c) = (s.connect(alice), s.connect(bob), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(a, room, LIVE);
    s.done(a, commands::watch(&[bob]));
    s.advance(1_500);
    s.disconnect(b);
    s.advance(1_500);
    assert_eq!(told(&s, a).concat(), [(bob, state::ONLINE)]);
    s.disconnect(c);
    s.advance(1_500);
    assert_eq!(told(&s, a).concat()[1..], [(bob, state::OFFLINE)]);
}

#[test]
fn presence_is_for_those_who_share_a_room() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::PUBLIC, &[]);
    s.done(a, commands::watch(&[bob]));
    s.advance(1_500);
    assert_eq!(told(&s, a).concat(), [(bob, state::OFFLINE)], "they share none");
    s.subscribe(a, room, LIVE);
    s.advance(1_500);
    assert_eq!(told(&s, a).concat().len(), 1);
    let key = s.key();
    s.done(b, commands::join(room, key));
    s.advance(1_500);
    assert_eq!(told(&s, a).concat()[1..], [(bob, state::ONLINE)]);
    let key = s.key();
    s.done(b, commands::leave(room, key));
    s.advance(1_500);
    assert_eq!(told(&s, a).concat()[2..], [(bob, state::OFFLINE)]);
}

#[test]
fn watching_before_subscribing_is_no_worse() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, _b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.done(a, commands::watch(&[bob]));
    s.subscribe(a, room, LIVE);
    s.advance(2_500);
    assert_eq!(told(&s, a).concat(), [(bob, state::OFFLINE), (bob, state::ONLINE)]);
}

#[test]
fn one_who_is_blocked_hears_of_it_afterwards() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(a, room, LIVE);
    s.done(a, commands::watch(&[bob]));
    s.advance(1_500);
    s.block(a, true);
    s.disconnect(b);
    s.advance(5_000);
    assert_eq!(told(&s, a).concat(), [(bob, state::ONLINE)]);
    s.block(a, false);
    s.advance(1_500);
    assert_eq!(told(&s, a).concat()[1..], [(bob, state::OFFLINE)]);
}

#[test]
fn what_is_asked_is_bounded() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let many: Vec<_> = (0..501u128).map(|n| UserId::from_bytes(n.to_be_bytes())).collect();
    assert_eq!(s.ask_code(a, commands::watch(&many)), Code::TooLarge);
    assert_eq!(s.ask_code(a, commands::watch(&many[1..])), Code::Ok);
    assert_eq!(s.ask_code(a, commands::set_presence(state::OFFLINE)), Code::InvalidField);
}

fn type_in(s: &mut Scenario, client: ClientId, room: RoomId) {
    s.send_datagram(client, &ClientFrame::Typing(Typing { room, tail: EmptyTail::default() }));
    s.run();
}

fn notices(s: &Scenario, client: ClientId) -> usize {
    s.client(client).datagrams.iter().filter(|frame| matches!(frame, ServerFrame::TypingNotice(_))).count()
}

#[test]
fn typing_is_relayed_to_other_readers_once_in_three_seconds() {
    let mut s = Scenario::new();
    let (alice, bob, carol) = (s.user(1), s.user(2), s.user(3));
    let (a, b, c) = (s.connect(alice), s.connect(bob), s.connect(carol));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(a, room, LIVE);
    type_in(&mut s, b, room);
    assert_eq!(notices(&s, a), 0, "bob does not read the room");
    s.subscribe(b, room, LIVE);
    type_in(&mut s, b, room);
    type_in(&mut s, b, room);
    type_in(&mut s, c, room);
    assert_eq!((notices(&s, a), notices(&s, b)), (1, 0));
    s.advance(3_000);
    type_in(&mut s, b, room);
    assert_eq!(notices(&s, a), 2);
}

#[test]
fn typing_is_not_for_large_rooms() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let bob = s.user(2);
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, LIVE);
    let readers: Vec<_> = (0..199).map(|_| s.connect(alice)).collect();
    for &reader in &readers {
        s.subscribe(reader, room, LIVE);
    }
    type_in(&mut s, b, room);
    assert_eq!(notices(&s, readers[0]), 1);
    s.subscribe(a, room, LIVE);
    s.advance(3_000);
    type_in(&mut s, b, room);
    assert_eq!(notices(&s, readers[0]), 1);
}

#[test]
fn away_is_said_for_one_session_and_goes_with_it() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, first, second) = (s.connect(alice), s.connect(bob), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(a, room, LIVE);
    s.done(a, commands::watch(&[bob]));
    s.done(second, commands::set_presence(state::AWAY));
    s.advance(1_500);
    assert_eq!(told(&s, a).concat(), [(bob, state::ONLINE)], "the first one is online");
    s.done(first, commands::set_presence(state::AWAY));
    s.advance(1_500);
    assert_eq!(told(&s, a).concat()[1..], [(bob, state::AWAY)]);
    let third = s.connect(bob);
    s.advance(1_500);
    assert_eq!(told(&s, a).concat()[2..], [(bob, state::ONLINE)], "a new session is online");
    s.disconnect(third);
    s.advance(1_500);
    assert_eq!(told(&s, a).concat()[3..], [(bob, state::AWAY)]);
}
