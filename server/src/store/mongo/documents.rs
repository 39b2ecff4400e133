//! Documents, as they are stored, and the rows that they stand for.

use super::ids::{dirty_id, event_id, id, mark_id, member_id, room, user};
use crate::store::StoreError;
use client_protocol::chat::Body;
use client_protocol::{Event, NodeId, RoomId, UserId};
use components::edge::Record;
use components::rows::{MarkRow, MemberRow, NowRow, RoomRow};
use mongodb::bson::{Binary, spec::BinarySubtype};
use serde::{Deserialize, Serialize};

/// A document of which only the id is wanted.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct IdDoc {
    #[serde(rename = "_id")]
    pub(super) id: String,
}

/// Bytes, as they are stored.
pub(super) fn binary(bytes: Vec<u8>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes }
}

/// An event of a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EventDoc {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) room_id: String,
    pub(super) actor_id: String,
    pub(super) key: String,
    pub(super) seq: u64,
    pub(super) time_ms: u64,
    pub(super) is_message: bool,
    /// The record: the same bytes that the embedded store keeps and clients get.
    pub(super) record: Binary,
    /// What the message is now; missing where nothing happened to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<NowDoc>,
}

impl EventDoc {
    /// The document of a record.
    pub(super) fn new(room: RoomId, record: &Record) -> Self {
        let head = &record.event.head;
        Self {
            id: event_id(room, head.seq),
            room_id: id(room.bytes()),
            actor_id: id(head.actor.bytes()),
            key: id(head.key.bytes()),
            seq: head.seq,
            time_ms: head.time_ms,
            is_message: record.event.body.is_message(),
            record: binary(record.bytes.to_vec()),
            now: None,
        }
    }

    /// The room.
    pub(super) fn room(&self) -> Result<RoomId, StoreError> {
        room(&self.room_id)
    }

    /// The record, decoded, and what the message is now.
    pub(super) fn into_parts(self) -> Result<(Record, Option<NowRow>), StoreError> {
        let event = match Event::decode_record(&self.record.bytes) {
            Ok((event, used)) if used == self.record.bytes.len() && event.head.seq == self.seq => event,
            Ok(_) => return Err(StoreError::Corrupt(format!("event {} is not what its record says", self.id))),
            Err(error) => return Err(StoreError::Corrupt(format!("the record of event {}: {error}", self.id))),
        };
        let now = self.now.map(NowRow::try_from).transpose()?;
        Ok((Record { event, bytes: self.record.bytes.into() }, now))
    }
}

/// A record as it is stored in place of another one.
pub(super) fn record_bytes(event: &Event) -> Binary {
    binary(event.record())
}

/// What a message is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NowDoc {
    pub(super) as_of: u64,
    body: Option<BodyDoc>,
    edited_ms: u64,
    edits: Vec<u64>,
    deleted: bool,
    pinned: bool,
    reactions: Vec<ReactionDoc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct BodyDoc {
    format: u8,
    bytes: Binary,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReactionDoc {
    reaction: String,
    user_id: String,
}

impl From<NowRow> for NowDoc {
    fn from(row: NowRow) -> Self {
        let NowRow { body, edited_ms, edits, deleted, pinned, reactions, as_of } = row;
        let reactions =
            reactions.into_iter().map(|(reaction, user)| ReactionDoc { reaction, user_id: id(user.bytes()) }).collect();
        let body = body.map(|body| BodyDoc { format: body.format, bytes: binary(body.bytes) });
        Self { as_of, body, edited_ms, edits, deleted, pinned, reactions }
    }
}

impl TryFrom<NowDoc> for NowRow {
    type Error = StoreError;

    fn try_from(now: NowDoc) -> Result<Self, StoreError> {
        let NowDoc { as_of, body, edited_ms, edits, deleted, pinned, reactions } = now;
        let reactions = reactions.into_iter().map(|given| Ok((given.reaction, user(&given.user_id)?)));
        let reactions = reactions.collect::<Result<_, StoreError>>()?;
        let body = body.map(|body| Body { format: body.format, bytes: body.bytes.bytes });
        Ok(Self { body, edited_ms, edits, deleted, pinned, reactions, as_of })
    }
}

/// A room as of its event `head`: the last one that was applied. The log may have gone further.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RoomDoc {
    #[serde(rename = "_id")]
    id: String,
    pub(super) notified_seq: u64,
    #[serde(flatten)]
    pub(super) fold: RoomFold,
}

/// What the fold makes of a room: everything but what followers write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RoomFold {
    kind: u8,
    pub(super) name: String,
    topic: String,
    post_role: u8,
    edit_window_s: u32,
    creator_id: String,
    created_ms: u64,
    head: u64,
    message_no: u64,
    time_ms: u64,
    members: u32,
    owners: u32,
}

impl From<&RoomRow> for RoomFold {
    fn from(row: &RoomRow) -> Self {
        Self {
            kind: row.kind,
            name: row.name.clone(),
            topic: row.topic.clone(),
            post_role: row.post_role,
            edit_window_s: row.edit_window_s,
            creator_id: id(row.creator.bytes()),
            created_ms: row.created_ms,
            head: row.head,
            message_no: row.message_no,
            time_ms: row.time_ms,
            members: row.members,
            owners: row.owners,
        }
    }
}

impl RoomDoc {
    /// The row as it is stored. Whoever reads it wants [`super::late::LateRows::row`].
    pub(super) fn stored_row(self) -> Result<RoomRow, StoreError> {
        let Self { id, notified_seq, fold } = self;
        Ok(RoomRow {
            room: room(&id)?,
            kind: fold.kind,
            name: fold.name,
            topic: fold.topic,
            post_role: fold.post_role,
            edit_window_s: fold.edit_window_s,
            creator: user(&fold.creator_id)?,
            created_ms: fold.created_ms,
            head: fold.head,
            message_no: fold.message_no,
            time_ms: fold.time_ms,
            members: fold.members,
            owners: fold.owners,
            notified_seq,
        })
    }
}

/// A membership.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MemberDoc {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) room_id: String,
    user_id: String,
    state: u8,
    role: u8,
    joined_seq: u64,
    left_seq: u64,
    muted_until_ms: u64,
    seq: u64,
}

impl From<&MemberRow> for MemberDoc {
    fn from(row: &MemberRow) -> Self {
        Self {
            id: member_id(row.room, row.user),
            room_id: id(row.room.bytes()),
            user_id: id(row.user.bytes()),
            state: row.state,
            role: row.role,
            joined_seq: row.joined_seq,
            left_seq: row.left_seq,
            muted_until_ms: row.muted_until_ms,
            seq: row.seq,
        }
    }
}

impl TryFrom<MemberDoc> for MemberRow {
    type Error = StoreError;

    fn try_from(doc: MemberDoc) -> Result<Self, StoreError> {
        Ok(Self {
            room: room(&doc.room_id)?,
            user: user(&doc.user_id)?,
            state: doc.state,
            role: doc.role,
            joined_seq: doc.joined_seq,
            left_seq: doc.left_seq,
            muted_until_ms: doc.muted_until_ms,
            seq: doc.seq,
        })
    }
}

/// How far a user has read a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MarkDoc {
    #[serde(rename = "_id")]
    id: String,
    pub(super) user_id: String,
    pub(super) room_id: String,
    epoch: u64,
    seq: u64,
    message_no: u64,
    /// The event of the user's own log by which it came.
    pub(super) as_of: u64,
}

impl MarkDoc {
    /// The document of a mark.
    pub(super) fn new(user: UserId, room: RoomId, mark: MarkRow, as_of: u64) -> Self {
        Self {
            id: mark_id(user, room),
            user_id: id(user.bytes()),
            room_id: id(room.bytes()),
            epoch: mark.epoch,
            seq: mark.seq,
            message_no: mark.message_no,
            as_of,
        }
    }

    /// The room and the mark.
    pub(super) fn row(&self) -> Result<(RoomId, MarkRow), StoreError> {
        Ok((room(&self.room_id)?, MarkRow { epoch: self.epoch, seq: self.seq, message_no: self.message_no }))
    }
}

/// A room that a node has marked as dirty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DirtyDoc {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) room_id: String,
    pub(super) node: u32,
}

impl DirtyDoc {
    /// The mark of a node.
    pub(super) fn new(room: RoomId, node: NodeId) -> Self {
        Self { id: dirty_id(room, node), room_id: id(room.bytes()), node: node.0 }
    }

    /// The room.
    pub(super) fn room(&self) -> Result<RoomId, StoreError> {
        room(&self.room_id)
    }
}

/// A server that uses the database, or did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NodeDoc {
    #[serde(rename = "_id")]
    pub(super) id: u32,
    since_ms: u64,
    /// When it was last seen alive, Unix time in milliseconds.
    #[serde(default)]
    pub(super) seen_ms: u64,
}

impl NodeDoc {
    /// A node that is new.
    pub(super) const fn new(id: u32, now_ms: u64) -> Self {
        Self { id, since_ms: now_ms, seen_ms: now_ms }
    }
}
