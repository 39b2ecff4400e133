//! Calls about rooms as a whole: make, list, find, read, change.

use super::extract::{Caller, JsonBody, PathArgs, QueryArgs, WriteKey};
use super::{Api, Done, Problem, run};
use crate::limits::PAGE_DEFAULT;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use client_protocol::room::{CreateRoom, RoomEntry as Entry, SettingsTail, UpdateRoom, kind, role};
use client_protocol::{Command, RoomId, UserId};
use components::rows::RoomRow;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What kind of room it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomKind {
    /// Two users, made once.
    Direct,
    /// Members come by being added; outsiders cannot see it.
    Group,
    /// Everybody may find and join it.
    Public,
}

impl RoomKind {
    const fn number(self) -> u8 {
        match self {
            Self::Direct => kind::DIRECT,
            Self::Group => kind::GROUP,
            Self::Public => kind::PUBLIC,
        }
    }

    /// The kind of a room; own logs are not shown by any call.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            kind::DIRECT => Self::Direct,
            kind::PUBLIC => Self::Public,
            _ => Self::Group,
        }
    }
}

/// What a member may do; each may do all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads, posts, reacts.
    Member,
    /// Deletes messages, pins, kicks, bans.
    Moderator,
    /// Changes settings and roles below their own.
    Admin,
    /// Does everything.
    Owner,
}

impl Role {
    /// Its number in the protocol.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Member => role::MEMBER,
            Self::Moderator => role::MODERATOR,
            Self::Admin => role::ADMIN,
            Self::Owner => role::OWNER,
        }
    }

    /// The role with this number; the lowest one for a number that this version does not know.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            role::MODERATOR => Self::Moderator,
            role::ADMIN => Self::Admin,
            role::OWNER => Self::Owner,
            _ => Self::Member,
        }
    }
}

/// A room to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoom {
    /// What kind.
    pub kind: RoomKind,
    /// Name, at most 128 bytes.
    pub name: Option<String>,
    /// Topic, at most 1,024 bytes.
    pub topic: Option<String>,
    /// First members besides the caller, at most 500; a direct room has exactly one.
    #[serde(default)]
    pub members: Vec<Uuid>,
    /// Lowest role that may post.
    pub post_role: Option<Role>,
    /// For how long an author may edit a message, in seconds; 0 is for ever.
    pub edit_window_s: Option<u32>,
}

/// Settings to change; what is not given stays, an empty text removes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomSettings {
    /// Name, at most 128 bytes.
    pub name: Option<String>,
    /// Topic, at most 1,024 bytes.
    pub topic: Option<String>,
    /// Lowest role that may post.
    pub post_role: Option<Role>,
    /// For how long an author may edit a message, in seconds; 0 is for ever.
    pub edit_window_s: Option<u32>,
}

/// A room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Room {
    /// Its id.
    pub id: Uuid,
    /// What kind.
    pub kind: RoomKind,
    /// Empty where it has none.
    pub name: String,
    /// Empty where it has none.
    pub topic: String,
    /// Lowest role that may post.
    pub post_role: Role,
    /// For how long an author may edit a message, in seconds; 0 is for ever.
    pub edit_window_s: u32,
    /// Who made it.
    pub creator: Uuid,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// Seq of the last event.
    pub head: u64,
    /// Number of the last message.
    pub message_no: u64,
    /// Members now.
    pub members: u32,
}

impl From<RoomRow> for Room {
    fn from(row: RoomRow) -> Self {
        Self {
            id: row.room.0,
            kind: RoomKind::of(row.kind),
            name: row.name,
            topic: row.topic,
            post_role: Role::of(row.post_role),
            edit_window_s: row.edit_window_s,
            creator: row.creator.0,
            created_ms: row.created_ms,
            head: row.head,
            message_no: row.message_no,
            members: row.members,
        }
    }
}

/// A room, as its member sees it in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RoomEntry {
    /// Its id.
    pub id: Uuid,
    /// What kind.
    pub kind: RoomKind,
    /// Empty where it has none.
    pub name: String,
    /// Empty where it has none.
    pub topic: String,
    /// The caller's role.
    pub role: Role,
    /// Seq of the last event.
    pub head: u64,
    /// Number of the last message.
    pub message_no: u64,
    /// When the last event was appended, Unix time in milliseconds.
    pub time_ms: u64,
    /// Read up to this seq.
    pub read_seq: u64,
    /// Messages after it.
    pub unread: u64,
    /// Members now.
    pub members: u32,
    /// The other user of a direct room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Uuid>,
}

impl From<Entry> for RoomEntry {
    fn from(entry: Entry) -> Self {
        let unread = entry.unread();
        Self {
            id: entry.room.0,
            kind: RoomKind::of(entry.kind),
            name: entry.tail.name.unwrap_or_default(),
            topic: entry.tail.topic.unwrap_or_default(),
            role: Role::of(entry.role),
            head: entry.head,
            message_no: entry.message_no,
            time_ms: entry.time_ms,
            read_seq: entry.read_seq,
            unread,
            members: entry.tail.members.unwrap_or_default(),
            peer: entry.tail.peer.map(|peer| peer.0),
        }
    }
}

/// A page of the caller's rooms.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomsPage {
    /// Newest event first.
    pub rooms: Vec<RoomEntry>,
    /// The `offset` of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// A page of public rooms.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPage {
    /// By id.
    pub rooms: Vec<Room>,
    /// There are more after the last one.
    pub more: bool,
}

/// Which page of the caller's rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RoomsArgs {
    /// Rooms to skip: 0, then `next`.
    #[serde(default)]
    offset: u32,
    /// Rooms wanted, at most 100; 50 if not said.
    limit: Option<u32>,
}

/// Which page of public rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PublicArgs {
    /// The name has this in it, in any case.
    #[serde(default)]
    name: String,
    /// Rooms with ids above this one.
    after: Option<Uuid>,
    /// Rooms wanted, at most 100; 50 if not said.
    limit: Option<u32>,
}

/// Makes a room; a direct room of two users is made once, whoever asks. 200 if it was there already.
#[utoipa::path(post, path = "/v1/rooms", tag = "rooms", request_body = NewRoom,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key gives the same answer for ever")),
    responses((status = 201, body = Room), (status = 200, body = Room, description = "It was there already")))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    JsonBody(body): JsonBody<NewRoom>,
) -> Result<(StatusCode, Json<Room>), Problem> {
    let user = caller.0.user;
    let members: Vec<UserId> = body.members.into_iter().map(UserId).collect();
    let expected = match (body.kind, members.as_slice()) {
        (RoomKind::Direct, [peer]) => RoomId::direct(user, *peer),
        _ => RoomId::created(user, key.key),
    };
    let was_there = api.queries.room_exists(expected).await?;
    let settings = SettingsTail {
        name: body.name,
        topic: body.topic,
        post_role: body.post_role.map(Role::number),
        edit_window_s: body.edit_window_s,
    };
    let command = Command::CreateRoom(CreateRoom { key: key.key, kind: body.kind.number(), members, settings });
    let reply = run(&api, caller, command).await?;
    let room = api.queries.room(user, reply.tail.room.unwrap_or(expected)).await?;
    let status = if was_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(room.into())))
}

/// Lists the caller's rooms, newest event first.
#[utoipa::path(get, path = "/v1/rooms", tag = "rooms", params(RoomsArgs), responses((status = 200, body = RoomsPage)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    QueryArgs(args): QueryArgs<RoomsArgs>,
) -> Result<Json<RoomsPage>, Problem> {
    let (rooms, next) = api.queries.rooms(caller.0.user, args.offset, args.limit.unwrap_or(PAGE_DEFAULT)).await?;
    Ok(Json(RoomsPage { rooms: rooms.into_iter().map(Into::into).collect(), next: (next > 0).then_some(next) }))
}

/// Finds public rooms.
#[utoipa::path(get, path = "/v1/rooms/public", tag = "rooms", params(PublicArgs), responses((status = 200, body = PublicPage)))]
pub async fn public(
    State(api): State<Api>,
    _caller: Caller,
    QueryArgs(args): QueryArgs<PublicArgs>,
) -> Result<Json<PublicPage>, Problem> {
    let after = RoomId(args.after.unwrap_or_default());
    let (rooms, more) = api.queries.public_rooms(&args.name, after, args.limit.unwrap_or(PAGE_DEFAULT)).await?;
    Ok(Json(PublicPage { rooms: rooms.into_iter().map(Into::into).collect(), more }))
}

/// A room, for its members; public ones for everybody.
#[utoipa::path(get, path = "/v1/rooms/{id}", tag = "rooms", params(("id" = Uuid, Path, description = "The room")),
    responses((status = 200, body = Room)))]
pub async fn room(State(api): State<Api>, caller: Caller, PathArgs(id): PathArgs<Uuid>) -> Result<Json<Room>, Problem> {
    Ok(Json(api.queries.room(caller.0.user, RoomId(id)).await?.into()))
}

/// Changes settings.
#[utoipa::path(patch, path = "/v1/rooms/{id}", tag = "rooms", request_body = RoomSettings,
    params(("id" = Uuid, Path, description = "The room"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn update(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(id): PathArgs<Uuid>,
    JsonBody(body): JsonBody<RoomSettings>,
) -> Result<Json<Done>, Problem> {
    let settings = SettingsTail {
        name: body.name,
        topic: body.topic,
        post_role: body.post_role.map(Role::number),
        edit_window_s: body.edit_window_s,
    };
    let command = Command::UpdateRoom(UpdateRoom { head: key.head(RoomId(id)), settings });
    let reply = run(&api, caller, command).await?;
    Ok(Json(Done::new(RoomId(id), &reply)))
}
