//! Close codes, tokens and trust: when the client comes back, and with what.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use client_protocol::session::{Reply, Welcome};
use client_protocol::{CloseCode, Code, Command};
use common::*;
use sha2::{Digest, Sha256};
use starling_client::{AccessToken, Client, ClientError, SessionItem, TokenError, TokenRequest, Trust};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Gives `token-0`, and a new one each time another is asked for.
fn counted(count: &Arc<AtomicU32>) -> impl Fn(TokenRequest) -> std::future::Ready<Result<AccessToken, TokenError>> + use<> {
    let count = Arc::clone(count);
    move |request| {
        let n = if request.fresh { count.fetch_add(1, Ordering::SeqCst) + 1 } else { count.load(Ordering::SeqCst) };
        std::future::ready(Ok(AccessToken::new(format!("token-{n}"))))
    }
}

#[tokio::test]
async fn codes_that_say_so_end_the_session_and_every_call() {
    for code in [CloseCode::Replaced, CloseCode::SessionRevoked, CloseCode::AccountDisabled, CloseCode::Normal] {
        let server = FakeServer::start();
        let (client, mut session) = server.connected().await;
        let mut items = client.session_items();
        let serve = async {
            session.request().await;
            session.close(code);
        };
        let (answer, ()) = tokio::join!(step(client.post(room(9), "a")), serve);
        assert!(matches!(answer.unwrap_err(), ClientError::Unknown { key: Some(_) }), "it was sent");
        let reason = step(client.closed()).await;
        assert!(matches!(reason, ClientError::Closed { code: Some(seen), .. } if seen == code as u64), "{reason}");
        assert_eq!(step(client.post(room(9), "b")).await.unwrap_err(), reason);
        assert_eq!(step(client.rooms()).await.unwrap_err(), reason);
        assert_eq!(client.welcome().unwrap_err(), reason);
        let mut last = None;
        while let Some(item) = step(items.next()).await {
            last = Some(item);
        }
        assert!(matches!(last, Some(SessionItem::Disconnected { reconnect_in: None, .. })));
    }
}

#[tokio::test]
async fn codes_of_a_passing_trouble_make_the_client_come_back() {
    let server = FakeServer::start();
    let (client, mut session) = server.connected().await;
    for code in [CloseCode::GoingAway, CloseCode::Overloaded, CloseCode::Internal, CloseCode::HelloTimeout] {
        session.close(code);
        session = server.welcomed().await;
    }
    let (acked, ()) = tokio::join!(step(client.post(room(9), "a")), async {
        let (id, _) = session.request().await;
        session.reply(id, Reply::done(1)).await;
    });
    assert!(acked.is_ok());
}

#[tokio::test]
async fn an_expired_token_is_replaced_before_the_client_comes_back() {
    let server = FakeServer::start();
    let count = Arc::default();
    let connecting = server.builder(counted(&count)).connect();
    let serve = async {
        let session = server.greeted().await;
        assert_eq!(session.token(), "token-0");
        session.close(CloseCode::TokenExpired);
        let mut session = server.greeted().await;
        assert_eq!(session.token(), "token-1");
        session.welcome(welcome()).await;
        session
    };
    let (client, session) = step(async { tokio::join!(connecting, serve) }).await;
    session.close(CloseCode::TokenExpired);
    let mut session = server.greeted().await;
    assert_eq!(session.token(), "token-2");
    session.welcome(welcome()).await;
    assert!(client.is_ok());
    drop(client);
    assert_eq!(session.closed_by_client().await, CloseCode::Normal as u64, "the last handle is gone");
}

#[tokio::test]
async fn a_refused_token_is_not_shown_twice() {
    let server = FakeServer::start();
    let connecting = server.builder(AccessToken::new("bad")).connect();
    let refuse = async { server.greeted().await.close(CloseCode::Unauthenticated) };
    let (client, ()) = step(async { tokio::join!(connecting, refuse) }).await;
    let error = client.unwrap_err();
    assert!(error.is_unauthenticated() && matches!(error, ClientError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn the_token_is_renewed_before_it_ends() {
    let server = FakeServer::start();
    let count = Arc::default();
    let connecting = server.builder(counted(&count)).connect();
    let serve = async {
        let mut session = server.greeted().await;
        let now_ms = 1_700_000_000_000;
        session.welcome(Welcome { now_ms, expires_ms: now_ms + 1_000, ..welcome() }).await;
        session
    };
    let (client, mut session) = step(async { tokio::join!(connecting, serve) }).await;
    for expected in ["token-1", "token-2"] {
        let (id, command) = session.request().await;
        let Command::Reauth(reauth) = command else { panic!("{command:?}") };
        assert_eq!(reauth.token, expected);
        session.reply(id, Reply::done(0)).await;
    }
    drop(client);
}

#[tokio::test]
async fn a_command_that_met_an_expired_token_is_sent_again_with_a_new_one() {
    let server = FakeServer::start();
    let count = Arc::default();
    let connecting = server.builder(counted(&count)).connect();
    let (client, mut session) = step(async { tokio::join!(connecting, server.welcomed()) }).await;
    let client = client.unwrap();
    let serve = async {
        let (id, _) = session.request().await;
        session.reply(id, Reply::refused(Code::TokenExpired, "")).await;
        let (id, command) = session.request().await;
        assert!(matches!(command, Command::Reauth(_)), "{command:?}");
        session.reply(id, Reply::done(0)).await;
        let (id, command) = session.request().await;
        assert!(matches!(command, Command::PostMessage(post) if !post.head.retry));
        session.reply(id, Reply::done(3)).await;
    };
    let (acked, ()) = tokio::join!(step(client.post(room(9), "a")), serve);
    assert_eq!(acked.unwrap().seq, 3);
}

#[tokio::test]
async fn only_trusted_servers_are_spoken_to() {
    let server = FakeServer::start();
    let other = FakeServer::start();
    let fingerprint: [u8; 32] = Sha256::digest(&server.certificate).into();
    let build = |trust: Trust, address: String| {
        let builder = Client::builder(address).trust(trust).tokens(AccessToken::new("token"));
        builder.connect_timeout(Duration::from_secs(5)).connect()
    };
    let address = server.address.to_string();
    for trust in [Trust::Fingerprint(fingerprint), Trust::AnyOnLoopback] {
        let (client, _session) = step(async { tokio::join!(build(trust, address.clone()), server.welcomed()) }).await;
        assert!(client.is_ok());
    }
    for trust in [Trust::CaPem(other.pem.clone().into_bytes()), Trust::Fingerprint([7; 32])] {
        let client = build(trust, address.clone());
        let refused = async { server.failed_handshake().await };
        let (client, ()) = step(async { tokio::join!(client, refused) }).await;
        assert!(matches!(client.unwrap_err(), ClientError::Tls(_)));
    }
    // An address of a documentation range: nothing is sent there.
    let refused = step(build(Trust::AnyOnLoopback, "192.0.2.1:9".into())).await;
    assert!(matches!(refused.unwrap_err(), ClientError::Config(_)));
}

#[tokio::test]
async fn an_unreachable_server_is_told_at_once() {
    let server = FakeServer::start();
    // A socket that nobody answers on.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let connecting = Client::builder(address)
        .trust(Trust::CaPem(server.pem.clone().into_bytes()))
        .tokens(AccessToken::new("token"))
        .connect_timeout(Duration::from_millis(300))
        .connect();
    assert!(matches!(step(connecting).await.unwrap_err(), ClientError::Connect(_)));
}
