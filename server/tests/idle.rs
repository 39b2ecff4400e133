//! A server with nothing to do does nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Raw, Server, raw, register};
use std::time::Duration;

const OVER: Duration = Duration::from_secs(3);
/// A runner that does not park uses 3 s here; ticks of a millisecond that find nothing, about 100 ms.
const CPU_MAX: Duration = Duration::from_millis(60);

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
    let mut sessions = Vec::new();
    for _ in 0..100 {
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
    assert!(used < CPU_MAX, "with 100 idle sessions: {used:?} in {OVER:?}");
    let per_session = server.resident_bytes() / 100;
    println!("{} KiB a session, everything counted", per_session / 1024);
}
