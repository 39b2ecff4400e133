//! Bounds of the harness.

use std::time::Duration;

/// Sessions of a scenario.
pub const SESSIONS_MAX: u32 = 20_000;
/// Sends a second of a scenario.
pub const SENDS_PER_S_MAX: f64 = 200_000.0;
/// Warm-up and measurement together, in seconds. Access tokens live for 600 s and the load process does not renew them.
pub const RUN_SECONDS_MAX: f64 = 400.0;
/// Rounds of a run.
pub const ROUNDS_MAX: u32 = 100;
/// Rounds where several servers, or two sides, are held against each other and nothing else is asked for.
pub const ROUNDS_SIDE_BY_SIDE: u32 = 5;
/// Rounds whose ratios are shown one by one.
pub const ROUNDS_SHOWN: usize = 12;
/// Open files of the load process for a session over TCP: the socket, and its duplicate for the statistics.
pub const DESCRIPTORS_EACH: u64 = 2;
/// Open files of a process beside its sessions.
pub const DESCRIPTORS_OTHER: u64 = 256;
/// Memory for a session, server, clients and kernel together, in bytes; no target takes that much.
pub const MEMORY_EACH_BYTES: u64 = 256 * 1024;
/// Threads of the load process.
pub const WORKERS_MAX: u32 = 64;
/// UDP sockets of a worker; its connections are spread over them.
pub const ENDPOINTS_PER_WORKER: usize = 2;
/// Bytes that the kernel is asked to keep for each of these sockets; a flush to all sessions at once must not be dropped here.
pub const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Windows and buffers of sessions that never read, in bytes: full after a second or so, so that the server has to hold things back.
pub const SLOW_WINDOW_BYTES: u32 = 16 * 1024;
/// Bytes of a message body, at least: the due time in front must fit.
pub const BODY_BYTES_MIN: u32 = 16;
/// Connections that a worker opens at a time. Servers bound handshakes in flight.
pub const CONNECTING_MAX: usize = 32;
/// Attempts to open one connection.
pub const CONNECT_ATTEMPTS: u32 = 9;
/// Pause before the second attempt; before each further one it is twice as long.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
pub const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(4);
/// Time for one attempt, from the first packet to the reply to Subscribe.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Sends of one session that are due and not yet written; one more is not sent and counts as held back.
pub const SEND_QUEUE_MAX: usize = 64;
/// Sends of one session that have no reply yet and are remembered, so that the reply's latency can be taken.
pub const OPEN_SENDS_MAX: usize = SEND_QUEUE_MAX + client_protocol::limits::OPEN_REQUESTS_MAX;
/// Bytes that are taken off a stream at a time.
pub const READ_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a message of a peer.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Messages that wait for a client of the floor; who has more is dropped.
pub const FLOOR_QUEUE_MAX: usize = 4_096;
/// Messages that the floor hands to a stream together.
pub const FLOOR_WRITE_MAX: usize = 64;
/// Windows and buffers of the floor, in bytes: those of Starling's QUIC edge.
pub const FLOOR_SEND_WINDOW: u64 = 64 * 1024;
/// See [`FLOOR_SEND_WINDOW`].
pub const FLOOR_STREAM_RECEIVE_WINDOW: u32 = 64 * 1024;
/// See [`FLOOR_SEND_WINDOW`].
pub const FLOOR_RECEIVE_WINDOW: u32 = 128 * 1024;
/// See [`FLOOR_SEND_WINDOW`].
pub const FLOOR_DATAGRAM_BUFFER: usize = 16 * 1024;
/// Streams that a client of the floor may open, as at Starling's QUIC edge.
pub const FLOOR_STREAMS_MAX: u32 = 4;
/// A session of a mixed day moves its read mark this often.
pub const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// It says this often that it types.
pub const DAY_TYPING_INTERVAL: Duration = Duration::from_secs(4);
/// It asks this often for history.
pub const DAY_HISTORY_INTERVAL: Duration = Duration::from_secs(10);
/// Messages that it asks for.
pub const DAY_HISTORY_LIMIT: u32 = 50;
/// It says this often that it is away, or back.
pub const DAY_MOOD_INTERVAL: Duration = Duration::from_secs(10);
/// One session in so many of a mixed day comes and goes.
pub const DAY_VISITORS_EACH: u32 = 10;
/// So long it stays.
pub const DAY_VISIT: Duration = Duration::from_secs(8);
/// So long it is gone: longer than the time within which presence is told, so that others see it.
pub const DAY_ABSENCE: Duration = Duration::from_secs(2);
/// Joins that a worker has under way in the scenario that measures them.
pub const JOINING_MAX: usize = 16;
/// Silence before all connections are dropped, so that no send is under way.
pub const CALM: Duration = Duration::from_secs(1);
/// Time for the peers to be installed.
pub const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);
/// A connection without traffic sends a PING after this time (docs/protocol.md asks for 15 to 20 s).
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A silent connection is lost after this time.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for what was sent to arrive everywhere after the last send.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for connections to close at the end.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between "go" and the first send.
pub const START_DELAY: Duration = Duration::from_millis(100);
/// REST calls in flight that hash a password.
pub const REGISTER_IN_FLIGHT: usize = 8;
/// Other REST calls in flight.
pub const REST_IN_FLIGHT: usize = 32;
/// Attempts of a REST call that is answered with 429 or 503.
pub const REST_ATTEMPTS: u32 = 20;
/// Time for a REST call.
pub const REST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a conversation with the database before and after a round.
pub const DATABASE_TIMEOUT: Duration = Duration::from_secs(60);
/// Messages that are passed over in search of one that is like all others.
pub const SAMPLE_SKIPPED: u64 = 100;
/// Messages of an insert, at most.
pub const INSERT_BATCH_MAX: u32 = 1_000;
/// Connections to a database, at most.
pub const INSERT_CONNECTIONS_MAX: u32 = 1_000;
/// Time for the server to say where it listens.
pub const SERVER_START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for the server to stop before it is killed.
pub const SERVER_STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for all sessions to be connected.
pub const CONNECTED_TIMEOUT: Duration = Duration::from_secs(180);
/// Time for the load process to say the next thing, beyond what the plan says it takes.
pub const LOAD_SLACK: Duration = Duration::from_secs(30);
/// Lines of a child process that wait to be read.
pub const CHILD_LINES_MAX: usize = 1_024;
/// Different complaints of sessions that a result names.
pub const FAULTS_MAX: usize = 16;
/// The longest latency that is told apart, in microseconds.
pub const LATENCY_US_MAX: u64 = 120_000_000;
/// A delivery is late after this time.
pub const LATE: Duration = Duration::from_millis(100);
/// A rate at which a larger part of what was due comes late, or never, is too much.
pub const LATE_PART_MAX: f64 = 0.01;
/// Members of a room up to which its saturation can be found: Starling hands out what is said in larger ones over up to twice [`LATE`].
pub const RAMP_MEMBERS_MAX: u32 = 330;
/// Halvings between the last rate of a ramp that was kept up with and the first that was not.
pub const RAMP_BISECTIONS: u32 = 3;
/// Deliveries a second above which a ramp ends.
pub const RAMP_RATE_MAX: f64 = SENDS_PER_S_MAX * 10.0;
/// Below this part of the offered deliveries a round has failed.
pub const ACHIEVED_MIN: f64 = 0.95;
/// Above this lateness of the sends (p99, in milliseconds) the harness, not the server, is what was measured.
pub const LAG_P99_MS_MAX: f64 = 5.0;
/// Above this part of a core for each of its threads, the load process may be what is slow.
pub const CLIENTS_CORES_MAX: f64 = 0.85;
/// Above this part of a core used by other processes, figures are theirs too.
pub const OTHERS_CORES_MAX: f64 = 0.1;
/// Below this number of connections, memory for each says nothing: what is there once outweighs it.
pub const MEMORY_SESSIONS_MIN: u32 = 100;
/// How much the threads of what is only beside a measurement yield to the others.
pub const NICE_BESIDE: i32 = 19;

const _: () = assert!(BODY_BYTES_MIN as usize >= crate::load::stamp::STAMP_BYTES);
const _: () = assert!(SLOW_WINDOW_BYTES < starling_client::limits::STREAM_WINDOW_BYTES);
const _: () = assert!(LATE.as_millis() < DRAIN_TIMEOUT.as_millis());
const _: () = assert!(DAY_ABSENCE.as_millis() < DRAIN_TIMEOUT.as_millis());
const _: () = assert!(DAY_TYPING_INTERVAL.as_millis() as u64 >= client_protocol::limits::TYPING_INTERVAL_MS);
const _: () = assert!(client_protocol::limits::OPEN_REQUESTS_MAX <= SEND_QUEUE_MAX);
const _: () = assert!(CONNECTED_TIMEOUT.as_secs() as f64 + RUN_SECONDS_MAX < 600.0, "an access token must outlive the run");
