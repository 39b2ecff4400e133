//! A room's log as the world would write it, and short names for what goes into it.

use bytes::Bytes;
use client_protocol::chat::{Body, BodyEdited, MessageDeleted, MessagePosted, MessageTail, PinChanged, ReactionChanged};
use client_protocol::notification::ReadMarked;
use client_protocol::room::{MemberChanged, RoleChanged, RoomCreated, SettingsChanged, SettingsTail};
use client_protocol::tail::EmptyTail;
use client_protocol::{Event, EventBody, EventHead, Key, NodeId, RoomId, UserId};
use components::edge::Record;

/// Where the log of a room ends.
#[derive(Debug, Clone)]
pub struct Log {
    pub room: RoomId,
    pub seq: u64,
    pub message_no: u64,
    pub time_ms: u64,
}

impl Log {
    pub fn new(room: RoomId) -> Self {
        Self { room, seq: 0, message_no: 0, time_ms: 1_000_000 }
    }

    /// The next event, with a key of its own.
    pub fn record(&mut self, actor: UserId, body: EventBody) -> Record {
        let key = Key::derived(b't', self.room, self.seq + 1);
        self.record_with_key(actor, key, body)
    }

    /// The next event.
    pub fn record_with_key(&mut self, actor: UserId, key: Key, body: EventBody) -> Record {
        self.seq += 1;
        self.message_no += u64::from(body.is_message());
        self.time_ms += 10;
        let (seq, time_ms, message_no) = (self.seq, self.time_ms, self.message_no);
        let event = Event { head: EventHead { seq, time_ms, actor, key, node: NodeId(7), message_no }, body };
        let bytes = Bytes::from(event.record());
        Record { event, bytes }
    }
}

pub fn user(n: u16) -> UserId {
    let mut bytes = [0x11; 16];
    bytes[14..].copy_from_slice(&n.to_be_bytes());
    UserId::from_bytes(bytes)
}

pub fn room(n: u16) -> RoomId {
    let mut bytes = [0x22; 16];
    bytes[14..].copy_from_slice(&n.to_be_bytes());
    RoomId::from_bytes(bytes)
}

pub fn key(n: u8) -> Key {
    Key::from_bytes([n; 16])
}

pub fn created(kind: u8, name: &str, members: &[UserId]) -> EventBody {
    let settings = SettingsTail { name: (!name.is_empty()).then(|| name.to_owned()), ..SettingsTail::default() };
    EventBody::RoomCreated(RoomCreated { kind, members: members.to_vec(), settings })
}

pub fn posted(text: &str) -> EventBody {
    EventBody::MessagePosted(MessagePosted { body: Body::text(text), mentions: Vec::new(), tail: MessageTail::default() })
}

pub fn mentioning(text: &str, mentions: &[UserId]) -> EventBody {
    EventBody::MessagePosted(MessagePosted {
        body: Body::text(text),
        mentions: mentions.to_vec(),
        tail: MessageTail::default(),
    })
}

pub fn edited(target: u64, text: &str) -> EventBody {
    EventBody::MessageEdited(BodyEdited { target, body: Body::text(text), tail: EmptyTail {} })
}

pub fn deleted(target: u64) -> EventBody {
    EventBody::MessageDeleted(MessageDeleted { target, tail: EmptyTail {} })
}

pub fn reacted(target: u64, reaction: &str) -> EventBody {
    EventBody::ReactionAdded(ReactionChanged { target, reaction: reaction.to_owned(), tail: EmptyTail {} })
}

pub fn unreacted(target: u64, reaction: &str) -> EventBody {
    EventBody::ReactionRemoved(ReactionChanged { target, reaction: reaction.to_owned(), tail: EmptyTail {} })
}

pub fn pinned(target: u64) -> EventBody {
    EventBody::MessagePinned(PinChanged { target, tail: EmptyTail {} })
}

pub fn unpinned(target: u64) -> EventBody {
    EventBody::MessageUnpinned(PinChanged { target, tail: EmptyTail {} })
}

pub fn member(user: UserId) -> MemberChanged {
    MemberChanged { user, tail: EmptyTail {} }
}

pub fn role_changed(user: UserId, role: u8) -> EventBody {
    EventBody::RoleChanged(RoleChanged { user, role, tail: EmptyTail {} })
}

pub fn settings_changed(settings: SettingsTail) -> EventBody {
    EventBody::SettingsChanged(SettingsChanged { settings })
}

pub fn read_marked(room: RoomId, epoch: u64, seq: u64, message_no: u64) -> EventBody {
    EventBody::ReadMarked(ReadMarked { room, epoch, seq, message_no, tail: EmptyTail {} })
}
