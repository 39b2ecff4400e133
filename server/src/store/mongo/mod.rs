//! The MongoDB store: the official driver, and the portable part of what servers of the protocol understand.
//!
//! The log of a room is decided by two unique indexes and nothing else: several servers may append to one room, and no transaction,
//! lock or leader is needed. Everything beside the log follows from it and is written after it, in a way that any server can finish. An
//! append is answered when both are on a majority, so whoever is told of it finds it in every query; only how far its log goes may be
//! written into a room a little later.
//!
//! | file | what |
//! |---|---|
//! | [`queries`], [`documents`], [`ids`] | shapes of queries and indexes; documents and the rows that they stand for; their ids |
//! | [`link`], [`update`], [`fault`], [`retry`] | calls with a time limit; many changes in one; what failures mean; trying again |
//! | [`schema`] | the start |
//! | [`store`] | the trait: which call goes where |
//! | [`writer`], [`append`], [`insert`], [`resolve`] | batches; the one write; in as few commands as can be; how its outcome is found out |
//! | [`watch`] | whether the database is there and takes writes; which servers are alive |
//! | [`cache`], [`late`] | what the writer knows of rooms; rows that are written late |
//! | [`settle`] | late rows, how far followers are, and which rooms are dirty |
//! | [`projection`], [`sheet`], [`writes`] | rooms, members, messages and marks after a fold: how, on what, and what is sent |
//! | [`read`], [`heads`] | the world's reads; what other servers did |
//! | [`query`], [`history`] | room lists, members, pages of messages |
//! | [`gather`], [`index`] | newest messages of a room; the words of blocks of them |
//! | [`search`], [`names`] | messages by words, users by names |
//! | [`accounts`], [`logins`] | accounts, refresh tokens |
//! | [`check`], [`dump`] | projections compared with their log; everything in pieces, out and in |
//! | [`erase`] | what a user did, room by room |

mod accounts;
mod append;
mod cache;
mod check;
mod documents;
mod dump;
mod erase;
mod fault;
mod gather;
mod heads;
mod history;
mod ids;
mod index;
mod insert;
mod late;
mod link;
mod logins;
mod names;
mod projection;
mod queries;
mod query;
mod read;
mod resolve;
mod retry;
mod schema;
mod search;
mod settle;
mod sheet;
mod store;
#[cfg(test)]
mod tests;
mod update;
mod watch;
mod writer;
mod writes;

use super::{Answer, ReplySink, Store, StoreError, StoreMeta};
use crate::limits::{
    MONGO_CALL_TIMEOUT, MONGO_INSERTS_MAX, MONGO_QUERY_TIMEOUT, MONGO_READS_MAX, MONGO_RESOLVES_MAX, MONGO_ROOM_TIMEOUT,
    STORE_QUERIES_MAX,
};
use crate::stop::StopOnPanic;
use client_protocol::NodeId;
use components::edge::{Found, Read, ReadRequest, StoreReply};
use fault::Fault;
use link::Link;
use schema::NodeFile;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use writer::{Job, Writer};

/// The database that is used where the URI names none.
pub const DEFAULT_DATABASE: &str = "starling";

/// What all tasks of the store share.
struct Shared {
    link: Arc<Link>,
    meta: StoreMeta,
    handle: Handle,
    sink: OnceLock<ReplySink>,
    inserts: Arc<Semaphore>,
    resolves: Semaphore,
    reads: Semaphore,
    queries: Arc<Semaphore>,
    sweep: logins::Sweep,
    /// Nodes that are gone and whose marks are still there.
    gone: Mutex<BTreeSet<NodeId>>,
}

impl Shared {
    fn answer(&self, replies: Vec<StoreReply>) {
        if replies.is_empty() {
            return;
        }
        match self.sink.get() {
            Some(sink) => sink(replies),
            None => tracing::error!("work was submitted before the store was connected"),
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = StopUnlessClosed(Arc::clone(&self.queries));
        self.handle.spawn(async move {
            let _stop = stop;
            work.await;
        });
    }
}

/// Held by a task whose end others wait for: the process ends if it panics, but for a store that is closed, since then the runtime
/// ends under its tasks.
struct StopUnlessClosed(Arc<Semaphore>);

impl Drop for StopUnlessClosed {
    fn drop(&mut self) {
        if !self.0.is_closed() {
            drop(StopOnPanic("a task of the store"));
        }
    }
}

/// A store in a MongoDB database.
pub struct MongoStore {
    shared: Arc<Shared>,
    jobs: UnboundedSender<Job>,
    running: Mutex<Option<Running>>,
}

/// What ends with the store.
struct Running {
    runtime: Runtime,
    /// Says that the writer has ended.
    ended: Receiver<()>,
    /// Keeps the node of the data folder from being used twice.
    _node: NodeFile,
}

impl std::fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MongoStore").field("meta", &self.shared.meta).finish_non_exhaustive()
    }
}

impl MongoStore {
    /// Opens the database that `uri` names. `folder` keeps which node this is: each server needs one of its own. Blocks, for
    /// [`crate::limits::MONGO_OPEN_TIMEOUT`] at most.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the database cannot be reached, or another process has the folder open; [`StoreError::Corrupt`] if
    /// its schema is not one that this version can use. The URI is in none of them.
    pub fn open(uri: &str, folder: &Path) -> Result<Self, StoreError> {
        let no_thread = |error: std::io::Error| StoreError::Unavailable(format!("no thread can be started: {error}"));
        let mut node = NodeFile::open(folder)?;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name("starling-mongo").enable_all().build().map_err(no_thread)?;
        let (opened, open) = sync_channel(1);
        let uri = uri.to_owned();
        let handle = runtime.handle().clone();
        // Not waited for as a task, since whoever opens a store may be one.
        runtime.spawn(async move {
            let result = async {
                let link = Arc::new(Link::new(&uri).await?);
                let meta = schema::open(&link, &mut node).await?;
                let shared = Arc::new(Shared {
                    link,
                    meta,
                    handle,
                    sink: OnceLock::new(),
                    inserts: Arc::new(Semaphore::new(MONGO_INSERTS_MAX)),
                    resolves: Semaphore::new(MONGO_RESOLVES_MAX),
                    reads: Semaphore::new(MONGO_READS_MAX),
                    queries: Arc::new(Semaphore::new(STORE_QUERIES_MAX)),
                    sweep: logins::Sweep::default(),
                    gone: Mutex::default(),
                });
                let marked = schema::tried(&shared.link, || settle::dirty_rooms(&shared)).await?.own;
                resolve::heal_at_start(&shared.link, &marked).await;
                Ok((shared, marked, node))
            };
            let _gone = opened.send(result.await);
        });
        let ended = || StoreError::Unavailable("the store ended at its start".to_owned());
        let result = open.recv().map_err(|_| ended()).flatten();
        let (shared, marked, node) = match result {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let (jobs, jobs_taken) = unbounded_channel();
        let (ended_in, ended) = sync_channel(1);
        let writer = Writer::new(Arc::clone(&shared), jobs.clone(), marked);
        shared.spawn(async move {
            writer.run(jobs_taken).await;
            let _gone = ended_in.send(());
        });
        shared.spawn(watch::watch(Arc::clone(&shared), jobs.clone()));
        Ok(Self { shared, jobs, running: Mutex::new(Some(Running { runtime, ended, _node: node })) })
    }

    /// Which database this is, for people; nothing secret.
    #[must_use]
    pub fn place(&self) -> String {
        self.shared.link.place().to_owned()
    }

    /// Runs `work` on the store's runtime, [`STORE_QUERIES_MAX`] at a time, for [`MONGO_QUERY_TIMEOUT`] at most. What was begun is
    /// finished even if nobody waits for it.
    fn ask<T, W>(&self, work: impl FnOnce(Arc<Shared>) -> W + Send + 'static) -> Answer<'_, T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send,
    {
        self.within(MONGO_QUERY_TIMEOUT, work)
    }

    /// As [`Self::ask`], with another time limit. Waits for a turn no longer than its caller does, and not at all while the database does
    /// not answer.
    fn within<T, W>(&self, limit: Duration, work: impl FnOnce(Arc<Shared>) -> W + Send + 'static) -> Answer<'_, T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send,
    {
        let shared = Arc::clone(&self.shared);
        let late = || StoreError::Unavailable("the database did not answer in time".to_owned());
        Box::pin(async move {
            if !shared.link.health.answers() {
                return Err(StoreError::Unavailable("the database does not answer".to_owned()));
            }
            let began = Instant::now();
            let turn = tokio::time::timeout(limit, Arc::clone(&shared.queries).acquire_owned()).await.map_err(|_| late())?;
            let turn = turn.map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?;
            let left = limit.saturating_sub(began.elapsed());
            let handle = shared.handle.clone();
            let task = handle.spawn(async move {
                let _turn = turn;
                tokio::time::timeout(left, work(shared)).await.unwrap_or_else(|_| Err(late()))
            });
            task.await.map_err(|error| StoreError::Unavailable(format!("a query did not end: {error}")))?
        })
    }

    /// As [`Self::ask`], for work that fails as calls do.
    fn query<T, W>(&self, work: impl FnOnce(Arc<Shared>) -> W + Send + 'static) -> Answer<'_, T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Fault>> + Send,
    {
        self.ask(|shared| {
            let work = work(shared);
            async move { work.await.map_err(StoreError::from) }
        })
    }

    fn send(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("work was submitted after the store was closed");
        }
    }

    fn read(&self, request: ReadRequest) {
        let (shared, jobs) = (Arc::clone(&self.shared), self.jobs.clone());
        self.shared.spawn(async move {
            let turn = shared.reads.acquire().await;
            let patience = match request.read {
                Read::Room { .. } => MONGO_ROOM_TIMEOUT,
                _ => MONGO_CALL_TIMEOUT,
            };
            let found = tokio::time::timeout(patience, read::serve(&shared, &request.read)).await;
            drop(turn);
            let found = match found {
                Ok(Ok((found, behind))) => {
                    if let Some(room) = behind {
                        let _closed = jobs.send(Job::Heal(room));
                    }
                    found
                }
                Ok(Err(fault)) => {
                    tracing::error!(read = ?request.read, %fault, "a read failed");
                    Found::Unavailable
                }
                Err(_) => {
                    tracing::warn!(read = ?request.read, ?patience, "a read takes too long");
                    Found::Unavailable
                }
            };
            shared.answer(vec![StoreReply::Read(request.token, found)]);
        });
    }
}

impl Drop for MongoStore {
    fn drop(&mut self) {
        self.close();
    }
}
