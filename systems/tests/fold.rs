//! The fold: what a log means, on plain data.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::{Body, BodyEdited, MessageDeleted, MessagePosted, MessageTail, PinChanged, ReactionChanged};
use client_protocol::limits::{EDITS_MAX, REACTION_KINDS_MAX, REACTIONS_MAX};
use client_protocol::notification::ReadMarked;
use client_protocol::room::{MemberChanged, RoleChanged, RoomCreated, SettingsChanged, SettingsTail, kind, role};
use client_protocol::tail::EmptyTail;
use client_protocol::{Event, EventBody, EventHead, Key, NodeId, RoomId, UserId};
use components::rows::{MemberRow, RoomRow, membership};
use proptest::prelude::*;
use systems::fold::{FoldError, Rows, apply};
use systems::testing::{Foreign, ModelStore, RoomLog};

const TAIL: EmptyTail = EmptyTail {};
const ROOM: RoomId = RoomId::from_bytes([1; 16]);

fn user(n: u128) -> UserId {
    UserId::from_bytes(n.to_be_bytes())
}

fn posted(text: &str) -> EventBody {
    EventBody::MessagePosted(MessagePosted { body: Body::text(text), mentions: vec![], tail: MessageTail::default() })
}

fn edited(target: u64, text: &str) -> EventBody {
    EventBody::MessageEdited(BodyEdited { target, body: Body::text(text), tail: TAIL })
}

fn reacted(target: u64, reaction: &str) -> EventBody {
    EventBody::ReactionAdded(ReactionChanged { target, reaction: reaction.into(), tail: TAIL })
}

/// A log of these events, all by user 1 unless said otherwise.
fn log(events: impl IntoIterator<Item = (u128, EventBody)>) -> RoomLog {
    let mut store = ModelStore::default();
    for (n, (actor, body)) in events.into_iter().enumerate() {
        let key = Key::from_bytes((n as u128).to_be_bytes());
        store.append_foreign(ROOM, Foreign { actor: user(actor), key, body }, n as u64);
    }
    store.log(ROOM).clone()
}

fn body_of(log: &RoomLog, seq: u64) -> Vec<u8> {
    match &log.event(seq).unwrap().body {
        EventBody::MessagePosted(posted) => posted.body.bytes.clone(),
        EventBody::MessageEdited(edited) => edited.body.bytes.clone(),
        other => panic!("{other:?} has no body"),
    }
}

#[test]
fn a_delete_takes_every_body_and_nothing_comes_back() {
    let delete = || EventBody::MessageDeleted(MessageDeleted { target: 1, tail: TAIL });
    let log = log([
        (1, posted("one")),
        (1, edited(1, "two")),
        (2, reacted(1, "+1")),
        (1, EventBody::MessagePinned(PinChanged { target: 1, tail: TAIL })),
        (1, delete()),
        (1, edited(1, "late")),
        (2, reacted(1, "+1")),
        (1, delete()),
    ]);
    for seq in [1, 2, 6] {
        assert!(body_of(&log, seq).is_empty());
    }
    let now = &log.nows[&1];
    assert!(now.deleted && !now.pinned && now.reactions.is_empty() && now.body.is_none());
    assert_eq!((now.as_of, log.row.head, log.row.message_no), (5, 8, 1));
    assert_eq!(log.events[0].head.actor, user(1));
}

#[test]
fn an_edit_above_the_bound_changes_nothing_and_keeps_no_body() {
    let mut events = vec![(1, posted("0"))];
    events.extend((1..=EDITS_MAX + 1).map(|n| (1, edited(1, &n.to_string()))));
    let log = log(events);
    let last = EDITS_MAX as u64 + 2;
    assert_eq!(log.nows[&1].body, Some(Body::text(EDITS_MAX.to_string())));
    assert!(body_of(&log, last).is_empty());
    assert!(!body_of(&log, last - 1).is_empty());
}

#[test]
fn reactions_are_bounded_by_kind_and_number() {
    let mut events = vec![(1, posted("0"))];
    events.extend((0..=REACTION_KINDS_MAX).map(|n| (1, reacted(1, &n.to_string()))));
    // One who gives it twice is counted once.
    events.push((1, reacted(1, "0")));
    let kinds = log(events.clone());
    assert_eq!(kinds.nows[&1].reactions.len(), REACTION_KINDS_MAX);
    events.extend((2..=REACTIONS_MAX as u128).map(|n| (n, reacted(1, "0"))));
    let all = log(events);
    assert_eq!(all.nows[&1].reactions.len(), REACTIONS_MAX);
}

#[test]
fn what_is_about_no_message_changes_nothing() {
    let log = log([(1, reacted(0, "+1")), (1, edited(1, "x")), (1, reacted(99, "+1"))]);
    assert!(log.nows.is_empty());
    assert_eq!(log.row.head, 3);
}

#[test]
fn read_marks_are_merged_by_epoch_and_seq() {
    let other = RoomId::from_bytes([2; 16]);
    let mark = |epoch, seq| (1, EventBody::ReadMarked(ReadMarked { room: other, epoch, seq, message_no: seq, tail: TAIL }));
    let log = log([mark(1, 5), mark(1, 3), mark(2, 1), mark(1, 9)]);
    let row = log.marks[&other];
    assert_eq!((row.epoch, row.seq), (2, 1));
    assert_eq!(log.row.kind, kind::SELF);
}

#[test]
fn a_ban_is_kept_for_one_who_was_never_there_and_lifted() {
    let changed = |n| MemberChanged { user: user(n), tail: TAIL };
    let created = RoomCreated { kind: kind::PUBLIC, members: vec![], settings: SettingsTail::default() };
    let log = log([
        (1, EventBody::RoomCreated(created)),
        (1, EventBody::MemberBanned(changed(2))),
        (1, EventBody::MemberBanned(changed(3))),
        (1, EventBody::MemberUnbanned(changed(3))),
        (1, EventBody::MemberUnbanned(changed(9))),
    ]);
    assert_eq!(log.members[&user(2)].state, membership::BANNED);
    assert_eq!(log.members[&user(3)].state, membership::KICKED);
    assert_eq!((log.row.members, log.members.len()), (1, 3));
}

struct NoRows;

impl Rows for NoRows {
    fn member(&self, _user: UserId) -> Option<MemberRow> {
        None
    }
    fn put_member(&mut self, _row: MemberRow) {
        panic!("nothing is to be written");
    }
    fn message(&self, _seq: u64) -> Option<components::rows::NowRow> {
        None
    }
    fn put_message(&mut self, _seq: u64, _now: components::rows::NowRow) {}
    fn blank(&mut self, _seq: u64) {}
    fn mark(&self, _room: RoomId) -> Option<components::rows::MarkRow> {
        None
    }
    fn put_mark(&mut self, _room: RoomId, _mark: components::rows::MarkRow) {}
}

#[test]
fn what_cannot_be_folded_changes_nothing() {
    let head = |seq| EventHead { seq, time_ms: 9, actor: user(1), key: Key::default(), node: NodeId(1), message_no: 1 };
    let mut row = RoomRow::empty(ROOM);
    let joined = EventBody::MemberJoined(MemberChanged { user: user(1), tail: TAIL });
    let gap = apply(&Event { head: head(2), body: joined }, &mut row, &mut NoRows);
    assert_eq!(gap, Err(FoldError::NotDense { head: 0, found: 2 }));
    let unknown = EventBody::Unknown { kind: 0x8123, bytes: vec![] };
    let strange = apply(&Event { head: head(1), body: unknown }, &mut row, &mut NoRows);
    assert_eq!(strange, Err(FoldError::MustUnderstand { seq: 1, kind: 0x8123 }));
    assert_eq!(row, RoomRow::empty(ROOM));
}

fn any_event() -> impl Strategy<Value = (u128, EventBody)> {
    let who = || 1..5u128;
    let changed = || who().prop_map(|n| MemberChanged { user: user(n), tail: TAIL });
    let body = prop_oneof![
        (1..=4u8, prop::collection::vec(who(), 0..3)).prop_map(|(kind, members)| {
            let members = members.into_iter().map(user).collect();
            EventBody::RoomCreated(RoomCreated { kind, members, settings: SettingsTail::default() })
        }),
        changed().prop_map(EventBody::MemberJoined),
        changed().prop_map(EventBody::MemberLeft),
        changed().prop_map(EventBody::MemberAdded),
        changed().prop_map(EventBody::MemberKicked),
        changed().prop_map(EventBody::MemberBanned),
        changed().prop_map(EventBody::MemberUnbanned),
        (who(), 0..=5u8).prop_map(|(n, role)| EventBody::RoleChanged(RoleChanged { user: user(n), role, tail: TAIL })),
        any::<Option<u8>>().prop_map(|post_role| {
            EventBody::SettingsChanged(SettingsChanged { settings: SettingsTail { post_role, ..SettingsTail::default() } })
        }),
        Just(posted("text")),
        (0..20u64).prop_map(|target| edited(target, "edit")),
        (0..20u64).prop_map(|target| EventBody::MessageDeleted(MessageDeleted { target, tail: TAIL })),
        (0..20u64).prop_map(|target| reacted(target, "+1")),
        (0..20u64).prop_map(|target| {
            EventBody::ReactionRemoved(ReactionChanged { target, reaction: "+1".into(), tail: TAIL })
        }),
        (0..20u64).prop_map(|target| EventBody::MessagePinned(PinChanged { target, tail: TAIL })),
    ];
    (who(), body)
}

proptest! {
    /// Total: any log has a meaning, even one that no rules would allow, and its counts are those of its rows.
    #[test]
    fn any_log_folds(events in prop::collection::vec(any_event(), 1..60)) {
        let log = log(events.clone());
        prop_assert_eq!(log.row.head, events.len() as u64);
        let members: Vec<_> = log.members.values().filter(|member| member.is_member()).collect();
        prop_assert_eq!(log.row.members as usize, members.len());
        let owners = members.iter().filter(|member| member.role == role::OWNER).count();
        prop_assert_eq!(log.row.owners as usize, owners);
        for (seq, now) in &log.nows {
            prop_assert!(log.event(*seq).unwrap().body.is_message());
            prop_assert!(now.as_of <= log.row.head);
            prop_assert!(!now.deleted || body_of(&log, *seq).is_empty());
        }
        for member in log.members.values() {
            prop_assert!(member.seq <= log.row.head && member.is_member() == (member.left_seq == 0 && member.joined_seq > 0));
        }
    }
}
