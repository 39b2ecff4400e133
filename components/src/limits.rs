//! Bounds of the world: queues, buffers, batches and times.

use client_protocol::limits::{CHUNK_BYTES_MAX, OPEN_REQUESTS_MAX};

/// Commands that may wait at the edge of the world. Beyond, sends are refused with `overloaded`.
pub const INBOX_COMMANDS_MAX: usize = 16_384;
/// Commands that may wait in one room. Beyond, sends to it are refused with `overloaded`.
pub const ROOM_QUEUE_MAX: usize = 4_096;
/// Events of one append.
pub const APPEND_EVENTS_MAX: usize = 200;
/// Bytes of records in one append, unless a single one is larger.
pub const APPEND_BYTES_MAX: usize = 256 * 1024;
/// What waits in a room is appended so long before the room's next flush, in microseconds: time to become durable.
pub const APPEND_AHEAD_US: u64 = 10_000;
/// No command waits longer than this, in microseconds, to share its append with others.
pub const APPEND_GATHER_US_MAX: u64 = 50_000;
/// Conflicts in a row after which a node that lost says so.
pub const APPEND_CONFLICTS_MAX: u32 = 3;
/// Sends (session, frame) in one hand-over to an edge.
pub const SLOT_SENDS_MAX: usize = 256;
/// Events of one flush after which packets are full: where more would come together, a room is flushed earlier, after half of its interval
/// at the earliest.
pub const FLUSH_EVENTS_FULL: u64 = 16;
/// A room with more readers than go into one hand-over is handed out over its flush interval, in pieces, so that others do not wait
/// behind it: so many readers are served at once, the others as time goes by.
pub const FLUSH_PIECE_READERS_MIN: usize = 64;
/// Between two such pieces, in microseconds.
pub const FLUSH_PIECE_US: u64 = 4_000;
/// Chunks of a room that one session gets in one hand-over, if they are small: none follows on [`CHUNK_BYTES_MAX`]. More wait for the
/// next. A busy room that is handed out over its interval has a chunk for each piece.
pub const SLOT_CHUNKS_PER_SESSION_MAX: usize = 64;
/// Bytes of events after which one session gets no more in a hand-over, of however many rooms: the rest waits for the next.
pub const SLOT_SESSION_BYTES_MAX: usize = 128 * 1024;
/// Bytes of encoded recent events that a room keeps.
pub const HOT_LOG_ROOM_BYTES_MAX: usize = 256 * 1024;
/// Bytes of encoded recent events that all rooms keep together.
pub const HOT_LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages deleted lately that a room remembers: more than a room can delete while an edit is on its way.
pub const RECENT_DELETES_MAX: usize = 8_192;
/// Last events that hydrate brings along.
pub const HYDRATE_TAIL_EVENTS: u64 = 64;
/// Events on an aligned page of the log, read for sessions behind the hot log.
pub const PAGE_EVENTS: u64 = 128;
/// Pages that one room keeps while sessions catch up.
pub const ROOM_PAGES_MAX: usize = 4;
/// Rooms in which one session reads pages at once; it catches up in the others after that.
pub const SESSION_PAGES_MAX: usize = 2;
/// Pages that all rooms keep together: at most about 36 MiB, where every event is of the largest size. Other rooms wait their turn.
pub const PAGES_MAX: usize = 32;
/// A room without subscribers and work leaves memory after this time, in microseconds.
pub const ROOM_IDLE_US: u64 = 30_000_000;
/// A room of which the store knows nothing leaves memory after this time, in microseconds.
pub const EMPTY_ROOM_IDLE_US: u64 = 1_000_000;
/// Sessions of one user; one more replaces the one that came first.
pub const USER_SESSIONS_MAX: usize = 1_024;
/// A user without sessions leaves memory after this time, in microseconds.
pub const USER_IDLE_US: u64 = 30_000_000;
/// A room that could not be hydrated or does not fold is left alone for this time, in microseconds.
pub const ROOM_RETRY_US: u64 = 5_000_000;
/// Read marks of a user are stored at most this often, in microseconds.
pub const READ_MARK_INTERVAL_US: u64 = 5_000_000;
/// Bumps for a room, and presence for a session, go out at most this often, in microseconds.
pub const NET_CHANGE_INTERVAL_US: u64 = 1_000_000;
/// A page of the log that could not be read is asked for again after this time, in microseconds.
pub const PAGE_RETRY_US: u64 = 100_000;

const _: () = assert!(APPEND_BYTES_MAX > CHUNK_BYTES_MAX);
const _: () = assert!(SLOT_SESSION_BYTES_MAX > 2 * CHUNK_BYTES_MAX);
const _: () = assert!(HOT_LOG_ROOM_BYTES_MAX > 4 * CHUNK_BYTES_MAX);
const _: () = assert!(PAGES_MAX > ROOM_PAGES_MAX);
const _: () = assert!(ROOM_QUEUE_MAX > APPEND_EVENTS_MAX && ROOM_QUEUE_MAX > OPEN_REQUESTS_MAX);

/// Changes of its subscriptions that a session may ask for at once: all rooms that it may read, twice.
pub const SUBSCRIBE_BURST: f64 = 400.0;
/// The same for long, a second.
pub const SUBSCRIBE_RATE: f64 = 50.0;
/// Typing notices whose time is remembered; beyond, new ones are dropped until old ones have expired.
pub const TYPING_REMEMBERED_MAX: usize = 16_384;
/// Followers of a room are looked at this long after its last event, in microseconds.
pub const LEVEL_AFTER_US: u64 = 1_000_000;
/// Rooms whose heads are asked for in one read; more have their turn after that.
pub const HEADS_ROOMS_MAX: usize = 512;
/// Where several nodes share a store, the heads of loaded rooms are asked for this often, in microseconds: what another node appended is
/// seen here about so much later.
pub const LOADED_HEADS_INTERVAL_US: u64 = 200_000;
/// The heads of rooms that are not loaded but listed for a user who is here are asked for this often, in microseconds: as often as a
/// bump may go out.
pub const LISTED_HEADS_INTERVAL_US: u64 = NET_CHANGE_INTERVAL_US;
/// Between two reads of heads or accounts of the same turn there is at least so much time, in microseconds.
pub const TURN_GAP_US: u64 = 20_000;
/// Rooms of one user that are looked at while the user is here: the newest ones, and those that were listed since.
pub const LISTED_ROOMS_MAX: usize = 1_000;
/// Where several nodes share a store, accounts and logins of those who are here are looked at this often, in microseconds.
pub const ACCOUNTS_INTERVAL_US: u64 = 2_000_000;
/// Accounts that are looked at in one read; more have their turn after that.
pub const CHECKED_USERS_MAX: usize = 256;
/// Logins that are looked at in one read: those of its accounts, of which each has at least one turn.
pub const CHECKED_LOGINS_MAX: usize = CHECKED_USERS_MAX + USER_SESSIONS_MAX;
/// What follows from events of other nodes is left to them for this time, in microseconds; then it is looked for, and done if it is not there.
pub const OTHERS_FOLLOW_US: u64 = 3_000_000;
/// Follow-ups of a room that are looked for at once.
pub const LOOKUPS_MAX: usize = 1_024;
/// A room that other nodes appended to within this time, in microseconds, is contended: whoever wins lets others have a turn.
pub const CONTENDED_US: u64 = 1_000_000;
/// A node that appends to a shared room without a pause lets others have a turn after this time, in microseconds: in a contended room, and
/// in another one, where others may be too slow to be seen at all.
pub const APPEND_BUSY_US: (u64, u64) = (10_000, 100_000);
/// How long a turn for others is, in microseconds: the shortest, and the longest for one who has a slow way to the store.
pub const APPEND_YIELD_US: (u64, u64) = (5_000, 40_000);
/// One in so many turns that are for others who may not be there is a long one.
pub const APPEND_LONG_REST: u32 = 10;

const _: () = assert!(LISTED_ROOMS_MAX >= client_protocol::limits::ROOMS_PAGE_MAX);
const _: () = assert!(APPEND_BUSY_US.1 > APPEND_YIELD_US.1 && CONTENDED_US > APPEND_BUSY_US.1);
// Account facts are enforced within 5 s (promise P5).
const _: () = assert!(ACCOUNTS_INTERVAL_US <= 2_500_000);
