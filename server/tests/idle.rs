//! A server with nothing to do does nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Raw, Server, raw, register};
use std::time::Duration;

const OVER: Duration = Duration::from_secs(3);
/// A runner that does not park uses 3 s here; ticks of a millisecond that find nothing, about 100 ms.
const CPU_MAX: Duration = Duration::from_millis(60);

const SESSIONS: u64 = 100;
/// Resident memory for an idle session: TLS and QUIC state, the room list that it was sent, what the allocator keeps after handshakes.
const SESSION_BYTES_MAX: u64 = 128 * 1024;

async fn cpu_used(server: &Server) -> Duration {
    let before = server.cpu_time();
    tokio::time::sleep(OVER).await;
    server.cpu_time() - before
}

#[tokio::test]
async fn nothing_to_do_costs_nothing() {
    let server = Server::start(&[]);
    // The start itself, and its first looks at the disk, are not meant.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = cpu_used(&server).await;
    assert!(used < CPU_MAX, "without a client: {used:?} in {OVER:?}");

    let account = register(&server, "alice").await;
    let before = server.resident_bytes();
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut quiet = raw::transport();
        quiet.keep_alive_interval(Some(Duration::from_secs(20)));
        sessions.push(Raw::connect_with(&server, &account.tokens.access_token, raw::device(), quiet).await);
    }
    let room = sessions[0].create_group(Vec::new()).await;
    for session in &mut sessions {
        session.subscribe(room, 0).await;
    }
    // Follow-ups of the room, levels, acknowledgements.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = cpu_used(&server).await;
    assert!(used < CPU_MAX, "with {SESSIONS} idle sessions: {used:?} in {OVER:?}");
    let per_session = (server.resident_bytes() - before) / SESSIONS;
    println!("{} KiB for an idle session", per_session / 1024);
    assert!(per_session < SESSION_BYTES_MAX, "{per_session} bytes for an idle session");
}
