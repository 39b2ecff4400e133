//! Sessions beside each other: typing, one device twice, logins that end, tokens that are renewed.

use crate::common::raw::{assert_closed, device, transport};
use crate::common::{Raw, Server, head, post, register, step};
use client_protocol::frame::{Frame, LENGTH_BYTES};
use client_protocol::presence::{SetPresence, Typing, WatchPresence, state};
use client_protocol::room::ChangeMember;
use client_protocol::session::Reauth;
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, CloseCode, Code, Command, RoomId, ServerFrame};
use starling_client::rest::{Login, Rest};
use std::time::{Duration, Instant};

fn typing(room: RoomId) -> bytes::Bytes {
    ClientFrame::Typing(Typing { room, tail: EmptyTail::default() }).encode().slice(LENGTH_BYTES..)
}

async fn notice(session: &Raw) -> ServerFrame {
    let datagram = step("a datagram", session.connection().read_datagram()).await.unwrap();
    ServerFrame::decode(&Frame::parse(datagram).unwrap()).unwrap()
}

#[tokio::test]
async fn typing_reaches_the_other_readers() {
    let server = Server::start(&[]);
    let (anna, ben, carl) =
        (register(&server, "anna").await, register(&server, "ben").await, register(&server, "carl").await);
    let mut a = Raw::connect(&server, &anna.tokens.access_token).await;
    let mut b = Raw::connect(&server, &ben.tokens.access_token).await;
    let mut c = Raw::connect(&server, &carl.tokens.access_token).await;
    let room = a.create_group(vec![ben.user.id, carl.user.id]).await;
    for session in [&mut a, &mut b] {
        session.subscribe(room, 0).await;
    }
    // Rubbish, an unknown kind, a room that one does not read: nothing happens.
    for rubbish in [vec![], vec![1], vec![0x50, 0x01], vec![0xff; 300]] {
        a.connection().send_datagram(rubbish.into()).unwrap();
    }
    c.connection().send_datagram(typing(room)).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    a.connection().send_datagram(typing(room)).unwrap();
    match notice(&b).await {
        ServerFrame::TypingNotice(notice) => assert_eq!((notice.room, notice.user), (room, anna.user.id)),
        other => panic!("{other:?}"),
    }
    // Too often, and not to oneself.
    for _ in 0..200 {
        let _full = a.connection().send_datagram(typing(room));
    }
    let more = Duration::from_millis(500);
    assert!(tokio::time::timeout(more, b.connection().read_datagram()).await.is_err(), "one in three seconds");
    assert!(tokio::time::timeout(more, a.connection().read_datagram()).await.is_err(), "not to oneself");
    assert!(tokio::time::timeout(more, c.connection().read_datagram()).await.is_err(), "readers only");
    assert_eq!(c.subscribe(room, 0).await, 1, "the sessions are none the worse");
}

#[tokio::test]
async fn presence_is_told_to_those_who_share_a_room() {
    let server = Server::start(&[]);
    let (dora, emil) = (register(&server, "dora").await, register(&server, "emil").await);
    let mut d = Raw::connect(&server, &dora.tokens.access_token).await;
    let mut e = Raw::connect(&server, &emil.tokens.access_token).await;
    let room = d.create_group(vec![emil.user.id]).await;
    d.subscribe(room, 0).await;
    d.done(&Command::WatchPresence(WatchPresence { users: vec![emil.user.id], tail: EmptyTail::default() })).await;
    let seen = async |d: &mut Raw, expected: u8| {
        let users = d
            .wait_for("presence", |frame| match frame {
                ServerFrame::Presence(presence) => Some(presence.users.clone()),
                _ => None,
            })
            .await;
        assert_eq!(users, [(emil.user.id, expected)]);
    };
    seen(&mut d, state::ONLINE).await;
    e.done(&Command::SetPresence(SetPresence { state: state::AWAY, tail: EmptyTail::default() })).await;
    seen(&mut d, state::AWAY).await;
    e.close().await;
    seen(&mut d, state::OFFLINE).await;
}

#[tokio::test]
async fn a_device_has_one_session() {
    let server = Server::start(&[]);
    let account = register(&server, "fritz").await;
    let token = &account.tokens.access_token;
    let (phone, desk) = (device(), device());
    let first = Raw::connect_as(&server, token, phone).await;
    let mut other = Raw::connect_as(&server, token, desk).await;
    let mut second = Raw::connect_as(&server, token, phone).await;
    assert_closed(first.connection(), CloseCode::Replaced).await;
    let room = second.create_group(Vec::new()).await;
    assert_eq!(other.subscribe(room, 0).await, 1, "the other device stays");
    // A slot that is used again does not mix sessions up.
    for _ in 0..20 {
        second = Raw::connect_as(&server, token, phone).await;
    }
    assert_eq!(second.subscribe(room, 0).await, 1);
    second.done(&post(room, "to both")).await;
    assert_eq!(other.events_through(room, 1, 2).await.len(), 2);
    assert_eq!(second.events_through(room, 1, 2).await.len(), 2);
}

#[tokio::test]
async fn a_login_that_ends_takes_its_sessions_along() {
    let server = Server::start(&["--user-rate", "1000000", "--user-burst", "1000000"]);
    let account = register(&server, "gerda").await;
    let rest = Rest::new(&server.rest_url()).unwrap();
    let again = rest.login(&Login::new("gerda", "a long enough password")).await.unwrap();

    let reads = Raw::connect(&server, &account.tokens.access_token).await;
    let mut stays = Raw::connect(&server, &again.tokens.access_token).await;
    // One that reads nothing and has a lot to read.
    let mut small = transport();
    small.stream_receive_window(4_096_u32.into());
    let mut stalled = Raw::connect_with(&server, &account.tokens.access_token, device(), small).await;
    let room = stays.create_group(Vec::new()).await;
    stalled.subscribe(room, 0).await;
    let text = "x".repeat(8_000);
    for _ in 0..30 {
        stays.done(&post(room, &text)).await;
    }
    let began = Instant::now();
    rest.logout(&account.tokens.access_token).await.unwrap();
    assert_closed(reads.connection(), CloseCode::SessionRevoked).await;
    assert_closed(stalled.connection(), CloseCode::SessionRevoked).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    stays.done(&post(room, "the other login goes on")).await;
}

#[tokio::test]
async fn logins_that_end_while_sessions_begin_leave_none_behind() {
    let server = Server::start(&[]);
    let rest = Rest::new(&server.rest_url()).unwrap();
    register(&server, "hugo").await;
    for _ in 0..10 {
        let login = rest.login(&Login::new("hugo", "a long enough password")).await.unwrap();
        let token = login.tokens.access_token;
        // All sorts of order between the end of the login and the five beginnings.
        let connect = async {
            let mut sessions = Vec::new();
            for _ in 0..5 {
                sessions.extend(Raw::try_connect(&server, &token, device()).await);
            }
            sessions
        };
        let (sessions, ended) = tokio::join!(connect, async {
            tokio::time::sleep(Duration::from_millis(15)).await;
            rest.logout(&token).await
        });
        ended.unwrap();
        for session in sessions {
            assert_closed(session.connection(), CloseCode::SessionRevoked).await;
        }
    }
}

#[tokio::test]
async fn a_token_is_renewed_on_the_session() {
    let server = Server::start(&[]);
    let (ida, jan) = (register(&server, "ida").await, register(&server, "jan").await);
    let rest = Rest::new(&server.rest_url()).unwrap();
    let mut session = Raw::connect(&server, &ida.tokens.access_token).await;
    let renewed = rest.refresh(&ida.tokens.refresh_token).await.unwrap();
    let reauth = |token: &str| Command::Reauth(Reauth { token: token.into(), tail: EmptyTail::default() });
    session.done(&reauth(&renewed.access_token)).await;
    let room = session.create_group(Vec::new()).await;
    session.done(&post(room, "still here")).await;
    // Another user's token is no renewal.
    let id = session.send(&reauth(&jan.tokens.access_token)).await;
    assert_eq!(session.reply(id).await.code(), Code::Unauthenticated);
    assert_closed(session.connection(), CloseCode::Unauthenticated).await;
    let mut session = Raw::connect(&server, &renewed.access_token).await;
    let id = session.send(&reauth("nonsense")).await;
    assert_eq!(session.reply(id).await.code(), Code::Unauthenticated);
    assert_closed(session.connection(), CloseCode::Unauthenticated).await;
}

#[tokio::test]
async fn tokens_are_not_checked_without_end() {
    let server = Server::start(&[]);
    let ida = register(&server, "ida").await;
    let mut session = Raw::connect(&server, &ida.tokens.access_token).await;
    let reauth = Command::Reauth(Reauth { token: ida.tokens.access_token.clone(), tail: EmptyTail::default() });
    // More than the server's burst, faster than its rate.
    let mut refused = None;
    for _ in 0..200 {
        let reply = session.request(&reauth).await;
        if reply.code() != Code::Ok {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("all of them were checked");
    assert_eq!(refused.code(), Code::RateLimited);
    assert!(refused.tail.retry_after_ms.is_some_and(|wait_ms| (1..=1_000).contains(&wait_ms)), "{refused:?}");
    let room = session.create_group(Vec::new()).await;
    session.done(&post(room, "still here")).await;
}

#[tokio::test]
async fn who_is_removed_sees_it_and_nothing_after() {
    let server = Server::start(&[]);
    let (karl, lena) = (register(&server, "karl").await, register(&server, "lena").await);
    let mut k = Raw::connect(&server, &karl.tokens.access_token).await;
    let mut l = Raw::connect(&server, &lena.tokens.access_token).await;
    let room = k.create_group(vec![lena.user.id]).await;
    l.subscribe(room, 0).await;
    k.done(&post(room, "seen")).await;
    let kick = ChangeMember { head: head(room), user: lena.user.id, tail: EmptyTail::default() };
    assert_eq!(k.done(&Command::KickMember(kick)).await, 3);
    k.done(&post(room, "not seen")).await;
    l.events_through(room, 1, 3).await;
    let (last_seq, code) = l
        .wait_for("the end", |frame| match frame {
            ServerFrame::SubscriptionEnded(ended) if ended.room == room => Some((ended.last_seq, ended.code)),
            _ => None,
        })
        .await;
    assert_eq!((last_seq, code), (3, Code::NotFound.number()));
    assert_eq!(l.request(&post(room, "no more")).await.code(), Code::NotFound);
}
