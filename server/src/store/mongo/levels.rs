//! Levels: how far followers are with each log, and the marks of rooms in which they are behind.

use super::Shared;
use super::documents::{DirtyDoc, RoomDoc};
use super::fault::Fault;
use super::ids::{dirty_id, id};
use super::queries::{Collection, DIRTY, DIRTY_ROOMS, ROOM};
use super::update::Statement;
use crate::limits::MONGO_DIRTY_ROOMS_MAX;
use client_protocol::RoomId;
use components::rows::RoomRow;
use mongodb::bson::{Bson, doc};
use std::collections::{BTreeMap, HashSet};

/// Stores how far followers are, and unmarks the rooms in which they are level with the log. Answers which those are.
pub(super) async fn store_levels(shared: &Shared, levels: &BTreeMap<RoomId, u64>) -> Result<Vec<RoomId>, Fault> {
    let link = &shared.link;
    let ids = levels.keys().map(|room| Bson::String(id(room.bytes()))).collect();
    let found: Vec<RoomDoc> = link.many(ROOM.one_of(ids), false, levels.len()).await?;
    let (mut statements, mut clean) = (Vec::new(), Vec::new());
    for doc in found {
        let row = RoomRow::try_from(doc)?;
        let level = levels.get(&row.room).copied().unwrap_or(0);
        let notified = level.min(row.head);
        if notified > row.notified_seq {
            let filter = ROOM.equal([id(row.room.bytes()).into()]);
            let filter = filter.and("notified_seq", doc! { "$lt": notified as i64 });
            statements.push(Statement::set(filter, doc! { "notified_seq": notified as i64 }));
        }
        if level >= row.head {
            clean.push(row.room);
        }
    }
    link.update(Collection::Rooms, &statements).await?;
    if !clean.is_empty() {
        let marks = clean.iter().map(|room| Bson::String(dirty_id(*room, shared.meta.node))).collect();
        link.delete(DIRTY.one_of(marks)).await?;
    }
    Ok(clean)
}

/// The rooms that are marked as dirty: by any node, and by this one.
pub(super) async fn dirty_rooms(shared: &Shared) -> Result<(HashSet<RoomId>, HashSet<RoomId>), Fault> {
    let found: Vec<DirtyDoc> =
        shared.link.many(DIRTY_ROOMS.equal([]).within(Some("".into()), None), false, MONGO_DIRTY_ROOMS_MAX).await?;
    if found.len() == MONGO_DIRTY_ROOMS_MAX {
        tracing::error!(rooms = found.len(), "too many rooms are dirty: the others heal when they are next used");
    }
    let (mut all, mut own) = (HashSet::new(), HashSet::new());
    for mark in found {
        let room = mark.room()?;
        all.insert(room);
        if mark.node == shared.meta.node.0 {
            own.insert(room);
        }
    }
    Ok((all, own))
}
