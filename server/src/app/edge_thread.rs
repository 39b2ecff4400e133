//! The thread on which the world and all connections live.

use super::running::{Stop, wait_for};
use super::{AppError, Setup};
use crate::bus::Bus;
use crate::keys::Keys;
use crate::limits::{CLOSE_TIMEOUT, DRAIN_APPENDS_TIMEOUT, DRAIN_LOOK_INTERVAL};
use crate::quic::{self, Edge, EdgeDeps};
use crate::runner::Runner;
use crate::store::Store;
use client_protocol::CloseCode;
use components::time::Node;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use systems::core::Core;
use tokio::sync::watch;

/// What the edge's thread is started with.
pub(super) struct EdgeThread {
    pub(super) address: SocketAddr,
    pub(super) keys: Keys,
    pub(super) node: Node,
    pub(super) setups: Vec<Setup>,
    pub(super) deps: EdgeDeps,
    pub(super) store: Arc<dyn Store>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) drain: Duration,
    pub(super) stopped: watch::Receiver<Stop>,
    pub(super) drained: mpsc::SyncSender<()>,
}

impl EdgeThread {
    /// Starts the thread on which the world and all connections live; answers when its port is open.
    pub(super) fn start(self) -> Result<(JoinHandle<()>, SocketAddr), AppError> {
        let (opened, open) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("starling-edge".into())
            .spawn(move || {
                // A current-thread runtime: quinn costs 12 to 25 % less on it than on two workers, and the world is next door.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, self.run(&opened)),
                    Err(source) => {
                        let _gone = opened.send(Err(AppError::Thread { what: "the edge's runtime", source }));
                    }
                }
            })
            .map_err(|source| AppError::Thread { what: "the edge's thread", source })?;
        let address = open.recv().map_err(|_| AppError::Edge)??;
        Ok((thread, address))
    }

    async fn run(mut self, opened: &mpsc::SyncSender<Result<SocketAddr, AppError>>) {
        let endpoint = match quic::open(self.address, &self.keys) {
            Ok(endpoint) => {
                let _gone = opened.send(Ok(endpoint.local_addr()));
                endpoint
            }
            Err(error) => {
                let _gone = opened.send(Err(error.into()));
                return;
            }
        };
        let edge = Edge::new(self.deps.clone());
        tokio::task::spawn_local(quic::endpoint::accept(endpoint.clone(), std::rc::Rc::clone(&edge)));
        let setups = self.setups;
        let core = Core::new(self.node, |app| setups.into_iter().for_each(|setup| setup(app)));
        let runner =
            Runner { core, world: self.deps.world, store: self.store, bus: self.bus, edge: std::rc::Rc::clone(&edge) };
        let (world_stop, world_stopped) = watch::channel(false);
        let world = tokio::task::spawn_local(runner.run(world_stopped));
        wait_for(&mut self.stopped, Stop::Draining).await;
        edge.drain();
        let mut at_once = self.stopped.clone();
        tokio::select! {
            () = let_go(&edge, self.drain) => {}
            () = wait_for(&mut at_once, Stop::Edges) => {}
        }
        let _gone = self.drained.send(());
        wait_for(&mut self.stopped, Stop::Edges).await;
        endpoint.close(quic::endpoint::close_code(CloseCode::GoingAway), b"going away");
        let _late = tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
        wait_for(&mut self.stopped, Stop::World).await;
        let _gone = world_stop.send(true);
        if let Err(error) = world.await {
            tracing::error!(%error, "the world ended badly");
        }
    }
}

/// Lets sessions go away by themselves, then lets those who stayed have the answers to what they have asked.
async fn let_go(edge: &Edge, time: Duration) {
    let _late = tokio::time::timeout(time, until(|| edge.connections() == 0)).await;
    edge.stop_reading();
    let _late = tokio::time::timeout(time.min(DRAIN_APPENDS_TIMEOUT), until(|| edge.open_requests() == 0)).await;
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(DRAIN_LOOK_INTERVAL).await;
    }
}
