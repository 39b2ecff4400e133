//! The application: everything that one process runs, put together, started and drained.
//!
//! ```no_run
//! use server::{App, config::Config};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let running = App::new(Config::default()).start()?;
//! println!("QUIC on {}, REST on {}", running.quic_address(), running.rest_address());
//! running.wait_for_signal()?;
//! # Ok(())
//! # }
//! ```

use crate::auth::accounts::Rates;
use crate::auth::{Accounts, PasswordError, PasswordPool, Tokens};
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::config::Config;
use crate::erase::Eraser;
use crate::keys::{KeyError, Keys};
use crate::limits::{
    CLOSE_TIMEOUT, DRAIN_APPENDS_TIMEOUT, DRAIN_LOOK_INTERVAL, PASSWORD_QUEUE_MAX, PASSWORD_THREADS, REST_CONNECTIONS_MAX,
};
use crate::queries::Queries;
use crate::quic::{self, Edge, EdgeDeps, EndpointError};
use crate::rest::{self, RestDeps};
use crate::runner::{Runner, sweep_dirty_rooms};
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::mongo::MongoStore;
use crate::store::{Store, StoreError};
use crate::telemetry::{self, TelemetryError};
use crate::world::WorldHandle;
use client_protocol::CloseCode;
use components::edge::Control;
use components::time::Node;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use systems::core::Core;
use tokio::sync::watch;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Keys or certificate.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The QUIC port.
    #[error(transparent)]
    Quic(#[from] EndpointError),
    /// The password pool.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// Metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The REST port.
    #[error("cannot open the REST port {address}: {source}")]
    Rest {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A thread or runtime.
    #[error("cannot start {what}: {source}")]
    Thread {
        /// Which.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The edge's thread ended before it could say why.
    #[error("the edge's thread ended at its start")]
    Edge,
}

type Setup = Box<dyn FnOnce(&mut bevy_app::App) + Send>;

/// A server that has not been started.
pub struct App {
    config: Config,
    setups: Vec<Setup>,
}

/// A server that runs. Dropping it stops it without draining.
pub struct Running {
    store_place: String,
    quic_address: SocketAddr,
    rest_address: SocketAddr,
    fingerprint: String,
    drain: Duration,
    world: WorldHandle,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    draining: Arc<AtomicBool>,
    stop: watch::Sender<Stop>,
    drained: mpsc::Receiver<()>,
    edge: Option<JoinHandle<()>>,
    #[cfg(unix)]
    admin: Option<crate::admin::serve::Socket>,
    rest: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    background: Option<tokio::runtime::Runtime>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stop {
    No,
    /// New sessions are refused, those that there are were asked to go.
    Draining,
    /// Connections are closed, REST takes no more.
    Edges,
    /// The world stands.
    World,
}

impl App {
    /// A server with this configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, setups: Vec::new() }
    }

    /// Adds plugins of your own to the world: they see what Starling's own features see.
    #[must_use]
    pub fn add_plugins<M, P>(mut self, plugins: P) -> Self
    where
        P: bevy_app::Plugins<M> + Send + 'static,
    {
        self.setups.push(Box::new(move |app| {
            app.add_plugins(plugins);
        }));
        self
    }

    /// Starts everything; answers when both ports are open.
    ///
    /// # Errors
    ///
    /// [`AppError`]: what could not be had. Nothing keeps running then.
    pub fn start(self) -> Result<Running, AppError> {
        let Self { config, setups } = self;
        let keys = Keys::load_or_create(&config.data, &config)?;
        let fingerprint = keys.fingerprint();
        let metrics = telemetry::init_metrics()?;
        let (store, store_place) = open_store(&config)?;
        let world = WorldHandle::default();
        let replies = world.clone();
        store.connect(Arc::new(move |batch| replies.store_replies(batch)));
        let tokens = Tokens::from_config(&keys, &config);
        let passwords = PasswordPool::start(PASSWORD_THREADS, PASSWORD_QUEUE_MAX)?;
        let rates = Rates::from_config(&config);
        let accounts = Arc::new(Accounts::new(Arc::clone(&store), world.clone(), tokens, passwords, rates));
        let queries = Arc::new(Queries::new(Arc::clone(&store)));
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("starling-rest")
            .enable_all()
            .build()
            .map_err(|source| AppError::Thread { what: "the REST runtime", source })?;

        let address = SocketAddr::new(config.host, config.port);
        let listener = background
            .block_on(tokio::net::TcpListener::bind(address))
            .and_then(|listener| Ok((listener.local_addr()?, listener)))
            .map_err(|source| AppError::Rest { address, source });
        let (rest_address, listener) = listener?;

        let bus: Arc<dyn Bus> = Arc::new(LocalBus::default());
        let (stop, stopped) = watch::channel(Stop::No);
        let deps = EdgeDeps {
            accounts: Arc::clone(&accounts),
            queries,
            world: world.clone(),
            background: background.handle().clone(),
        };
        let meta = store.meta();
        let node = Node { node: meta.node, epoch: meta.epoch, shared_store: store.is_shared(), tuning: config.tuning() };
        let (drained_in, drained) = mpsc::sync_channel(1);
        let edge_thread = EdgeThread {
            address: SocketAddr::new(config.host, config.quic_port),
            keys,
            node,
            setups,
            deps,
            store: Arc::clone(&store),
            bus: Arc::clone(&bus),
            drain: Duration::from_secs(config.drain_s),
            stopped: stopped.clone(),
            drained: drained_in,
        };
        let (edge, quic_address) = edge_thread.start()?;

        let draining = Arc::new(AtomicBool::new(false));
        let eraser = Eraser::new(Arc::clone(&store), world.clone(), Arc::clone(&accounts));
        background.spawn(eraser.clone().resume());
        #[cfg(unix)]
        let admin = {
            let (store, accounts, world) = (Arc::clone(&store), Arc::clone(&accounts), world.clone());
            let _entered = background.enter();
            open_admin(&config.data, crate::admin::Admin { store, accounts, world, eraser })
        };
        let rest_deps = RestDeps {
            accounts,
            queries: Queries::new(Arc::clone(&store)),
            store: Arc::clone(&store),
            world: world.clone(),
            metrics: Some(metrics),
            draining: Arc::clone(&draining),
            forwarded_for: config.forwarded_for,
            connections_max: REST_CONNECTIONS_MAX,
        };
        let mut rest_stopped = stopped;
        let rest_stop = async move {
            wait_for(&mut rest_stopped, Stop::Edges).await;
        };
        let rest = background.spawn(rest::serve(listener, rest_deps, rest_stop));
        background.spawn(sweep_dirty_rooms(Arc::clone(&store), world.clone()));
        Ok(Running {
            store_place,
            quic_address,
            rest_address,
            fingerprint,
            drain: Duration::from_secs(config.drain_s),
            world,
            store,
            bus,
            draining,
            stop,
            drained,
            edge: Some(edge),
            #[cfg(unix)]
            admin,
            rest: Some(rest),
            background: Some(background),
        })
    }
}

/// Opens the store that the configuration names, and says which it is.
fn open_store(config: &Config) -> Result<(Arc<dyn Store>, String), StoreError> {
    if let Some(uri) = &config.mongodb_uri {
        let store = MongoStore::open(uri.text(), &config.data)?;
        let place = store.place();
        return Ok((Arc::new(store), place));
    }
    let options = EmbeddedOptions { sync: !config.unsafe_no_sync, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(&config.data.join("store"), &options)?;
    let mut place = "embedded, in the data folder".to_owned();
    if config.unsafe_no_sync {
        tracing::warn!(
            "unsafe_no_sync is on: a power cut loses messages that were acknowledged; never serve users like this"
        );
        place.push_str(", WITHOUT SYNC: a power cut loses acknowledged messages");
    }
    Ok((Arc::new(store), place))
}

/// Opens the socket of `starling admin`. A server without it serves all the same.
#[cfg(unix)]
fn open_admin(data: &std::path::Path, admin: crate::admin::Admin) -> Option<crate::admin::serve::Socket> {
    let opened = crate::admin::serve::open(data, admin);
    opened.inspect_err(|error| tracing::error!(%error, "the admin socket cannot be opened: no `starling admin`")).ok()
}

/// What the edge's thread is started with.
struct EdgeThread {
    address: SocketAddr,
    keys: Keys,
    node: Node,
    setups: Vec<Setup>,
    deps: EdgeDeps,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    drain: Duration,
    stopped: watch::Receiver<Stop>,
    drained: mpsc::SyncSender<()>,
}

impl EdgeThread {
    /// Starts the thread on which the world and all connections live; answers when its port is open.
    fn start(self) -> Result<(JoinHandle<()>, SocketAddr), AppError> {
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

/// Waits until the end has come so far, or whoever decides it is gone.
async fn wait_for(stopped: &mut watch::Receiver<Stop>, until: Stop) {
    let _gone = stopped.wait_for(|stop| *stop >= until).await;
}

/// A server that ends with the next SIGINT or SIGTERM.
pub struct StopOnSignal {
    running: Running,
    signals: Signals,
}

impl StopOnSignal {
    /// Waits for a signal, then drains. A second signal ends the process at once.
    pub fn wait(self) {
        let Self { running, mut signals } = self;
        if let Some(background) = &running.background {
            background.block_on(signals.next());
            tracing::info!("draining; once more to stop at once");
            background.spawn(async move {
                signals.next().await;
                std::process::exit(130);
            });
        }
        running.shut_down();
    }
}

/// The signals that ask a process to end.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The signal that asks a process to end.
#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(windows)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    async fn next(&mut self) {
        let _one = self.interrupt.recv().await;
    }
}
