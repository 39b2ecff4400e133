//! Calls about who is in a room, and how far they have read.

use super::extract::{Caller, JsonBody, PathArgs, QueryArgs, WriteKey};
use super::rooms::Role;
use super::{Api, Done, Problem, run};
use crate::limits::PAGE_DEFAULT;
use crate::queries::ReadState as Stored;
use axum::Json;
use axum::extract::State;
use client_protocol::notification::MarkRead;
use client_protocol::room::{ChangeMember, JoinRoom, LeaveRoom, SetRole};
use client_protocol::tail::EmptyTail;
use client_protocol::{Command, RoomId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A member of a room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Member {
    /// Who.
    pub user: Uuid,
    /// What they may do.
    pub role: Role,
    /// The event by which they came.
    pub joined_seq: u64,
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
pub struct MembersPage {
    /// By id.
    pub members: Vec<Member>,
    /// There are more after the last one.
    pub more: bool,
}

/// Which page of members.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MembersArgs {
    /// Members with ids above this one.
    after: Option<Uuid>,
    /// Members wanted, at most 500; 50 if not said.
    limit: Option<u32>,
}

/// A user to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// Who.
    pub user: Uuid,
}

/// A role to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// Which.
    pub role: Role,
}

/// How far the caller has read a room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReadState {
    /// Read up to this seq.
    pub read_seq: u64,
    /// Messages after it.
    pub unread: u64,
    /// Seq of the room's last event.
    pub head: u64,
    /// Number of the room's last message.
    pub message_no: u64,
}

impl From<Stored> for ReadState {
    fn from(state: Stored) -> Self {
        Self { read_seq: state.read_seq, unread: state.unread, head: state.head, message_no: state.message_no }
    }
}

/// A read mark to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReadMark {
    /// Read up to here; above the room's last event counts as that.
    pub seq: u64,
}

/// Which way a membership is changed.
type Change = fn(ChangeMember) -> Command;

async fn change(api: &Api, caller: Caller, key: WriteKey, ids: (Uuid, Uuid), how: Change) -> Result<Json<Done>, Problem> {
    let room = RoomId(ids.0);
    let command = how(ChangeMember { head: key.head(room), user: UserId(ids.1), tail: EmptyTail {} });
    let reply = run(api, caller, command).await?;
    Ok(Json(Done::new(room, &reply)))
}

/// Joins a public room.
#[utoipa::path(post, path = "/v1/rooms/{id}/join", tag = "rooms",
    params(("id" = Uuid, Path, description = "The room"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn join(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(id): PathArgs<Uuid>,
) -> Result<Json<Done>, Problem> {
    let command = Command::JoinRoom(JoinRoom { head: key.head(RoomId(id)), tail: EmptyTail {} });
    let reply = run(&api, caller, command).await?;
    Ok(Json(Done::new(RoomId(id), &reply)))
}

/// Leaves a room.
#[utoipa::path(post, path = "/v1/rooms/{id}/leave", tag = "rooms",
    params(("id" = Uuid, Path, description = "The room"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn leave(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(id): PathArgs<Uuid>,
) -> Result<Json<Done>, Problem> {
    let command = Command::LeaveRoom(LeaveRoom { head: key.head(RoomId(id)), tail: EmptyTail {} });
    let reply = run(&api, caller, command).await?;
    Ok(Json(Done::new(RoomId(id), &reply)))
}

/// Lists members, for members.
#[utoipa::path(get, path = "/v1/rooms/{id}/members", tag = "rooms",
    params(("id" = Uuid, Path, description = "The room"), MembersArgs), responses((status = 200, body = MembersPage)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    PathArgs(id): PathArgs<Uuid>,
    QueryArgs(args): QueryArgs<MembersArgs>,
) -> Result<Json<MembersPage>, Problem> {
    let after = UserId(args.after.unwrap_or_default());
    let limit = args.limit.unwrap_or(PAGE_DEFAULT);
    let (members, more) = api.queries.members(caller.0.user, RoomId(id), after, limit).await?;
    let member = |entry: client_protocol::room::MemberEntry| Member {
        user: entry.user.0,
        role: Role::of(entry.role),
        joined_seq: entry.joined_seq,
    };
    Ok(Json(MembersPage { members: members.into_iter().map(member).collect(), more }))
}

/// Adds a user.
#[utoipa::path(post, path = "/v1/rooms/{id}/members", tag = "rooms", request_body = NewMember,
    params(("id" = Uuid, Path, description = "The room"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn add(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(id): PathArgs<Uuid>,
    JsonBody(body): JsonBody<NewMember>,
) -> Result<Json<Done>, Problem> {
    change(&api, caller, key, (id, body.user), Command::AddMember).await
}

/// Removes a member, who may come back.
#[utoipa::path(delete, path = "/v1/rooms/{id}/members/{user}", tag = "rooms",
    params(("id" = Uuid, Path, description = "The room"), ("user" = Uuid, Path, description = "The member"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn kick(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(ids): PathArgs<(Uuid, Uuid)>,
) -> Result<Json<Done>, Problem> {
    change(&api, caller, key, ids, Command::KickMember).await
}

/// Removes a member, or keeps a user out, for good.
#[utoipa::path(put, path = "/v1/rooms/{id}/bans/{user}", tag = "rooms",
    params(("id" = Uuid, Path, description = "The room"), ("user" = Uuid, Path, description = "The user"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn ban(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(ids): PathArgs<(Uuid, Uuid)>,
) -> Result<Json<Done>, Problem> {
    change(&api, caller, key, ids, Command::BanMember).await
}

/// Lifts a ban.
#[utoipa::path(delete, path = "/v1/rooms/{id}/bans/{user}", tag = "rooms",
    params(("id" = Uuid, Path, description = "The room"), ("user" = Uuid, Path, description = "The user"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn unban(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(ids): PathArgs<(Uuid, Uuid)>,
) -> Result<Json<Done>, Problem> {
    change(&api, caller, key, ids, Command::UnbanMember).await
}

/// Gives a member another role.
#[utoipa::path(put, path = "/v1/rooms/{id}/members/{user}/role", tag = "rooms", request_body = NewRole,
    params(("id" = Uuid, Path, description = "The room"), ("user" = Uuid, Path, description = "The member"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn set_role(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs((id, user)): PathArgs<(Uuid, Uuid)>,
    JsonBody(body): JsonBody<NewRole>,
) -> Result<Json<Done>, Problem> {
    let set = SetRole { head: key.head(RoomId(id)), user: UserId(user), role: body.role.number(), tail: EmptyTail {} };
    let reply = run(&api, caller, Command::SetRole(set)).await?;
    Ok(Json(Done::new(RoomId(id), &reply)))
}

/// How far the caller has read. A mark just set by another session may come a few seconds late.
#[utoipa::path(get, path = "/v1/rooms/{id}/read", tag = "rooms", params(("id" = Uuid, Path, description = "The room")),
    responses((status = 200, body = ReadState)))]
pub async fn read_state(
    State(api): State<Api>,
    caller: Caller,
    PathArgs(id): PathArgs<Uuid>,
) -> Result<Json<ReadState>, Problem> {
    Ok(Json(api.queries.read_state(caller.0.user, RoomId(id)).await?.into()))
}

/// Moves the caller's read mark; it never goes back.
#[utoipa::path(put, path = "/v1/rooms/{id}/read", tag = "rooms", request_body = NewReadMark,
    params(("id" = Uuid, Path, description = "The room")), responses((status = 200, body = ReadState)))]
pub async fn mark_read(
    State(api): State<Api>,
    caller: Caller,
    PathArgs(id): PathArgs<Uuid>,
    JsonBody(body): JsonBody<NewReadMark>,
) -> Result<Json<ReadState>, Problem> {
    let command = Command::MarkRead(MarkRead { room: RoomId(id), seq: body.seq, tail: EmptyTail {} });
    run(&api, caller, command).await?;
    Ok(Json(api.queries.read_state(caller.0.user, RoomId(id)).await?.into()))
}
