//! Every bound of the protocol, in one place. Where one follows from another, the compiler checks it.

/// A frame after its 4-byte length, in bytes. A peer that announces more is closed with `frame_too_large`.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// A frame before authentication, in bytes (only `Hello` may come then).
pub const HELLO_BYTES_MAX: usize = 4 * 1024;
/// Time from the handshake to a complete `Hello`, in milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 5_000;
/// Bytes of a message body.
pub const BODY_BYTES_MAX: usize = 8 * 1024;
/// Encoded records in one `Events` frame, in bytes, unless a single record is larger.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024;
/// One record (event) of a room log, in bytes.
pub const RECORD_BYTES_MAX: usize = 32 * 1024;
/// What the lengths and counts in a body may claim before their elements are there, in bytes of memory. A tail inside has the same bound
/// again; what was really there takes no more than a small multiple of the frame (`tests/bombs.rs` measures both).
pub const DECODE_BYTES_MAX: usize = 256 * 1024;
/// Members of a room.
pub const ROOM_MEMBERS_MAX: usize = 10_000;
/// Members that a room may be created with, the creator not counted.
pub const FIRST_MEMBERS_MAX: usize = 500;
/// Rooms of a user.
pub const USER_ROOMS_MAX: usize = 5_000;
/// Rooms that a session may be subscribed to at a time.
pub const SUBSCRIPTIONS_MAX: usize = 200;
/// Requests of a session that may be open at a time; the next one is not read until one ends.
pub const OPEN_REQUESTS_MAX: usize = 32;
/// Users whose presence a session may watch.
pub const PRESENCE_WATCH_MAX: usize = 500;
/// Users that a message may mention.
pub const MENTIONS_MAX: usize = 64;
/// Attachments that a message may refer to.
pub const ATTACHMENTS_MAX: usize = 16;
/// Bytes of an attachment's id, name or media type.
pub const ATTACHMENT_FIELD_BYTES_MAX: usize = 255;
/// Bytes of a room's name, after trimming.
pub const ROOM_NAME_BYTES_MAX: usize = 128;
/// Bytes of a room's topic.
pub const ROOM_TOPIC_BYTES_MAX: usize = 1_024;
/// Bytes of a reaction (an emoji sequence or a short name).
pub const REACTION_BYTES_MAX: usize = 64;
/// Different reactions on one message.
pub const REACTION_KINDS_MAX: usize = 32;
/// Reactions on one message by all users together.
pub const REACTIONS_MAX: usize = 1_000;
/// Edits of one message.
pub const EDITS_MAX: usize = 100;
/// Messages on a page of history.
pub const HISTORY_PAGE_MAX: usize = 100;
/// Bytes of the text of a search.
pub const SEARCH_TEXT_BYTES_MAX: usize = 256;
/// Words of a search.
pub const SEARCH_WORDS_MAX: usize = 8;
/// Messages on a page of a search.
pub const SEARCH_PAGE_MAX: usize = 50;
/// Encoded entries of one page of history, rooms or members, in bytes: what does not fit goes to the next page, so that a page fits into
/// a frame even where entries are long.
pub const PAGE_BYTES_MAX: usize = 60 * 1024;
/// Entries of one `Rooms` frame or page.
pub const ROOMS_PAGE_MAX: usize = 100;
/// Entries of one page of members.
pub const MEMBERS_PAGE_MAX: usize = 500;
/// Events that a cursor may be behind the head before the server answers with `Reset` instead of a replay.
pub const REPLAY_EVENTS_MAX: u64 = 10_000;
/// Readers of a room up to which typing notices are relayed.
pub const TYPING_READERS_MAX: usize = 200;
/// A session's typing notices for one room come at most this often, in milliseconds.
pub const TYPING_INTERVAL_MS: u64 = 3_000;
/// A typing notice is shown for this long, in milliseconds.
pub const TYPING_EXPIRES_MS: u64 = 6_000;
/// A request without an answer ends as `outcome_unknown` after this time, in milliseconds.
pub const REQUEST_TIMEOUT_MS: u64 = 2_000;
/// Bytes of an access token in `Hello` or `Reauth`.
pub const TOKEN_BYTES_MAX: usize = 3 * 1024;

const _: () = assert!(TOKEN_BYTES_MAX + 512 < HELLO_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX < CHUNK_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX + 64 < FRAME_BYTES_MAX);
const _: () = assert!(
    BODY_BYTES_MAX + MENTIONS_MAX * 16 + ATTACHMENTS_MAX * 3 * (ATTACHMENT_FIELD_BYTES_MAX + 3) + 256 < RECORD_BYTES_MAX
);
const _: () = assert!(FIRST_MEMBERS_MAX * 16 + ROOM_NAME_BYTES_MAX + ROOM_TOPIC_BYTES_MAX + 256 < RECORD_BYTES_MAX);
// One entry always fits into a page: a message with all that it may carry.
const _: () = assert!(RECORD_BYTES_MAX < PAGE_BYTES_MAX && PAGE_BYTES_MAX + 1_024 < FRAME_BYTES_MAX);
