//! The table of live connections: which handle is which.

use crate::auth::Accounts;
use crate::limits::SESSION_BACKLOG_BYTES_MAX;
use crate::queries::Queries;
use crate::quic::endpoint::close_code;
use crate::quic::writer::{self, Written};
use crate::transport::{Connection, SendStream};
use crate::world::WorldHandle;
use bytes::Bytes;
use client_protocol::CloseCode;
use client_protocol::frame::{LENGTH_BYTES, kinds};
use components::edge::{Control, SessionHandle, Slot};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// What the edge needs of the rest of the server.
#[derive(Clone)]
pub struct EdgeDeps {
    /// Checks tokens.
    pub accounts: Arc<Accounts>,
    /// Answers queries.
    pub queries: Arc<Queries>,
    /// Where commands go.
    pub world: WorldHandle,
    /// Runs what may take time: look-ups of logins, queries.
    pub background: tokio::runtime::Handle,
}

/// The edge: its connections and what it needs.
pub struct Edge {
    pub(super) deps: EdgeDeps,
    /// Connections that have not said hello yet.
    pub(super) handshakes: Cell<usize>,
    /// New connections are refused.
    pub(super) draining: Cell<bool>,
    /// Requests are not read any more: those that were are answered, and the connections closed.
    pub(super) deaf: Cell<bool>,
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Entry>,
    free: Vec<u32>,
    touched: Vec<u32>,
}

#[derive(Default)]
struct Entry {
    generation: u32,
    live: Option<Live>,
}

/// A connection that has said hello.
pub(super) struct Live {
    pub(super) connection: Connection,
    /// The session stream; `None` while the writer task waits for the peer to take something.
    pub(super) stream: Option<SendStream>,
    /// Frames that the stream has not taken.
    pub(super) backlog: VecDeque<Bytes>,
    backlog_bytes: usize,
    /// Replies among them: their requests are open until the transport has them, so that who does not read is not read either.
    replies: usize,
    /// The world was told that this connection is blocked.
    blocked: bool,
    /// Requests that have no answer yet.
    pub(super) open_requests: Rc<OpenRequests>,
    /// The world wants it closed once everything was written.
    closing: Option<CloseCode>,
    touched: bool,
}

/// Requests of a session that have no answer yet, and who waits for there to be fewer.
#[derive(Debug, Default)]
pub(super) struct OpenRequests {
    pub(super) count: Cell<usize>,
    pub(super) fewer: Notify,
}

impl OpenRequests {
    fn end(&self, requests: usize) {
        if requests > 0 {
            self.count.set(self.count.get().saturating_sub(requests));
            self.fewer.notify_one();
        }
    }
}

/// Frames for which an idle session keeps room.
const BACKLOG_FRAMES_KEPT: usize = 8;

fn is_reply(frame: &[u8]) -> bool {
    frame.get(LENGTH_BYTES..LENGTH_BYTES + 2) == Some(&kinds::REPLY.to_le_bytes())
}

impl Edge {
    /// An edge without connections.
    #[must_use]
    pub fn new(deps: EdgeDeps) -> Rc<Self> {
        Rc::new(Self {
            deps,
            handshakes: Cell::new(0),
            draining: Cell::new(false),
            deaf: Cell::new(false),
            slots: RefCell::default(),
        })
    }

    /// Refuses new connections from now on.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    /// Takes no more requests from now on.
    pub fn stop_reading(&self) {
        self.deaf.set(true);
    }

    /// Connections that are being made or have been: those that a drain waits for.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.handshakes.get() + self.sessions()
    }

    /// Requests of all sessions that have no answer yet.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        let slots = self.slots.borrow();
        slots.entries.iter().filter_map(|entry| entry.live.as_ref()).map(|live| live.open_requests.count.get()).sum()
    }

    /// Live sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        let slots = self.slots.borrow();
        slots.entries.len() - slots.free.len()
    }

    /// Gives a connection a handle.
    pub(super) fn register(
        &self,
        connection: Connection,
        stream: SendStream,
        open_requests: Rc<OpenRequests>,
    ) -> SessionHandle {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.entries.push(Entry::default());
            (slots.entries.len() - 1) as u32
        });
        let entry = &mut slots.entries[slot as usize];
        entry.live = Some(Live {
            connection,
            stream: Some(stream),
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            replies: 0,
            blocked: false,
            open_requests,
            closing: None,
            touched: false,
        });
        SessionHandle { edge: 0, slot, generation: entry.generation }
    }

    /// The connection is gone: its handle is not used again.
    pub(super) fn unregister(&self, handle: SessionHandle) {
        let mut slots = self.slots.borrow_mut();
        let Some(entry) = slots.entries.get_mut(handle.slot as usize) else { return };
        if entry.generation == handle.generation && entry.live.take().is_some() {
            entry.generation = entry.generation.wrapping_add(1);
            slots.free.push(handle.slot);
        }
    }

    /// Lets `change` at a live connection; `None` if it is gone.
    pub(super) fn with<T>(&self, handle: SessionHandle, change: impl FnOnce(&mut Live) -> T) -> Option<T> {
        let mut slots = self.slots.borrow_mut();
        let entry = slots.entries.get_mut(handle.slot as usize)?;
        (entry.generation == handle.generation).then_some(())?;
        entry.live.as_mut().map(change)
    }

    /// Sends one frame that does not come from the world.
    pub(super) fn send(self: &Rc<Self>, handle: SessionHandle, frame: Bytes) {
        self.with(handle, |live| live.push(frame));
        self.write(handle);
    }

    /// Takes everything from the slot of the world: frames to connections, closes. REST answers stay.
    pub fn take(self: &Rc<Self>, slot: &mut Slot) {
        let mut touched = {
            let slots = &mut *self.slots.borrow_mut();
            let mut touched = std::mem::take(&mut slots.touched);
            for (handle, frame) in slot.sends.drain(..) {
                let Some(entry) = slots.entries.get_mut(handle.slot as usize) else { continue };
                let Some(live) = entry.live.as_mut().filter(|_| entry.generation == handle.generation) else { continue };
                live.push(slot.frames[frame as usize].clone());
                if !std::mem::replace(&mut live.touched, true) {
                    touched.push(handle.slot);
                }
            }
            for (handle, frame) in slot.datagrams.drain(..) {
                let Some(entry) = slots.entries.get(handle.slot as usize) else { continue };
                let Some(live) = entry.live.as_ref().filter(|_| entry.generation == handle.generation) else { continue };
                // Lossy by nature: a peer without datagrams, or a full buffer, misses it.
                let _lost = live.connection.send_datagram(slot.frames[frame as usize].clone());
            }
            touched
        };
        slot.frames.clear();
        slot.events_sent = 0;
        for slot in touched.drain(..) {
            let handle = {
                let mut slots = self.slots.borrow_mut();
                let entry = &mut slots.entries[slot as usize];
                if let Some(live) = entry.live.as_mut() {
                    live.touched = false;
                }
                SessionHandle { edge: 0, slot, generation: entry.generation }
            };
            self.write(handle);
        }
        self.slots.borrow_mut().touched = touched;
        for (handle, code) in slot.closes.drain(..) {
            self.with(handle, |live| live.closing = Some(code));
            self.write(handle);
            // It must not matter whether the peer reads: who lost their rights goes.
            if let Some(Some(connection)) = self.with(handle, |live| live.closing.map(|_| live.connection.clone())) {
                writer::close_in_time(connection, code);
            }
        }
    }

    /// Writes what waits, as far as the connection takes it at once; the rest waits in a task of its own.
    fn write(self: &Rc<Self>, handle: SessionHandle) {
        let blocked = self.with(handle, |live| {
            let mut stream = live.stream.take()?;
            match writer::write_now(&mut stream, &mut live.backlog) {
                Written::All => {
                    live.open_requests.end(std::mem::take(&mut live.replies));
                    live.forget_backlog();
                    match live.closing.take() {
                        Some(code) => writer::close_after_sending(live.connection.clone(), stream, code),
                        None => live.stream = Some(stream),
                    }
                    None
                }
                Written::Blocked => {
                    live.backlog_bytes = live.backlog.iter().map(Bytes::len).sum();
                    Some((stream, !std::mem::replace(&mut live.blocked, true)))
                }
                Written::Broken => {
                    live.broken();
                    None
                }
            }
        });
        if let Some(Some((stream, tell))) = blocked {
            if tell {
                self.deps.world.control(Control::Blocked { session: handle });
            }
            tokio::task::spawn_local(writer::write_later(Rc::clone(self), handle, stream));
        }
    }

    /// The peer does not want what we write: a session of one direction is none.
    pub(super) fn broken(&self, handle: SessionHandle) {
        self.with(handle, |live| live.broken());
    }

    /// The writer task has caught up.
    pub(super) fn written(self: &Rc<Self>, handle: SessionHandle, stream: SendStream) {
        let tell = self.with(handle, |live| {
            live.stream = Some(stream);
            std::mem::replace(&mut live.blocked, false)
        });
        if tell == Some(true) {
            self.deps.world.control(Control::Writable { session: handle });
        }
        self.write(handle);
    }

    /// Takes the frames that wait, for the writer task, and says how many of them are replies.
    pub(super) fn take_backlog(&self, handle: SessionHandle) -> Option<(Vec<Bytes>, usize)> {
        self.with(handle, |live| {
            live.backlog_bytes = 0;
            (live.backlog.drain(..).collect(), std::mem::take(&mut live.replies))
        })
    }

    /// The transport has taken so many replies from the writer task.
    pub(super) fn replied(&self, handle: SessionHandle, replies: usize) {
        self.with(handle, |live| live.open_requests.end(replies));
    }
}

impl Live {
    fn push(&mut self, frame: Bytes) {
        self.replies += usize::from(is_reply(&frame));
        self.backlog_bytes += frame.len();
        self.backlog.push_back(frame);
        // The world stops sending events when it hears that we are blocked; replies are bounded by open requests. A session that still
        // collects more than all of these together does not read: it is closed, and comes back with its cursors.
        if self.stream.is_none() && self.backlog_bytes > SESSION_BACKLOG_BYTES_MAX && self.closing.is_none() {
            tracing::debug!(bytes = self.backlog_bytes, "a session does not read");
            self.connection.close(close_code(CloseCode::Overloaded), b"not reading");
        }
    }

    /// Nothing waits. What a burst has made large becomes small again: most sessions are idle most of the time.
    fn forget_backlog(&mut self) {
        self.backlog_bytes = 0;
        if self.backlog.capacity() > BACKLOG_FRAMES_KEPT {
            self.backlog = VecDeque::new();
        }
    }

    /// The reading side ends the session when it hears of the close; if the connection is gone, it has heard already.
    fn broken(&mut self) {
        self.backlog.clear();
        self.forget_backlog();
        self.connection.close(close_code(CloseCode::ProtocolError), b"the session stream was stopped");
    }
}
