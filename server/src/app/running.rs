//! A server that runs, and its end: sessions go, then connections, then the world, then the store.

use super::signals::{Signals, StopOnSignal};
use crate::bus::Bus;
use crate::limits::{CLOSE_TIMEOUT, DRAIN_APPENDS_TIMEOUT};
use crate::store::Store;
use crate::world::WorldHandle;
use components::edge::Control;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// A server that runs. Dropping it stops it without draining.
pub struct Running {
    pub(super) store_place: String,
    pub(super) quic_address: SocketAddr,
    pub(super) rest_address: SocketAddr,
    pub(super) fingerprint: String,
    pub(super) drain: Duration,
    pub(super) world: WorldHandle,
    pub(super) store: Arc<dyn Store>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) stop: watch::Sender<Stop>,
    pub(super) drained: mpsc::Receiver<()>,
    pub(super) edge: Option<JoinHandle<()>>,
    #[cfg(unix)]
    pub(super) admin: Option<crate::admin::serve::Socket>,
    pub(super) rest: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    pub(super) background: Option<tokio::runtime::Runtime>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Stop {
    /// It runs.
    No,
    /// New sessions are refused, those that there are were asked to go.
    Draining,
    /// Connections are closed, REST takes no more.
    Edges,
    /// The world stands.
    World,
}

/// Waits until the end has come so far, or whoever decides it is gone.
pub(super) async fn wait_for(stopped: &mut watch::Receiver<Stop>, until: Stop) {
    let _gone = stopped.wait_for(|stop| *stop >= until).await;
}

impl Running {
    /// Where native clients connect.
    #[must_use]
    pub const fn quic_address(&self) -> SocketAddr {
        self.quic_address
    }

    /// Where REST listens.
    #[must_use]
    pub const fn rest_address(&self) -> SocketAddr {
        self.rest_address
    }

    /// Which store this is and where, for people; nothing secret.
    #[must_use]
    pub fn store_place(&self) -> &str {
        &self.store_place
    }

    /// SHA-256 of the certificate, as text.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Committed events, for services of your own.
    #[must_use]
    pub fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.bus)
    }

    /// Waits for SIGINT or SIGTERM, then drains. A second signal ends the process at once.
    ///
    /// # Errors
    ///
    /// Where the signals cannot be listened for; the server is stopped then.
    pub fn wait_for_signal(self) -> std::io::Result<()> {
        self.on_signal()?.wait();
        Ok(())
    }

    /// Listens for SIGINT and SIGTERM from now on: one that comes before [`StopOnSignal::wait`] counts.
    ///
    /// # Errors
    ///
    /// Where the signals cannot be listened for; the server is stopped then.
    pub fn on_signal(self) -> std::io::Result<StopOnSignal> {
        let signals = match &self.background {
            Some(background) => {
                let _entered = background.enter();
                Signals::listen()?
            }
            None => return Err(std::io::Error::other("the server has ended")),
        };
        Ok(StopOnSignal { running: self, signals })
    }

    /// Tells sessions to go away, finishes what is in flight, closes the store.
    pub fn shut_down(mut self) {
        self.draining.store(true, Ordering::Relaxed);
        self.world.control(Control::Drain);
        let _gone = self.stop.send(Stop::Draining);
        let _late = self.drained.recv_timeout(self.drain + DRAIN_APPENDS_TIMEOUT + CLOSE_TIMEOUT);
        let _gone = self.stop.send(Stop::Edges);
        if let (Some(background), Some(rest)) = (&self.background, self.rest.take()) {
            // Requests over REST get their answers too; this is bounded by `serve` itself.
            let _ended = background.block_on(rest);
        }
        // Read marks that were set meanwhile become durable, since the world ends when nothing is open.
        self.world.control(Control::Drain);
        self.end();
    }

    fn end(&mut self) {
        let _gone = self.stop.send(Stop::World);
        #[cfg(unix)]
        drop(self.admin.take());
        if let Some(edge) = self.edge.take()
            && edge.join().is_err()
        {
            tracing::error!("the edge's thread panicked");
        }
        if let Some(background) = self.background.take() {
            background.shutdown_timeout(Duration::from_secs(1));
            self.store.close();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
