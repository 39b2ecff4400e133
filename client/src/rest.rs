//! REST: accounts, logins and what else a native client needs besides its session. Plain HTTP: a server on another machine is
//! reached through a proxy or a tunnel that adds TLS.

use crate::TokenError;
use crate::limits::{REST_BYTES_MAX, REST_TIMEOUT};
use crate::token::{AccessToken, TokenFuture, TokenProvider, TokenRequest};
use client_protocol::{RoomId, SessionId, UserId};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use uuid::Uuid;

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

/// A user, as everybody may see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id.
    #[serde(with = "as_uuid")]
    pub id: UserId,
    /// The name that they log in with; unique.
    pub username: String,
    /// The name that is shown; may be empty.
    #[serde(default, deserialize_with = "or_empty")]
    pub display_name: String,
    /// About them.
    #[serde(default, deserialize_with = "or_empty")]
    pub bio: String,
    /// Their picture.
    #[serde(default, deserialize_with = "or_empty")]
    pub avatar_url: String,
    /// When the account was made, Unix time in milliseconds.
    #[serde(default)]
    pub created_ms: u64,
}

/// One's own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// What everybody may see.
    #[serde(flatten)]
    pub user: User,
    /// E-mail address.
    #[serde(default)]
    pub email: String,
}

/// The tokens of a login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Proves who one is, for minutes.
    pub access_token: String,
    /// How long the access token is good for, in seconds from when it was given.
    pub expires_in: u64,
    /// Buys the next pair, once.
    pub refresh_token: String,
    /// The login.
    pub session_id: Uuid,
}

// Tokens do not belong into logs.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

impl Tokens {
    /// The login that the tokens belong to.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        SessionId(self.session_id)
    }
}

/// A user and the tokens of the login just made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// The tokens.
    pub tokens: Tokens,
}

/// A new account.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The name to log in with.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// The password.
    pub password: String,
    /// The name to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// A login.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Login {
    /// Username or e-mail address.
    pub login: String,
    /// The password.
    pub password: String,
    /// What the login is called in the list of one's logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Login {
    /// A login without a label.
    #[must_use]
    pub fn new(login: impl Into<String>, password: impl Into<String>) -> Self {
        Self { login: login.into(), password: password.into(), label: None }
    }
}

/// Changes to one's own profile; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProfileChange {
    /// The name that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// About oneself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    /// One's picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// A public room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRoom {
    /// The id.
    pub id: Uuid,
    /// Its name.
    #[serde(default, deserialize_with = "or_empty")]
    pub name: String,
    /// Its topic.
    #[serde(default, deserialize_with = "or_empty")]
    pub topic: String,
    /// Number of members.
    #[serde(default)]
    pub members: u64,
    /// When it was made, Unix time in milliseconds.
    #[serde(default)]
    pub created_ms: u64,
}

impl PublicRoom {
    /// The id as the session knows it.
    #[must_use]
    pub const fn room(&self) -> RoomId {
        RoomId(self.id)
    }
}

/// A page of public rooms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PublicRooms {
    /// The rooms.
    pub rooms: Vec<PublicRoom>,
    /// There are more: ask for those after the last one.
    pub more: bool,
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
}

impl Rest {
    /// For the server at `base`, such as `http://127.0.0.1:8080`. Connects when it is first used.
    ///
    /// # Errors
    ///
    /// [`RestError::Malformed`] where `base` is no `http` address.
    pub fn new(base: &str) -> Result<Self, RestError> {
        let base = base.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).map_err(|error| RestError::Malformed(format!("{base}: {error}")))?;
        if parsed.scheme() != "http" {
            return Err(RestError::Malformed(format!("{base}: only http:// is supported")));
        }
        let http = reqwest::Client::builder()
            .timeout(REST_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| RestError::Malformed(error.to_string()))?;
        Ok(Self { http, base })
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
        RestTokens { rest: self.clone(), held: Arc::new(Mutex::new(Held { tokens, since: Instant::now() })) }
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
        let mut request = self.http.request(method, &url);
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

fn or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

mod as_uuid {
    use client_protocol::UserId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &UserId, serializer: S) -> Result<S::Ok, S::Error> {
        id.0.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UserId, D::Error> {
        Uuid::deserialize(deserializer).map(UserId)
    }
}

#[derive(Debug)]
struct Held {
    tokens: Tokens,
    since: Instant,
}

/// Tokens that renew themselves; made by [`Rest::tokens`]. Clones share them: give one clone to the session and use another for
/// calls over REST. Two programs must not do so with the same tokens, since a refresh token works once.
#[derive(Debug, Clone)]
pub struct RestTokens {
    rest: Rest,
    held: Arc<Mutex<Held>>,
}

impl RestTokens {
    /// An access token that is good for a while.
    ///
    /// # Errors
    ///
    /// [`TokenError::Denied`] once the login has ended, [`TokenError::Temporary`] while the server cannot be reached.
    pub async fn access(&self, fresh: bool) -> Result<AccessToken, TokenError> {
        /// A token that ends within this time is renewed before it is given out.
        const LEAST_LIFE: Duration = Duration::from_secs(20);
        let mut held = self.held.lock().await;
        let life = Duration::from_secs(held.tokens.expires_in);
        let left = life.saturating_sub(held.since.elapsed());
        if !fresh && left > LEAST_LIFE.min(life / 5) {
            return Ok(AccessToken { token: held.tokens.access_token.clone(), valid_for: Some(left) });
        }
        let tokens = self.rest.refresh(&held.tokens.refresh_token).await.map_err(|error| match error {
            RestError::Refused { status: 400..=403, .. } => TokenError::Denied(error.to_string()),
            other => TokenError::Temporary(other.to_string()),
        })?;
        *held = Held { tokens, since: Instant::now() };
        let valid_for = Some(Duration::from_secs(held.tokens.expires_in));
        Ok(AccessToken { token: held.tokens.access_token.clone(), valid_for })
    }
}

impl TokenProvider for RestTokens {
    fn token(&self, request: TokenRequest) -> TokenFuture<'_> {
        Box::pin(self.access(request.fresh))
    }
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
        assert!(Rest::new("https://127.0.0.1").is_err());
        assert!(Rest::new("nonsense").is_err());
    }

    #[test]
    fn missing_and_null_fields_read_as_empty() {
        let text = r#"{"id":"018f0000-0000-7000-8000-000000000001","username":"alice","display_name":null}"#;
        let user: User = serde_json::from_str(text).unwrap();
        assert_eq!((user.username.as_str(), user.display_name.as_str(), user.bio.as_str()), ("alice", "", ""));
    }
}
