//! Calls about messages: post, read, edit, delete, react, pin.

use super::extract::{Caller, JsonBody, PathArgs, QueryArgs, WriteKey};
use super::{Api, Done, Problem, run};
use crate::limits::PAGE_DEFAULT;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client_protocol::chat::{Attachment as WireAttachment, Body, EditMessage, MessageTail, PostMessage, React, Relation};
use client_protocol::chat::{Message as WireMessage, TargetMessage, format, relation};
use client_protocol::tail::EmptyTail;
use client_protocol::{Command, RoomId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// How the text of a message is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// Plain text.
    #[default]
    Text,
    /// Markdown (CommonMark).
    Markdown,
}

/// How the body of a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// Plain text.
    Text,
    /// Markdown (CommonMark).
    Markdown,
    /// Bytes that the server cannot read.
    Opaque,
}

/// Refers to a file that is kept elsewhere. Each text has at most 255 bytes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Where it is kept.
    pub id: String,
    /// File name.
    pub name: String,
    /// Media type (RFC 6838).
    pub mime: String,
    /// Bytes.
    pub size: u64,
}

/// A message to post: `text` or `opaque`, at most 8 KiB.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// The text.
    pub text: Option<String>,
    /// How the text is written; plain if not said.
    pub format: Option<TextFormat>,
    /// Bytes that the server cannot read, in base64.
    pub opaque: Option<String>,
    /// Users that it mentions, at most 64.
    #[serde(default)]
    pub mentions: Vec<Uuid>,
    /// The message that it answers.
    pub reply_to: Option<u64>,
    /// The message whose thread it belongs to; not both.
    pub thread: Option<u64>,
    /// Files, at most 16.
    pub attachments: Option<Vec<Attachment>>,
}

/// A new body for a message: `text` or `opaque`, at most 8 KiB.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBody {
    /// The text.
    pub text: Option<String>,
    /// How the text is written; plain if not said.
    pub format: Option<TextFormat>,
    /// Bytes that the server cannot read, in base64.
    pub opaque: Option<String>,
}

/// A reaction and how many gave it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Reaction {
    /// An emoji or a short name.
    pub reaction: String,
    /// How many gave it.
    pub count: u32,
    /// The caller is one of them.
    pub mine: bool,
}

/// A message as it is now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Message {
    /// With the room, its id.
    pub seq: u64,
    /// Its number among the room's messages.
    pub message_no: u64,
    /// When it was posted, Unix time in milliseconds.
    pub time_ms: u64,
    /// Who posted it.
    pub actor: Uuid,
    /// Its idempotency key.
    pub key: Uuid,
    /// How the body is written.
    pub format: BodyFormat,
    /// The text; missing if it was deleted or is opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes, in base64; missing unless it is opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opaque: Option<String>,
    /// Users that it mentions.
    pub mentions: Vec<Uuid>,
    /// When it was last edited, Unix time in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_ms: Option<u64>,
    /// It was deleted.
    pub deleted: bool,
    /// It is pinned.
    pub pinned: bool,
    /// Reactions to it.
    pub reactions: Vec<Reaction>,
    /// Events up to this seq are in all of the above.
    pub as_of: u64,
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// The message whose thread it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<u64>,
    /// Files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Attachment>>,
}

impl From<WireMessage> for Message {
    fn from(message: WireMessage) -> Self {
        let (format, text, opaque) = spell_body(message.body, message.deleted);
        let related = |kind| message.tail.relation.filter(|relation| relation.kind == kind).map(|relation| relation.seq);
        let attachment =
            |file: WireAttachment| Attachment { id: file.id, name: file.name, mime: file.mime, size: file.size };
        Self {
            seq: message.seq,
            message_no: message.message_no,
            time_ms: message.time_ms,
            actor: message.actor.0,
            key: message.key.0,
            format,
            text,
            opaque,
            mentions: message.mentions.into_iter().map(|user| user.0).collect(),
            edited_ms: (message.edited_ms > 0).then_some(message.edited_ms),
            deleted: message.deleted,
            pinned: message.pinned,
            reactions: message
                .reactions
                .into_iter()
                .map(|given| Reaction { reaction: given.reaction, count: given.count, mine: given.mine })
                .collect(),
            as_of: message.as_of,
            reply_to: related(relation::REPLY),
            thread: related(relation::THREAD),
            attachments: message.tail.attachments.map(|files| files.into_iter().map(attachment).collect()),
        }
    }
}

/// A body in JSON. What is no text, whatever it says it is, is shown as bytes.
fn spell_body(body: Body, deleted: bool) -> (BodyFormat, Option<String>, Option<String>) {
    let format = match body.format {
        format::TEXT => BodyFormat::Text,
        format::MARKDOWN => BodyFormat::Markdown,
        _ => BodyFormat::Opaque,
    };
    if deleted {
        return (format, None, None);
    }
    if format == BodyFormat::Opaque {
        return (format, None, Some(STANDARD.encode(body.bytes)));
    }
    match String::from_utf8(body.bytes) {
        Ok(text) => (format, Some(text), None),
        Err(error) => (BodyFormat::Opaque, None, Some(STANDARD.encode(error.into_bytes()))),
    }
}

fn read_body(text: Option<String>, written: Option<TextFormat>, opaque: Option<&str>) -> Result<Body, Problem> {
    match (text, opaque) {
        (Some(text), None) => {
            let format = match written.unwrap_or_default() {
                TextFormat::Text => format::TEXT,
                TextFormat::Markdown => format::MARKDOWN,
            };
            Ok(Body { format, bytes: text.into_bytes() })
        }
        (None, Some(_)) if written.is_some() => Err(Problem::field("format: goes with `text` only")),
        (None, Some(opaque)) => {
            let bytes = STANDARD.decode(opaque).map_err(|error| Problem::field(format!("opaque: no base64: {error}")))?;
            Ok(Body { format: format::OPAQUE, bytes })
        }
        (Some(_), Some(_)) => Err(Problem::field("`text` or `opaque`, not both")),
        (None, None) => Err(Problem::field("`text` or `opaque` must be given")),
    }
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryPage {
    /// By ascending seq.
    pub messages: Vec<Message>,
    /// There are more in the direction that was asked for.
    pub more: bool,
    /// The room's last event that the caller may see, when the page was read.
    pub head: u64,
}

/// Which page of messages: the newest, those before a seq, or those after one.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryArgs {
    /// Messages with a seq below this one, the newest of them.
    #[serde(default)]
    before: u64,
    /// Messages with a seq above this one; without `before`, the oldest of them.
    after: Option<u64>,
    /// Messages wanted, at most 100; 50 if not said. Large messages make pages shorter.
    limit: Option<u32>,
}

/// Posts a message.
#[utoipa::path(post, path = "/v1/rooms/{id}/messages", tag = "messages", request_body = NewMessage,
    params(("id" = Uuid, Path, description = "The room"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key gives the same answer for ever")),
    responses((status = 201, body = Done)))]
pub async fn post(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(id): PathArgs<Uuid>,
    JsonBody(new): JsonBody<NewMessage>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let related = match (new.reply_to, new.thread) {
        (Some(_), Some(_)) => return Err(Problem::field("`reply_to` or `thread`, not both")),
        (Some(seq), None) => Some(Relation { kind: relation::REPLY, seq }),
        (None, Some(seq)) => Some(Relation { kind: relation::THREAD, seq }),
        (None, None) => None,
    };
    let file = |file: Attachment| WireAttachment {
        id: file.id,
        name: file.name,
        mime: file.mime,
        size: file.size,
        tail: EmptyTail::default(),
    };
    let files = new.attachments.filter(|files| !files.is_empty());
    let command = Command::PostMessage(PostMessage {
        head: key.head(RoomId(id)),
        body: read_body(new.text, new.format, new.opaque.as_deref())?,
        mentions: new.mentions.into_iter().map(UserId).collect(),
        tail: MessageTail { relation: related, attachments: files.map(|files| files.into_iter().map(file).collect()) },
    });
    let reply = run(&api, caller, command).await?;
    Ok((StatusCode::CREATED, Json(Done::new(RoomId(id), &reply))))
}

/// Reads messages as they are now; who left a room reads up to their going.
#[utoipa::path(get, path = "/v1/rooms/{id}/messages", tag = "messages",
    params(("id" = Uuid, Path, description = "The room"), HistoryArgs), responses((status = 200, body = HistoryPage)))]
pub async fn history(
    State(api): State<Api>,
    caller: Caller,
    PathArgs(id): PathArgs<Uuid>,
    QueryArgs(args): QueryArgs<HistoryArgs>,
) -> Result<Json<HistoryPage>, Problem> {
    let limit = args.limit.unwrap_or(PAGE_DEFAULT);
    // On the wire 0 says nothing; here it says from the first one on. Event 1 makes the room and is no message.
    let after = args.after.map_or(0, |after| after.max(1));
    let page = api.queries.history(caller.0.user, RoomId(id), args.before, after, limit).await?;
    Ok(Json(HistoryPage { messages: page.messages.into_iter().map(Into::into).collect(), more: page.more, head: page.head }))
}

/// Replaces the body of one's own message.
#[utoipa::path(patch, path = "/v1/rooms/{id}/messages/{seq}", tag = "messages", request_body = NewBody,
    params(("id" = Uuid, Path, description = "The room"), ("seq" = u64, Path, description = "The message"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn edit(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs((id, seq)): PathArgs<(Uuid, u64)>,
    JsonBody(new): JsonBody<NewBody>,
) -> Result<Json<Done>, Problem> {
    let body = read_body(new.text, new.format, new.opaque.as_deref())?;
    let command = Command::EditMessage(EditMessage { head: key.head(RoomId(id)), target: seq, body, tail: EmptyTail {} });
    let reply = run(&api, caller, command).await?;
    Ok(Json(Done::new(RoomId(id), &reply)))
}

/// Which command about a message.
type About = fn(TargetMessage) -> Command;

async fn target(api: &Api, caller: Caller, key: WriteKey, ids: (Uuid, u64), how: About) -> Result<Json<Done>, Problem> {
    let room = RoomId(ids.0);
    let command = how(TargetMessage { head: key.head(room), target: ids.1, tail: EmptyTail {} });
    let reply = run(api, caller, command).await?;
    Ok(Json(Done::new(room, &reply)))
}

/// Deletes a message: its body is gone for everybody.
#[utoipa::path(delete, path = "/v1/rooms/{id}/messages/{seq}", tag = "messages",
    params(("id" = Uuid, Path, description = "The room"), ("seq" = u64, Path, description = "The message"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn delete(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(ids): PathArgs<(Uuid, u64)>,
) -> Result<Json<Done>, Problem> {
    target(&api, caller, key, ids, Command::DeleteMessage).await
}

/// Pins a message.
#[utoipa::path(put, path = "/v1/rooms/{id}/messages/{seq}/pin", tag = "messages",
    params(("id" = Uuid, Path, description = "The room"), ("seq" = u64, Path, description = "The message"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn pin(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(ids): PathArgs<(Uuid, u64)>,
) -> Result<Json<Done>, Problem> {
    target(&api, caller, key, ids, Command::PinMessage).await
}

/// Unpins a message.
#[utoipa::path(delete, path = "/v1/rooms/{id}/messages/{seq}/pin", tag = "messages",
    params(("id" = Uuid, Path, description = "The room"), ("seq" = u64, Path, description = "The message"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn unpin(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(ids): PathArgs<(Uuid, u64)>,
) -> Result<Json<Done>, Problem> {
    target(&api, caller, key, ids, Command::UnpinMessage).await
}

/// Which command about a reaction.
type Reacting = fn(React) -> Command;

async fn reaction(
    api: &Api,
    caller: Caller,
    key: WriteKey,
    (id, seq, reaction): (Uuid, u64, String),
    how: Reacting,
) -> Result<Json<Done>, Problem> {
    let room = RoomId(id);
    let command = how(React { head: key.head(room), target: seq, reaction, tail: EmptyTail {} });
    let reply = run(api, caller, command).await?;
    Ok(Json(Done::new(room, &reply)))
}

/// Adds a reaction.
#[utoipa::path(put, path = "/v1/rooms/{id}/messages/{seq}/reactions/{reaction}", tag = "messages",
    params(("id" = Uuid, Path, description = "The room"), ("seq" = u64, Path, description = "The message"),
        ("reaction" = String, Path, description = "An emoji or a short name, at most 64 bytes"),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn react(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(about): PathArgs<(Uuid, u64, String)>,
) -> Result<Json<Done>, Problem> {
    reaction(&api, caller, key, about, Command::AddReaction).await
}

/// Takes a reaction back.
#[utoipa::path(delete, path = "/v1/rooms/{id}/messages/{seq}/reactions/{reaction}", tag = "messages",
    params(("id" = Uuid, Path, description = "The room"), ("seq" = u64, Path, description = "The message"),
        ("reaction" = String, Path, description = "The reaction"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Done)))]
pub async fn unreact(
    State(api): State<Api>,
    caller: Caller,
    key: WriteKey,
    PathArgs(about): PathArgs<(Uuid, u64, String)>,
) -> Result<Json<Done>, Problem> {
    reaction(&api, caller, key, about, Command::RemoveReaction).await
}
