//! QUIC: the edge for native clients.
//!
//! [`endpoint`] opens the port; [`session`] reads one connection; [`writer`] hands frames to connections; [`table`] knows which connection has
//! which handle; [`query`] answers the streams beside the session. No type of the transport crosses into the world.
//!
//! Everything here runs on the edge's own thread, beside the world's tick.

pub mod endpoint;
mod query;
mod session;
pub mod table;
mod writer;

pub use endpoint::{EndpointError, open};
pub use table::{Edge, EdgeDeps};
