//! Once around everything, from the outside: the real server, driven by the program `starling-chat`, over HTTP, by its command line
//! and by signals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

#[path = "tour/admin.rs"]
mod admin;
#[path = "tour/erase.rs"]
mod erase;
#[path = "tour/http.rs"]
mod http;
#[path = "tour/operations.rs"]
mod operations;
#[path = "tour/process.rs"]
mod process;
#[path = "tour/program.rs"]
mod program;
#[path = "tour/tail.rs"]
mod tail;
