//! What is written of rooms from time to time: rows that wait, how far followers are, and the marks of rooms in which either is behind.

use super::Shared;
use super::documents::{DirtyDoc, RoomDoc};
use super::fault::Fault;
use super::ids::{dirty_id, id};
use super::late::room_reaches;
use super::queries::{Collection, DIRTY, DIRTY_ROOMS, ROOM};
use super::resolve;
use super::watch::others_alive;
use crate::limits::{MONGO_DIRTY_ROOMS_MAX, MONGO_UPDATES_MAX};
use client_protocol::{NodeId, RoomId};
use mongodb::bson::{Bson, doc};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;

/// A room whose row waits, or how far followers are with it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unsettled {
    /// How far followers are; 0 where they said nothing.
    pub(super) level: u64,
    /// Whether nothing was appended for a while: its mark may go.
    pub(super) is_quiet: bool,
}

/// Writes rows that wait and how far followers are, and unmarks the rooms that are quiet and in which those are level with the log.
/// Answers which those are.
pub(super) async fn settle(shared: &Shared, rooms: &BTreeMap<RoomId, Unsettled>) -> Result<Vec<RoomId>, Fault> {
    let link = &shared.link;
    let (mut statements, mut late, mut asked) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (room, Unsettled { level, is_quiet }) in rooms {
        let waiting = link.late.waiting(*room);
        if let Some(reach) = waiting {
            statements.push(reach.statement(*room, *level));
            late.insert(*room, reach);
        }
        if waiting.is_none() || *is_quiet {
            asked.push(Bson::String(id(room.bytes())));
        }
    }
    let limit = asked.len();
    let found: Vec<RoomDoc> = if limit > 0 { link.many(ROOM.one_of(asked), false, limit).await? } else { Vec::new() };
    let mut clean = Vec::new();
    for doc in found {
        let mut row = link.late.row(doc)?;
        let Unsettled { level, is_quiet } = rooms.get(&row.room).copied().unwrap_or_default();
        if level > row.head && is_quiet {
            // Another server writes it late, or died before: the marks must not go before it is there.
            row = resolve::heal(link, row.room).await?.row;
        }
        let notified = level.min(row.head);
        if notified > row.notified_seq {
            statements.push(room_reaches(row.room, doc! { "notified_seq": notified as i64 }));
        }
        if level >= row.head && is_quiet {
            clean.push(row.room);
        }
    }
    link.update(Collection::Rooms, &statements).await?;
    link.late.written(&late);
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
