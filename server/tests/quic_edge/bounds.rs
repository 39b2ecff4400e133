//! Bounds of what one client may have open.

use crate::common::raw::{device, transport};
use crate::common::{Hooked, Raw, Server, register, step};
use client_protocol::limits::OPEN_REQUESTS_MAX;
use client_protocol::presence::SetPresence;
use client_protocol::room::ListRooms;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, Query, ServerFrame};
use std::time::Duration;

/// Requests of a client that does not read: some 300 kB.
const REQUESTS: u64 = 20_000;

#[tokio::test]
async fn who_does_not_read_answers_is_not_read() {
    let server = Server::start(&["--user-burst", "1000000"]);
    let account = register(&server, "ivan").await;
    // Room for the answers to a few dozen requests, not more.
    let mut small = transport();
    small.stream_receive_window(1_024_u32.into()).receive_window(1_024_u32.into());
    let mut session = Raw::connect_with(&server, &account.tokens.access_token, device(), small).await;
    assert_eq!(session.welcome.open_requests_max as usize, OPEN_REQUESTS_MAX);

    let online = Command::SetPresence(SetPresence { state: 1, tail: EmptyTail::default() });
    let frames: Vec<u8> = (1..=REQUESTS).flat_map(|request| online.frame(request)).collect();
    let before = server.resident_bytes();
    let mut taken = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), session.hooked.send.write(&frames[taken..])).await {
        taken += written.unwrap();
    }
    // The server's window for a stream, and the requests that may be open or whose answers are under way.
    assert!(taken < 70_000, "the server took {taken} bytes from a client that reads no answers");
    assert!(session.connection().close_reason().is_none(), "nor is it closed");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "the server grew by {grown} bytes");

    // Whoever reads again is read again: every request is answered, in order.
    let Hooked { mut send, mut recv, connection, .. } = session.hooked;
    let rest = async { send.write_all(&frames[taken..]).await.unwrap() };
    let answers = async {
        for request in 1..=REQUESTS {
            match step("an answer", recv.next()).await {
                Some(ServerFrame::Reply(id, reply)) => assert_eq!((id, reply.code()), (request, Code::Ok)),
                other => panic!("{other:?} where answer {request} was due"),
            }
        }
    };
    tokio::join!(rest, answers);
    assert!(connection.close_reason().is_none());
}

#[tokio::test]
async fn streams_are_counted() {
    let server = Server::start(&[]);
    let account = register(&server, "judy").await;
    let session = Raw::connect(&server, &account.tokens.access_token).await;
    let connection = session.connection().clone();
    let query = Query::ListRooms(ListRooms { offset: 0, limit: 10, tail: EmptyTail::default() }).frame(1);
    // Beside the session three, which have begun and not finished.
    let mut open = Vec::new();
    for _ in 0..3 {
        let (mut send, recv) = step("a stream", connection.open_bi()).await.unwrap();
        send.write_all(&query[..5]).await.unwrap();
        open.push((send, recv));
    }
    let fourth = tokio::time::timeout(Duration::from_millis(500), connection.open_bi()).await;
    assert!(fourth.is_err(), "the transport holds a fifth stream back");
    let uni = tokio::time::timeout(Duration::from_millis(200), connection.open_uni()).await;
    assert!(uni.is_err(), "there are no streams of one direction");
    // One that ends makes room for the next.
    let (mut send, recv) = open.pop().unwrap();
    send.write_all(&query[5..]).await.unwrap();
    send.finish().unwrap();
    let mut frames = crate::common::raw::Frames::new(recv);
    assert!(matches!(step("an answer", frames.next()).await, Some(ServerFrame::RoomsPage(1, _))));
    assert!(step("the end", frames.next()).await.is_none());
    let (mut send, recv) = step("a stream", connection.open_bi()).await.unwrap();
    send.write_all(&query).await.unwrap();
    assert!(matches!(
        step("an answer", crate::common::raw::Frames::new(recv).next()).await,
        Some(ServerFrame::RoomsPage(1, _))
    ));
    assert!(connection.close_reason().is_none());
}
