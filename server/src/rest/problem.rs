//! Problems: how REST says that something did not work (RFC 9457). One map from causes to statuses and codes, here.

use crate::auth::AuthError;
use crate::queries::QueryError;
use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use client_protocol::Code;
use client_protocol::session::Reply;
use serde::Serialize;
use utoipa::ToSchema;

/// When to come back, where nothing better is known, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// An answer that is no success, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:starling:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means, for people.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Stable name of the cause.
    pub code: &'static str,
    /// What is wrong with this request, for people.
    pub detail: String,
    /// When it makes sense to try again, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Causes that only REST has, beside those of [`Code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestCode {
    /// No call has this path.
    RouteNotFound,
    /// The path has calls, but none of this method.
    MethodNotAllowed,
    /// The body is no JSON.
    UnsupportedMediaType,
    /// The body did not come in time.
    RequestTimeout,
    /// The login or the password is wrong.
    InvalidCredentials,
    /// The username is taken.
    UsernameTaken,
    /// The e-mail address is taken.
    EmailTaken,
}

impl RestCode {
    /// Every one, for documents and tests.
    pub const ALL: &'static [Self] = &[
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::RequestTimeout,
        Self::InvalidCredentials,
        Self::UsernameTaken,
        Self::EmailTaken,
    ];

    /// Status, name and title.
    #[must_use]
    pub const fn describe(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::RouteNotFound => (StatusCode::NOT_FOUND, "route_not_found", "No call has this path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The path has no such method"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body must be JSON")
            }
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request did not come in time"),
            Self::InvalidCredentials => {
                (StatusCode::UNAUTHORIZED, "invalid_credentials", "The login or the password is wrong")
            }
            Self::UsernameTaken => (StatusCode::CONFLICT, "username_taken", "The username is taken"),
            Self::EmailTaken => (StatusCode::CONFLICT, "email_taken", "The e-mail address is taken"),
        }
    }
}

/// Status and title of a code.
#[must_use]
pub const fn describe(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::Ok => (StatusCode::OK, "Done"),
        Code::OutcomeUnknown => (StatusCode::GATEWAY_TIMEOUT, "The outcome is not known yet"),
        Code::Malformed => (StatusCode::BAD_REQUEST, "The request cannot be read"),
        Code::UnknownKind => (StatusCode::BAD_REQUEST, "No such command"),
        Code::InvalidField => (StatusCode::UNPROCESSABLE_ENTITY, "A field is outside its bounds"),
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Something is larger than its bound"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "The token is missing or not valid"),
        Code::TokenExpired => (StatusCode::UNAUTHORIZED, "The access token has expired"),
        Code::SessionRevoked => (StatusCode::UNAUTHORIZED, "The login was ended"),
        Code::AccountDisabled => (StatusCode::FORBIDDEN, "The account is disabled"),
        Code::NotFound => (StatusCode::NOT_FOUND, "There is no such thing"),
        Code::Forbidden => (StatusCode::FORBIDDEN, "This is not allowed to you"),
        Code::Banned => (StatusCode::FORBIDDEN, "You are banned from the room"),
        Code::Muted => (StatusCode::FORBIDDEN, "You are muted in the room"),
        Code::Conflict => (StatusCode::CONFLICT, "The state is not the one that this needs"),
        Code::RoomFull => (StatusCode::CONFLICT, "The room is full"),
        Code::TooManyRooms => (StatusCode::CONFLICT, "The user is in too many rooms"),
        Code::MessageDeleted => (StatusCode::CONFLICT, "The message was deleted"),
        Code::LimitReached => (StatusCode::CONFLICT, "A bound of the message is reached"),
        Code::TooManySubscriptions => (StatusCode::CONFLICT, "Too many subscriptions"),
        Code::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "The server sheds load"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "The store takes no work"),
        Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        // `Code` may grow; what this version does not know is a fault of the server.
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "A fault of the server"),
    }
}

impl Problem {
    fn new((status, code, title): (StatusCode, &'static str, &'static str), detail: impl Into<String>) -> Self {
        let kind = format!("urn:starling:problem:{code}");
        let detail = detail.into();
        let detail = if detail.is_empty() { title.to_owned() } else { detail };
        Self { kind, title, status: status.as_u16(), code, detail, retry_after_ms: None }
    }

    /// A problem that the protocol knows too. Where a retry helps, it says when.
    #[must_use]
    pub fn of(code: Code, detail: impl Into<String>) -> Self {
        let (status, title) = describe(code);
        let name = if status == StatusCode::INTERNAL_SERVER_ERROR { Code::Internal.name() } else { code.name() };
        let problem = Self::new((status, name, title), detail);
        match code {
            Code::Overloaded | Code::Unavailable | Code::RateLimited | Code::OutcomeUnknown => problem.after(RETRY_AFTER_MS),
            _ => problem,
        }
    }

    /// A problem that only REST has.
    #[must_use]
    pub fn rest(code: RestCode, detail: impl Into<String>) -> Self {
        Self::new(code.describe(), detail)
    }

    /// A field that is not what it may be.
    #[must_use]
    pub fn field(detail: impl Into<String>) -> Self {
        Self::of(Code::InvalidField, detail)
    }

    /// The same, with a time after which a retry makes sense.
    #[must_use]
    pub const fn after(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// What the world refused.
    #[must_use]
    pub fn from_reply(reply: Reply) -> Self {
        let code = reply.code();
        let mut detail = reply.tail.detail.unwrap_or_default();
        if code == Code::OutcomeUnknown {
            detail = "no answer in time; send the same request with the same Idempotency-Key again".into();
        }
        let problem = Self::of(code, detail);
        match reply.tail.retry_after_ms {
            Some(retry_after_ms) => problem.after(retry_after_ms),
            None => problem,
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::InvalidCredentials => Self::rest(RestCode::InvalidCredentials, ""),
            AuthError::UsernameTaken => Self::rest(RestCode::UsernameTaken, ""),
            AuthError::EmailTaken => Self::rest(RestCode::EmailTaken, ""),
            AuthError::RateLimited { retry_after_ms } | AuthError::Overloaded { retry_after_ms } => {
                Self::of(error.code(), error.to_string()).after(retry_after_ms)
            }
            AuthError::Internal(why) => {
                tracing::error!(%why, "a request failed");
                Self::of(Code::Internal, "")
            }
            error => Self::of(error.code(), error.to_string()),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::from_reply(error.reply())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = self.retry_after_ms.map(|ms| ms.div_ceil(1_000).max(1));
        let challenge = (status == StatusCode::UNAUTHORIZED && self.code != RestCode::InvalidCredentials.describe().1)
            .then(|| if self.code == Code::Unauthenticated.name() { "Bearer" } else { "Bearer error=\"invalid_token\"" });
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_with_a_name_of_its_own() {
        let mut names: Vec<&str> = RestCode::ALL.iter().map(|code| code.describe().1).collect();
        for code in Code::ALL.iter().filter(|code| **code != Code::Ok) {
            let problem = Problem::of(*code, "");
            assert!(problem.status >= 400, "{code}");
            assert_eq!(problem.code, code.name());
            assert!(!problem.detail.is_empty());
            names.push(code.name());
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(Problem::of(Code::Other(9_999), "").code, "internal");
    }
}
