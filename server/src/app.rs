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

mod edge_thread;
mod running;
mod signals;

pub use running::Running;

use crate::auth::accounts::Rates;
use crate::auth::{Accounts, PasswordError, PasswordPool, Tokens};
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::config::Config;
use crate::erase::Eraser;
use crate::keys::{KeyError, Keys};
use crate::limits::{PASSWORD_QUEUE_MAX, PASSWORD_THREADS, REST_CONNECTIONS_MAX};
use crate::queries::Queries;
use crate::quic::{EdgeDeps, EndpointError};
use crate::rest::{self, RestDeps};
use crate::runner::sweep_dirty_rooms;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::mongo::MongoStore;
use crate::store::{Store, StoreError};
use crate::telemetry::{self, TelemetryError};
use crate::world::WorldHandle;
use components::time::Node;
use edge_thread::EdgeThread;
use running::{Stop, wait_for};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;
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
        background.spawn(eraser.clone().watch());
        #[cfg(unix)]
        let admin = {
            let (store, accounts, world) = (Arc::clone(&store), Arc::clone(&accounts), world.clone());
            let _entered = background.enter();
            let eraser = eraser.clone();
            open_admin(&config.data, crate::admin::Admin { store, accounts, world, eraser })
        };
        let rest_deps = RestDeps {
            accounts,
            eraser,
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
