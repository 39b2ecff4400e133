//! Time and measured load, as inputs: no system asks the operating system for either.

use bevy_ecs::prelude::Resource;
use client_protocol::NodeId;

/// The time of this tick.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, in microseconds from any start: for deadlines.
    pub mono_us: u64,
    /// Unix time in milliseconds: for stamps. May step back; an event's time never does.
    pub wall_ms: u64,
}

/// How long the oldest input of this tick has waited, in microseconds: measured by the edge, an input like any other.
#[derive(Resource, Debug, Clone, Copy, Default)]
pub struct QueueWait(pub u64);

/// What this node is, and what it has been configured to allow.
#[derive(Resource, Debug, Clone)]
pub struct Node {
    /// Names this node in the events that it appends.
    pub node: NodeId,
    /// The store's epoch.
    pub epoch: u64,
    /// Other nodes append to the same logs, and this one looks for what they did.
    pub shared_store: bool,
    /// Tunable bounds.
    pub tuning: Tuning,
}

/// Bounds that operators may tune.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// A room's flush interval per reader, in microseconds.
    pub flush_us_per_reader: u64,
    /// The longest flush interval of a room, in microseconds.
    pub flush_us_max: u64,
    /// Commands a second that a user may send for long.
    pub user_rate: f64,
    /// Commands that a user may send at once.
    pub user_burst: f64,
    /// Commands a second that a room takes for long.
    pub room_rate: f64,
    /// Commands that a room takes at once.
    pub room_burst: f64,
    /// Queue wait above which new sends are refused, in microseconds.
    pub overload_wait_us: u64,
    /// How long an unused room or user stays in memory, in microseconds.
    pub idle_us: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            flush_us_per_reader: 300,
            flush_us_max: 200_000,
            user_rate: 50.0,
            user_burst: 200.0,
            room_rate: 2_000.0,
            room_burst: 4_000.0,
            overload_wait_us: 500_000,
            idle_us: crate::limits::ROOM_IDLE_US,
        }
    }
}
