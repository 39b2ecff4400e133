//! One subscription of the session: its cursor, and what was taken off the connection but not handed over yet.

use crate::cursors::Wish;
use crate::error::ClientError;
use crate::limits::ROOM_ITEMS_MAX;
use crate::subscription::{After, Cursor, ReaderSignal, RoomEvents, RoomItem};
use client_protocol::room::{LIVE, Subscribe};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, RoomId};
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Where an entry stands with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be subscribed, not before this time.
    Idle(Option<Instant>),
    /// `Subscribe` is under way.
    Opening,
    /// Events come.
    Open,
    /// `Unsubscribe` is under way since the reader is slow; events are dropped until its reply.
    Pausing,
    /// Waits for the reader.
    Paused,
    /// `Unsubscribe` is under way since the reader is gone.
    Closing,
    /// Nothing more will come; what is left is handed over.
    Ended,
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) phase: Phase,
    /// The place after the last item handed to the reader; the seq is `None` until the head is known.
    pub(crate) cursor: Option<u64>,
    pub(crate) epoch: u64,
    /// The last seq taken off the connection, the backlog included.
    pub(crate) received: Option<u64>,
    /// Taken off the connection, not handed over yet: at most the items of one frame and the end.
    pub(crate) backlog: VecDeque<RoomItem>,
    pub(crate) stalled_since: Option<Instant>,
    pub(crate) items: mpsc::Sender<RoomItem>,
    pub(crate) signal: ReaderSignal,
    /// The call that waits for the first reply.
    pub(crate) opening: Option<(Wish, mpsc::Receiver<RoomItem>)>,
}

impl Entry {
    /// For a wish, in the store's present epoch.
    pub(crate) fn new(wish: Wish, present: u64) -> Self {
        let (items, receiver) = mpsc::channel(ROOM_ITEMS_MAX);
        let (epoch, cursor) = match wish.after {
            After::Start => (present, Some(0)),
            After::Seq(seq) => (present, Some(seq)),
            After::Cursor(cursor) => (cursor.epoch, Some(cursor.seq)),
            After::Live => (present, None),
        };
        Self {
            phase: Phase::Idle(None),
            cursor,
            epoch,
            received: cursor,
            backlog: VecDeque::new(),
            stalled_since: None,
            items,
            signal: wish.signal.clone(),
            opening: Some((wish, receiver)),
        }
    }

    /// Whether its reader is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.items.is_closed()
    }

    /// Whether the connection's reads wait for its reader.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled_since.is_some() && self.phase == Phase::Open
    }

    /// Whether it starts in whatever epoch there is.
    pub(crate) fn starts_here(&self) -> bool {
        self.opening.as_ref().is_some_and(|(wish, _)| !matches!(wish.after, After::Cursor(_)))
    }

    /// The request that opens it, or opens it again.
    pub(crate) fn subscribe(&self, room: RoomId) -> Command {
        let after_seq = self.cursor.unwrap_or(LIVE);
        Command::Subscribe(Subscribe { room, epoch: self.epoch, after_seq, tail: EmptyTail::default() })
    }

    /// The server took it.
    pub(crate) fn opened(&mut self, room: RoomId, head: u64) {
        self.phase = Phase::Open;
        if self.cursor.is_none() {
            self.cursor = Some(head);
            self.received = Some(head);
        }
        if let Some((wish, receiver)) = self.opening.take() {
            let cursor = Cursor { epoch: self.epoch, seq: self.cursor.unwrap_or(head) };
            let events = RoomEvents::new(room, head, cursor, receiver, self.signal.clone());
            // If the caller has gone, dropping the events closes the queue.
            let _ = wish.answer.send(Ok(events));
        }
    }

    /// Nothing more will come but `item`.
    pub(crate) fn end(&mut self, item: RoomItem, now: Instant) {
        if let Some((wish, _)) = self.opening.take() {
            let error = match &item {
                RoomItem::Ended { code, .. } => *code,
                _ => Code::Internal,
            };
            let refused = ClientError::Refused { code: error, detail: String::new(), retry_after: None };
            let _ = wish.answer.send(Err(refused));
        }
        self.phase = Phase::Ended;
        self.backlog.push_back(item);
        self.hand_over(now);
    }

    /// Forgets what was not handed over; the server will send it again.
    pub(crate) fn rewind(&mut self) {
        self.backlog.clear();
        self.received = self.cursor;
        self.stalled_since = None;
    }

    /// Hands the backlog over, as far as there is room.
    pub(crate) fn hand_over(&mut self, now: Instant) {
        while let Some(item) = self.backlog.pop_front() {
            let place = match &item {
                RoomItem::Event(event) => Some((self.epoch, event.head.seq)),
                RoomItem::Reset { cursor, .. } => Some((cursor.epoch, cursor.seq)),
                RoomItem::Ended { .. } | RoomItem::Typing { .. } => None,
            };
            let sent = self.items.try_send(item).or_else(|error| match error {
                mpsc::error::TrySendError::Full(item) => {
                    // The reader may have made room between the two: ask for the signal first, then look again.
                    self.signal.want(true);
                    self.items.try_send(item)
                }
                closed => Err(closed),
            });
            match sent {
                Ok(()) => {
                    if let Some((epoch, seq)) = place {
                        (self.epoch, self.cursor) = (epoch, Some(seq));
                    }
                }
                Err(mpsc::error::TrySendError::Full(item)) => {
                    self.backlog.push_front(item);
                    self.stalled_since.get_or_insert(now);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
        if self.stalled_since.take().is_some() {
            self.signal.want(false);
        }
    }
}
