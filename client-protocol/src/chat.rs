//! Chat: messages and what happens to them, events as they are pushed, history.

use crate::codec::{Decode, Encode};
use crate::ids::{Key, RoomId, UserId};
use crate::room::CommandHead;
use crate::tail;
use crate::tail::EmptyTail;

/// Formats of a body.
pub mod format {
    /// Plain text, UTF-8.
    pub const TEXT: u8 = 0;
    /// Markdown (CommonMark), UTF-8.
    pub const MARKDOWN: u8 = 1;
    /// Bytes that the server cannot read: end-to-end encrypted by the clients.
    pub const OPAQUE: u8 = 255;
}

/// Body of a message: at most [`crate::limits::BODY_BYTES_MAX`] bytes. Closed: it grows by new formats, not by fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Body {
    /// See [`mod@format`].
    pub format: u8,
    /// The bytes. Empty where the message was deleted.
    pub bytes: Vec<u8>,
}

impl Body {
    /// Plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { format: format::TEXT, bytes: text.into().into_bytes() }
    }
}

/// Kinds of relation.
pub mod relation {
    /// A reply to the message `seq`.
    pub const REPLY: u8 = 1;
    /// Part of the thread that starts at the message `seq`.
    pub const THREAD: u8 = 2;
}

/// Refers to an earlier message of the same room. Closed: it grows by new kinds; more about a message goes into its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Relation {
    /// See [`relation`].
    pub kind: u8,
    /// The earlier message.
    pub seq: u64,
}

/// Refers to a file that is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attachment {
    /// Where it is kept.
    pub id: String,
    /// File name.
    pub name: String,
    /// Media type (RFC 6838).
    pub mime: String,
    /// Bytes.
    pub size: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

tail! {
    /// What a message may carry besides its body.
    pub struct MessageTail {
        /// An earlier message that it belongs to.
        pub relation: Relation,
        /// Files.
        pub attachments: Vec<Attachment>,
    }
}

/// Command: posts a message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PostMessage {
    /// Room and key.
    pub head: CommandHead,
    /// The body.
    pub body: Body,
    /// Users that it mentions.
    pub mentions: Vec<UserId>,
    /// Relation, attachments and what later versions add.
    pub tail: MessageTail,
}

/// Command: replaces the body of one's own message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EditMessage {
    /// Room and key.
    pub head: CommandHead,
    /// The message.
    pub target: u64,
    /// The new body.
    pub body: Body,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Command about a message: delete, pin and unpin have a kind each and this body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TargetMessage {
    /// Room and key.
    pub head: CommandHead,
    /// The message.
    pub target: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Command: adds or takes back a reaction; a kind each.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct React {
    /// Room and key.
    pub head: CommandHead,
    /// The message.
    pub target: u64,
    /// An emoji or a short name, at most [`crate::limits::REACTION_BYTES_MAX`] bytes.
    pub reaction: String,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event: a message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MessagePosted {
    /// The body; empty once the message was deleted.
    pub body: Body,
    /// Users that it mentions.
    pub mentions: Vec<UserId>,
    /// Relation, attachments and what later versions add.
    pub tail: MessageTail,
}

/// Event: the body of a message was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BodyEdited {
    /// The message.
    pub target: u64,
    /// The new body; empty once the message was deleted.
    pub body: Body,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event: a message was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MessageDeleted {
    /// The message.
    pub target: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event: a reaction was added or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReactionChanged {
    /// The message.
    pub target: u64,
    /// The reaction.
    pub reaction: String,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Event: a message was pinned or unpinned.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PinChanged {
    /// The message.
    pub target: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Pushed: consecutive events of a room. On the wire a tail stands before the records (empty so far, not kept here). `records` is a
/// list of records ([`crate::event`]) that fills the rest of the frame; it has no length of its own and is not decoded with the
/// frame. See [`crate::frame::events_frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The room.
    pub room: RoomId,
    /// The seq of the first record.
    pub first_seq: u64,
    /// How many records follow; the next frame of this room starts at `first_seq + count`.
    pub count: u32,
    /// The records.
    pub records: bytes::Bytes,
}

/// Query: a page of messages, as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct History {
    /// The room.
    pub room: RoomId,
    /// Messages with a seq below this one, the newest of them; 0 is no bound.
    pub before: u64,
    /// Messages with a seq above this one; if `before` is 0 and this is not, the oldest of them.
    pub after: u64,
    /// Messages wanted, at most [`crate::limits::HISTORY_PAGE_MAX`].
    pub limit: u32,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// A reaction and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReactionCount {
    /// The reaction.
    pub reaction: String,
    /// How many users gave it.
    pub count: u32,
    /// The asking user is one of them.
    pub mine: bool,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// A message as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    /// Seq of the event that posted it: with the room, its id.
    pub seq: u64,
    /// Its number among the room's messages.
    pub message_no: u64,
    /// When it was posted, Unix time in milliseconds.
    pub time_ms: u64,
    /// Who posted it.
    pub actor: UserId,
    /// Its idempotency key.
    pub key: Key,
    /// Its body now; empty if deleted.
    pub body: Body,
    /// Users that it mentions.
    pub mentions: Vec<UserId>,
    /// When it was last edited, Unix time in milliseconds; 0 is never.
    pub edited_ms: u64,
    /// It was deleted.
    pub deleted: bool,
    /// It is pinned.
    pub pinned: bool,
    /// Reactions to it.
    pub reactions: Vec<ReactionCount>,
    /// Events up to this seq are in all of the above: apply live events after it.
    pub as_of: u64,
    /// Relation, attachments and what later versions add.
    pub tail: MessageTail,
}

/// A page of history, in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HistoryPage {
    /// The messages, by ascending seq.
    pub messages: Vec<Message>,
    /// There are more in the direction that was asked for.
    pub more: bool,
    /// The room's head when the page was read.
    pub head: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// Query: messages of a room that have all the words of a text, as they are now, newest first. Case and accents make no difference;
/// where the text ends with a letter or digit, its last word may be the start of one. Opaque bodies are not searched.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Search {
    /// The room.
    pub room: RoomId,
    /// The words: at most [`crate::limits::SEARCH_TEXT_BYTES_MAX`] bytes and [`crate::limits::SEARCH_WORDS_MAX`] words.
    pub text: String,
    /// Messages with a seq below this one; 0 is no bound.
    pub before: u64,
    /// Messages wanted, at most [`crate::limits::SEARCH_PAGE_MAX`].
    pub limit: u32,
    /// What later versions add.
    pub tail: EmptyTail,
}

/// A page of messages that were searched for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SearchPage {
    /// The messages, by descending seq.
    pub messages: Vec<Message>,
    /// Where to go on: the `before` of the next page; 0 when everything was looked at. A page may have few messages, or none, and
    /// still not be the last: one query looks at a bounded part of the room.
    pub next: u64,
    /// What later versions add.
    pub tail: EmptyTail,
}
