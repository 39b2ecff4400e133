//! What the application sees of the rooms that it follows.

use client_protocol::{Code, Event, RoomId, UserId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, mpsc};

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// With the first event that the user may see.
    Start,
    /// With the event after this seq, of the store's present epoch.
    Seq(u64),
    /// With the event after this place, kept from [`RoomEvents::cursor`], perhaps by an earlier run of the program.
    Cursor(Cursor),
    /// With the next event to come.
    Live,
}

/// A place in a room's log. Worth keeping: a later subscription goes on from it without a gap or a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The store's epoch, which changes when a backup is restored.
    pub epoch: u64,
    /// The last seq.
    pub seq: u64,
}

/// What a followed room gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomItem {
    /// The next event: its seq is one above that of the event before, or of the reset before.
    Event(Event),
    /// The events between the last one and this place cannot be had: what is known of the room is void. Read the history, then go on
    /// with the events that follow.
    Reset {
        /// Events after this place follow.
        cursor: Cursor,
        /// See [`client_protocol::room::reset_reason`].
        reason: u8,
    },
    /// Nothing follows: the user left or was removed. The stream ends after it. (A room that the server cannot serve for a while does
    /// not end; the client asks again by itself.)
    Ended {
        /// The last event of the room that the user may see; 0 if that is not known.
        last_seq: u64,
        /// Why: `not_found` after leaving or being removed, `banned` after a ban, or what the server refused to resume with.
        code: Code,
    },
    /// Someone is typing. Lossy, and not part of the log: forget it after [`client_protocol::limits::TYPING_EXPIRES_MS`].
    Typing {
        /// Who.
        user: UserId,
    },
}

/// The signal from a reader to the session: there is room in a queue again, or a queue is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReaderSignal {
    wanted: Arc<AtomicBool>,
    wake: Arc<Notify>,
}

impl ReaderSignal {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { wanted: Arc::default(), wake }
    }

    /// Whether the session waits for room in this queue.
    pub(crate) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::SeqCst);
    }
}

/// The events of one room, in order, each once, without a gap: across reconnects, and whatever the reader's pace.
///
/// At most [`crate::limits::ROOM_ITEMS_MAX`] items wait here. A reader that falls behind stops the connection's reads for a moment
/// ([`crate::limits::STALL`]); if that does not help, the client ends the subscription at the server and opens it again
/// where it stopped as soon as the reader has caught up. So answers to commands get through while nobody reads, and nothing is lost.
///
/// The subscription ends when this is dropped.
#[derive(Debug)]
pub struct RoomEvents {
    room: RoomId,
    head: u64,
    cursor: Cursor,
    items: mpsc::Receiver<RoomItem>,
    signal: ReaderSignal,
}

impl RoomEvents {
    pub(crate) const fn new(
        room: RoomId,
        head: u64,
        cursor: Cursor,
        items: mpsc::Receiver<RoomItem>,
        signal: ReaderSignal,
    ) -> Self {
        Self { room, head, cursor, items, signal }
    }

    /// The next item; `None` after [`RoomItem::Ended`], and when the session has ended ([`crate::Client::closed`] says why).
    ///
    /// May be dropped and called again at any time: no item is lost.
    pub async fn next(&mut self) -> Option<RoomItem> {
        let item = self.items.recv().await?;
        if self.signal.wanted.load(Ordering::SeqCst) {
            self.signal.wake.notify_one();
        }
        match &item {
            RoomItem::Event(event) => self.cursor.seq = event.head.seq,
            RoomItem::Reset { cursor, .. } => self.cursor = *cursor,
            RoomItem::Ended { .. } | RoomItem::Typing { .. } => {}
        }
        Some(item)
    }

    /// The room.
    #[must_use]
    pub const fn room(&self) -> RoomId {
        self.room
    }

    /// The seq of the room's last event when the subscription was made.
    #[must_use]
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// The place after the last item that [`Self::next`] gave.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }
}

impl Drop for RoomEvents {
    fn drop(&mut self) {
        self.items.close();
        self.signal.wake.notify_one();
    }
}
