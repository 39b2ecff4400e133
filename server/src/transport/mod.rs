//! A QUIC endpoint on one thread: quinn-proto, one socket, one driver.
//!
//! The same state machine as quinn's, without a task, a timer, a channel and a lock for each connection: a driver task reads the socket, lets
//! the connections that were touched say what they have to say, and writes it. Handles are for the edge's thread only and are used as quinn's
//! are. What crosses into the rest of the server is the same as with quinn, and clients keep quinn.
//!
//! [`endpoint`] is where connections come in; [`socket`] reads and writes packets; [`driver`] moves them to and from connections; [`connection`] and
//! [`stream`] are what the edge holds.

mod batch;
pub mod connection;
mod driver;
mod endpoint;
mod socket;
pub mod stream;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

pub use connection::Connection;
pub use endpoint::{Connecting, Endpoint, Incoming};
pub use quinn_proto::{ConnectionError, VarInt};
pub use stream::{ReadError, RecvStream, SendStream, WriteError};
