//! Levels: how far followers are with each log, and the marks of rooms in which they are behind.

use super::Shared;
use super::documents::{DirtyDoc, RoomDoc};
use super::fault::Fault;
use super::ids::{dirty_id, id};
use super::queries::{Collection, DIRTY, DIRTY_ROOMS, ROOM};
use super::update::Statement;
use super::watch::others_alive;
use crate::limits::{MONGO_DIRTY_ROOMS_MAX, MONGO_UPDATES_MAX};
use client_protocol::{NodeId, RoomId};
use components::rows::RoomRow;
use mongodb::bson::{Bson, doc};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;

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
        let gone = shared.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let marks = |room: &RoomId| {
            let nodes = gone.iter().copied().chain([shared.meta.node]);
            nodes.map(|node| Bson::String(dirty_id(*room, node))).collect::<Vec<_>>()
        };
        let marks: Vec<Bson> = clean.iter().flat_map(marks).collect();
        for lot in marks.chunks(MONGO_UPDATES_MAX) {
            link.delete(DIRTY.one_of(lot.to_vec())).await?;
        }
    }
    Ok(clean)
}

/// Rooms that are marked as dirty.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// By this node.
    pub(super) own: HashSet<RoomId>,
    /// By nodes that are gone.
    pub(super) orphaned: HashSet<RoomId>,
}

/// The rooms that are marked as dirty by this node or by one that is gone. The marks of the latter go when the room is clean.
pub(super) async fn dirty_rooms(shared: &Shared) -> Result<Dirty, Fault> {
    let alive = others_alive(shared).await?;
    let found: Vec<DirtyDoc> =
        shared.link.many(DIRTY_ROOMS.equal([]).within(Some("".into()), None), false, MONGO_DIRTY_ROOMS_MAX).await?;
    if found.len() == MONGO_DIRTY_ROOMS_MAX {
        tracing::error!(rooms = found.len(), "too many rooms are dirty: the others heal when they are next used");
    }
    let mut dirty = Dirty::default();
    let mut gone = BTreeSet::new();
    for mark in found {
        let (room, node) = (mark.room()?, NodeId(mark.node));
        if node == shared.meta.node {
            dirty.own.insert(room);
        } else if !alive.contains(&node) {
            dirty.orphaned.insert(room);
            gone.insert(node);
        }
    }
    *shared.gone.lock().unwrap_or_else(PoisonError::into_inner) = gone;
    Ok(dirty)
}
