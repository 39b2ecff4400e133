//! Events: the records of a room's log.
//!
//! A record on the wire and in a store is `length` (varint, of what follows), `kind` (varint `u16`), head, body. A reader that
//! does not know a kind skips it by its length, and its cursor moves on; if the kind has [`MUST_UNDERSTAND`] set, a *node* that does
//! not know it must stop serving the room, since it can no longer tell who may do what (clients may skip it).

use crate::chat::{BodyEdited, MessageDeleted, MessagePosted, PinChanged, ReactionChanged};
use crate::codec::{self, CodecError, Decode, Encode};
use crate::ids::{Key, NodeId, UserId};
use crate::limits::RECORD_BYTES_MAX;
use crate::notification::{Notified, ReadMarked, RoomListed, RoomUnlisted};
use crate::room::{MemberChanged, RoleChanged, RoomCreated, SettingsChanged, UserErased};

/// Set in the kind of every event that changes who may do what.
pub const MUST_UNDERSTAND: u16 = 0x8000;

/// What every event carries. Closed: it is stored for ever; events grow in the tails of their bodies.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EventHead {
    /// Position in the room's log: 1, 2, 3, … dense.
    pub seq: u64,
    /// When it was appended, Unix time in milliseconds; never before the event before it.
    pub time_ms: u64,
    /// Who did it.
    pub actor: UserId,
    /// The idempotency key of the command.
    pub key: Key,
    /// The node that appended it.
    pub node: NodeId,
    /// How many messages the log holds up to here, this event included. A message's own number, for a message. Unread =
    /// the head's number minus the number at the read mark.
    pub message_no: u64,
}

/// One event of a room's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What every event carries.
    pub head: EventHead,
    /// What happened.
    pub body: EventBody,
}

macro_rules! events {
    ($($(#[$meta:meta])* $name:ident($body:ty) = $kind:expr;)*) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum EventBody {
            $($(#[$meta])* $name($body),)*
            /// A kind that this version does not know, with the bytes after its head.
            Unknown {
                /// The kind.
                kind: u16,
                /// The bytes of the body, its tail included.
                bytes: Vec<u8>,
            },
        }

        impl EventBody {
            /// The number of the kind on the wire.
            #[must_use]
            pub const fn kind(&self) -> u16 {
                match self { $(Self::$name(_) => $kind,)* Self::Unknown { kind, .. } => *kind }
            }

            /// Every kind that this version knows: name and number.
            pub const KINDS: &'static [(&'static str, u16)] = &[$((stringify!($name), $kind),)*];

            fn encode_into(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(body) => codec::encode_into(body, out),)*
                    Self::Unknown { bytes, .. } => out.extend_from_slice(bytes),
                }
            }

            fn decode(kind: u16, bytes: &[u8]) -> Result<Self, CodecError> {
                Ok(match kind {
                    $(k if k == $kind => Self::$name(codec::decode(bytes)?),)*
                    kind => Self::Unknown { kind, bytes: bytes.to_vec() },
                })
            }
        }
    };
}

events! {
    /// A message; the only kind that counts as one.
    MessagePosted(MessagePosted) = 0x0001;
    /// The body of a message was replaced.
    MessageEdited(BodyEdited) = 0x0002;
    /// A message was deleted: its body is blanked wherever it was kept.
    MessageDeleted(MessageDeleted) = 0x0003;
    /// A reaction was added.
    ReactionAdded(ReactionChanged) = 0x0004;
    /// A reaction was taken back.
    ReactionRemoved(ReactionChanged) = 0x0005;
    /// A message was pinned.
    MessagePinned(PinChanged) = 0x0006;
    /// A message was unpinned.
    MessageUnpinned(PinChanged) = 0x0007;
    /// The room began, with its first members.
    RoomCreated(RoomCreated) = MUST_UNDERSTAND | 0x0010;
    /// The actor joined.
    MemberJoined(MemberChanged) = MUST_UNDERSTAND | 0x0011;
    /// The actor left.
    MemberLeft(MemberChanged) = MUST_UNDERSTAND | 0x0012;
    /// The actor added a user.
    MemberAdded(MemberChanged) = MUST_UNDERSTAND | 0x0013;
    /// The actor removed a user, who may come back.
    MemberKicked(MemberChanged) = MUST_UNDERSTAND | 0x0014;
    /// The actor removed a user, or kept one out, for good.
    MemberBanned(MemberChanged) = MUST_UNDERSTAND | 0x0015;
    /// The actor lifted a ban.
    MemberUnbanned(MemberChanged) = MUST_UNDERSTAND | 0x0016;
    /// The actor gave a member another role.
    RoleChanged(RoleChanged) = MUST_UNDERSTAND | 0x0017;
    /// The actor changed the room's settings.
    SettingsChanged(SettingsChanged) = MUST_UNDERSTAND | 0x0018;
    /// A user was erased: they went, and their messages are deleted.
    UserErased(UserErased) = MUST_UNDERSTAND | 0x0019;
    /// Own log: a room came to the user's list.
    RoomListed(RoomListed) = 0x0100;
    /// Own log: a room left the user's list.
    RoomUnlisted(RoomUnlisted) = 0x0101;
    /// Own log: the user has read a room up to here.
    ReadMarked(ReadMarked) = 0x0102;
    /// Own log: the user was notified of a message.
    Notified(Notified) = 0x0103;
}

impl EventBody {
    /// Whether the event counts as a message.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        matches!(self, Self::MessagePosted(_))
    }

    /// Whether a node that cannot read this event must stop serving the room.
    #[must_use]
    pub const fn stops_old_nodes(&self) -> bool {
        matches!(self, Self::Unknown { kind, .. } if *kind & MUST_UNDERSTAND != 0)
    }
}

impl Event {
    /// Appends the record of this event to `out`.
    pub fn encode_record(&self, out: &mut Vec<u8>) {
        let mut inner = Vec::with_capacity(128);
        codec::encode_into(&self.body.kind(), &mut inner);
        codec::encode_into(&self.head, &mut inner);
        self.body.encode_into(&mut inner);
        codec::encode_into(&(inner.len() as u32), out);
        out.extend_from_slice(&inner);
    }

    /// The record of this event.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        self.encode_record(&mut out);
        out
    }

    /// Decodes the record at the front of `bytes`; says how many bytes it took.
    ///
    /// # Errors
    ///
    /// [`CodecError`] where the bytes do not start with a whole record, or one above [`RECORD_BYTES_MAX`].
    pub fn decode_record(bytes: &[u8]) -> Result<(Self, usize), CodecError> {
        let (length, start) = codec::decode_prefix::<u32>(bytes)?;
        let length = length as usize;
        if length > RECORD_BYTES_MAX {
            return Err(CodecError::Malformed(format!("a record of {length} bytes")));
        }
        let inner = bytes
            .get(start..start + length)
            .ok_or_else(|| CodecError::Malformed(format!("a record of {length} bytes that is not whole")))?;
        let (kind, kind_bytes) = codec::decode_prefix::<u16>(inner)?;
        let (head, head_bytes) = codec::decode_prefix::<EventHead>(&inner[kind_bytes..])?;
        let body = EventBody::decode(kind, &inner[kind_bytes + head_bytes..])?;
        Ok((Self { head, body }, start + length))
    }

    /// Decodes records that fill `bytes` exactly.
    ///
    /// # Errors
    ///
    /// [`CodecError`] at the first record that is not whole.
    pub fn decode_records(mut bytes: &[u8]) -> Result<Vec<Self>, CodecError> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (event, used) = Self::decode_record(bytes)?;
            events.push(event);
            bytes = &bytes[used..];
        }
        Ok(events)
    }
}
