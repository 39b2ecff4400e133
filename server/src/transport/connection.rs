//! A connection: its state machine, and who waits for what of it.

use super::endpoint::Shared;
use super::stream::{RecvStream, SendStream};
use bytes::Bytes;
use quinn_proto::{ConnectionError, ConnectionHandle, Dir, Event, StreamEvent, StreamId, VarInt};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// The handshake is over.
    Connected,
    /// The connection is.
    Closed,
    /// A stream was opened by the peer.
    Opened,
    /// A datagram has come.
    Datagram,
    /// A stream has something to read.
    Readable(StreamId),
    /// A stream takes something.
    Writable(StreamId),
    /// The peer has all of a stream, or does not want it.
    Done(StreamId),
}

/// A connection's state.
pub(super) struct Inner {
    pub(super) proto: quinn_proto::Connection,
    /// Why it ended.
    pub(super) error: Option<ConnectionError>,
    pub(super) connected: bool,
    waiting: Vec<(Interest, Waker)>,
}

impl Inner {
    /// Has the calling task woken when there is a reason.
    pub(super) fn wait(&mut self, interest: Interest, context: &Context<'_>) {
        let known = |(of, waker): &(Interest, Waker)| *of == interest && waker.will_wake(context.waker());
        if !self.waiting.iter().any(known) {
            self.waiting.push((interest, context.waker().clone()));
        }
    }

    fn wake(&mut self, interest: Interest) {
        // Few wait, and mostly for different things.
        let mut at = 0;
        while at < self.waiting.len() {
            if self.waiting[at].0 == interest {
                self.waiting.swap_remove(at).1.wake();
            } else {
                at += 1;
            }
        }
    }

    pub(super) fn forget(&mut self, interest: Interest) {
        self.waiting.retain(|(of, _)| *of != interest);
    }

    /// The connection has ended: everybody is told.
    fn end(&mut self, reason: ConnectionError) {
        self.error.get_or_insert(reason);
        for (_, waker) in std::mem::take(&mut self.waiting) {
            waker.wake();
        }
    }

    /// Passes on what the state machine has to say to the application.
    pub(super) fn forward_events(&mut self) {
        while let Some(event) = self.proto.poll() {
            match event {
                Event::Connected => {
                    self.connected = true;
                    self.wake(Interest::Connected);
                }
                Event::ConnectionLost { reason } => self.end(reason),
                Event::DatagramReceived => self.wake(Interest::Datagram),
                Event::Stream(StreamEvent::Opened { .. }) => self.wake(Interest::Opened),
                Event::Stream(StreamEvent::Readable { id }) => self.wake(Interest::Readable(id)),
                Event::Stream(StreamEvent::Writable { id }) => self.wake(Interest::Writable(id)),
                Event::Stream(StreamEvent::Finished { id }) => self.wake(Interest::Done(id)),
                Event::Stream(StreamEvent::Stopped { id, .. }) => {
                    self.wake(Interest::Done(id));
                    self.wake(Interest::Writable(id));
                }
                // The server opens no streams, and datagrams that find no room are dropped.
                Event::HandshakeDataReady | Event::DatagramsUnblocked | Event::Stream(StreamEvent::Available { .. }) => {}
            }
        }
    }
}

/// A connection, as the driver and its handles share it.
pub(super) struct Core {
    pub(super) handle: ConnectionHandle,
    pub(super) inner: RefCell<Inner>,
    /// It is in the driver's list of those to look at.
    pub(super) dirty: Cell<bool>,
    /// The timer that is queued for it.
    pub(super) timer: Cell<Option<Instant>>,
    driver: Weak<Shared>,
}

impl Core {
    pub(super) fn new(handle: ConnectionHandle, proto: quinn_proto::Connection, driver: &Rc<Shared>) -> Rc<Self> {
        let inner = Inner { proto, error: None, connected: false, waiting: Vec::new() };
        Rc::new(Self {
            handle,
            inner: RefCell::new(inner),
            dirty: Cell::new(false),
            timer: Cell::new(None),
            driver: Rc::downgrade(driver),
        })
    }

    /// Has the driver look at it: it may have something to send.
    pub(super) fn touch(self: &Rc<Self>) {
        if !self.dirty.replace(true)
            && let Some(driver) = self.driver.upgrade()
        {
            driver.look_at(Rc::clone(self));
        }
    }

    pub(super) fn close(self: &Rc<Self>, code: VarInt, reason: Bytes) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.proto.close(Instant::now(), code, reason);
            inner.end(ConnectionError::LocallyClosed);
        }
        self.touch();
    }
}

/// Held by everything that the application has of a connection; when the last one is dropped, the connection is closed.
pub(super) struct Handle(pub(super) Rc<Core>);

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.inner.borrow().error.is_none() {
            self.0.close(VarInt::from_u32(0), Bytes::new());
        }
    }
}

/// A connection. Cheap to clone; closed when the last clone and the last of its streams are dropped.
#[derive(Clone)]
pub struct Connection {
    handle: Rc<Handle>,
}

impl Connection {
    pub(super) fn new(handle: Rc<Handle>) -> Self {
        Self { handle }
    }

    fn core(&self) -> &Rc<Core> {
        &self.handle.0
    }

    /// Polls for something of the connection; whoever gets it may have made room for the peer.
    async fn next<T>(
        &self,
        interest: Interest,
        mut take: impl FnMut(&mut quinn_proto::Connection) -> Option<T>,
    ) -> Result<T, ConnectionError> {
        poll_fn(|context| {
            let mut inner = self.core().inner.borrow_mut();
            if let Some(taken) = take(&mut inner.proto) {
                drop(inner);
                self.core().touch();
                return Poll::Ready(Ok(taken));
            }
            if let Some(error) = &inner.error {
                return Poll::Ready(Err(error.clone()));
            }
            inner.wait(interest, context);
            Poll::Pending
        })
        .await
    }

    /// The next bidirectional stream that the peer opens. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// Why the connection has ended.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let id = self.next(Interest::Opened, |proto| proto.streams().accept(Dir::Bi)).await?;
        Ok((SendStream::new(Rc::clone(&self.handle), id), RecvStream::new(Rc::clone(&self.handle), id)))
    }

    /// The next datagram. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// Why the connection has ended.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        self.next(Interest::Datagram, |proto| proto.datagrams().recv()).await
    }

    /// Sends a datagram; the oldest ones that still wait are dropped for it if there is no room. `false`: the peer takes none of this size.
    pub fn send_datagram(&self, bytes: Bytes) -> bool {
        let mut inner = self.core().inner.borrow_mut();
        if inner.error.is_some() {
            return false;
        }
        let sent = inner.proto.datagrams().send(bytes, true).is_ok();
        drop(inner);
        self.core().touch();
        sent
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> ConnectionError {
        poll_fn(|context| {
            let mut inner = self.core().inner.borrow_mut();
            if let Some(error) = &inner.error {
                return Poll::Ready(error.clone());
            }
            inner.wait(Interest::Closed, context);
            Poll::Pending
        })
        .await
    }

    /// Closes the connection at once; what was not delivered is lost. Nothing happens if it has ended.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        if self.core().inner.borrow().error.is_none() {
            self.core().close(code, Bytes::copy_from_slice(reason));
        }
    }
}
