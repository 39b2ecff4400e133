//! Calls about users.

use super::extract::{Caller, ClientIp, JsonBody, PathArgs, QueryArgs};
use super::{Api, Problem};
use crate::erase::Erasing;
use crate::export::{ExportError, export};
use crate::limits::{EXPORT_LINES_MAX, PAGE_DEFAULT};
use crate::store::{Account, NameCursor, ProfilePatch};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use client_protocol::UserId;
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A user, as everybody may see them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct User {
    /// For ever.
    pub id: Uuid,
    /// Unique, lower case.
    pub username: String,
    /// Shown name.
    pub display_name: String,
    /// A line about themselves.
    pub bio: String,
    /// Where their picture is; empty where there is none.
    pub avatar_url: String,
    /// Unix time in milliseconds.
    pub created_ms: u64,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        Self {
            id: account.user.0,
            username: account.username,
            display_name: account.display_name,
            bio: account.bio,
            avatar_url: account.avatar_url,
            created_ms: account.created_ms,
        }
    }
}

/// The caller, with what only they may see.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Me {
    /// What everybody may see.
    #[serde(flatten)]
    pub user: User,
    /// Lower case.
    pub email: String,
}

impl From<Account> for Me {
    fn from(account: Account) -> Self {
        Self { email: account.email.clone(), user: account.into() }
    }
}

/// Changes of a profile; what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    /// Shown name, 1 to 64 characters.
    pub display_name: Option<String>,
    /// A line about themselves, at most 512 characters.
    pub bio: Option<String>,
    /// Empty, or an http(s) address of at most 1,024 bytes.
    pub avatar_url: Option<String>,
}

/// The caller.
#[utoipa::path(get, path = "/v1/users/me", tag = "users", responses((status = 200, body = Me)))]
pub async fn me(State(api): State<Api>, caller: Caller) -> Result<Json<Me>, Problem> {
    Ok(Json(api.accounts.account(caller.0.user).await?.into()))
}

/// Changes the caller's profile.
#[utoipa::path(patch, path = "/v1/users/me", tag = "users", request_body = UpdateMe, responses((status = 200, body = Me)))]
pub async fn update_me(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<UpdateMe>,
) -> Result<Json<Me>, Problem> {
    let patch = ProfilePatch { display_name: body.display_name, bio: body.bio, avatar_url: body.avatar_url };
    Ok(Json(api.accounts.update_profile(caller.0.user, patch).await?.into()))
}

/// A user by id.
#[utoipa::path(get, path = "/v1/users/{id}", tag = "users", params(("id" = Uuid, Path, description = "The user")),
    responses((status = 200, body = User)))]
pub async fn user(State(api): State<Api>, _caller: Caller, PathArgs(id): PathArgs<Uuid>) -> Result<Json<User>, Problem> {
    Ok(Json(api.accounts.account(UserId(id)).await?.into()))
}

/// A user by username.
#[utoipa::path(get, path = "/v1/users/by-name/{username}", tag = "users",
    params(("username" = String, Path, description = "The username, in any case")), responses((status = 200, body = User)))]
pub async fn user_by_name(
    State(api): State<Api>,
    _caller: Caller,
    PathArgs(username): PathArgs<String>,
) -> Result<Json<User>, Problem> {
    Ok(Json(api.accounts.account_by_username(&username).await?.into()))
}

/// Which users.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchArgs {
    /// The start of a username, or of a word of a shown name; case and accents make no difference. At most 256 bytes.
    q: String,
    /// `next` of the page before.
    after: Option<String>,
    /// Users wanted, at most 100; 50 if not said.
    limit: Option<u32>,
}

/// Users that were found by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsersPage {
    /// In the order of the names that match.
    pub users: Vec<User>,
    /// `after` of the next page; missing if there is none. A page may be short and still have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

fn spell_cursor(cursor: &NameCursor) -> String {
    URL_SAFE_NO_PAD.encode([cursor.user.bytes(), cursor.name.as_bytes()].concat())
}

fn read_cursor(text: &str) -> Result<NameCursor, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.as_deref().and_then(<[u8]>::split_first_chunk::<16>).and_then(|(user, name)| {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('\0'))?;
        Some(NameCursor { name: name.to_owned(), user: UserId::from_bytes(*user) })
    });
    cursor.ok_or_else(|| Problem::field("after: not the `next` of a page"))
}

/// Finds users by the start of a name.
#[utoipa::path(get, path = "/v1/users/search", tag = "users", params(SearchArgs), responses((status = 200, body = UsersPage)))]
pub async fn search(
    State(api): State<Api>,
    _caller: Caller,
    QueryArgs(args): QueryArgs<SearchArgs>,
) -> Result<Json<UsersPage>, Problem> {
    let after = args.after.as_deref().map(read_cursor).transpose()?;
    let page = api.queries.search_users(&args.q, after, args.limit.unwrap_or(PAGE_DEFAULT)).await?;
    let next = page.next.as_ref().map(spell_cursor);
    Ok(Json(UsersPage { users: page.accounts.into_iter().map(Into::into).collect(), next }))
}

/// What it takes to erase the caller.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseMe {
    /// The caller's password.
    pub password: String,
}

/// Erases the caller, for ever: profile, names, logins, and the bodies of all messages. Ids of the messages stay.
#[utoipa::path(delete, path = "/v1/users/me", tag = "users", request_body = EraseMe,
    responses((status = 204, description = "Everything is erased"),
        (status = 202, description = "The account is erased; its messages are on the way, whatever happens")))]
pub async fn erase_me(
    State(api): State<Api>,
    caller: Caller,
    ClientIp(ip): ClientIp,
    JsonBody(body): JsonBody<EraseMe>,
) -> Result<StatusCode, Problem> {
    api.accounts.check_password(ip, caller.0.user, body.password).await?;
    Ok(match api.eraser.erase(caller.0.user).await? {
        Erasing::Done => StatusCode::NO_CONTENT,
        Erasing::GoesOn => StatusCode::ACCEPTED,
    })
}

/// Lines, as they are made.
struct Lines(mpsc::Receiver<String>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line.into()))))
    }
}

/// Everything that is kept of the caller, one JSON object a line: `profile`, `login`, `room`, `message`, and `end`, without which it is not
/// whole.
#[utoipa::path(get, path = "/v1/users/me/export", tag = "users",
    responses((status = 200, content_type = "application/x-ndjson", body = String)))]
pub async fn export_me(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let (user, store) = (caller.0.user, Arc::clone(&api.store));
    let (sender, lines) = mpsc::channel(EXPORT_LINES_MAX);
    tokio::spawn(async move {
        match export(store, user, sender).await {
            Ok(()) | Err(ExportError::Gone) => {}
            Err(error) => tracing::error!(%user, %error, "an export broke off"),
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines(lines))).into_response())
}
