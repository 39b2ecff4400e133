//! Notification: read marks that wait to be stored, bumps that wait to be sent.

use bevy_ecs::prelude::*;
use client_protocol::{RoomId, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// Read marks of a user that are not stored yet.
#[derive(Component, Debug, Default)]
pub struct ReadMarks {
    /// By room: seq and message number, merged by the maximum.
    pub pending: BTreeMap<RoomId, (u64, u64)>,
    /// When marks were last stored, monotonic microseconds.
    pub stored_us: Option<u64>,
}

/// What a room's members who do not read it have not been told yet.
#[derive(Component, Debug, Default)]
pub struct Unbumped {
    /// A bump is queued.
    pub queued: bool,
    /// When the last one went out, monotonic microseconds.
    pub bumped_us: u64,
    /// Members mentioned since.
    pub mentioned: BTreeSet<UserId>,
    /// Up to which event Notify has done its work.
    pub notified_seq: u64,
    /// Own-log commands of this room that are not durable yet.
    pub open: u32,
    /// The seq that the store was last told to be level.
    pub level_seq: u64,
}

/// What Notify has to do and when.
#[derive(Resource, Debug, Default)]
pub struct NotifyQueue {
    /// Bumps: (monotonic microseconds, room).
    pub bumps: BTreeSet<(u64, Entity)>,
    /// Read marks to store: (monotonic microseconds, user).
    pub marks: BTreeSet<(u64, UserId)>,
}
