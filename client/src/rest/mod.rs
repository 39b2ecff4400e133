//! REST: accounts, logins and what else a native client needs besides its session. Plain HTTP: a server on another machine is
//! reached through a proxy or a tunnel that adds TLS.

use crate::limits::{REST_BYTES_MAX, REST_TIMEOUT};
use client_protocol::{RoomId, UserId};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

mod tokens;
mod types;

pub use tokens::RestTokens;
pub use types::{LoggedIn, Login, Me, ProfileChange, PublicRoom, PublicRooms, Registration, Tokens, User};

/// Why a call over REST had no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestError {
    /// The server refused, with a problem document (RFC 9457) or without one.
    #[error("{code} ({status}){}{detail}", if detail.is_empty() { "" } else { ": " })]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code, [`client_protocol::Code::name`]; `http` where the answer has none.
        code: String,
        /// What is wrong, for people; may be empty.
        detail: String,
        /// When it makes sense to try again.
        retry_after: Option<Duration>,
    },
    /// The server cannot be reached, or the connection was lost: a call that changes something may have been done.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The answer is not what was expected, or above [`REST_BYTES_MAX`].
    #[error("a strange answer: {0}")]
    Malformed(String),
}

impl RestError {
    /// Whether a new login is needed.
    #[must_use]
    pub const fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }

    /// Whether there is no such thing.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

#[derive(Deserialize)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    retry_after_ms: Option<u64>,
}

/// Speaks to the REST interface of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    timeout: Duration,
}

impl Rest {
    /// For the server at `base`, such as `https://chat.example` or, on the same machine, `http://127.0.0.1:8080`. Connects when it is first
    /// used. With `https` the certificate must be one that the operating system trusts.
    ///
    /// # Errors
    ///
    /// [`RestError::Malformed`] where `base` is no address of this kind.
    pub fn new(base: &str) -> Result<Self, RestError> {
        Self::with_certificates(base, &[])
    }

    /// As [`Self::new`]; the certificates in this PEM text, and what they issued, are trusted besides.
    ///
    /// # Errors
    ///
    /// [`RestError::Malformed`] where `base` is no address of this kind, or the text has no certificate.
    pub fn with_certificates(base: &str, pem: &[u8]) -> Result<Self, RestError> {
        let malformed = |error: reqwest::Error| RestError::Malformed(cause(&error));
        let base = base.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).map_err(|error| RestError::Malformed(format!("{base}: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(RestError::Malformed(format!("{base}: neither http:// nor https://")));
        }
        let mut http = reqwest::Client::builder().no_proxy();
        if !pem.is_empty() {
            http = http.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem).map_err(malformed)?);
        }
        Ok(Self { http: http.build().map_err(malformed)?, base, timeout: REST_TIMEOUT })
    }

    /// Gives up a call after this time; [`REST_TIMEOUT`] if this is not called.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes an account and logs in.
    ///
    /// # Errors
    ///
    /// [`RestError`], as all calls here.
    pub async fn register(&self, registration: &Registration) -> Result<LoggedIn, RestError> {
        self.call(Method::POST, "/v1/auth/register", None, Some(registration)).await
    }

    /// Logs in.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn login(&self, login: &Login) -> Result<LoggedIn, RestError> {
        self.call(Method::POST, "/v1/auth/login", None, Some(login)).await
    }

    /// Trades a refresh token for the next pair. A refresh token works once: showing it again ends the login.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, RestError> {
        let body = serde_json::json!({ "refresh_token": refresh_token });
        self.call(Method::POST, "/v1/auth/refresh", None, Some(&body)).await
    }

    /// Ends the login of this access token.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn logout(&self, access_token: &str) -> Result<(), RestError> {
        self.bytes(Method::POST, "/v1/auth/logout", Some(access_token), None::<&()>).await.map(|_| ())
    }

    /// One's own account.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn me(&self, access_token: &str) -> Result<Me, RestError> {
        self.call(Method::GET, "/v1/users/me", Some(access_token), None::<&()>).await
    }

    /// Changes one's own profile.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn change_me(&self, access_token: &str, change: &ProfileChange) -> Result<Me, RestError> {
        self.call(Method::PATCH, "/v1/users/me", Some(access_token), Some(change)).await
    }

    /// A user by id.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn user(&self, access_token: &str, user: UserId) -> Result<User, RestError> {
        self.call(Method::GET, &format!("/v1/users/{user}"), Some(access_token), None::<&()>).await
    }

    /// A user by name.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn user_by_name(&self, access_token: &str, username: &str) -> Result<User, RestError> {
        let path = format!("/v1/users/by-name/{}", escaped(username));
        self.call(Method::GET, &path, Some(access_token), None::<&()>).await
    }

    /// Public rooms whose name contains `name`, after the room `after`.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn public_rooms(
        &self,
        access_token: &str,
        name: &str,
        after: Option<RoomId>,
        limit: usize,
    ) -> Result<PublicRooms, RestError> {
        let mut path = format!("/v1/rooms/public?limit={limit}");
        if !name.is_empty() {
            path.push_str(&format!("&name={}", escaped(name)));
        }
        if let Some(after) = after {
            path.push_str(&format!("&after={after}"));
        }
        self.call(Method::GET, &path, Some(access_token), None::<&()>).await
    }

    /// A token provider that renews these tokens by itself and keeps them in memory.
    #[must_use]
    pub fn tokens(&self, tokens: Tokens) -> RestTokens {
        RestTokens::new(self.clone(), tokens)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        access_token: Option<&str>,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, RestError> {
        let bytes = self.bytes(method, path, access_token, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| RestError::Malformed(format!("{path}: {error}")))
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        access_token: Option<&str>,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Vec<u8>, RestError> {
        let url = format!("{}{path}", self.base);
        let unreachable =
            |error: reqwest::Error| RestError::Unreachable { url: self.base.clone(), reason: cause(&error.without_url()) };
        let mut request = self.http.request(method, &url).timeout(self.timeout);
        if let Some(token) = access_token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > REST_BYTES_MAX {
                return Err(RestError::Malformed(format!("{path}: above {REST_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() { Ok(bytes) } else { Err(refusal(status, &bytes)) }
    }
}

fn refusal(status: StatusCode, bytes: &[u8]) -> RestError {
    let problem = serde_json::from_slice::<Problem>(bytes).ok();
    let reason = status.canonical_reason().unwrap_or_default().to_owned();
    let (code, title, detail, retry) = match problem {
        Some(problem) => (problem.code, problem.title, problem.detail, problem.retry_after_ms),
        None => (None, None, None, None),
    };
    RestError::Refused {
        status: status.as_u16(),
        code: code.unwrap_or_else(|| "http".into()),
        detail: detail.or(title).unwrap_or(reason),
        retry_after: retry.map(Duration::from_millis),
    }
}

/// The innermost cause says what is wrong.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// For a path or a query: everything but letters, digits and `-._~` is escaped (RFC 3986 section 2.3).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escaped("a b/ü~"), "a%20b%2F%C3%BC~");
    }

    #[test]
    fn refusals_carry_the_problem() {
        let body = br#"{"type":"about:blank","title":"Conflict","status":409,"code":"conflict","detail":"taken","retry_after_ms":5}"#;
        let expected = RestError::Refused {
            status: 409,
            code: "conflict".into(),
            detail: "taken".into(),
            retry_after: Some(Duration::from_millis(5)),
        };
        assert_eq!(refusal(StatusCode::CONFLICT, body), expected);
        let bare = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert!(matches!(bare, RestError::Refused { status: 502, code, .. } if code == "http"));
    }

    #[test]
    fn only_http_is_spoken() {
        assert!(Rest::new("http://127.0.0.1:8080/").is_ok());
        assert!(Rest::new("https://chat.example").is_ok());
        for wrong in ["ftp://127.0.0.1", "nonsense"] {
            assert!(matches!(Rest::new(wrong), Err(RestError::Malformed(_))), "{wrong}");
        }
        assert!(Rest::with_certificates("https://chat.example", b"-----BEGIN CERTIFICATE-----\n").is_err());
    }
}
