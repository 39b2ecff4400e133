//! The QUIC edge over real sockets: what a client may do wrong, and what the server must do right whatever clients do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod ending;
mod frames;
mod hello;
mod pressure;
mod queries;
mod sessions;
