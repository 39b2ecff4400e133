//! The nouns of the Starling world: components, resources, the queues at its edges and the rows that stores keep.
//!
//! Plain data: what is done with it stands in `systems`, in files of the same names. Nothing here does I/O, reads a clock or draws
//! a random number. [`bevy_ecs::entity::Entity`] never leaves the process: on the wire and in stores things have ids.

pub mod catch_up;
pub mod chat;
pub mod edge;
pub mod limits;
pub mod nodes;
pub mod notification;
pub mod presence;
pub mod room;
pub mod rows;
pub mod session;
pub mod time;
pub mod user;
