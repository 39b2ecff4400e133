//! Calls about accounts and logins.

use super::extract::{Caller, ClientIp, JsonBody, PathArgs};
use super::users::User;
use super::{Api, Problem};
use crate::auth::Session;
use crate::auth::accounts::Registration;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use client_protocol::{Code, SessionId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What somebody registers with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// 3 to 32 of `a-z 0-9 . _ -`, beginning with a letter or digit; folded to lower case.
    pub username: String,
    /// E-mail address; folded to lower case.
    pub email: String,
    /// 8 to 256 bytes.
    #[schema(format = Password)]
    pub password: String,
    /// Shown name, at most 64 characters; the username where there is none.
    pub display_name: Option<String>,
}

/// What somebody logs in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// Username or e-mail address.
    pub login: String,
    /// Password.
    #[schema(format = Password)]
    pub password: String,
    /// What the client calls itself, shown in the list of logins; at most 64 characters.
    #[serde(default)]
    pub label: String,
}

/// A refresh token, good once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The newest one of its login.
    pub refresh_token: String,
}

/// The tokens of a login.
#[derive(Serialize, ToSchema)]
pub struct TokenPair {
    /// For `Authorization: Bearer`, and for QUIC.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Lifetime of the access token, in seconds.
    pub expires_in: u64,
    /// For the next refresh; good once.
    pub refresh_token: String,
    /// Names the login.
    pub session_id: Uuid,
}

impl From<Session> for TokenPair {
    fn from(session: Session) -> Self {
        Self {
            access_token: session.access.token,
            token_type: "Bearer",
            expires_in: session.access.expires_in_s,
            refresh_token: session.refresh,
            session_id: session.login.0,
        }
    }
}

/// A user and the tokens of a new login.
#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// The tokens.
    pub tokens: TokenPair,
}

/// A login.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginEntry {
    /// Names it.
    pub id: Uuid,
    /// What the client calls itself.
    pub label: String,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// Last refresh, Unix time in milliseconds.
    pub used_ms: u64,
    /// When its refresh token ends, Unix time in milliseconds.
    pub expires_ms: u64,
    /// It is the one of this call.
    pub current: bool,
}

/// Logins of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub struct Logins {
    /// Newest first.
    pub sessions: Vec<LoginEntry>,
}

/// Makes an account and logs in. A name or address that is taken is said openly (`username_taken`, `email_taken`).
#[utoipa::path(post, path = "/v1/auth/register", tag = "accounts", security(()), request_body = Register,
    responses((status = 201, body = LoggedIn)))]
pub async fn register(
    State(api): State<Api>,
    ClientIp(from): ClientIp,
    JsonBody(body): JsonBody<Register>,
) -> Result<(StatusCode, Json<LoggedIn>), Problem> {
    let asked = Registration {
        username: body.username,
        email: body.email,
        password: body.password,
        display_name: body.display_name,
    };
    let (account, session) = api.accounts.register(from, asked).await?;
    Ok((StatusCode::CREATED, Json(LoggedIn { user: account.into(), tokens: session.into() })))
}

/// Logs in. Unknown accounts and wrong passwords have the same answer (`invalid_credentials`).
#[utoipa::path(post, path = "/v1/auth/login", tag = "accounts", security(()), request_body = LogIn,
    responses((status = 200, body = LoggedIn)))]
pub async fn login(
    State(api): State<Api>,
    ClientIp(from): ClientIp,
    JsonBody(body): JsonBody<LogIn>,
) -> Result<Json<LoggedIn>, Problem> {
    let (account, session) = api.accounts.login(from, &body.login, body.password, &body.label).await?;
    Ok(Json(LoggedIn { user: account.into(), tokens: session.into() }))
}

/// Takes new tokens for a refresh token, which is void then. Showing it again ends the login (`session_revoked`).
#[utoipa::path(post, path = "/v1/auth/refresh", tag = "accounts", security(()), request_body = Refresh,
    responses((status = 200, body = TokenPair)))]
pub async fn refresh(State(api): State<Api>, JsonBody(body): JsonBody<Refresh>) -> Result<Json<TokenPair>, Problem> {
    Ok(Json(api.accounts.refresh(&body.refresh_token).await?.into()))
}

/// Ends the login of the access token, and its sessions.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "accounts", responses((status = 204)))]
pub async fn logout(State(api): State<Api>, caller: Caller) -> Result<StatusCode, Problem> {
    api.accounts.end_login(caller.0.user, caller.0.login).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the logins of the caller.
#[utoipa::path(get, path = "/v1/auth/sessions", tag = "accounts", responses((status = 200, body = Logins)))]
pub async fn sessions(State(api): State<Api>, caller: Caller) -> Result<Json<Logins>, Problem> {
    let logins = api.accounts.logins(caller.0.user).await?;
    let entry = |row: crate::store::Login| LoginEntry {
        id: row.login.0,
        label: row.label,
        created_ms: row.created_ms,
        used_ms: row.used_ms,
        expires_ms: row.expires_ms,
        current: row.login == caller.0.login,
    };
    Ok(Json(Logins { sessions: logins.into_iter().map(entry).collect() }))
}

/// Ends a login of the caller, and its sessions.
#[utoipa::path(delete, path = "/v1/auth/sessions/{id}", tag = "accounts", params(("id" = Uuid, Path, description = "The login")),
    responses((status = 204)))]
pub async fn end_session(
    State(api): State<Api>,
    caller: Caller,
    PathArgs(id): PathArgs<Uuid>,
) -> Result<StatusCode, Problem> {
    match api.accounts.end_login(caller.0.user, SessionId(id)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::of(Code::NotFound, "there is no such login")),
    }
}

/// Public keys of access tokens (RFC 7517); none where they are signed with a shared secret.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "accounts", security(()),
    responses((status = 200, body = serde_json::Value)))]
pub async fn jwks(State(api): State<Api>) -> Response {
    ([(CACHE_CONTROL, "public, max-age=300")], Json(api.accounts.tokens().jwks().clone())).into_response()
}
