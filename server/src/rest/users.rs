//! Calls about users.

use super::extract::{Caller, JsonBody, PathArgs};
use super::{Api, Problem};
use crate::store::{Account, ProfilePatch};
use axum::Json;
use axum::extract::State;
use client_protocol::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
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
