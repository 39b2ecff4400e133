//! Calls that search messages.

use super::extract::{Caller, PathArgs, QueryArgs};
use super::messages::Message;
use super::{Api, Problem};
use crate::limits::PAGE_DEFAULT;
use axum::Json;
use axum::extract::State;
use client_protocol::RoomId;
use client_protocol::chat::SearchPage;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Messages that were found in a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundPage {
    /// By descending seq.
    pub messages: Vec<Message>,
    /// `before` of the next page; missing when everything was looked at. A page may have few messages, or none, and still have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl From<SearchPage> for FoundPage {
    fn from(page: SearchPage) -> Self {
        let next = (page.next > 0).then_some(page.next);
        Self { messages: page.messages.into_iter().map(Into::into).collect(), next }
    }
}

/// What to look for in a room.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RoomSearchArgs {
    /// Words, at most 8 and 256 bytes: messages that have all of them. Case and accents make no difference; where this ends with a letter
    /// or digit, the last word may be the start of one.
    q: String,
    /// Messages with a seq below this one.
    #[serde(default)]
    before: u64,
    /// Messages wanted, at most 50, which is also what is taken if not said.
    limit: Option<u32>,
}

/// Searches the messages of a room as they are now, newest first; who left it searches up to their going. Opaque bodies are not searched.
#[utoipa::path(get, path = "/v1/rooms/{id}/search", tag = "messages",
    params(("id" = Uuid, Path, description = "The room"), RoomSearchArgs), responses((status = 200, body = FoundPage)))]
pub async fn in_room(
    State(api): State<Api>,
    caller: Caller,
    PathArgs(id): PathArgs<Uuid>,
    QueryArgs(args): QueryArgs<RoomSearchArgs>,
) -> Result<Json<FoundPage>, Problem> {
    let limit = args.limit.unwrap_or(PAGE_DEFAULT);
    Ok(Json(api.queries.search(caller.0.user, RoomId(id), &args.q, args.before, limit).await?.into()))
}

/// What to look for in the caller's rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchArgs {
    /// As in a search of one room.
    q: String,
    /// Rooms to skip: `next` of the page before.
    #[serde(default)]
    offset: u32,
}

/// What was found in one of several rooms.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundInRoom {
    /// The room.
    pub room: Uuid,
    /// The newest messages, at most 5, and where a search of that room goes on.
    #[serde(flatten)]
    pub page: FoundPage,
}

/// What was found in some of the caller's rooms.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundRooms {
    /// The rooms in which something was found, or was not looked for to the end; the one with the newest event first.
    pub rooms: Vec<FoundInRoom>,
    /// `offset` of the next page; missing when all rooms were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// Searches the rooms of which the caller is a member, 20 at a time, in the order of the room list.
#[utoipa::path(get, path = "/v1/search", tag = "messages", params(SearchArgs), responses((status = 200, body = FoundRooms)))]
pub async fn in_rooms(
    State(api): State<Api>,
    caller: Caller,
    QueryArgs(args): QueryArgs<SearchArgs>,
) -> Result<Json<FoundRooms>, Problem> {
    let (found, next) = api.queries.search_rooms(caller.0.user, &args.q, args.offset).await?;
    let rooms = found.into_iter().map(|(room, page)| FoundInRoom { room: room.0, page: page.into() }).collect();
    Ok(Json(FoundRooms { rooms, next: (next > 0).then_some(next) }))
}
