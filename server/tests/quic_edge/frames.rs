//! After `Welcome`: frames that are wrong, answered where that is possible.

use super::hello::announced;
use crate::common::raw::{Frames, assert_closed, device, hello};
use crate::common::{Raw, Server, key, post, register, step, subscribe};
use bytes::Bytes;
use client_protocol::room::{ListRooms, SettingsTail, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{CloseCode, Code, Command, Query, RoomId, ServerFrame, codec};
use uuid::Uuid;

/// A frame with any kind and any bytes after it.
fn frame(kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = (rest.len() as u32 + 2).to_le_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

async fn code_of(session: &mut Raw, bytes: &[u8], request: u64) -> Code {
    session.hooked.write(bytes).await;
    session.reply(request).await.code()
}

#[tokio::test]
async fn a_request_that_is_wrong_is_answered_and_the_session_lives() {
    let server = Server::start(&[]);
    let account = register(&server, "erin").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;

    assert_eq!(code_of(&mut session, &frame(0x01ee, &[77]), 77).await, Code::UnknownKind);
    assert_eq!(code_of(&mut session, &frame(0x7fff, &[78, 1, 2, 3]), 78).await, Code::UnknownKind);
    // A query belongs on a stream of its own.
    let query = Query::ListRooms(ListRooms { offset: 0, limit: 1, tail: EmptyTail::default() });
    assert_eq!(code_of(&mut session, &query.frame(79), 79).await, Code::UnknownKind);
    // Cut, too long, not UTF-8, a number of no meaning.
    let whole = post(RoomId(Uuid::nil()), "text").frame(80);
    let rest = &whole[6..];
    assert_eq!(code_of(&mut session, &frame(0x0130, &rest[..rest.len() - 1]), 80).await, Code::Malformed);
    let mut longer = rest.to_vec();
    longer.push(0);
    assert_eq!(code_of(&mut session, &frame(0x0130, &longer), 80).await, Code::Malformed);
    assert_eq!(code_of(&mut session, &frame(0x0101, &[81, 2, 0xff, 0xfe, 0]), 81).await, Code::Malformed);
    assert_eq!(code_of(&mut session, &frame(0x0141, &[82, 1]), 82).await, Code::Malformed);
    assert_eq!(code_of(&mut session, &frame(0x0141, &[83, 9, 0]), 83).await, Code::InvalidField);
    // The longest request ids there are.
    let mut long_id = codec::encode(&u64::MAX);
    long_id.extend_from_slice(&[1, 0]);
    assert_eq!(code_of(&mut session, &frame(0x0141, &long_id), u64::MAX).await, Code::Ok);
    // A tail of a later version is skipped.
    assert_eq!(code_of(&mut session, &frame(0x0141, &[84, 1, 3, 1, 2, 3]), 84).await, Code::Ok);
    let room = session.create_group(Vec::new()).await;
    assert_eq!(session.subscribe(room, 0).await, 1);
}

#[tokio::test]
async fn a_frame_that_cannot_be_answered_closes_the_connection() {
    let server = Server::start(&[]);
    let account = register(&server, "frank").await;
    let token = &account.tokens.access_token;
    let hello_again = hello(token, device()).to_vec();
    let cases: Vec<(Vec<u8>, CloseCode)> = vec![
        (announced(u32::MAX), CloseCode::FrameTooLarge),
        (announced(65_537), CloseCode::FrameTooLarge),
        (announced(1), CloseCode::ProtocolError),
        // No request id, or one that is none.
        (frame(0x0130, &[]), CloseCode::ProtocolError),
        (frame(0x01ee, &[]), CloseCode::ProtocolError),
        (frame(0x0130, &[255, 1, 2]), CloseCode::ProtocolError),
        (hello_again, CloseCode::ProtocolError),
    ];
    for (bytes, code) in cases {
        let mut session = Raw::connect(&server, token).await;
        session.hooked.write(&bytes).await;
        assert_closed(session.connection(), code).await;
    }
    // On the stream of a query too.
    for (bytes, code) in [
        (announced(u32::MAX), CloseCode::FrameTooLarge),
        (announced(1), CloseCode::ProtocolError),
        (frame(0x0180, &[]), CloseCode::ProtocolError),
    ] {
        let session = Raw::connect(&server, token).await;
        let (mut send, _recv) = session.connection().open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_closed(session.connection(), code).await;
    }
    // Whoever does not want what the server says has no session.
    let mut session = Raw::connect(&server, token).await;
    let (_, other) = session.connection().open_bi().await.unwrap();
    let mut frames = Frames::new(other);
    std::mem::swap(&mut frames, &mut session.hooked.recv);
    // Dropped before its end: STOP_SENDING.
    drop(frames);
    let _late = session.send(&subscribe(RoomId(Uuid::nil()), 0, 0)).await;
    assert_closed(session.connection(), CloseCode::ProtocolError).await;
}

#[tokio::test]
async fn a_query_that_is_wrong_is_answered() {
    let server = Server::start(&[]);
    let account = register(&server, "grace").await;
    let session = Raw::connect(&server, &account.tokens.access_token).await;
    let ask = async |bytes: Vec<u8>| {
        let (mut send, recv) = session.connection().open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        match step("an answer", Frames::new(recv).next()).await {
            Some(ServerFrame::Reply(request, reply)) => (request, reply.code()),
            other => panic!("{other:?} where a refusal was due"),
        }
    };
    assert_eq!(ask(frame(0x0180, &[5, 1])).await, (5, Code::Malformed));
    assert_eq!(ask(frame(0x01fe, &[6])).await, (6, Code::UnknownKind));
    assert_eq!(ask(subscribe(RoomId(Uuid::nil()), 0, 0).frame(7).to_vec()).await, (7, Code::UnknownKind));
    let none = Query::ListRooms(ListRooms { offset: 0, limit: 0, tail: EmptyTail::default() });
    assert_eq!(ask(none.frame(8).to_vec()).await, (8, Code::InvalidField));
    // A stream that ends without a query is nobody's harm.
    let (mut send, recv) = session.connection().open_bi().await.unwrap();
    send.write_all(&[9]).await.unwrap();
    send.finish().unwrap();
    assert!(step("the end", Frames::new(recv).next()).await.is_none());
    let rooms = Query::ListRooms(ListRooms { offset: 0, limit: 10, tail: EmptyTail::default() });
    assert!(matches!(session.query(&rooms).await, ServerFrame::RoomsPage(7, _)));
}

/// Bodies that claim more than they have, at every place of a command.
fn bombs() -> Vec<Bytes> {
    let room = RoomId(Uuid::nil());
    let settings = SettingsTail { name: Some("n".into()), ..SettingsTail::default() };
    let create = client_protocol::room::CreateRoom { key: key(), kind: kind::GROUP, members: Vec::new(), settings };
    let whole = [Command::CreateRoom(create).frame(1), post(room, "text").frame(1), subscribe(room, 0, 0).frame(1)];
    let claims: [&[u8]; 5] = [
        &[253, 0, 0, 0, 0, 0, 0, 0, 128],
        &[253, 255, 255, 255, 255, 255, 255, 255, 255],
        &[252, 255, 255, 255, 255],
        &[252, 0, 0, 4, 0],
        &[251, 255, 255],
    ];
    let mut bombs = Vec::new();
    for whole in &whole {
        // After length, kind and request id.
        for at in 7..whole.len() {
            for claim in claims {
                let mut bytes = whole[..at].to_vec();
                bytes.extend_from_slice(claim);
                let length = bytes.len() as u32 - 4;
                bytes[..4].copy_from_slice(&length.to_le_bytes());
                bombs.push(bytes.into());
            }
        }
    }
    bombs
}

#[tokio::test]
async fn bombs_are_answered_and_cost_nothing() {
    let server = Server::start(&[]);
    let account = register(&server, "heidi").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let bombs = bombs();
    let before = server.resident_bytes();
    for _ in 0..3 {
        for lot in bombs.chunks(32) {
            for bomb in lot {
                session.hooked.write(bomb).await;
            }
            for _ in lot {
                let code = session.reply(1).await.code();
                assert!(code != Code::Ok, "a bomb was taken for a command");
            }
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{} bombs made the server grow by {grown} bytes", 3 * bombs.len());
}
