//! Records of a room's log.

use super::client::{message_first, message_full, message_last, settings_full};
use super::{Sample, Value, key, room, user};
use client_protocol::chat::{
    Body, BodyEdited, MessageDeleted, MessagePosted, MessageTail, PinChanged, ReactionChanged, format,
};
use client_protocol::notification::{Notified, ReadMarked, RoomListed, RoomUnlisted, notified};
use client_protocol::room::{
    ErasedTail, MemberChanged, RoleChanged, RoomCreated, SettingsChanged, SettingsTail, UserErased, kind, role,
};
use client_protocol::tail::EmptyTail;
use client_protocol::{Encode, Event, EventBody, EventHead, NodeId};

const NO_TAIL: EmptyTail = EmptyTail {};

/// An event of the samples.
fn event(seq: u64, body: EventBody) -> Event {
    let head = EventHead {
        seq,
        time_ms: 1_800_000_000_000 + seq,
        actor: user(1),
        key: key(4),
        node: NodeId(305_419_896),
        message_no: 251,
    };
    Event { head, body }
}

fn record(name: &'static str, body: EventBody, tail: &impl Encode, fields: usize) -> Sample {
    Sample::new(name, Value::Record(event(300, body)), tail, fields)
}

fn plain(name: &'static str, body: EventBody) -> Sample {
    record(name, body, &NO_TAIL, 0)
}

fn posted(tail: MessageTail) -> EventBody {
    EventBody::MessagePosted(MessagePosted { body: Body::text("Ahoy ⚓"), mentions: vec![user(2)], tail })
}

/// A message, an edit of it, a member who goes: dense from 300 on.
pub(super) fn three() -> Vec<Event> {
    let edited = BodyEdited { target: 300, body: Body::text("Ahoy!"), tail: NO_TAIL };
    vec![
        event(300, posted(message_first())),
        event(301, EventBody::MessageEdited(edited)),
        event(302, EventBody::MemberLeft(MemberChanged { user: user(1), tail: NO_TAIL })),
    ]
}

pub(super) fn samples() -> Vec<Sample> {
    let mut all = messages();
    all.extend(rooms());
    all.extend(own_log());
    all
}

fn messages() -> Vec<Sample> {
    let (none, full, last) = (MessageTail::default(), message_full(), message_last());
    let blank = MessagePosted { body: Body { format: format::TEXT, bytes: vec![] }, mentions: vec![], tail: none.clone() };
    let edited = BodyEdited { target: 299, body: Body { format: format::OPAQUE, bytes: vec![0, 251, 255] }, tail: NO_TAIL };
    let reaction = || ReactionChanged { target: 299, reaction: "👍".into(), tail: NO_TAIL };
    let pin = || PinChanged { target: 299, tail: NO_TAIL };
    vec![
        record("MessagePosted/min", posted(none.clone()), &none, 2),
        record("MessagePosted/full", posted(full.clone()), &full, 2),
        record("MessagePosted/last", posted(last.clone()), &last, 2),
        Sample::partial("MessagePosted/first", Value::Record(event(300, posted(message_first())))),
        record("MessagePosted/blank", EventBody::MessagePosted(blank), &none, 2),
        plain("MessageEdited", EventBody::MessageEdited(edited)),
        plain("MessageDeleted", EventBody::MessageDeleted(MessageDeleted { target: 299, tail: NO_TAIL })),
        plain("ReactionAdded", EventBody::ReactionAdded(reaction())),
        plain("ReactionRemoved", EventBody::ReactionRemoved(reaction())),
        plain("MessagePinned", EventBody::MessagePinned(pin())),
        plain("MessageUnpinned", EventBody::MessageUnpinned(pin())),
    ]
}

fn rooms() -> Vec<Sample> {
    let none = SettingsTail::default();
    let full = settings_full();
    let last = SettingsTail { edit_window_s: Some(900), ..SettingsTail::default() };
    let created = |settings| RoomCreated { kind: kind::GROUP, members: vec![user(2), user(3)], settings };
    let erased = |heir| EventBody::UserErased(UserErased { user: user(1), tail: ErasedTail { heir } });
    let changed = |settings| EventBody::SettingsChanged(SettingsChanged { settings });
    let member = || MemberChanged { user: user(2), tail: NO_TAIL };
    let role_changed = RoleChanged { user: user(2), role: role::MODERATOR, tail: NO_TAIL };
    vec![
        record("RoomCreated/min", EventBody::RoomCreated(created(none.clone())), &none, 4),
        record("RoomCreated/full", EventBody::RoomCreated(created(full.clone())), &full, 4),
        plain("MemberJoined", EventBody::MemberJoined(member())),
        plain("MemberLeft", EventBody::MemberLeft(member())),
        plain("MemberAdded", EventBody::MemberAdded(member())),
        plain("MemberKicked", EventBody::MemberKicked(member())),
        plain("MemberBanned", EventBody::MemberBanned(member())),
        plain("MemberUnbanned", EventBody::MemberUnbanned(member())),
        plain("RoleChanged", EventBody::RoleChanged(role_changed)),
        record("UserErased", erased(None), &ErasedTail::default(), 1),
        record("UserErased/heir", erased(Some(user(2))), &ErasedTail { heir: Some(user(2)) }, 1),
        record("SettingsChanged/min", changed(none.clone()), &none, 4),
        record("SettingsChanged/full", changed(full.clone()), &full, 4),
        record("SettingsChanged/last", changed(last.clone()), &last, 4),
    ]
}

fn own_log() -> Vec<Sample> {
    let marked = ReadMarked { room: room(1), epoch: 7, seq: 990, message_no: 897, tail: NO_TAIL };
    let told = Notified { room: room(1), seq: 300, kind: notified::MENTION, tail: NO_TAIL };
    vec![
        plain("RoomListed", EventBody::RoomListed(RoomListed { room: room(1), seq: 5, tail: NO_TAIL })),
        plain("RoomUnlisted", EventBody::RoomUnlisted(RoomUnlisted { room: room(1), seq: 302, tail: NO_TAIL })),
        plain("ReadMarked", EventBody::ReadMarked(marked)),
        plain("Notified", EventBody::Notified(told)),
    ]
}
