//! Export of a user: everything that is kept of them, as lines of JSON, one object each.
//!
//! | `type` | what |
//! |---|---|
//! | `profile` | first: the account |
//! | `login` | a login that has not ended |
//! | `room` | a room that they are or were in, membership and read mark; its messages follow |
//! | `message` | a message that they posted, as it is now |
//! | `end` | last: how many messages there were. Without this line the export is not whole |
//!
//! Made while it is read, a lot at a time: a slow reader costs a few lines of memory, and what happens meanwhile may be in it or not.

use crate::limits::{ERASE_LOT_EVENTS, ERASE_LOT_ROOMS};
use crate::rest::messages::Message;
use crate::rest::rooms::{Role, RoomKind};
use crate::store::lots::Lots;
use crate::store::{Account, SentQuery, Store, StoreError};
use client_protocol::{Key, RoomId, UserId};
use components::rows::{account, membership};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Why an export did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// Nobody reads it any more.
    #[error("the reader went away")]
    Gone,
}

#[derive(Serialize)]
struct MessageLine {
    #[serde(rename = "type")]
    sort: &'static str,
    room: uuid::Uuid,
    #[serde(flatten)]
    message: Message,
}

/// An export under way.
struct Export {
    store: Arc<dyn Store>,
    user: UserId,
    lines: Sender<String>,
    messages: u64,
}

/// Writes the export of a user, line by line, each with its line feed.
///
/// # Errors
///
/// [`ExportError`]; then the last line is missing.
pub async fn export(store: Arc<dyn Store>, user: UserId, lines: Sender<String>) -> Result<(), ExportError> {
    let account = store.account(user).await?.ok_or(ExportError::NotFound)?;
    let mut export = Export { store: Arc::clone(&store), user, lines, messages: 0 };
    export.line(&profile(&account)).await?;
    for login in store.logins(user).await? {
        let line = json!({
            "type": "login", "id": login.login.0, "label": login.label, "created_ms": login.created_ms,
            "used_ms": login.used_ms, "expires_ms": login.expires_ms,
        });
        export.line(&line).await?;
    }
    let mut rooms = Lots::new(|after| store.rooms_ever(user, after, ERASE_LOT_ROOMS), |room: &RoomId| *room);
    while let Some(lot) = rooms.next().await? {
        for room in lot {
            export.room(room).await?;
        }
    }
    let end = json!({ "type": "end", "messages": export.messages });
    export.line(&end).await
}

fn profile(account: &Account) -> Value {
    json!({
        "type": "profile", "id": account.user.0, "username": account.username, "email": account.email,
        "display_name": account.display_name, "bio": account.bio, "avatar_url": account.avatar_url,
        "status": account::name(account.status), "created_ms": account.created_ms, "updated_ms": account.updated_ms,
    })
}

impl Export {
    async fn line(&self, line: &impl Serialize) -> Result<(), ExportError> {
        let mut text = serde_json::to_string(line).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        text.push('\n');
        self.lines.send(text).await.map_err(|_| ExportError::Gone)
    }

    async fn room(&mut self, room: RoomId) -> Result<(), ExportError> {
        let member = self.store.member(room, self.user).await?;
        if let (Some(member), Some(entry)) = (member, self.store.room_entry(self.user, room).await?) {
            let state = match member.state {
                membership::MEMBER => "member",
                membership::LEFT => "left",
                membership::KICKED => "removed",
                _ => "banned",
            };
            // Of a room that they went from, what it is called now is not theirs to know.
            let name = if member.is_member() { entry.tail.name } else { None };
            let line = json!({
                "type": "room", "id": room.0, "kind": RoomKind::of(entry.kind), "name": name, "state": state,
                "role": Role::of(member.role), "joined_seq": member.joined_seq, "left_seq": member.left_seq,
                "read_seq": entry.read_seq, "peer": entry.tail.peer.map(|peer| peer.0),
            });
            self.line(&line).await?;
        }
        let (store, user) = (Arc::clone(&self.store), self.user);
        let ask = |after| store.sent(SentQuery { room, user, after, limit: ERASE_LOT_EVENTS });
        let mut sent = Lots::new(ask, |(key, _): &(Key, u64)| *key);
        while let Some(lot) = sent.next().await? {
            let seqs = lot.into_iter().map(|(_, seq)| seq).collect();
            let mut messages = self.store.messages(room, self.user, seqs).await?;
            messages.sort_by_key(|message| message.seq);
            for message in messages {
                self.messages += 1;
                self.line(&MessageLine { sort: "message", room: room.0, message: message.into() }).await?;
            }
        }
        Ok(())
    }
}
