//! Presence and typing: latest wins, never stored.

use bevy_ecs::prelude::*;
use client_protocol::{RoomId, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// What a user's sessions say together: see [`client_protocol::presence::state`].
#[derive(Component, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceState(pub u8);

/// Who watches whom, and what changed since watchers were last told.
#[derive(Resource, Debug, Default)]
pub struct PresenceWatch {
    /// Sessions that watch a user.
    pub watchers: BTreeMap<UserId, BTreeSet<Entity>>,
    /// Users whose state may differ from what their watchers know.
    pub changed: BTreeSet<UserId>,
    /// When watchers are told next, monotonic microseconds.
    pub due_us: Option<u64>,
    /// When they were last told.
    pub told_us: u64,
}

/// Typing notices of this tick, and when each (room, user) last gave one, monotonic microseconds.
#[derive(Resource, Debug, Default)]
pub struct TypingNotices {
    /// To relay.
    pub fresh: Vec<(RoomId, UserId)>,
    /// Last relayed.
    pub last_us: BTreeMap<(RoomId, UserId), u64>,
}
