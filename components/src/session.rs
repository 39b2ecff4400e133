//! Session: one connection of one device of a user.

use crate::catch_up::CatchUp;
use crate::edge::SessionHandle;
use crate::user::RateBudget;
use bevy_ecs::prelude::*;
use client_protocol::{DeviceId, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// A live connection.
#[derive(Component, Debug)]
#[require(Subscriptions, Watches, CatchUp)]
pub struct Session {
    /// The connection at its edge.
    pub handle: SessionHandle,
    /// The login.
    pub login: SessionId,
    /// The installation.
    pub device: DeviceId,
    /// When its token ends, Unix time in milliseconds.
    pub expires_ms: u64,
    /// Its user said here that they are away.
    pub away: bool,
    /// The edge takes nothing more for now.
    pub blocked: bool,
    /// It got its room list: nothing is said of rooms before.
    pub listed: bool,
    /// A bump was left out meanwhile: it gets its room list anew when the edge takes something again, or the first one is out.
    pub missed_bump: bool,
    /// Subscriptions that it may still ask for.
    pub subscribing: RateBudget,
    /// The last hand-over in which it got events (monotonic microseconds), and how many bytes of them.
    pub handed: (u64, usize),
}

/// The user that a session belongs to.
#[derive(Component, Debug)]
#[relationship(relationship_target = Sessions)]
pub struct SessionOf(pub Entity);

/// The sessions of a user.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = SessionOf)]
pub struct Sessions(Vec<Entity>);

impl Sessions {
    /// The sessions.
    #[must_use]
    pub fn entities(&self) -> &[Entity] {
        &self.0
    }
}

/// The rooms that a session is subscribed to, or asked to be.
#[derive(Component, Debug, Default)]
pub struct Subscriptions(pub BTreeSet<Entity>);

/// The users whose presence a session watches, and what it was last told.
#[derive(Component, Debug, Default)]
pub struct Watches(pub BTreeMap<client_protocol::UserId, u8>);

/// Sessions by connection.
#[derive(Resource, Debug, Default)]
pub struct SessionIndex {
    /// Entity and user.
    pub by_handle: BTreeMap<SessionHandle, Entity>,
    /// The token ends: (Unix time in milliseconds, connection).
    pub by_expiry: BTreeSet<(u64, SessionHandle)>,
    /// The server drains: new sessions are told to go away.
    pub draining: bool,
}
