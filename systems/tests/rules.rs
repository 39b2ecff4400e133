//! The rules, on plain data: bounds and times that no short scenario reaches. Who may do what is in `room.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::{Body, BodyEdited, MessagePosted, MessageTail, ReactionChanged};
use client_protocol::limits::{EDITS_MAX, REACTIONS_MAX, ROOM_MEMBERS_MAX};
use client_protocol::room::{MemberChanged, RoomCreated, SettingsChanged, SettingsTail, kind, role};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Event, EventBody, EventHead, Key, NodeId, RoomId, UserId};
use components::edge::Target;
use components::room::RoomState;
use components::rows::{MemberRow, NowRow, RoomRow, membership};
use std::collections::BTreeMap;
use systems::rules::{Accounts, Ask, Verdict, decide, enters, gives_rights_to, subject, takes_rights, visible_until};

const TAIL: EmptyTail = EmptyTail {};
const ROOM: RoomId = RoomId::from_bytes([200; 16]);

fn user(n: u128) -> UserId {
    UserId::from_bytes(n.to_be_bytes())
}

fn member(n: u128, role: u8) -> MemberRow {
    MemberRow {
        room: ROOM,
        user: user(n),
        state: membership::MEMBER,
        role,
        joined_seq: 1,
        left_seq: 0,
        muted_until_ms: 0,
        seq: 1,
    }
}

/// A public room of `members`, the first one being its owner.
fn room(members: u128) -> RoomState {
    let row = RoomRow { kind: kind::PUBLIC, head: 10, members: members as u32, owners: 1, ..RoomRow::empty(ROOM) };
    let rows = (1..=members).map(|n| (user(n), member(n, if n == 1 { role::OWNER } else { role::MEMBER })));
    RoomState { row, members: rows.collect() }
}

fn ask<'a>(actor: u128, body: &'a EventBody, target: Option<&'a Target>, time_ms: u64) -> Ask<'a> {
    Ask {
        actor: user(actor),
        body,
        target,
        accounts: Accounts::Active,
        time_ms,
        entering: 0,
        crowded: false,
        operator: false,
    }
}

fn code(verdict: &Verdict) -> Code {
    match verdict {
        Verdict::Append | Verdict::Already { .. } => Code::Ok,
        Verdict::Refuse(reply) => reply.code(),
    }
}

fn message(actor: u128, time_ms: u64, now: NowRow) -> Target {
    let body = EventBody::MessagePosted(posted());
    let head = EventHead { seq: 5, time_ms, actor: user(actor), key: Key::default(), node: NodeId(1), message_no: 1 };
    Target { event: Event { head, body }, now }
}

fn posted() -> MessagePosted {
    MessagePosted { body: Body::text("x"), mentions: vec![], tail: MessageTail::default() }
}

#[test]
fn a_full_room_takes_nobody_and_those_of_the_same_batch_count() {
    let full = room(ROOM_MEMBERS_MAX as u128);
    let almost = room(ROOM_MEMBERS_MAX as u128 - 1);
    let newcomer = user(1_000_000);
    let joined = EventBody::MemberJoined(MemberChanged { user: newcomer, tail: TAIL });
    let added = EventBody::MemberAdded(MemberChanged { user: newcomer, tail: TAIL });
    for (body, actor) in [(&joined, 1_000_000), (&added, 1)] {
        assert_eq!(code(&decide(&full, &ask(actor, body, None, 0))), Code::RoomFull);
        assert_eq!(code(&decide(&almost, &ask(actor, body, None, 0))), Code::Ok);
        let entering = Ask { entering: 1, ..ask(actor, body, None, 0) };
        assert_eq!(code(&decide(&almost, &entering)), Code::RoomFull);
    }
}

#[test]
fn mutes_and_edit_windows_compare_event_times() {
    let mut state = room(2);
    state.row.edit_window_s = 10;
    state.members.get_mut(&user(2)).unwrap().muted_until_ms = 1_000;
    let post = EventBody::MessagePosted(posted());
    assert_eq!(code(&decide(&state, &ask(2, &post, None, 999))), Code::Muted);
    assert_eq!(code(&decide(&state, &ask(2, &post, None, 1_000))), Code::Ok);
    let edit = EventBody::MessageEdited(BodyEdited { target: 5, body: Body::text("y"), tail: TAIL });
    let target = message(2, 5_000, NowRow::default());
    assert_eq!(code(&decide(&state, &ask(2, &edit, Some(&target), 15_000))), Code::Ok);
    assert_eq!(code(&decide(&state, &ask(2, &edit, Some(&target), 15_001))), Code::Forbidden);
    state.row.edit_window_s = 0;
    assert_eq!(code(&decide(&state, &ask(2, &edit, Some(&target), u64::MAX))), Code::Ok);
}

#[test]
fn edits_and_reactions_of_a_message_are_bounded() {
    let state = room(2);
    let edit = EventBody::MessageEdited(BodyEdited { target: 5, body: Body::text("y"), tail: TAIL });
    let edits = NowRow { edits: vec![6; EDITS_MAX], ..NowRow::default() };
    assert_eq!(code(&decide(&state, &ask(2, &edit, Some(&message(2, 0, edits)), 0))), Code::LimitReached);
    let react = EventBody::ReactionAdded(ReactionChanged { target: 5, reaction: "+1".into(), tail: TAIL });
    let given = |n: usize| (3..3 + n as u128).map(|n| ("+1".to_owned(), user(n))).collect();
    let full = NowRow { reactions: given(REACTIONS_MAX), ..NowRow::default() };
    assert_eq!(code(&decide(&state, &ask(2, &react, Some(&message(2, 0, full)), 0))), Code::LimitReached);
    let room_left = NowRow { reactions: given(REACTIONS_MAX - 1), ..NowRow::default() };
    assert_eq!(code(&decide(&state, &ask(2, &react, Some(&message(2, 0, room_left)), 0))), Code::Ok);
}

#[test]
fn nobody_asks_for_a_role_above_their_own_to_post() {
    let mut state = room(2);
    state.members.get_mut(&user(2)).unwrap().role = role::ADMIN;
    for (post_role, expected) in [(role::ADMIN, Code::Ok), (role::OWNER, Code::Forbidden)] {
        let settings = SettingsTail { post_role: Some(post_role), ..SettingsTail::default() };
        let body = EventBody::SettingsChanged(SettingsChanged { settings });
        assert_eq!(code(&decide(&state, &ask(2, &body, None, 0))), expected);
    }
}

#[test]
fn commands_about_what_is_no_message_find_nothing() {
    let state = room(2);
    let react = EventBody::ReactionAdded(ReactionChanged { target: 5, reaction: "+1".into(), tail: TAIL });
    let mut target = message(2, 0, NowRow::default());
    target.event.body = EventBody::MemberJoined(MemberChanged { user: user(2), tail: TAIL });
    assert_eq!(code(&decide(&state, &ask(2, &react, Some(&target), 0))), Code::NotFound);
    assert_eq!(code(&decide(&state, &ask(2, &react, None, 0))), Code::NotFound);
}

#[test]
fn an_own_log_takes_what_the_world_writes_and_nothing_else() {
    let row = RoomRow { kind: kind::SELF, head: 3, ..RoomRow::empty(RoomId::self_log(user(1))) };
    let state = RoomState { row, members: std::collections::BTreeMap::new() };
    let post = EventBody::MessagePosted(posted());
    assert_eq!(code(&decide(&state, &ask(1, &post, None, 0))), Code::Forbidden);
    assert_eq!(code(&decide(&state, &ask(2, &post, None, 0))), Code::NotFound);
    let join = EventBody::MemberJoined(MemberChanged { user: user(2), tail: TAIL });
    assert_eq!(code(&decide(&state, &ask(2, &join, None, 0))), Code::NotFound);
}

#[test]
fn what_one_may_see_ends_with_the_last_leave() {
    let mut row = member(1, role::MEMBER);
    assert_eq!(visible_until(Some(&row)), Some(u64::MAX));
    row.state = membership::KICKED;
    row.left_seq = 7;
    assert_eq!(visible_until(Some(&row)), Some(7));
    row.left_seq = 0;
    assert_eq!(visible_until(Some(&row)), None, "banned without having been there");
    assert_eq!(visible_until(None), None);
}

#[test]
fn every_kind_that_must_be_understood_is_known_to_the_batch() {
    // What changes authority either closes the batch, or holds back those whom it is about.
    let changed = MemberChanged { user: user(2), tail: TAIL };
    for body in [EventBody::MemberLeft(changed.clone()), EventBody::MemberKicked(changed.clone())] {
        assert!(takes_rights(&body) && gives_rights_to(&body).is_none());
    }
    for body in [EventBody::MemberJoined(changed.clone()), EventBody::MemberAdded(changed.clone())] {
        assert!(!takes_rights(&body) && gives_rights_to(&body) == Some(user(2)));
    }
    assert_eq!(subject(&EventBody::MemberAdded(changed.clone())), Some(user(2)));
    assert_eq!(subject(&EventBody::MemberJoined(changed)), None);
}

#[test]
fn one_who_is_in_as_many_rooms_as_may_be_comes_into_no_other() {
    let state = room(2);
    let newcomer = user(9);
    let change = MemberChanged { user: newcomer, tail: TAIL };
    let (joined, added) = (EventBody::MemberJoined(change.clone()), EventBody::MemberAdded(change.clone()));
    let unbanned = EventBody::MemberUnbanned(change);
    let created = RoomCreated { kind: kind::GROUP, members: vec![user(2), user(3)], settings: SettingsTail::default() };
    let created = EventBody::RoomCreated(created);
    let unmade = RoomState { row: RoomRow::empty(ROOM), members: BTreeMap::new() };
    for (state, body, actor) in [(&state, &joined, 9), (&state, &added, 1), (&unmade, &created, 1)] {
        assert_eq!(code(&decide(state, &ask(actor, body, None, 0))), Code::Ok);
        let crowded = Ask { crowded: true, ..ask(actor, body, None, 0) };
        assert_eq!(code(&decide(state, &crowded)), Code::TooManyRooms);
    }
    let enter = |body| enters(body, user(1)).collect::<Vec<_>>();
    assert_eq!(enter(&joined), [newcomer]);
    assert_eq!(enter(&added), [newcomer]);
    assert_eq!(enter(&created), [user(1), user(2), user(3)]);
    assert_eq!(enter(&unbanned), []);
}
