//! Session: hello and goodbye, devices, tokens, draining, frames that are no command.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use client_protocol::room::kind;
use client_protocol::{CloseCode, Code, ServerFrame};
use components::edge::Control;
use components::rows::{AccountRow, account};
use proptest::prelude::*;
use systems::testing::{EPOCH, ReadFault, Scenario, commands};

#[test]
fn welcome_comes_first_and_then_the_room_list() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let old = s.create(a, kind::GROUP, &[bob]);
    s.advance(10);
    let new = s.create(a, kind::PUBLIC, &[]);
    s.posted(a, new, "one");
    let b = s.connect(alice);
    s.run();
    let frames = &s.client(b).frames;
    let ServerFrame::Welcome(welcome) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!((welcome.epoch, welcome.user), (EPOCH, alice));
    let ServerFrame::Rooms(rooms) = &frames[1] else { panic!("{frames:?}") };
    let entries: Vec<_> = rooms.rooms.iter().map(|entry| (entry.room, entry.head, entry.unread())).collect();
    assert_eq!(entries, [(new, 2, 1), (old, 1, 0)]);
    assert_eq!(rooms.next, 0);
}

#[test]
fn a_session_whose_list_cannot_be_read_is_told_to_come_back() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    s.store.fail_read(|read| matches!(read.read, components::edge::Read::Rooms { .. }), ReadFault::unavailable());
    let a = s.connect(alice);
    s.run();
    assert_eq!(s.client(a).closed, Some(CloseCode::Internal));
    assert_eq!(s.population().sessions, 0);
}

#[test]
fn a_device_that_comes_again_replaces_its_connection() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let first = s.connect_device(alice, 5);
    let other = s.connect_device(alice, 6);
    let stranger = s.connect_device(bob, 5);
    s.run();
    let second = s.connect_device(alice, 5);
    s.run();
    assert_eq!(s.client(first).closed, Some(CloseCode::Replaced));
    assert!(s.client(other).connected && s.client(stranger).connected && s.client(second).connected);
    assert_eq!(s.population().sessions, 3);
}

#[test]
fn a_token_ends_the_session_unless_it_is_renewed() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let expires_ms = s.now.wall_ms + 5_000;
    let a = s.connect_with(alice, 1, expires_ms);
    let b = s.connect_with(alice, 2, expires_ms);
    s.advance(4_000);
    let renew = client_protocol::Command::Reauth(client_protocol::session::Reauth {
        token: "good".into(),
        tail: client_protocol::tail::EmptyTail::default(),
    });
    // The edge checks tokens: the world only hears the outcome.
    let request = s.send(b, renew);
    s.drop_commands();
    let session = s.client(b).handle;
    s.control(Control::Reauthed { session, request: request.id, outcome: Ok(expires_ms + 60_000) });
    s.run();
    assert_eq!(s.code(request), Code::Ok);
    s.advance(1_500);
    assert_eq!(s.client(a).closed, Some(CloseCode::TokenExpired));
    assert!(s.client(b).connected);
    s.advance(61_000);
    assert_eq!(s.client(b).closed, Some(CloseCode::TokenExpired));
}

#[test]
fn a_refused_renewal_closes_the_session() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    s.run();
    let renew = client_protocol::Command::Reauth(client_protocol::session::Reauth {
        token: "bad".into(),
        tail: client_protocol::tail::EmptyTail::default(),
    });
    let request = s.send(a, renew);
    s.drop_commands();
    let session = s.client(a).handle;
    s.control(Control::Reauthed { session, request: request.id, outcome: Err(CloseCode::Unauthenticated) });
    s.run();
    assert_eq!(s.code(request), Code::Unauthenticated);
    assert_eq!(s.client(a).closed, Some(CloseCode::Unauthenticated));
}

#[test]
fn a_revoked_login_loses_its_sessions_only() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let (a, b) = (s.connect_device(alice, 1), s.connect_device(alice, 2));
    s.run();
    s.control(Control::LoginRevoked { user: alice, login: Some(Scenario::login(1)) });
    s.run();
    assert_eq!(s.client(a).closed, Some(CloseCode::SessionRevoked));
    assert!(s.client(b).connected);
    s.control(Control::LoginRevoked { user: alice, login: None });
    s.run();
    assert_eq!(s.client(b).closed, Some(CloseCode::SessionRevoked));
}

#[test]
fn a_disabled_account_loses_sessions_and_may_do_nothing() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::PUBLIC, &[]);
    let disabled = AccountRow { user: alice, status: account::DISABLED };
    s.store.model.accounts.insert(alice, disabled);
    s.control(Control::AccountChanged(disabled));
    s.run();
    assert_eq!(s.client(a).closed, Some(CloseCode::AccountDisabled));
    let key = s.key();
    let token = s.send_rest(alice, commands::post(room, key, "still here"));
    s.run();
    assert_eq!(s.rest[&token].code(), Code::AccountDisabled);
    let b = s.connect(alice);
    s.run();
    assert_eq!(s.client(b).closed, Some(CloseCode::AccountDisabled));
}

#[test]
fn draining_tells_everyone_and_newcomers() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    s.run();
    s.control(Control::Drain);
    s.run();
    let b = s.connect(alice);
    s.run();
    for client in [a, b] {
        let told = s.client(client).picked(|frame| match frame {
            ServerFrame::Goaway(goaway) => Some(goaway.reconnect_after_ms),
            _ => None,
        });
        assert_eq!(told.len(), 1);
        assert!(told[0].0 < told[0].1);
    }
}

#[test]
fn a_frame_that_cannot_be_read_is_answered_if_it_names_its_request() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    s.run();
    // A kind that nobody knows, and a body that is cut short.
    let unknown = s.expect_answer(a);
    s.send_raw(a, 0x01ff, Bytes::from(vec![unknown.id as u8, 1, 2, 3]));
    let malformed = s.expect_answer(a);
    s.send_raw(a, 0x0130, Bytes::from(vec![malformed.id as u8, 1, 2, 3]));
    s.run();
    assert_eq!(s.code(unknown), Code::UnknownKind);
    assert_eq!(s.code(malformed), Code::Malformed);
    assert!(s.client(a).connected);
    s.send_raw(a, 0x0130, Bytes::new());
    s.run();
    assert_eq!(s.client(a).closed, Some(CloseCode::ProtocolError));
    assert_eq!(s.population().sessions, 0);
}

#[test]
fn subscriptions_and_presence_are_not_for_rest() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::PUBLIC, &[]);
    for command in [commands::subscribe(room, EPOCH, 0), commands::watch(&[alice])] {
        let token = s.send_rest(alice, command);
        s.run();
        assert_eq!(s.rest[&token].code(), Code::UnknownKind);
    }
}

proptest! {
    /// Whatever bytes come, the world goes on, and its peer is answered or closed.
    #[test]
    fn any_bytes_are_answered_or_close_the_session(
        frames in prop::collection::vec((0x0100..0x0160u16, prop::collection::vec(any::<u8>(), 0..80)), 1..20),
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let mut s = Scenario::new();
        let (alice, bob) = (s.user(1), s.user(2));
        let (a, b) = (s.connect(alice), s.connect(bob));
        s.run();
        for (kind, bytes) in frames {
            s.send_raw(a, kind, bytes.into());
            // One after the other: they may name the same request.
            s.run();
        }
        for bytes in datagrams {
            s.send_raw_datagram(a, bytes.into());
        }
        s.run();
        prop_assert!(!s.client(a).connected || s.client(a).open.is_empty());
        let room = s.create(b, kind::GROUP, &[]);
        s.posted(b, room, "all well");
    }
}

#[test]
fn a_session_that_subscribes_without_end_is_slowed_down() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    let mut refused = 0;
    for _ in 0..500 {
        match s.ask_code(a, commands::subscribe(room, EPOCH, 0)) {
            Code::Ok => {}
            code => {
                assert_eq!(code, Code::RateLimited);
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "{refused}");
    s.advance(1_000);
    assert_eq!(s.ask_code(a, commands::subscribe(room, EPOCH, 0)), Code::Ok);
}
