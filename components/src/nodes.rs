//! Nodes: what a node that shares its store knows of what other nodes append to the same logs.

use crate::limits::TURN_GAP_US;
use bevy_ecs::prelude::*;
use client_protocol::{EventBody, Key, RoomId, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// How well the log of a room is known here, and whose turn it is to append.
#[derive(Component, Debug, Default)]
pub struct Freshness {
    /// Everything that was durable at this time is known, monotonic microseconds.
    pub as_of_us: u64,
    /// When the store was asked for what follows the head, while it has not answered, monotonic microseconds.
    pub asked_us: Option<u64>,
    /// When an event of another node last came, monotonic microseconds.
    pub others_us: Option<u64>,
    /// When the last append was handed to the store, monotonic microseconds.
    pub appended_us: u64,
    /// When the last append was settled, monotonic microseconds.
    pub settled_us: u64,
    /// Since when this node has appended without a pause, monotonic microseconds.
    pub busy_since_us: u64,
    /// Turns that others had since one of them used it.
    pub unused_turns: u32,
    /// It is the turn of others until then, monotonic microseconds.
    pub held_until_us: u64,
}

/// A room that a user who is here has in their list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listed {
    /// The seq up to which its members here know of it. While the room is in memory, its head says so.
    pub head: u64,
    /// So many users here have it in their lists.
    pub users: u32,
}

/// Asks for many things in turns, some at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn<Id> {
    /// The last one that was asked for in this turn; `None` between turns.
    pub after: Option<Id>,
    /// When the turn began, monotonic microseconds.
    pub began_us: u64,
    /// When some more are asked for, monotonic microseconds.
    pub due_us: u64,
    /// The store has not answered yet.
    pub open: bool,
}

impl<Id> Turn<Id> {
    /// When something is to be asked for, if there is something to ask about, monotonic microseconds; `None` while the store has not
    /// answered.
    #[must_use]
    pub fn next_us(&self, any: bool) -> Option<u64> {
        (any && !self.open).then_some(self.due_us)
    }

    /// Goes on after `last`, a little later; or, where that is `None`, with the next turn, at least `interval_us` after this one began.
    pub fn move_on(&mut self, last: Option<Id>, now_us: u64, interval_us: u64) {
        if self.after.is_none() {
            self.began_us = now_us;
        }
        let gap_us = now_us + TURN_GAP_US;
        self.due_us = if last.is_some() { gap_us } else { gap_us.max(self.began_us + interval_us) };
        self.after = last;
    }
}

/// Rooms, users and follow-ups that other nodes may be at work on.
#[derive(Resource, Debug, Default)]
pub struct Others {
    /// Rooms in the lists of users who are here, and their own logs.
    pub listed: BTreeMap<RoomId, Listed>,
    /// The heads of rooms in memory.
    pub loaded_turn: Turn<RoomId>,
    /// The heads of listed rooms that are not in memory.
    pub listed_turn: Turn<RoomId>,
    /// The accounts in memory and the logins of sessions.
    pub accounts_turn: Turn<UserId>,
    /// Follow-ups that are looked for in own logs before they are done, by the token of the read.
    pub lookups: BTreeMap<u64, FollowUp>,
}

/// What follows from an event for a user: an event of their own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUp {
    /// The room and seq that it follows from.
    pub from: (RoomId, u64),
    /// Whose own log.
    pub user: UserId,
    /// Its key there.
    pub key: Key,
    /// What it says.
    pub body: EventBody,
}

/// The rooms of a user that are in [`Others::listed`], at most [`crate::limits::LISTED_ROOMS_MAX`]. Empty unless they are here.
#[derive(Component, Debug, Default)]
pub struct ListedRooms(pub BTreeSet<RoomId>);
