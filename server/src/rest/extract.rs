//! What a handler takes from a request: the caller, the key, the body, the parts of the path and the query. What cannot be taken is
//! answered as a [`Problem`].

use super::problem::{Problem, RestCode};
use super::{Api, PeerAddr};
use crate::auth::Identity;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, REST_BODY_BYTES_MAX, REST_HEADER_TIMEOUT};
use axum::RequestPartsExt;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use client_protocol::room::CommandHead;
use client_protocol::{Code, Key, RoomId};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// Who calls, by a token that is good now.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub Identity);

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let token =
            bearer(&parts.headers).ok_or_else(|| Problem::of(Code::Unauthenticated, "no Authorization: Bearer header"))?;
        Ok(Self(api.accounts.authenticate(token).await?))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The address that the request came from.
#[derive(Debug, Clone, Copy)]
pub struct ClientIp(pub IpAddr);

impl FromRequestParts<Api> for ClientIp {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<PeerAddr>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        // Only the last entry was written by our own proxy; those before it are whatever the client sent.
        let last = |headers: &HeaderMap| -> Option<IpAddr> {
            let value = headers.get_all("x-forwarded-for").iter().next_back()?;
            value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
        };
        let forwarded = if api.forwarded_for { last(&parts.headers) } else { None };
        Ok(Self(forwarded.unwrap_or(peer)))
    }
}

/// The key of a write: the one of the client, which may have sent it before, or a new one.
#[derive(Debug, Clone, Copy)]
pub struct WriteKey {
    /// The key.
    pub key: Key,
    /// It may have been sent before.
    pub retry: bool,
}

impl WriteKey {
    /// What each command to a room says first.
    #[must_use]
    pub const fn head(self, room: RoomId) -> CommandHead {
        CommandHead { room, key: self.key, retry: self.retry }
    }
}

impl FromRequestParts<Api> for WriteKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(Self { key: Key(Uuid::new_v4()), retry: false });
        };
        let wrong =
            || Problem::field(format!("Idempotency-Key: one, of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"));
        let text = value.to_str().map_err(|_| wrong())?.trim();
        if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX || values.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { key: Key::from_text(text), retry: true })
    }
}

/// A JSON body.
#[derive(Debug, Clone)]
pub struct JsonBody<T>(pub T);

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn too_large() -> Problem {
    Problem::of(Code::TooLarge, format!("the body has more than {REST_BODY_BYTES_MAX} bytes"))
}

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _api: &Api) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::rest(RestCode::UnsupportedMediaType, "send Content-Type: application/json"));
        }
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > REST_BODY_BYTES_MAX) {
            return Err(too_large());
        }
        let body = Limited::new(request.into_body(), REST_BODY_BYTES_MAX).collect();
        let bytes = match tokio::time::timeout(REST_HEADER_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(_)) => return Err(Problem::of(Code::Malformed, "the body broke off")),
            Err(_) => return Err(Problem::rest(RestCode::RequestTimeout, "the body did not come in time")),
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Problem::field(error.to_string()),
            _ => Problem::of(Code::Malformed, error.to_string()),
        })
    }
}

/// The variable parts of the path.
#[derive(Debug, Clone)]
pub struct PathArgs<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequestParts<Api> for PathArgs<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Problem> {
        match parts.extract::<Path<T>>().await {
            Ok(Path(args)) => Ok(Self(args)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                let detail = match error.kind() {
                    ErrorKind::ParseErrorAtKey { key, value, .. } => format!("path: `{value}` is no {key}"),
                    kind => format!("path: {kind}"),
                };
                Err(Problem::of(Code::Malformed, detail))
            }
            Err(error) => Err(Problem::of(Code::Malformed, error.body_text())),
        }
    }
}

/// What stands after the question mark.
#[derive(Debug, Clone)]
pub struct QueryArgs<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequestParts<Api> for QueryArgs<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Problem> {
        match parts.extract::<Query<T>>().await {
            Ok(Query(args)) => Ok(Self(args)),
            Err(error) => Err(Problem::field(error.body_text())),
        }
    }
}
