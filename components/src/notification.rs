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

/// What a room's followers have done and have not done yet.
#[derive(Component, Debug, Default)]
pub struct Unbumped {
    /// A bump is queued.
    pub queued: bool,
    /// When the last one went out, monotonic microseconds.
    pub bumped_us: u64,
    /// Members mentioned since.
    pub mentioned: BTreeSet<UserId>,
    /// Commands for own logs that follow from events of this room and have no answer yet, counted by the seq of the event.
    pub open: BTreeMap<u64, u32>,
    /// The first event of which such a command failed: its followers, and all after it, do their work again.
    pub failed_from: Option<u64>,
    /// The store was asked for the events from `failed_from` on.
    pub reading: bool,
    /// Events of other nodes are left to their followers until then, monotonic microseconds.
    pub left_until_us: u64,
    /// The seq up to which the store was told that followers are level.
    pub level_seq: u64,
    /// The next look at that is queued.
    pub level_queued: bool,
    /// The room was brought in to finish what was left undone, and is asked for again if the store cannot be read.
    pub swept: bool,
}

impl Unbumped {
    /// The seq up to which followers have done everything, in a room with this head.
    #[must_use]
    pub fn level(&self, head: u64) -> u64 {
        let open = self.open.first_key_value().map(|(seq, _)| *seq);
        let undone = [open, self.failed_from].into_iter().flatten().min();
        undone.map_or(head, |seq| (seq - 1).min(head))
    }
}

/// A read mark on its way: it waits for its room and for the message number at its seq.
#[derive(Component, Debug)]
pub struct PendingMark {
    /// Who waits for the answer.
    pub origin: crate::edge::Origin,
    /// Whose mark.
    pub user: UserId,
    /// The room.
    pub room: RoomId,
    /// Read up to here.
    pub seq: u64,
    /// The store was asked for the event at `seq`.
    pub asked: bool,
    /// The message number there, once known.
    pub message_no: Option<u64>,
    /// When it came, monotonic microseconds.
    pub came_us: u64,
    /// When it is given up, monotonic microseconds.
    pub deadline_us: u64,
}

/// What Notify has to do and when.
#[derive(Resource, Debug, Default)]
pub struct NotifyQueue {
    /// Bumps: (monotonic microseconds, room).
    pub bumps: BTreeSet<(u64, Entity)>,
    /// Read marks to store: (monotonic microseconds, user).
    pub marks: BTreeSet<(u64, UserId)>,
    /// Rooms to look at whether followers are level: (monotonic microseconds, room).
    pub levels: BTreeSet<(u64, Entity)>,
}
