//! Erase and export: what a user did, room by room.
//!
//! Nothing that is written here needs another write to be true: after a crash half-way the caller begins again, and what is done
//! stays as it is.

use super::fault::Fault;
use super::history;
use super::ids::{self, id};
use super::link::Link;
use super::projection::{self, Logged, read_events};
use super::queries::{ROOMS_EVER, SENT};
use super::query;
use super::retry::until_known;
use crate::store::shown::Sight;
use crate::store::{SentQuery, StoreError};
use client_protocol::chat::Message;
use client_protocol::{Key, RoomId, UserId};
use mongodb::bson::Bson;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct RoomOfMember {
    room_id: String,
}

#[derive(Debug, Deserialize)]
struct SentDoc {
    key: String,
    seq: u64,
}

/// Rooms of which a user has, or had, a membership, by id above `after`.
pub(super) async fn rooms_ever(
    link: &Link,
    user: UserId,
    after: Option<RoomId>,
    limit: usize,
) -> Result<Vec<RoomId>, Fault> {
    let after = after.map(|room| Bson::String(id(room.bytes())));
    let filter = ROOMS_EVER.equal([id(user.bytes()).into()]).within(after, None);
    let found: Vec<RoomOfMember> = link.many(filter, false, limit).await?;
    let rooms = found.iter().map(|found| ids::room(&found.room_id));
    Ok(rooms.collect::<Result<_, StoreError>>()?)
}

/// Events of a user in a room, in the order of their keys.
pub(super) async fn sent(link: &Link, query: &SentQuery) -> Result<Vec<(Key, u64)>, Fault> {
    let after = query.after.map(|key| Bson::String(id(key.bytes())));
    let filter = SENT.equal([id(query.room.bytes()).into(), id(query.user.bytes()).into()]).within(after, None);
    let found: Vec<SentDoc> = link.many(filter, false, query.limit).await?;
    let keys = found.iter().map(|sent| Ok((ids::key(&sent.key)?, sent.seq)));
    Ok(keys.collect::<Result<_, StoreError>>()?)
}

/// The messages among these events, as they are now.
pub(super) async fn messages(link: &Link, room: RoomId, viewer: UserId, seqs: &[u64]) -> Result<Vec<Message>, Fault> {
    let Some(row) = query::room(link, room).await? else { return Ok(Vec::new()) };
    let found = read_events(link, room, seqs).await?.into_iter();
    let posted = found.filter(|(record, _)| record.event.body.is_message());
    let sight = Sight { viewer, last_seq: u64::MAX, head: row.head };
    posted.map(|logged| history::message(logged, &sight)).collect()
}

/// Makes of a user's events what their erase makes of them. Answers once a majority has it; [`super::MongoStore`] bounds the
/// time.
pub(super) async fn erase(link: &Link, room: RoomId, user: UserId, seqs: &[u64], erased_seq: u64) -> Result<(), Fault> {
    // Somebody may change a message meanwhile: a reaction, or a server that writes what follows from older events. Then it is read again.
    let attempt = async || Ok(erase_once(link, room, user, seqs, erased_seq).await?.then_some(()));
    until_known("events were erased", attempt).await
}

/// Answers whether every message was as it had been read.
async fn erase_once(link: &Link, room: RoomId, user: UserId, seqs: &[u64], erased_seq: u64) -> Result<bool, Fault> {
    let mut events: Vec<Logged> = read_events(link, room, seqs).await?;
    events.retain(|(record, _)| record.event.head.actor == user && record.event.head.seq < erased_seq);
    projection::erase(link, room, &events, erased_seq).await?.send(link).await
}
