//! Before `Welcome`.

use crate::common::raw::{assert_closed, device, hello};
use crate::common::{Hooked, Server, register, step, subscribe};
use client_protocol::limits::{HELLO_BYTES_MAX, HELLO_TIMEOUT_MS};
use client_protocol::{CloseCode, RoomId, ServerFrame, SessionId, UserId};
use jsonwebtoken::{EncodingKey, Header};
use starling_client::rest::Rest;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

const SECRET: &str = "a secret of more than thirty-two bytes";

/// A length that announces so many bytes, and a few of them.
pub(crate) fn announced(length: u32) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0x00, 0x01, 0, 0]);
    bytes
}

#[tokio::test]
async fn a_hello_must_come_in_time() {
    let server = Server::start(&[]);
    let began = Instant::now();
    let silent = Hooked::open(&server).await;
    let mut slow = Hooked::open(&server).await;
    let frame = hello("a token that never comes whole", device());
    let drip = async {
        for byte in frame.iter().take(20) {
            if slow.send.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert_closed(&slow.connection, CloseCode::HelloTimeout).await;
    };
    tokio::join!(assert_closed(&silent.connection, CloseCode::HelloTimeout), drip);
    assert!(began.elapsed() >= Duration::from_millis(HELLO_TIMEOUT_MS - 100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_no_hello_is_refused() {
    let server = Server::start(&[]);
    let refused = |bytes: Vec<u8>, code: CloseCode| {
        let server = &server;
        async move {
            let mut hooked = Hooked::open(server).await;
            hooked.write(&bytes).await;
            assert_closed(&hooked.connection, code).await;
        }
    };
    refused(announced(u32::MAX), CloseCode::FrameTooLarge).await;
    refused(announced(HELLO_BYTES_MAX as u32 + 1), CloseCode::FrameTooLarge).await;
    refused(announced(1), CloseCode::ProtocolError).await;
    refused(announced(0), CloseCode::ProtocolError).await;
    // A request, a frame of no kind that there is, a hello that is cut, one with something after it.
    let request = subscribe(RoomId(Uuid::nil()), 0, 0).frame(1);
    refused(request.to_vec(), CloseCode::ProtocolError).await;
    refused(vec![5, 0, 0, 0, 0xbc, 0x7a, 1, 2, 3], CloseCode::ProtocolError).await;
    refused(vec![4, 0, 0, 0, 0x00, 0x01, 0, 0], CloseCode::ProtocolError).await;
    let mut longer = hello("token", device()).to_vec();
    longer.push(0);
    longer[0] += 1;
    refused(longer, CloseCode::ProtocolError).await;
    // The stream ends before its first frame.
    let mut hooked = Hooked::open(&server).await;
    hooked.write(&[33]).await;
    hooked.send.finish().unwrap();
    assert_closed(&hooked.connection, CloseCode::ProtocolError).await;
}

fn token(user: UserId, login: SessionId, ends_in_s: i64, secret: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({
        "iss": "starling", "aud": "starling", "sub": user.0, "sid": login.0,
        "iat": now - 60, "nbf": now - 60, "exp": now.checked_add_signed(ends_in_s).unwrap(),
    });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

async fn refused_token(server: &Server, token: &str, code: CloseCode) {
    let mut hooked = Hooked::open(server).await;
    hooked.write(&hello(token, device())).await;
    assert_closed(&hooked.connection, code).await;
}

#[tokio::test]
async fn a_token_is_refused_with_the_reason() {
    let server = Server::start_with_env(&[], &[("JWT_SECRET", SECRET)]);
    let account = register(&server, "carol").await;
    let (user, login) = (account.user.id, account.tokens.session());

    let mut hooked = Hooked::open(&server).await;
    hooked.write(&hello(&token(user, login, 60, SECRET), device())).await;
    assert!(
        matches!(step("welcome", hooked.recv.next()).await, Some(ServerFrame::Welcome(_))),
        "the test's tokens are good"
    );

    refused_token(&server, "", CloseCode::Unauthenticated).await;
    refused_token(&server, "no.token.at-all", CloseCode::Unauthenticated).await;
    refused_token(&server, &"x".repeat(3_500), CloseCode::Unauthenticated).await;
    refused_token(&server, &token(user, login, 60, "another secret, also long enough for it"), CloseCode::Unauthenticated)
        .await;
    refused_token(&server, &token(user, login, -60, SECRET), CloseCode::TokenExpired).await;
    refused_token(&server, &token(user, SessionId(Uuid::new_v4()), 60, SECRET), CloseCode::SessionRevoked).await;

    Rest::new(&server.rest_url()).unwrap().logout(&account.tokens.access_token).await.unwrap();
    refused_token(&server, &account.tokens.access_token, CloseCode::SessionRevoked).await;
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let server = Server::start_with_env(&[], &[("JWT_SECRET", SECRET)]);
    let account = register(&server, "dave").await;
    let (user, login) = (account.user.id, account.tokens.session());
    let ends = crate::common::Raw::connect(&server, &token(user, login, 2, SECRET)).await;
    let mut renewed = crate::common::Raw::connect(&server, &token(user, login, 2, SECRET)).await;
    let reauth = client_protocol::session::Reauth { token: token(user, login, 300, SECRET), tail: Default::default() };
    renewed.done(&client_protocol::Command::Reauth(reauth)).await;
    assert_closed(ends.connection(), CloseCode::TokenExpired).await;
    let room = renewed.create_group(Vec::new()).await;
    assert_eq!(renewed.subscribe(room, 0).await, 1, "the renewed session lives on");
}
