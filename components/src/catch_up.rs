//! Catching up: pages of the log, and the rooms in which a session reads them.

use crate::room::Chunk;
use bevy_ecs::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A page of the log.
#[derive(Debug, Clone)]
pub enum Page {
    /// The store was asked with this token: the answer to an earlier question may be older than what happened since.
    Loading(u64),
    /// Its chunks, dense; dropped as soon as nobody needs it.
    Ready(Vec<Chunk>),
}

/// Pages of all rooms, for sessions behind the hot logs.
#[derive(Resource, Debug, Default)]
pub struct Pages {
    /// By room and first seq.
    pub by_room: BTreeMap<(Entity, u64), Page>,
    /// Rooms that wait until there are fewer pages, in the order in which they asked.
    pub waiting: VecDeque<Entity>,
    /// The rooms in `waiting`: each is in it once.
    pub queued: BTreeSet<Entity>,
    /// Rooms whose turn it is: one page is kept free for each.
    pub granted: BTreeSet<Entity>,
    /// Rooms to flush because a session that needs a page there may now have one.
    pub woken: Vec<Entity>,
}

/// Where a session catches up. A session that is behind in many rooms reads pages in few of them at once.
#[derive(Component, Debug, Default)]
pub struct CatchUp {
    /// Rooms in which it reads pages.
    pub reading: BTreeSet<Entity>,
    /// Rooms whose turn comes then.
    pub waiting: BTreeSet<Entity>,
}
