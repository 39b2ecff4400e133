//! The Starling server: the edges around the world, and the binary.

// Some tests within are also run from without, by this name.
#[cfg(test)]
extern crate self as server;

#[cfg(unix)]
pub mod admin;
mod app;
pub mod auth;
pub mod bus;
mod clock;
pub mod config;
pub mod erase;
pub mod export;
mod folder;
pub mod keys;
pub mod limits;
pub mod queries;
pub mod quic;
pub mod rest;
pub mod runner;
mod stop;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod world;

pub use app::{App, AppError, Running};

/// What plugins for [`App::add_plugins`] are made of: the same that Starling's own features are made of.
pub mod plugin {
    pub use bevy_app;
    pub use bevy_ecs;
    pub use client_protocol;
    pub use components;
    pub use systems;
}
