//! Erase of a user, and what else the server itself may do in a room.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::MessageTail;
use client_protocol::room::{ErasedTail, LIVE, MemberChanged, RoleChanged, UserErased, kind, role};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, EventBody, RoomId, ServerFrame, UserId};
use components::edge::Control;
use components::rows::{AccountRow, account};
use systems::testing::{Scenario, commands};

fn erased(user: UserId) -> EventBody {
    EventBody::UserErased(UserErased { user, tail: ErasedTail::default() })
}

/// Has the server itself append an event; answers code and seq.
fn decree(s: &mut Scenario, room: RoomId, actor: UserId, body: EventBody) -> (Code, u64) {
    let token = s.send_decree(room, actor, body);
    s.run();
    let reply = &s.rest[&token];
    (reply.code(), reply.seq)
}

fn erase_account(s: &mut Scenario, user: UserId) {
    let row = AccountRow { user, status: account::ERASED };
    s.store.model.accounts.insert(user, row);
    s.control(Control::AccountChanged(row));
    s.run();
}

#[test]
fn what_an_erased_user_posted_is_in_no_hot_log() {
    let mut s = Scenario::new();
    let (alice, bob, carol) = (s.user(1), s.user(2), s.user(3));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob, carol]);
    s.posted(a, room, "secret one");
    s.posted(b, room, "open");
    s.posted(a, room, "secret two");
    let key = s.key();
    s.done(a, commands::edit(room, key, 2, "secret edited"));
    let c = s.connect(carol);
    s.subscribe(c, room, LIVE);
    erase_account(&mut s, alice);
    let (code, seq) = decree(&mut s, room, alice, erased(alice));
    assert_eq!((code, seq), (Code::Ok, 6));
    s.store.model.erase(room, alice, seq);
    // A late reader gets the log from memory: dense, without the bodies, with the heir.
    let b = s.connect_device(bob, 9);
    s.subscribe(b, room, 0);
    s.run();
    assert_eq!(s.client(b).seqs(room), (1..=6).collect::<Vec<u64>>());
    assert_eq!(s.client(b).texts(room), ["", "open", "", ""]);
    let shown = format!(
        "{:?}",
        s.client(b).picked(|frame| match frame {
            ServerFrame::Events(events) => Some(String::from_utf8_lossy(&events.records).into_owned()),
            _ => None,
        })
    );
    assert!(!shown.contains("secret"), "{shown}");
    let state = &s.store.model.log(room);
    assert_eq!((state.row.members, state.row.owners), (2, 1));
    assert_eq!(state.members[&bob].role, role::OWNER, "the oldest of the others");
    assert!(!state.members[&alice].is_member());
}

#[test]
fn nothing_of_an_erased_user_follows() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::PUBLIC, &[bob]);
    s.subscribe(b, room, LIVE);
    erase_account(&mut s, bob);
    assert!(s.client(b).closed.is_some(), "live sessions are closed");
    decree(&mut s, room, bob, erased(bob));
    let key = s.key();
    let token = s.send_rest(bob, commands::post(room, key, "late"));
    let join = s.send_rest(bob, commands::join(room, key));
    s.run();
    for token in [token, join] {
        assert_eq!(s.rest[&token].code(), Code::AccountDisabled);
    }
    let head = s.store.model.head(room);
    assert_eq!(head, 2);
    // Again: an event more, and nothing else.
    let (code, seq) = decree(&mut s, room, bob, erased(bob));
    assert_eq!((code, seq), (Code::Ok, 3));
    assert_eq!(s.store.model.log(room).row.members, 1);
    let stranger = UserId::from_bytes([77; 16]);
    assert_eq!(decree(&mut s, room, stranger, erased(stranger)).0, Code::NotFound, "was never there");
}

#[test]
fn a_room_that_comes_into_memory_between_the_event_and_the_blanking_has_no_body() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[bob]);
    s.posted(a, room, "secret");
    erase_account(&mut s, alice);
    let (_, seq) = decree(&mut s, room, alice, erased(alice));
    s.restart(false);
    let b = s.connect(bob);
    // The room comes into memory with the body, which the store has not blanked yet.
    s.posted(b, room, "open");
    s.store.model.erase(room, alice, seq);
    s.subscribe(b, room, 0);
    s.run();
    assert_eq!(s.client(b).texts(room), ["", "open"]);
}

#[test]
fn the_server_itself_bans_and_gives_roles() {
    let mut s = Scenario::new();
    let (alice, bob, carol) = (s.user(1), s.user(2), s.user(3));
    let a = s.connect(alice);
    let room = s.create(a, kind::PUBLIC, &[bob, carol]);
    let nobody = UserId::default();
    let changed = |user| MemberChanged { user, tail: EmptyTail {} };
    let banned = |user| EventBody::MemberBanned(changed(user));
    let give = |user, role| EventBody::RoleChanged(RoleChanged { user, role, tail: EmptyTail {} });
    assert_eq!(decree(&mut s, room, nobody, banned(alice)).0, Code::Conflict, "the last owner");
    assert_eq!(decree(&mut s, room, nobody, give(alice, role::MEMBER)).0, Code::Conflict, "the last owner");
    assert_eq!(decree(&mut s, room, nobody, give(bob, role::OWNER)), (Code::Ok, 2));
    assert_eq!(decree(&mut s, room, nobody, give(bob, role::OWNER)), (Code::Ok, 2), "so it is already");
    assert_eq!(decree(&mut s, room, nobody, banned(alice)), (Code::Ok, 3));
    assert_eq!(decree(&mut s, room, nobody, banned(alice)), (Code::Ok, 3), "so it is already");
    assert_eq!(s.ask_code(a, commands::post(room, client_protocol::Key::from_bytes([9; 16]), "x")), Code::Banned);
    let unbanned = EventBody::MemberUnbanned(changed(alice));
    assert_eq!(decree(&mut s, room, nobody, unbanned.clone()), (Code::Ok, 4));
    assert_eq!(decree(&mut s, room, nobody, unbanned).0, Code::Conflict);
    assert_eq!(decree(&mut s, room, nobody, give(alice, role::ADMIN)).0, Code::NotFound);
    let posted = client_protocol::chat::MessagePosted {
        body: client_protocol::chat::Body::text("x"),
        mentions: Vec::new(),
        tail: MessageTail::default(),
    };
    assert_eq!(decree(&mut s, room, nobody, EventBody::MessagePosted(posted)).0, Code::Forbidden);
    let none = RoomId::from_bytes([7; 16]);
    assert_eq!(decree(&mut s, none, nobody, banned(bob)).0, Code::NotFound);
    let direct = s.create(a, kind::DIRECT, &[carol]);
    assert_eq!(decree(&mut s, direct, nobody, banned(carol)).0, Code::Forbidden);
}
