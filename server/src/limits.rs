//! Bounds of the server's edges: connections, requests, queues, times.

use std::time::Duration;

/// Bytes of a REST request body.
pub const REST_BODY_BYTES_MAX: usize = 64 * 1024;
/// Time for a REST request's headers to arrive.
pub const REST_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a whole REST request.
pub const REST_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// REST connections at a time.
pub const REST_CONNECTIONS_MAX: usize = 4_096;
/// Password hashes that may wait for the pool; beyond, 503.
pub const PASSWORD_QUEUE_MAX: usize = 64;
/// Lifetime of an access token.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(600);
/// Lifetime of a refresh token that is not used.
pub const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);
/// QUIC connections at a time.
pub const QUIC_CONNECTIONS_MAX: usize = 100_000;
/// Bytes that one connection may hold in the transport, not acknowledged.
pub const QUIC_SEND_WINDOW: u64 = 64 * 1024;
/// Bytes of one stream that a client may have sent and the server not read.
pub const QUIC_STREAM_RECEIVE_WINDOW: u32 = 64 * 1024;
/// Bytes of all streams of a connection that a client may have sent and the server not read.
pub const QUIC_RECEIVE_WINDOW: u32 = 128 * 1024;
/// Streams that a client may have open: the session and its queries.
pub const QUIC_STREAMS_MAX: u32 = 4;
/// A silent connection is closed after this time.
pub const QUIC_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that sessions get to go away before the process ends.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Committed events that a follower on the bus may be behind before it is told to read the logs.
pub const BUS_EVENTS_MAX: usize = 4_096;
/// Connections that have not said hello yet. From half of it on, addresses must be proved first.
pub const QUIC_HANDSHAKES_MAX: usize = 1_024;
/// Bytes of datagrams that a connection keeps in either direction.
pub const QUIC_DATAGRAM_BUFFER: usize = 16 * 1024;
/// Clients that want to connect and were not looked at yet; more are refused.
pub const QUIC_INCOMING_MAX: usize = 1_024;
/// Calls to the system that take packets in before other work has its turn.
pub const RECEIVE_ROUNDS_MAX: usize = 8;
/// Packets a second above which the socket is read at intervals.
pub const RECEIVE_BUSY_PER_S: f64 = 4_000.0;
/// The time over which they are counted.
pub const RECEIVE_WINDOW: Duration = Duration::from_millis(16);
/// The interval: well below the ticks of a world that is as busy.
pub const RECEIVE_INTERVAL: Duration = Duration::from_millis(1);
/// Transmissions of one connection before others have their turn.
pub const TRANSMITS_PER_TURN_MAX: usize = 16;
/// Packets that are handed to the system in one call.
pub const UDP_PACKETS_BATCH_MAX: usize = 32;
/// Transmissions that wait for the system to take packets again; connections say nothing more meanwhile.
pub const UDP_PACKETS_UNSENT_MAX: usize = 256;
/// Bytes that the kernel is asked to keep for the UDP socket, in either direction.
pub const UDP_BUFFER: usize = 4 * 1024 * 1024;
/// Bytes that are taken off a stream at a time.
pub const READ_BYTES_MAX: usize = 16 * 1024;
/// Bytes of frames that wait for a session that does not read, after which it is closed: more than two hand-overs and the replies of all
/// requests that it may have open.
pub const SESSION_BACKLOG_BYTES_MAX: usize = 512 * 1024;
const _: () = assert!(SESSION_BACKLOG_BYTES_MAX > 2 * components::limits::SLOT_SESSION_BYTES_MAX);
/// Datagrams a second that a session may send for long.
pub const DATAGRAM_RATE: f64 = 20.0;
/// Datagrams that a session may send at once.
pub const DATAGRAM_BURST: f64 = 40.0;
/// Tokens that a session may show in a second for long: each costs the check of a signature.
pub const REAUTH_RATE: f64 = 1.0;
/// Tokens that a session may show at once.
pub const REAUTH_BURST: f64 = 10.0;
/// Time for a query, from its stream's start to its answer's end.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Time that a peer gets to take what was written before its connection is closed.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time between two ticks with something to do.
pub const TICK_MAX: Duration = Duration::from_millis(8);
/// Dirty rooms that are brought in at a time after a start.
pub const SWEEP_ROOMS: usize = 100;
/// Time between two such lots.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
/// On a store that other servers use as well, it is looked so often for rooms of servers that are gone.
pub const SWEEP_AGAIN_INTERVAL: Duration = Duration::from_secs(60);
/// Rooms that cannot be read are looked for again after this time.
pub const SWEEP_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Time that requests in flight get to end when the server drains; a request ends within 2 s by itself.
pub const DRAIN_APPENDS_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a drain looks whether sessions and requests have ended.
pub const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(10);

// The store.

/// Events of one commit: larger ones stall whoever waits for the next.
pub const STORE_COMMIT_EVENTS_MAX: usize = 200;
/// Bytes of records in one commit, unless a single append is larger.
pub const STORE_COMMIT_BYTES_MAX: usize = 1024 * 1024;
/// Events in the answer to an append that came too late.
pub const STORE_CONFLICT_EVENTS_MAX: usize = 200;
/// Events in the answer to one read of the log.
pub const STORE_PAGE_EVENTS_MAX: u64 = client_protocol::limits::REPLAY_EVENTS_MAX;
/// Threads that serve the world's reads.
pub const STORE_READ_THREADS: usize = 2;
/// Reads that one of them is handed at a time.
pub const STORE_READ_LOT: usize = 8;
/// Threads of the database for flushes and compactions. One of them takes flushes only, and turns in circles (fjall 3.1) while compactions
/// wait and all others are busy: with three others that is rare.
pub const STORE_WORKERS: usize = 4;
/// Account changes and queries that run at a time; others wait.
pub const STORE_QUERIES_MAX: usize = 64;
/// Bytes of the database's cache.
pub const STORE_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of the database's journal files.
pub const STORE_JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of the journal in use from which on the database begins a new one, at the next chance.
pub const STORE_JOURNAL_ROTATES_AT: usize = 64 * 1000 * 1000;
/// Bytes that are written at a time to make the journal that long.
pub const STORE_FILLER_BYTES: usize = 1024 * 1024;
/// How often everything is written again when the store is purged.
pub const STORE_PURGE_ROUNDS: u8 = 3;
/// Events of a user that are blanked, or exported, at a time.
pub const ERASE_LOT_EVENTS: usize = 50;
/// Rooms of a user that are looked up at a time.
pub const ERASE_LOT_ROOMS: usize = 200;
/// A room that cannot be written to is tried again after this time, …
pub const ERASE_RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// … so often in one attempt to erase a user.
pub const ERASE_RETRIES_MAX: u32 = 20;
/// After an attempt that failed, the next one comes after this time, then twice it, …
pub const ERASE_AGAIN_MIN: Duration = Duration::from_secs(1);
/// … up to this time. As often it is looked for erases that nobody is at.
pub const ERASE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// Erases that are looked at together.
pub const ERASING_MAX: usize = 10_000;
/// How long a call that erases a user waits for the end of it; it goes on in any case.
pub const ERASE_WAIT: Duration = Duration::from_secs(5);
/// Differences between a room's log and its projections that are told in words.
pub const CHECK_DIFFERENCES_MAX: usize = 100;
/// Pieces on a page of a dump.
pub const DUMP_PAGE_ITEMS: usize = 500;
/// Bytes of pieces on a page of a dump, unless a single one is larger.
pub const DUMP_PAGE_BYTES: usize = 1024 * 1024;
/// Bytes of a piece of a backup: an event, a login with all its tokens, an account.
pub const BACKUP_ITEM_BYTES_MAX: usize = 128 * 1024;
/// Rooms or accounts that are listed at a time.
pub const LIST_LOT: usize = 200;
/// Bytes of a request of the admin tool.
pub const ADMIN_REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Admin tools that are served at a time.
pub const ADMIN_CONNECTIONS_MAX: usize = 8;
/// Time for an admin tool's request to arrive, and for each part of an answer to be taken.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Random bytes of a password that the admin tool makes.
pub const ADMIN_PASSWORD_BYTES: usize = 15;
/// Lines of an export that wait for a client that reads slowly.
pub const EXPORT_LINES_MAX: usize = 64;
/// Bytes that must be free on the disk for writes to be taken: what the database may still need for work that it has begun.
pub const STORE_FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// Bytes that are written to see whether a full disk takes writes again.
pub const STORE_PROBE_BYTES: usize = 64 * 1024;
/// A disk that has room and took no probe is tried again after this time.
pub const STORE_PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Rooms are marked as level with their log at most this often.
pub const STORE_LEVEL_INTERVAL: Duration = Duration::from_millis(200);
/// How often the store looks at its disk while it has nothing to do.
pub const STORE_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Encoded messages on a page of history, in bytes: a page fits in a frame.
pub const HISTORY_PAGE_BYTES_MAX: usize = 60 * 1024;
/// Encoded entries on a page of rooms, in bytes: a page fits in a frame.
pub const ROOMS_PAGE_BYTES_MAX: usize = 60 * 1024;
/// Names of public rooms that one search looks at.
pub const PUBLIC_ROOMS_SCAN_MAX: usize = 100_000;
/// Different words by which one message is found.
pub const MESSAGE_WORDS_MAX: usize = 1_000;
/// Bytes of a word, of messages and of searches; what is longer is cut.
pub const WORD_BYTES_MAX: usize = 64;
/// Words from which on a shown name is found.
pub const NAME_STARTS_MAX: usize = 8;
/// Messages whose words are one row of the index. Part of the format of stored data.
pub const WORD_BLOCK_MESSAGES: u64 = 128;
/// Bytes of words of one such row, before those that stand twice are taken out; a block with more has no row, and its messages are read.
pub const WORD_BLOCK_TEXT_BYTES_MAX: usize = 256 * 1024;
/// Blocks of messages that are indexed at a time.
pub const INDEX_BLOCKS_AT_ONCE: usize = 2;
/// How many times as long as that took the writer leaves the index alone afterwards: rooms that are equally busy have blocks complete at the
/// same time, and nobody is to wait for the index.
pub const INDEX_REST: u32 = 4;
/// Events that are read one after the other to index a block; where its messages stand further apart, each is looked for.
pub const INDEX_SCAN_EVENTS_MAX: u64 = 1_024;
/// Blocks to be indexed that are known in memory; more are looked for in the embedded store, and left to searches on MongoDB.
pub const INDEX_QUEUE_MAX: usize = 4_096;
/// Blocks of the index that one search looks at; it ends there and says where to go on.
pub const SEARCH_BLOCKS_MAX: usize = 256;
/// Bytes of rows of the index that one search looks at; it ends after the row with which there are more.
pub const SEARCH_INDEX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages whose words one search compares itself; it ends there and says where to go on.
pub const SEARCH_MESSAGES_MAX: usize = 2_000;
/// Rooms that one search over rooms looks at.
pub const SEARCH_ROOMS_MAX: usize = 20;
/// Messages of each room that a search over rooms shows.
pub const SEARCH_ROOM_MESSAGES_MAX: usize = 5;
/// Names that one search for users looks at; it ends there and says where to go on.
pub const SEARCH_NAMES_MAX: usize = 1_000;
/// Entries of a page of users.
pub const USERS_PAGE_MAX: usize = 100;
/// Bytes of the start of a name that is searched for.
pub const SEARCH_NAME_BYTES_MAX: usize = 256;
/// Events whose words are written at a time when the index is made.
pub const INDEX_BATCH_ROWS: usize = 500;
/// Used refresh tokens of a login that are remembered, to know a copy by.
pub const LOGIN_USED_TOKENS_MAX: u32 = 256;
/// Logins of one user that are listed.
pub const LOGINS_LISTED_MAX: usize = 1_000;
/// Every so many changes to logins, expired ones are looked for…
pub const LOGIN_SWEEP_EVERY: u32 = 16;
/// … among so many logins.
pub const LOGIN_SWEEP_ROWS: usize = 128;

const _: () = assert!(HISTORY_PAGE_BYTES_MAX < client_protocol::limits::FRAME_BYTES_MAX);
const _: () = assert!(ROOMS_PAGE_BYTES_MAX < client_protocol::limits::FRAME_BYTES_MAX);
const _: () = assert!(STORE_COMMIT_BYTES_MAX >= components::limits::APPEND_BYTES_MAX);
const _: () = assert!(STORE_COMMIT_EVENTS_MAX >= components::limits::APPEND_EVENTS_MAX);
/// A REST connection without a request is closed after this time.
pub const REST_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests that one HTTP/2 connection may have open.
pub const REST_STREAMS_MAX: u32 = 64;
/// Bytes of a REST request's headers.
pub const REST_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Characters of an `Idempotency-Key` header.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Entries of a page that a client asked for without saying how many.
pub const PAGE_DEFAULT: u32 = 50;
/// Threads that hash passwords. Each needs 19 MiB while it works.
pub const PASSWORD_THREADS: usize = 1;
/// Bytes of a password, at least.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Bytes of a password, at most.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Characters of a username, at least.
pub const USERNAME_CHARS_MIN: usize = 3;
/// Characters of a username, at most.
pub const USERNAME_CHARS_MAX: usize = 32;
/// Bytes of an e-mail address (RFC 5321: a path of 256 with its brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Characters of a shown name.
pub const DISPLAY_NAME_CHARS_MAX: usize = 64;
/// Characters of a user's line about themselves.
pub const BIO_CHARS_MAX: usize = 512;
/// Bytes of the address of a user's picture.
pub const AVATAR_URL_BYTES_MAX: usize = 1_024;
/// Characters of what a client calls itself.
pub const LOGIN_LABEL_CHARS_MAX: usize = 64;
/// Logins of one user; one more ends the one that was not used for longest.
pub const LOGINS_PER_USER_MAX: usize = 64;
/// Bytes of a key for HS256, at least (RFC 7518 section 3.2).
pub const JWT_SECRET_BYTES_MIN: usize = 32;
/// Clocks of servers that share a signing key may differ by this much, in seconds.
pub const TOKEN_LEEWAY_S: u64 = 5;
/// Access tokens that are remembered to be good.
pub const KNOWN_TOKENS_MAX: usize = 65_536;
/// Time between two looks for those that have ended, in milliseconds, when there is no room.
pub const KNOWN_TOKENS_SWEEP_MS: u64 = 10_000;
/// Logins that are remembered to be live.
pub const LIVE_LOGINS_MAX: usize = 65_536;
/// How long a login is taken for live without asking the store.
pub const LIVE_LOGIN_TIME: Duration = Duration::from_secs(5);
/// Addresses whose rate is remembered; beyond, new ones share one budget.
pub const RATE_ADDRESSES_MAX: usize = 65_536;

const _: () = assert!(PAGE_DEFAULT as usize <= client_protocol::limits::HISTORY_PAGE_MAX);
const _: () = assert!(LIVE_LOGIN_TIME.as_secs() <= 5, "account facts are enforced within 5 s (promise P5)");

// The MongoDB store.

/// The time that one command to the database may take before its outcome counts as unknown.
pub const MONGO_CALL_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The time that a write waits for others, where the database takes one at a time. A part of the time of the call.
pub const MONGO_TURN_TIMEOUT: Duration = Duration::from_millis(1_000);
/// The time that the database is asked to spend on one command at most.
pub const MONGO_SERVER_TIME: Duration = Duration::from_millis(1_200);
/// The same for all members of a room, which come in several pieces.
pub const MONGO_MEMBERS_SERVER_TIME: Duration = Duration::from_secs(4);
/// The time in which a room is read for the world, with all its members. Who asked for it has been answered before, if it takes long.
pub const MONGO_ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// The time to reach a server at all, and to find one that takes writes.
pub const MONGO_CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// The time in which a start must have reached the database.
pub const MONGO_OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// The time that a start gives each index and each step of a migration: on a large collection they take long.
pub const MONGO_INDEX_TIMEOUT: Duration = Duration::from_secs(1_800);
/// How often the driver looks for a server that takes writes, and we whether it answers.
pub const MONGO_PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// A node says as often that it is alive.
pub const MONGO_BEAT_INTERVAL: Duration = Duration::from_secs(2);
/// A node that was not seen for so long is gone: others look after its rooms.
pub const MONGO_NODE_GONE: Duration = Duration::from_secs(60);
/// Servers that use a database, or did.
pub const MONGO_NODES_MAX: usize = 10_000;
/// Connections to each server at most, where the URI does not say how many (`maxPoolSize`).
pub const MONGO_CONNECTIONS_MAX: u32 = 32;
/// Documents of one insert. There are servers of the protocol that go on with the next hundred where an ordered insert should end.
pub const MONGO_INSERT_EVENTS_MAX: usize = 100;
/// Documents of one piece of an answer.
pub const MONGO_FIND_BATCH: u32 = 1_000;
/// Finds that are under way at a time for one question, where the server has to be asked for each id.
pub const MONGO_FINDS_MAX: usize = 8;
/// Events of one batch of appends.
pub const MONGO_BATCH_EVENTS_MAX: usize = 200;
/// A batch that takes longer makes the next one half as large; one that takes less than half of it makes it larger.
pub const MONGO_BATCH_SLOW: Duration = Duration::from_millis(300);
/// No batch is made smaller than this, and by so many events it grows.
pub const MONGO_BATCH_EVENTS_MIN: usize = 8;
/// Statements of one update command.
pub const MONGO_UPDATES_MAX: usize = 500;
/// Events of one pass of a projection that has to catch up.
pub const MONGO_FOLD_EVENTS_MAX: usize = 1_000;
/// Batches of appends that are under way at a time; what comes meanwhile becomes the next batch.
pub const MONGO_WAVES_MAX: usize = 4;
/// Inserts of one batch that are under way at a time.
pub const MONGO_INSERTS_MAX: usize = 8;
/// Appends of single rooms that are resolved at a time; others wait their turn.
pub const MONGO_RESOLVES_MAX: usize = 16;
/// Reads of the world that are under way at a time; others wait their turn.
pub const MONGO_READS_MAX: usize = 32;
/// The first pause before something is tried again…
pub const MONGO_RETRY_MIN: Duration = Duration::from_millis(10);
/// … which doubles up to this one.
pub const MONGO_RETRY_MAX: Duration = Duration::from_millis(400);
/// Blocks of the index that a search reads first; then twice as many each time…
pub const MONGO_SEARCH_BLOCKS_LOT_MIN: u64 = 2;
/// … up to so many.
pub const MONGO_SEARCH_BLOCKS_LOT_MAX: u64 = 32;
/// Blocks of messages that are indexed at a time.
pub const MONGO_INDEX_BLOCKS_AT_ONCE: usize = 32;
/// Bytes of the newest messages of a room that are kept until they are a block; where they are more, the log is read to index it.
pub const MONGO_GATHERED_BYTES_MAX: usize = 128 * 1024;
/// As how many bytes more than twice its own a message counts there.
pub const MONGO_GATHERED_RECORD_BYTES: usize = 64;
/// So many of these bytes count as a row of [`MONGO_CACHED_ROWS_MAX`].
pub const MONGO_GATHERED_ROW_BYTES: usize = 256;
/// Blocks of messages that wait to be indexed with their messages; of others the log is read.
pub const MONGO_GATHERED_BLOCKS_MAX: usize = 512;
/// Names that are read at a time.
pub const MONGO_NAMES_LOT: usize = 200;
/// The time that a start takes to heal rooms, at most.
pub const MONGO_HEAL_AT_START: Duration = Duration::from_secs(5);
/// Rooms whose rows wait, and levels, are written so long after the first event that they lack…
pub const MONGO_ROW_LATE: Duration = Duration::from_millis(1_000);
/// … and before anything more is appended to them after so long.
pub const MONGO_ROW_LATE_MAX: Duration = Duration::from_millis(2_000);
/// How often the writer looks for such rooms.
pub const MONGO_SETTLE_INTERVAL: Duration = Duration::from_millis(50);
/// The time that a query or a change outside of logs is tried for before it fails.
pub const MONGO_QUERY_TIMEOUT: Duration = Duration::from_secs(4);
/// The time that an operator's look at one room, or one piece of a dump or load, is given.
pub const MONGO_OPERATOR_TIMEOUT: Duration = Duration::from_secs(600);
/// How often a room that is being written to is read again before a check of it gives up.
pub const CHECK_ROUNDS_MAX: usize = 20;
/// Rooms and member rows that the writer remembers, each for one, before it forgets the older half.
pub const MONGO_CACHED_ROWS_MAX: usize = 200_000;
/// The time that appends whose outcome is not known get to be resolved when the store closes.
pub const MONGO_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Rooms that are marked as dirty and read at a start.
pub const MONGO_DIRTY_ROOMS_MAX: usize = 1_000_000;

const _: () = assert!(MONGO_TURN_TIMEOUT.as_millis() < MONGO_CALL_TIMEOUT.as_millis());
const _: () = assert!(MONGO_SERVER_TIME.as_millis() < MONGO_CALL_TIMEOUT.as_millis());
const _: () = assert!(MONGO_MEMBERS_SERVER_TIME.as_millis() < MONGO_ROOM_TIMEOUT.as_millis());
const _: () = assert!(MONGO_CALL_TIMEOUT.as_millis() < client_protocol::limits::REQUEST_TIMEOUT_MS as u128);
const _: () = assert!(MONGO_ROW_LATE.as_millis() < MONGO_ROW_LATE_MAX.as_millis());
