//! The endpoint: where connections come in, and what handles and the driver share.

use super::connection::{Connection, Core, Handle, Interest};
use super::driver::Driver;
use super::socket::Socket;
use bytes::Bytes;
use quinn_proto::{ConnectionError, EndpointConfig, RetryError, ServerConfig, Transmit, VarInt};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;
use tokio::sync::Notify;

/// What handles and the driver share.
pub(super) struct Shared {
    pub(super) proto: RefCell<quinn_proto::Endpoint>,
    /// By handle.
    pub(super) connections: RefCell<Vec<Option<Rc<Core>>>>,
    pub(super) open: Cell<usize>,
    pub(super) dirty: RefCell<Vec<Rc<Core>>>,
    pub(super) incoming: RefCell<VecDeque<quinn_proto::Incoming>>,
    /// Answers to packets that belong to no connection.
    pub(super) responses: RefCell<Vec<(Transmit, Vec<u8>)>>,
    pub(super) closed: Cell<bool>,
    /// The driver is at work.
    pub(super) in_turn: Cell<bool>,
    /// The driver has something to do.
    pub(super) wake: Notify,
    /// A connection has come, or none will any more.
    pub(super) arrived: Notify,
    /// A connection has gone.
    pub(super) left: Notify,
}

impl Shared {
    /// Has the driver look at a connection.
    pub(super) fn look_at(&self, core: Rc<Core>) {
        self.dirty.borrow_mut().push(core);
        // The driver looks by itself at what it touches.
        if !self.in_turn.get() {
            self.wake.notify_one();
        }
    }

    pub(super) fn respond(&self, transmit: Transmit, bytes: Vec<u8>) {
        self.responses.borrow_mut().push((transmit, bytes));
        self.wake.notify_one();
    }
}

/// A QUIC endpoint for incoming connections. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    shared: Rc<Shared>,
    address: SocketAddr,
}

impl Endpoint {
    /// Serves on `socket`. Must be called within a [`tokio::task::LocalSet`]: the driver is a task of it.
    ///
    /// # Errors
    ///
    /// Where the socket cannot be used.
    pub fn new(socket: std::net::UdpSocket, endpoint: EndpointConfig, server: ServerConfig) -> io::Result<Self> {
        let socket = Socket::new(socket)?;
        let address = socket.local_addr()?;
        let proto = quinn_proto::Endpoint::new(Arc::new(endpoint), Some(Arc::new(server)), !socket.may_fragment(), None);
        let shared = Rc::new(Shared {
            proto: RefCell::new(proto),
            connections: RefCell::default(),
            open: Cell::new(0),
            dirty: RefCell::default(),
            incoming: RefCell::default(),
            responses: RefCell::default(),
            closed: Cell::new(false),
            in_turn: Cell::new(false),
            wake: Notify::new(),
            arrived: Notify::new(),
            left: Notify::new(),
        });
        tokio::task::spawn_local(Driver::new(Rc::clone(&shared), socket).run());
        Ok(Self { shared, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are being made, stand, or are being closed.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.open.get()
    }

    /// The next client that wants to connect; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            if self.shared.closed.get() {
                return None;
            }
            if let Some(incoming) = self.shared.incoming.borrow_mut().pop_front() {
                return Some(Incoming { proto: Some(incoming), shared: Rc::clone(&self.shared) });
            }
            self.shared.arrived.notified().await;
        }
    }

    /// Closes all connections and takes no new ones.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.shared.closed.set(true);
        let connections: Vec<Rc<Core>> = self.shared.connections.borrow().iter().flatten().cloned().collect();
        let reason = Bytes::copy_from_slice(reason);
        for core in connections {
            if core.inner.borrow().error.is_none() {
                core.close(code, reason.clone());
            }
        }
        self.shared.arrived.notify_one();
        self.shared.wake.notify_one();
    }

    /// Waits until all connections are gone, their last packets sent.
    pub async fn wait_idle(&self) {
        while self.shared.open.get() > 0 {
            self.shared.left.notified().await;
        }
    }
}

/// A client that wants to connect. Dropping it refuses it.
pub struct Incoming {
    proto: Option<quinn_proto::Incoming>,
    shared: Rc<Shared>,
}

impl Incoming {
    /// Begins the handshake.
    ///
    /// # Errors
    ///
    /// Why there can be none.
    pub fn accept(mut self) -> Result<Connecting, ConnectionError> {
        let Some(incoming) = self.proto.take() else { return Err(ConnectionError::LocallyClosed) };
        let mut response = Vec::new();
        let accepted = self.shared.proto.borrow_mut().accept(incoming, Instant::now(), &mut response, None);
        match accepted {
            Ok((handle, proto)) => {
                let core = Core::new(handle, proto, &self.shared);
                let mut connections = self.shared.connections.borrow_mut();
                if connections.len() <= handle.0 {
                    connections.resize_with(handle.0 + 1, || None);
                }
                connections[handle.0] = Some(Rc::clone(&core));
                self.shared.open.set(self.shared.open.get() + 1);
                drop(connections);
                core.touch();
                Ok(Connecting { handle: Rc::new(Handle(core)) })
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.shared.respond(transmit, response);
                }
                Err(error.cause)
            }
        }
    }

    /// Whether the client can be asked to prove its address: it has not done so yet.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.proto.as_ref().is_some_and(quinn_proto::Incoming::may_retry)
    }

    /// Asks the client to prove its address (RFC 9000 section 8.1.2).
    pub fn retry(mut self) {
        let Some(incoming) = self.proto.take() else { return };
        let mut response = Vec::new();
        let asked = self.shared.proto.borrow_mut().retry(incoming, &mut response);
        match asked {
            Ok(transmit) => self.shared.respond(transmit, response),
            Err(error) => self.proto = Some(RetryError::into_incoming(error)),
        }
    }

    /// Refuses the client.
    pub fn refuse(self) {
        drop(self);
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(incoming) = self.proto.take() {
            let mut response = Vec::new();
            let transmit = self.shared.proto.borrow_mut().refuse(incoming, &mut response);
            self.shared.respond(transmit, response);
        }
    }
}

/// A handshake.
pub struct Connecting {
    handle: Rc<Handle>,
}

impl Connecting {
    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn established(self) -> Result<Connection, ConnectionError> {
        poll_fn(|context| {
            let mut inner = self.handle.0.inner.borrow_mut();
            if let Some(error) = &inner.error {
                return Poll::Ready(Err(error.clone()));
            }
            if inner.connected {
                return Poll::Ready(Ok(()));
            }
            inner.wait(Interest::Connected, context);
            Poll::Pending
        })
        .await?;
        Ok(Connection::new(self.handle))
    }
}
