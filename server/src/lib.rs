//! The Starling server: the edges around the world, and the binary.

mod app;
pub mod auth;
pub mod bus;
pub mod config;
pub mod keys;
pub mod limits;
pub mod queries;
pub mod quic;
pub mod rest;
pub mod runner;
pub mod store;
pub mod telemetry;
pub mod world;

pub use app::{App, AppError, Running};
