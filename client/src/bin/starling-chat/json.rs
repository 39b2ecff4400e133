//! JSON objects: one a line, with the fields that docs/client.md promises.

use crate::text::{base64, kind_name, role_name, snake_case};
use serde_json::{Map, Value, json};
use starling_client::protocol::chat::{Attachment, Body, Message, MessageTail, format, relation};
use starling_client::protocol::notification::notified;
use starling_client::protocol::room::{MemberEntry, RoomEntry, SettingsTail, reset_reason};
use starling_client::rest::{PublicRoom, User};
use starling_client::{Acked, Event, EventBody, Key, RoomId, RoomItem, UserId};

/// A user.
pub(crate) fn user(user: &User, email: Option<&str>) -> Value {
    let mut object = json!({
        "type": "user", "id": user.id.0, "username": user.username, "display_name": user.display_name, "bio": user.bio,
        "avatar_url": user.avatar_url, "created_ms": user.created_ms,
    });
    if let Some(email) = email {
        object["email"] = email.into();
    }
    object
}

/// What a command did.
pub(crate) fn done(room: RoomId, acked: Acked, key: Option<Key>) -> Value {
    let mut object = json!({ "type": "done", "room": room.0, "seq": acked.seq });
    if let Some(key) = key {
        object["key"] = json!(key.0);
    }
    object
}

/// A room of the user's list.
pub(crate) fn room(entry: &RoomEntry) -> Value {
    let mut object = json!({
        "type": "room", "id": entry.room.0, "kind": kind_name(entry.kind), "role": role_name(entry.role), "head": entry.head,
        "message_no": entry.message_no, "time_ms": entry.time_ms, "read_seq": entry.read_seq, "unread": entry.unread(),
        "name": entry.tail.name.clone().unwrap_or_default(), "topic": entry.tail.topic.clone().unwrap_or_default(),
    });
    if let Some(peer) = entry.tail.peer {
        object["peer"] = json!(peer.0);
    }
    if let Some(members) = entry.tail.members {
        object["members"] = members.into();
    }
    object
}

/// A public room.
pub(crate) fn public_room(room: &PublicRoom) -> Value {
    json!({ "type": "public_room", "id": room.id, "name": room.name, "topic": room.topic, "members": room.members })
}

/// A member of a room.
pub(crate) fn member(room: RoomId, member: &MemberEntry) -> Value {
    json!({
        "type": "member", "room": room.0, "user": member.user.0, "role": role_name(member.role), "joined_seq": member.joined_seq,
    })
}

/// A message as it is now.
pub(crate) fn message(room: RoomId, message: &Message) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), "message".into());
    object.insert("room".into(), json!(room.0));
    object.insert("seq".into(), message.seq.into());
    object.insert("message_no".into(), message.message_no.into());
    object.insert("time_ms".into(), message.time_ms.into());
    object.insert("actor".into(), json!(message.actor.0));
    object.insert("key".into(), json!(message.key.0));
    put_body(&mut object, &message.body);
    put_tail(&mut object, &message.mentions, &message.tail);
    if message.edited_ms > 0 {
        object.insert("edited_ms".into(), message.edited_ms.into());
    }
    object.insert("deleted".into(), message.deleted.into());
    object.insert("pinned".into(), message.pinned.into());
    let reactions: Vec<Value> = message
        .reactions
        .iter()
        .map(|given| json!({ "reaction": given.reaction, "count": given.count, "mine": given.mine }))
        .collect();
    object.insert("reactions".into(), reactions.into());
    object.insert("as_of".into(), message.as_of.into());
    Value::Object(object)
}

/// An item of a followed room.
pub(crate) fn item(room: RoomId, item: &RoomItem) -> Value {
    match item {
        RoomItem::Event(given) => event(room, given),
        RoomItem::Reset { cursor, reason } => json!({
            "type": "reset", "room": room.0, "epoch": cursor.epoch, "seq": cursor.seq, "reason": reset_name(*reason),
        }),
        RoomItem::Ended { last_seq, code } => {
            json!({ "type": "ended", "room": room.0, "last_seq": last_seq, "code": code.name() })
        }
        RoomItem::Typing { user } => json!({ "type": "typing", "room": room.0, "user": user.0 }),
        _ => json!({ "type": "unknown", "room": room.0 }),
    }
}

/// Why a cursor was refused.
pub(crate) const fn reset_name(reason: u8) -> &'static str {
    match reason {
        reset_reason::TOO_FAR_BEHIND => "too_far_behind",
        reset_reason::EPOCH => "epoch",
        reset_reason::AHEAD => "ahead",
        _ => "unknown",
    }
}

/// The stable name of an event's kind.
pub(crate) fn event_name(body: &EventBody) -> String {
    let known = EventBody::KINDS.iter().find(|(_, kind)| *kind == body.kind());
    known.map_or_else(|| "unknown".into(), |(name, _)| snake_case(name))
}

fn event(room: RoomId, event: &Event) -> Value {
    let mut object = Map::new();
    let head = &event.head;
    object.insert("type".into(), "event".into());
    object.insert("room".into(), json!(room.0));
    object.insert("seq".into(), head.seq.into());
    object.insert("time_ms".into(), head.time_ms.into());
    object.insert("actor".into(), json!(head.actor.0));
    object.insert("key".into(), json!(head.key.0));
    object.insert("message_no".into(), head.message_no.into());
    object.insert("kind".into(), event_name(&event.body).into());
    put_event(&mut object, &event.body);
    Value::Object(object)
}

fn put_event(object: &mut Map<String, Value>, body: &EventBody) {
    let mut put = |name: &str, value: Value| drop(object.insert(name.into(), value));
    match body {
        EventBody::MessagePosted(posted) => {
            put_body(object, &posted.body);
            put_tail(object, &posted.mentions, &posted.tail);
        }
        EventBody::MessageEdited(edited) => {
            put("target", edited.target.into());
            put_body(object, &edited.body);
        }
        EventBody::MessageDeleted(deleted) => put("target", deleted.target.into()),
        EventBody::ReactionAdded(changed) | EventBody::ReactionRemoved(changed) => {
            put("target", changed.target.into());
            put("reaction", changed.reaction.clone().into());
        }
        EventBody::MessagePinned(pin) | EventBody::MessageUnpinned(pin) => put("target", pin.target.into()),
        EventBody::RoomCreated(created) => {
            put("room_kind", kind_name(created.kind).into());
            put("members", ids(&created.members));
            put_settings(object, &created.settings);
        }
        EventBody::MemberJoined(changed)
        | EventBody::MemberLeft(changed)
        | EventBody::MemberAdded(changed)
        | EventBody::MemberKicked(changed)
        | EventBody::MemberBanned(changed)
        | EventBody::MemberUnbanned(changed) => put("user", json!(changed.user.0)),
        EventBody::RoleChanged(changed) => {
            put("user", json!(changed.user.0));
            put("role", role_name(changed.role).into());
        }
        EventBody::UserErased(erased) => {
            put("user", json!(erased.user.0));
            if let Some(heir) = erased.tail.heir {
                put("heir", json!(heir.0));
            }
        }
        EventBody::SettingsChanged(changed) => put_settings(object, &changed.settings),
        EventBody::RoomListed(listed) => {
            put("target_room", json!(listed.room.0));
            put("target", listed.seq.into());
        }
        EventBody::RoomUnlisted(unlisted) => {
            put("target_room", json!(unlisted.room.0));
            put("target", unlisted.seq.into());
        }
        EventBody::ReadMarked(marked) => {
            put("target_room", json!(marked.room.0));
            put("target", marked.seq.into());
            put("read_message_no", marked.message_no.into());
        }
        EventBody::Notified(given) => {
            put("target_room", json!(given.room.0));
            put("target", given.seq.into());
            put("cause", notified_name(given.kind).into());
        }
        EventBody::Unknown { kind, .. } => put("kind_number", (*kind).into()),
        _ => {}
    }
}

/// Why a user was notified.
pub(crate) const fn notified_name(kind: u8) -> &'static str {
    match kind {
        notified::MENTION => "mention",
        notified::DIRECT => "direct",
        _ => "unknown",
    }
}

fn put_body(object: &mut Map<String, Value>, body: &Body) {
    let (name, field, value) = match (body.format, std::str::from_utf8(&body.bytes)) {
        (format::TEXT, Ok(text)) => ("text", "text", text.to_owned()),
        (format::MARKDOWN, Ok(text)) => ("markdown", "text", text.to_owned()),
        (format::OPAQUE, _) => ("opaque", "opaque", base64(&body.bytes)),
        _ => ("unknown", "opaque", base64(&body.bytes)),
    };
    object.insert("format".into(), name.into());
    object.insert(field.into(), value.into());
}

fn put_tail(object: &mut Map<String, Value>, mentions: &[UserId], tail: &MessageTail) {
    object.insert("mentions".into(), ids(mentions));
    match tail.relation {
        Some(to) if to.kind == relation::REPLY => drop(object.insert("reply_to".into(), to.seq.into())),
        Some(to) if to.kind == relation::THREAD => drop(object.insert("thread".into(), to.seq.into())),
        _ => {}
    }
    if let Some(attachments) = &tail.attachments {
        let list: Vec<Value> = attachments.iter().map(attachment).collect();
        object.insert("attachments".into(), list.into());
    }
}

fn attachment(file: &Attachment) -> Value {
    json!({ "id": file.id, "name": file.name, "mime": file.mime, "size": file.size })
}

fn put_settings(object: &mut Map<String, Value>, settings: &SettingsTail) {
    if let Some(name) = &settings.name {
        object.insert("name".into(), name.clone().into());
    }
    if let Some(topic) = &settings.topic {
        object.insert("topic".into(), topic.clone().into());
    }
    if let Some(role) = settings.post_role {
        object.insert("post_role".into(), role_name(role).into());
    }
    if let Some(seconds) = settings.edit_window_s {
        object.insert("edit_window_s".into(), seconds.into());
    }
}

fn ids(users: &[UserId]) -> Value {
    users.iter().map(|user| json!(user.0)).collect::<Vec<_>>().into()
}
