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
/// Bytes that the kernel is asked to keep for the UDP socket, in either direction.
pub const UDP_BUFFER: usize = 4 * 1024 * 1024;
/// Bytes that are taken off a stream at a time.
pub const READ_BYTES_MAX: usize = 16 * 1024;
/// Bytes of frames that wait for a session that does not read, after which it is closed: more than two hand-overs and the replies of all
/// requests that it may have open.
pub const SESSION_BACKLOG_BYTES_MAX: usize = 512 * 1024;
/// Datagrams a second that a session may send for long.
pub const DATAGRAM_RATE: f64 = 20.0;
/// Datagrams that a session may send at once.
pub const DATAGRAM_BURST: f64 = 40.0;
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
/// Time that requests in flight get to end when the server drains; a request ends within 2 s by itself.
pub const DRAIN_APPENDS_TIMEOUT: Duration = Duration::from_secs(2);
