//! The handle of a session.

use crate::builder::ClientBuilder;
use crate::error::ClientError;
use crate::items::SessionItems;
use crate::limits::QUERIES_MAX;
use crate::session::{Link, LinkState, Order};
use client_protocol::UserId;
use client_protocol::session::Welcome;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;

/// A session with a server, which reconnects and resumes by itself. Cheap to clone; all clones are one session.
///
/// Every call ends: with success, with a refusal, with [`ClientError::Unknown`] where the outcome cannot be told, or with the reason why the
/// session ended. A call that is dropped before it ends goes on without its caller, up to its deadline.
///
/// When the last clone is dropped, the session closes and all its streams end.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) link: watch::Receiver<LinkState>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) items: Mutex<SessionItems>,
    pub(crate) items_taken: Mutex<bool>,
    pub(crate) queries: Semaphore,
    pub(crate) typing: Mutex<BTreeMap<client_protocol::RoomId, Instant>>,
    pub(crate) request_deadline: Duration,
}

impl Client {
    /// Settings for a session with the server at `address`, which is `HOST:PORT`.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }

    pub(crate) fn new(
        orders: mpsc::Sender<Order>,
        link: watch::Receiver<LinkState>,
        stop: watch::Sender<bool>,
        wake: Arc<Notify>,
        items: SessionItems,
        request_deadline: Duration,
    ) -> Self {
        let shared = Shared {
            orders,
            link,
            stop,
            wake,
            items: Mutex::new(items),
            items_taken: Mutex::new(false),
            queries: Semaphore::new(QUERIES_MAX),
            typing: Mutex::default(),
            request_deadline,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What happens to the session as a whole: connections made and lost, the room list, bumps of rooms that are not subscribed to,
    /// presence.
    ///
    /// The first stream that is taken starts with the first connection; later ones start at the time of the call. A reader that falls
    /// more than [`crate::limits::SESSION_ITEMS_MAX`] items behind loses the oldest and is told how many.
    #[must_use]
    pub fn session_items(&self) -> SessionItems {
        let mut items = self.shared.items.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.shared.items_taken.lock().unwrap_or_else(PoisonError::into_inner);
        let from_now = items.starting_now();
        if std::mem::replace(&mut *taken, true) { from_now } else { std::mem::replace(&mut *items, from_now) }
    }

    /// What the server said last when it welcomed the session.
    ///
    /// # Errors
    ///
    /// Why the session ended, if it has.
    pub fn welcome(&self) -> Result<Arc<Welcome>, ClientError> {
        match &*self.shared.link.borrow() {
            LinkState::Online(link) => Ok(Arc::clone(&link.welcome)),
            LinkState::Offline(welcome) => Ok(Arc::clone(welcome)),
            LinkState::Closed(reason) => Err(reason.clone()),
        }
    }

    /// Whose session it is.
    ///
    /// # Errors
    ///
    /// Why the session ended, if it has.
    pub fn user(&self) -> Result<UserId, ClientError> {
        self.welcome().map(|welcome| welcome.user)
    }

    /// Whether a connection stands now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(&*self.shared.link.borrow(), LinkState::Online(_))
    }

    /// Waits until the session has ended, and says why: closed by [`Self::close`], or by the server for good.
    pub async fn closed(&self) -> ClientError {
        let mut link = self.shared.link.clone();
        let reason = match link.wait_for(|state| matches!(state, LinkState::Closed(_))).await {
            Ok(state) => match &*state {
                LinkState::Closed(reason) => Some(reason.clone()),
                _ => None,
            },
            Err(_) => None,
        };
        reason.unwrap_or_else(ClientError::closed_here)
    }

    /// Closes the session and waits until the server was told, at most [`crate::limits::CLOSE_WAIT`]. Commands under way end as
    /// [`ClientError::Unknown`].
    pub async fn close(&self) {
        self.shared.stop.send_replace(true);
        let _ = self.closed().await;
    }

    /// The present connection; waits for the next one if there is none.
    pub(crate) async fn online(&self) -> Result<Link, ClientError> {
        let mut link = self.shared.link.clone();
        loop {
            match &*link.borrow_and_update() {
                LinkState::Online(link) if link.connection.close_reason().is_none() => return Ok(link.clone()),
                LinkState::Closed(reason) => return Err(reason.clone()),
                LinkState::Online(_) | LinkState::Offline(_) => {}
            }
            if link.changed().await.is_err() {
                return Err(self.closed().await);
            }
        }
    }
}
