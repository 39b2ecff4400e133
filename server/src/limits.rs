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
