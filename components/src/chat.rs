//! Chat: a message is a command on its way into a room's log, from acceptance until it is delivered or refused.

use crate::edge::{Origin, Target};
use bevy_ecs::prelude::*;
use client_protocol::{EventBody, Key, RoomId, UserId};
use std::collections::BTreeSet;

/// The room that a message goes to.
#[derive(Component, Debug, Clone, Copy)]
pub struct InRoom {
    /// Its entity.
    pub room: Entity,
    /// Its id.
    pub id: RoomId,
}

/// Who sends it, and who waits for the answer.
#[derive(Component, Debug, Clone, Copy)]
pub struct Actor {
    /// Who.
    pub user: UserId,
    /// Who waits.
    pub origin: Origin,
    /// The idempotency key.
    pub key: Key,
    /// It may have been sent before.
    pub retry: bool,
    /// When it came, monotonic microseconds: it is refused on nothing older.
    pub came_us: u64,
}

/// The event that it is to become. Taken when the seq is given.
#[derive(Component, Debug, Clone)]
pub struct Draft(pub Option<EventBody>);

/// What the message is waiting for.
#[derive(Component, Debug, Clone, PartialEq, Eq)]
pub enum MessageState {
    /// Its turn.
    Ready,
    /// The event that it refers to.
    NeedsTarget,
    /// Whether its key is known, before it is answered with this reply: a refusal, or that it is so already.
    NeedsKey(client_protocol::session::Reply),
    /// The store.
    Appending,
}

/// The event that it refers to, once read.
#[derive(Component, Debug, Clone, Default)]
pub struct TargetFound(pub Option<Option<Box<Target>>>);

/// Messages by deadline: every request ends. (monotonic microseconds, message)
#[derive(Resource, Debug, Default)]
pub struct Deadlines(pub BTreeSet<(u64, Entity)>);
