//! User: an account while someone needs it.

use crate::rows::AccountRow;
use bevy_ecs::prelude::*;
use client_protocol::UserId;
use std::collections::{BTreeMap, BTreeSet};

/// A user.
#[derive(Component, Debug)]
#[require(crate::presence::PresenceState, crate::notification::ReadMarks, crate::nodes::ListedRooms, RateBudget)]
pub struct User {
    /// Who.
    pub user: UserId,
    /// `None` until the store answered; the inner one is `None` if there is no such account.
    pub account: Option<Option<AccountRow>>,
    /// In how many rooms they are.
    pub rooms: u32,
    /// When it was last of use, monotonic microseconds.
    pub used_us: u64,
}

/// A token bucket: what may still be done at `at_us`.
#[derive(Component, Debug, Clone, Copy, Default)]
pub struct RateBudget {
    /// Tokens.
    pub tokens: f64,
    /// When they were counted, monotonic microseconds; 0 is a full bucket.
    pub at_us: u64,
}

/// Users in memory.
#[derive(Resource, Debug, Default)]
pub struct UserIndex {
    /// By id.
    pub by_id: BTreeMap<UserId, Entity>,
    /// When to look whether one is still needed: (monotonic microseconds, user).
    pub idle_checks: BTreeSet<(u64, UserId)>,
}
