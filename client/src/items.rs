//! What happens to a session as a whole.

use crate::error::ClientError;
use client_protocol::UserId;
use client_protocol::room::{Bump, RoomEntry};
use client_protocol::session::Welcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// What a session tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionItem {
    /// A connection stands. The room list follows.
    Connected {
        /// What the server said.
        welcome: Arc<Welcome>,
    },
    /// The connection is gone, or a try to connect again failed.
    Disconnected {
        /// Why.
        reason: ClientError,
        /// When the next try is made; `None` if the session has ended.
        reconnect_in: Option<Duration>,
    },
    /// The server will close soon; the client connects anew by itself.
    Goaway {
        /// In this time.
        reconnect_in: Duration,
    },
    /// The user's rooms that changed last, newest first: at most [`client_protocol::limits::ROOMS_PAGE_MAX`]. Sent after each connect.
    Rooms {
        /// The rooms.
        rooms: Arc<[RoomEntry]>,
        /// Where the rest starts, for [`crate::Client::rooms_page`]; 0 if there is none.
        next: u32,
    },
    /// Something happened in a room that is not subscribed to.
    Bump(Bump),
    /// Users that are watched, and their new [`client_protocol::presence::state`].
    Presence(Arc<[(UserId, u8)]>),
    /// The reader fell behind, and this many items before the next one were dropped.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// The stream of a session's items.
#[derive(Debug)]
pub struct SessionItems {
    items: broadcast::Receiver<SessionItem>,
}

impl SessionItems {
    pub(crate) const fn new(items: broadcast::Receiver<SessionItem>) -> Self {
        Self { items }
    }

    pub(crate) fn starting_now(&self) -> Self {
        Self { items: self.items.resubscribe() }
    }

    /// The next item; `None` when the session has ended. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Option<SessionItem> {
        match self.items.recv().await {
            Ok(item) => Some(item),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(SessionItem::Lagged { missed }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
