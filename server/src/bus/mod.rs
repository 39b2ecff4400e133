//! The bus: committed events for whoever follows rooms outside of the world. Never in the path of an ack.
//!
//! [`Bus`] is what the server publishes to; [`local::LocalBus`] carries events within the process. A follower that is too slow is told how
//! much it missed and reads the room logs from its cursor: the log is the truth, the bus only says that there is something new.

pub mod local;

use client_protocol::RoomId;
use components::edge::Record;

/// Committed events of rooms, in the order of each room's log.
pub type Notice = (RoomId, Record);

/// What a follower gets.
#[derive(Debug, Clone)]
pub enum Followed {
    /// The next committed event.
    Notice(Box<Notice>),
    /// So many were missed: read the logs.
    Missed(u64),
}

/// Carries committed events to followers.
pub trait Bus: Send + Sync + 'static {
    /// Publishes events that are durable. Never blocks and never fails: what cannot be carried is missed by followers, who are told.
    fn publish(&self, notices: Vec<Notice>);

    /// A follower of everything that is published from now on.
    fn follow(&self) -> Box<dyn Follower>;
}

/// One that follows.
pub trait Follower: Send {
    /// Waits for what comes next; `None` when the bus is gone.
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Option<Followed>> + Send + '_>>;
}
