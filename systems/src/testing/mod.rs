//! Testing: the world in virtual time. Bytes in, ticks, bytes out.
//!
//! [`Scenario`] owns one core, a [`FaultyStore`] and mock clients. It checks on every frame what must always hold: events come
//! dense and in order, nothing is shown before it is durable, a request has one answer.
//!
//! Not part of a server: compiled for tests, and under the feature `testing` for the tests of other crates.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot go on is a test that fails.

mod client;
mod cluster;
pub mod commands;
mod faults;
mod model_store;
mod run;
mod scenario;

pub use client::{Client, ClientId, Request};
pub use cluster::{Cluster, On};
pub use faults::{AppendFault, Chaos, FaultyStore, ReadFault, Rng};
pub use model_store::{Foreign, ModelStore, RoomLog};
pub use scenario::{EPOCH, NODE, Scenario, TICK_US, WALL_START_MS};
