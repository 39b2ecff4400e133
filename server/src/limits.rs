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
/// Bytes that the entries of a page may have, so that the page fits one frame.
pub const PAGE_BYTES_MAX: usize = client_protocol::limits::FRAME_BYTES_MAX - 1_024;
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
/// Logins that are remembered to be live.
pub const LIVE_LOGINS_MAX: usize = 65_536;
/// How long a login is taken for live without asking the store.
pub const LIVE_LOGIN_TIME: Duration = Duration::from_secs(5);
/// Addresses whose rate is remembered; beyond, new ones share one budget.
pub const RATE_ADDRESSES_MAX: usize = 65_536;
/// Pages of a user's rooms that are read to find one of them.
pub const ROOM_ENTRY_PAGES_MAX: usize =
    client_protocol::limits::USER_ROOMS_MAX.div_ceil(client_protocol::limits::ROOMS_PAGE_MAX) + 1;

const _: () = assert!(client_protocol::limits::RECORD_BYTES_MAX < PAGE_BYTES_MAX);
const _: () = assert!(PAGE_DEFAULT as usize <= client_protocol::limits::HISTORY_PAGE_MAX);
const _: () = assert!(LIVE_LOGIN_TIME.as_secs() <= 5, "account facts are enforced within 5 s (promise P5)");
