//! Every bound of the client, in one place. Bounds of the protocol itself are in [`client_protocol::limits`].

use std::time::Duration;

/// Commands handed to the session that have no final answer yet; the next caller waits.
pub const REQUESTS_MAX: usize = 256;
/// Orders between the handles and the session's task.
pub const ORDERS_MAX: usize = 64;
/// Items of one room that wait for the application. Events are at most 32 KiB each, most are below 200 bytes.
pub const ROOM_ITEMS_MAX: usize = 512;
/// Items of the session that wait for the application; above it the oldest are dropped and counted.
pub const SESSION_ITEMS_MAX: usize = 256;
/// Queries under way at a time; the server allows no more.
pub const QUERIES_MAX: usize = 3;
/// For how long a full room queue stops the connection's reads. After it that room alone is paused, so that answers get through.
pub const STALL: Duration = Duration::from_millis(100);
/// A command without a final answer ends after this time, unless the builder says otherwise.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// Name look-up, handshake and `Welcome` together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait after a failed try to reconnect; it doubles with every failure.
pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest wait between tries to reconnect.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connection that lived this long counts as good: the backoff starts from the beginning after it.
pub const STABLE_AFTER: Duration = Duration::from_secs(5);
/// First wait before a command is sent again on a live connection; it doubles with every try.
pub const RESEND_MIN: Duration = Duration::from_millis(200);
/// Longest wait before a command is sent again.
pub const RESEND_MAX: Duration = Duration::from_secs(5);
/// Longest wait that a server may ask for before a try (to reconnect or to send again).
pub const SERVER_WAIT_MAX: Duration = Duration::from_secs(120);
/// Silence after which a connection counts as lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection on which something is to be acknowledged and nothing at all comes counts as lost after this time.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often a connection is looked at for silence, at least.
pub const PULSE_INTERVAL: Duration = Duration::from_secs(5);
/// How often, at most.
pub const PULSE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A quiet connection says something this often, unless the builder says otherwise.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The shortest time that a builder may set.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(1);
/// The access token is renewed this long before it ends, or after four fifths of its life if that is later.
pub const REAUTH_LEAD: Duration = Duration::from_secs(60);
/// Tokens are not renewed more often than this.
pub const REAUTH_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// Tokens that live longer are renewed as if they lived this long.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Wait after a token provider failed on a live session.
pub const REAUTH_RETRY: Duration = Duration::from_secs(5);
/// Time that a token provider may take.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections in a row that may end by a broken protocol before the client gives up.
pub const PROTOCOL_ERRORS_MAX: u32 = 3;
/// Time for the reason of a lost connection to arrive, since a stream may end before it.
pub const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Time for the last packet of a connection that the client closes. It leaves at once; what is lost on the way is made up for by the
/// server's idle time-out.
pub const CLOSE_LINGER: Duration = Duration::from_millis(50);
/// Bytes of one stream that the server may send ahead of the application.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of all streams of a connection that the server may send ahead.
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes that may wait to be sent.
pub const SEND_WINDOW_BYTES: u64 = 256 * 1024;
/// Bytes of datagrams (typing) that wait to be read.
pub const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Frames encoded ahead of the stream.
pub const FRAMES_OUT_MAX: usize = 8;
/// Rooms for which the time of the last typing notice is kept.
pub const TYPING_ROOMS_MAX: usize = 256;
/// Bytes of an answer over REST.
pub const REST_BYTES_MAX: usize = 1024 * 1024;
/// Time for one call over REST.
pub const REST_TIMEOUT: Duration = Duration::from_secs(15);

const _: () = assert!(FRAMES_OUT_MAX <= client_protocol::limits::OPEN_REQUESTS_MAX);
const _: () = assert!(STREAM_WINDOW_BYTES as usize >= 2 * client_protocol::limits::FRAME_BYTES_MAX);
const _: () = assert!(QUERIES_MAX as u32 * STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);
