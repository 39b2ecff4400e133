//! The embedded store: one process, one folder, no server beside it.
//!
//! Log, keys and projections of a commit go into one atomic batch with one sync; the words of messages follow. Three sorts of threads: the [`writer`], through which
//! all events go; a few that serve the world's [`read`]s; and tokio's blocking threads for everything else, a bounded number at a
//! time. What the store is not: shared between processes (the folder is locked), or a place for queries that scan.
//!
//! | file | what |
//! |---|---|
//! | [`store`] | the trait: which call goes where |
//! | [`tables`], [`keys`] | tables, their keys; a view of one instant; writes on top of the database |
//! | [`append`], [`projection`] | what an append writes |
//! | [`writer`], [`disk`] | group commit; when the disk fails |
//! | [`torn`] | what a power cut may leave |
//! | [`read`] | the world's reads |
//! | [`query`], [`history`] | room lists, members, pages of messages |
//! | [`index`], [`search`] | words and names: written, and looked for |
//! | [`unindexed`] | messages whose words are to be indexed yet |
//! | [`accounts`], [`logins`] | accounts, refresh tokens |
//! | [`erase`] | what a user did, room by room |
//! | [`check`] | projections compared with their logs |
//! | [`dump`] | everything out, and into an empty store |
//! | [`migrate`] | data of older versions |

mod accounts;
mod append;
mod check;
mod disk;
mod dump;
mod erase;
mod history;
mod index;
mod keys;
mod logins;
mod migrate;
mod projection;
mod query;
mod read;
mod search;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod torn;
mod unindexed;
mod writer;

use super::{Answer, ReplySink, Store, StoreError, StoreMeta};
use crate::limits::{STORE_CACHE_BYTES, STORE_FREE_BYTES_MIN, STORE_QUERIES_MAX, STORE_READ_THREADS};
use client_protocol::NodeId;
use components::edge::StoreReply;
use disk::Disk;
use fjall::{Database, Keyspace, PersistMode};
use migrate::SCHEMA;
use read::ReadJob;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use tables::{Tables, View};
use tokio::sync::{Semaphore, oneshot};
use writer::{Job, Writer};

/// How an embedded store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Whether a commit waits for stable storage. Without, acknowledged messages are lost by a power cut: for benchmarks only.
    pub sync: bool,
    /// Bytes of the cache of what was read.
    pub cache_bytes: u64,
    /// While less than so many bytes are free on the disk, no writes are taken.
    pub free_bytes_min: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { sync: true, cache_bytes: STORE_CACHE_BYTES, free_bytes_min: STORE_FREE_BYTES_MIN }
    }
}

/// What all threads of the store share.
struct Shared {
    tables: Tables,
    disk: Disk,
    meta: StoreMeta,
    sink: OnceLock<ReplySink>,
    queries: Arc<Semaphore>,
    /// Held while accounts and logins are changed.
    accounts: Mutex<logins::Sweep>,
}

impl Shared {
    fn answer(&self, replies: Vec<StoreReply>) {
        match self.sink.get() {
            Some(sink) => sink(replies),
            None => tracing::error!("work was submitted before the store was connected"),
        }
    }
}

/// A store in a folder of this process.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    reads: crossbeam_channel::Sender<ReadJob>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("meta", &self.shared.meta).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in `folder`, which is made if it is not there, and which only its owner may enter from then on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if another process has it open, or the disk cannot be read; [`StoreError::Corrupt`] if what is there
    /// cannot be read or was written by a version with another schema.
    pub fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", folder.display()));
        crate::folder::make_closed(folder).map_err(unusable)?;
        let disk = Disk::new(folder, options.sync, options.free_bytes_min);
        let mut found = None;
        let tables = Tables::open(&folder.join("db"), options.cache_bytes, |db, space| {
            found = Some(read_or_write_meta(db, space)?);
            Ok(())
        })
        .map_err(|error| in_folder(folder, error))?;
        let (meta, schema) = found.ok_or_else(|| StoreError::Corrupt("no meta".to_owned()))?;
        migrate::migrate(&tables, &disk, schema).map_err(|error| in_folder(folder, error))?;
        let shared = Arc::new(Shared {
            tables,
            disk,
            meta,
            sink: OnceLock::new(),
            queries: Arc::new(Semaphore::new(STORE_QUERIES_MAX)),
            accounts: Mutex::default(),
        });
        Self::start(shared).map_err(|error| in_folder(folder, error))
    }

    fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let writer = Writer::new(Arc::clone(&shared))?;
        let (jobs, jobs_taken) = channel();
        let (reads, reads_taken) = crossbeam_channel::unbounded();
        let mut threads = vec![spawn("store-writer", move || writer.run(&jobs_taken))?];
        for _ in 0..STORE_READ_THREADS {
            let (shared, reads_taken) = (Arc::clone(&shared), reads_taken.clone());
            threads.push(spawn("store-read", move || read::run(&shared, &reads_taken))?);
        }
        Ok(Self { shared, jobs, reads, threads: Mutex::new(threads) })
    }

    /// Runs `work` where it may block, at most [`STORE_QUERIES_MAX`] at a time. What was begun is finished even if nobody waits for it.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        Box::pin(async move {
            let ended = |_| StoreError::Unavailable("the store is closed".to_owned());
            let turn = Arc::clone(&self.shared.queries).acquire_owned().await.map_err(ended)?;
            let shared = Arc::clone(&self.shared);
            let work = move || {
                let _turn = turn;
                work(&shared)
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.map_err(|error| StoreError::Unavailable(format!("a query did not end: {error}")))?
        })
    }

    /// Has the writer do something, in its turn.
    fn writing<T: Send + 'static>(&self, job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job) -> Answer<'_, T> {
        let (done, is_done) = oneshot::channel();
        let sent = self.jobs.send(job(done)).is_ok();
        Box::pin(async move {
            let closed = || StoreError::Unavailable("the store is closed".to_owned());
            if !sent {
                return Err(closed());
            }
            is_done.await.map_err(|_| closed())?
        })
    }

    /// As [`Self::blocking`], for work that only reads.
    fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        self.blocking(|shared| work(&shared.tables.view()))
    }
}

fn in_folder(folder: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{}: {why}", folder.display())),
        StoreError::Corrupt(why) => StoreError::Corrupt(format!("{}: {why}", folder.display())),
        other => other,
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))
}

/// The meta of a data folder and its schema; written when there is none yet.
fn read_or_write_meta(db: &Database, space: &Keyspace) -> Result<(StoreMeta, u64), StoreError> {
    let number = |name: &str| -> Result<Option<u64>, StoreError> {
        let Some(value) = space.get(name)? else { return Ok(None) };
        keys::number(&value).map(Some).ok_or_else(|| StoreError::Corrupt(format!("{name} is no number")))
    };
    if space.contains_key(dump::LOADING)? {
        let why = "a restore into it did not come to its end: remove it and restore again";
        return Err(StoreError::Corrupt(why.to_owned()));
    }
    match (number("schema")?, number("epoch")?, number("node")?) {
        (Some(schema @ 1..=SCHEMA), Some(epoch), Some(node)) => Ok((StoreMeta { epoch, node: NodeId(node as u32) }, schema)),
        (Some(1..=SCHEMA), _, _) => Err(StoreError::Corrupt("epoch or node is missing".to_owned())),
        (Some(schema), _, _) => {
            Err(StoreError::Corrupt(format!("the data has schema {schema}; this version reads schemas 1 to {SCHEMA}")))
        }
        (None, _, _) => {
            let epoch = crate::clock::now_ms();
            let node = getrandom::u32().map_err(|error| StoreError::Unavailable(format!("no randomness: {error}")))?;
            let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
            for (name, value) in [("schema", SCHEMA), ("epoch", epoch), ("node", u64::from(node))] {
                batch.insert(space, name, value.to_be_bytes());
            }
            batch.commit()?;
            Ok((StoreMeta { epoch, node: NodeId(node) }, SCHEMA))
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}
