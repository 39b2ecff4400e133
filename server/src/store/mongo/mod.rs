//! The MongoDB store: the official driver, and the portable part of what servers of the protocol understand.
//!
//! The log of a room is decided by two unique indexes and nothing else: several servers may append to one room, and no transaction,
//! lock or leader is needed. Everything beside the log follows from it and is written after it, in a way that any server can finish. An
//! append is answered when both are on a majority, so whoever is told of it finds it in every query.
//!
//! | file | what |
//! |---|---|
//! | [`queries`], [`documents`] | shapes of queries and indexes; documents and the rows that they stand for |
//! | [`link`], [`schema`] | calls with a time limit, and what failures mean; the start |
//! | [`writer`], [`append`], [`resolve`] | batches; the one write; how its outcome is found out |
//! | [`projection`] | rooms, members, messages and marks after a fold |
//! | [`read`], [`heads`] | the world's reads; what other servers did |
//! | [`query`], [`history`] | room lists, members, pages of messages |
//! | [`search`], [`names`] | messages by words, users by names |
//! | [`accounts`], [`logins`] | accounts, refresh tokens |
//! | [`check`], [`dump`] | projections compared with their log; everything in pieces, out and in |
//! | [`erase`] | what a user did, room by room |

mod accounts;
mod append;
mod check;
mod documents;
mod dump;
mod erase;
mod heads;
mod history;
mod link;
mod logins;
mod names;
mod projection;
mod queries;
mod query;
mod read;
mod resolve;
mod schema;
mod search;
#[cfg(test)]
mod tests;
mod writer;

use super::check::RoomCheck;
use super::dump::{DumpCursor, DumpPage, Item};
use super::{
    Account, Answer, HistoryQuery, Login, ProfilePatch, ReplySink, Rotation, SearchQuery, SentQuery, Store, StoreError,
    StoreMeta, StoreWork, UserPage, UserSearch,
};
use crate::limits::{
    MONGO_CALL_TIMEOUT, MONGO_CLOSE_TIMEOUT, MONGO_INSERTS_MAX, MONGO_OPERATOR_TIMEOUT, MONGO_QUERY_TIMEOUT,
    MONGO_READS_MAX, MONGO_RESOLVES_MAX, STORE_QUERIES_MAX,
};
use client_protocol::chat::{HistoryPage, Message, SearchPage};
use client_protocol::room::{MemberEntry, RoomEntry};
use client_protocol::{Key, RoomId, SessionId, UserId};
use components::edge::{Found, ReadRequest, StoreReply};
use components::rows::{MemberRow, RoomRow};
use link::{Fault, Link};
use schema::NodeFile;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
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
    queries: Semaphore,
    sweep: logins::Sweep,
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
        self.handle.spawn(work);
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
                    queries: Semaphore::new(STORE_QUERIES_MAX),
                    sweep: logins::Sweep::default(),
                });
                let (_, marked) = writer::dirty_rooms(&shared).await?;
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
        runtime.spawn(async move {
            writer.run(jobs_taken).await;
            let _gone = ended_in.send(());
        });
        let watched = Arc::clone(&shared.link);
        runtime.spawn(async move { watched.watch().await });
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

    /// As [`Self::ask`], with another time limit.
    fn within<T, W>(&self, limit: Duration, work: impl FnOnce(Arc<Shared>) -> W + Send + 'static) -> Answer<'_, T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send,
    {
        let shared = Arc::clone(&self.shared);
        let task = self.shared.handle.spawn(async move {
            let closed = |_| StoreError::Unavailable("the store is closed".to_owned());
            let asked = Arc::clone(&shared);
            let _turn = asked.queries.acquire().await.map_err(closed)?;
            let done = tokio::time::timeout(limit, work(shared)).await;
            done.unwrap_or_else(|_| Err(StoreError::Unavailable("the database did not answer in time".to_owned())))
        });
        Box::pin(
            async move { task.await.map_err(|error| StoreError::Unavailable(format!("a query did not end: {error}")))? },
        )
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
            let found = tokio::time::timeout(MONGO_CALL_TIMEOUT, read::serve(&shared, &request.read)).await;
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
                Err(_) => Found::Unavailable,
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

impl Store for MongoStore {
    fn meta(&self) -> StoreMeta {
        self.shared.meta
    }

    fn is_ready(&self) -> bool {
        self.shared.link.is_ready()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn connect(&self, sink: ReplySink) {
        if self.shared.sink.set(sink).is_err() {
            tracing::error!("the store was connected twice; the first sink stays");
        }
    }

    fn submit(&self, work: StoreWork) {
        if !work.appends.is_empty() {
            self.send(Job::Append(work.appends));
        }
        if !work.levels.is_empty() {
            self.send(Job::Levels(work.levels));
        }
        for request in work.reads {
            self.read(request);
        }
    }

    fn dirty_rooms(&self) -> Answer<'_, Vec<RoomId>> {
        self.query(async |shared| Ok(writer::dirty_rooms(&shared).await?.0.into_iter().collect()))
    }

    fn close(&self) {
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.send(Job::Close);
        if running.ended.recv_timeout(MONGO_CLOSE_TIMEOUT * 2).is_err() {
            tracing::error!("the writer of the store did not end in time");
        }
        self.shared.queries.close();
        let (ended_in, ended) = sync_channel(1);
        let link = Arc::clone(&self.shared.link);
        running.runtime.spawn(async move {
            link.end().await;
            let _gone = ended_in.send(());
        });
        let _late = ended.recv_timeout(MONGO_CALL_TIMEOUT);
        running.runtime.shutdown_background();
    }

    fn create_account(&self, account: Account) -> Answer<'_, ()> {
        self.ask(async move |shared| accounts::create(&shared.link, account).await)
    }

    fn account(&self, user: UserId) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::by_id(&shared.link, user).await)
    }

    fn account_by_name(&self, name: String) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::by_name(&shared.link, &name).await)
    }

    fn update_profile(&self, user: UserId, patch: ProfilePatch, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::update_profile(&shared.link, user, patch, now_ms).await)
    }

    fn set_account_status(&self, user: UserId, status: u8, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::set_status(&shared.link, user, status, now_ms).await)
    }

    fn create_login(&self, login: Login, token_hash: [u8; 32]) -> Answer<'_, ()> {
        self.query(async move |shared| logins::create(&shared.link, &shared.sweep, login, token_hash).await)
    }

    fn rotate_login(&self, shown: [u8; 32], next: [u8; 32], now_ms: u64, expires_ms: u64) -> Answer<'_, Rotation> {
        self.query(async move |shared| logins::rotate(&shared.link, &shared.sweep, shown, next, now_ms, expires_ms).await)
    }

    fn logins(&self, user: UserId) -> Answer<'_, Vec<Login>> {
        self.query(async move |shared| logins::list(&shared.link, user).await)
    }

    fn end_login(&self, user: UserId, login: SessionId) -> Answer<'_, bool> {
        self.query(async move |shared| logins::end_one(&shared.link, user, login).await)
    }

    fn login_is_live(&self, login: SessionId) -> Answer<'_, bool> {
        self.query(async move |shared| logins::is_live(&shared.link, login).await)
    }

    fn room(&self, room: RoomId) -> Answer<'_, Option<RoomRow>> {
        self.query(async move |shared| query::room(&shared.link, room).await)
    }

    fn member(&self, room: RoomId, user: UserId) -> Answer<'_, Option<MemberRow>> {
        self.query(async move |shared| query::member(&shared.link, room, user).await)
    }

    fn rooms_of(&self, user: UserId, offset: u32, limit: u32) -> Answer<'_, (Vec<RoomEntry>, u32)> {
        self.query(async move |shared| query::rooms_of(&shared.link, shared.meta.epoch, user, offset, limit).await)
    }

    fn room_entry(&self, user: UserId, room: RoomId) -> Answer<'_, Option<RoomEntry>> {
        self.query(async move |shared| query::room_entry(&shared.link, shared.meta.epoch, user, room).await)
    }

    fn public_rooms(&self, name: String, after: RoomId, limit: u32) -> Answer<'_, (Vec<RoomRow>, bool)> {
        self.query(async move |shared| query::public_rooms(&shared.link, &name, after, limit).await)
    }

    fn members(&self, room: RoomId, after: UserId, limit: u32) -> Answer<'_, (Vec<MemberEntry>, bool)> {
        self.query(async move |shared| query::members(&shared.link, room, after, limit).await)
    }

    fn history(&self, query: HistoryQuery) -> Answer<'_, HistoryPage> {
        self.query(async move |shared| history::page(&shared.link, &query).await)
    }

    fn search(&self, query: SearchQuery) -> Answer<'_, SearchPage> {
        self.query(async move |shared| search::page(&shared.link, &query).await)
    }

    fn search_users(&self, query: UserSearch) -> Answer<'_, UserPage> {
        self.query(async move |shared| names::users(&shared.link, &query).await)
    }

    fn erasing(&self) -> Answer<'_, Vec<UserId>> {
        self.query(async |shared| accounts::erasing(&shared.link).await)
    }

    fn finish_erase(&self, user: UserId) -> Answer<'_, ()> {
        self.query(async move |shared| accounts::finish_erase(&shared.link, user).await)
    }

    fn rooms_ever(&self, user: UserId, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomId>> {
        self.query(async move |shared| erase::rooms_ever(&shared.link, user, after, limit).await)
    }

    fn sent(&self, query: SentQuery) -> Answer<'_, Vec<(Key, u64)>> {
        self.query(async move |shared| erase::sent(&shared.link, &query).await)
    }

    fn messages(&self, room: RoomId, viewer: UserId, seqs: Vec<u64>) -> Answer<'_, Vec<Message>> {
        self.query(async move |shared| erase::messages(&shared.link, room, viewer, &seqs).await)
    }

    fn erase(&self, room: RoomId, user: UserId, seqs: Vec<u64>, erased_seq: u64) -> Answer<'_, ()> {
        self.query(async move |shared| erase::erase(&shared.link, room, user, &seqs, erased_seq).await)
    }

    // What was overwritten is gone for every read as soon as a majority has the write. When it leaves the files of the database is the
    // database's affair: there is no command for it that a server under load could be given.
    fn purge(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn accounts(&self, after: Option<UserId>, limit: usize) -> Answer<'_, Vec<Account>> {
        self.query(async move |shared| accounts::list(&shared.link, after, limit).await)
    }

    fn set_password(&self, user: UserId, hash: String, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.query(async move |shared| accounts::set_password(&shared.link, user, hash, now_ms).await)
    }

    fn rooms(&self, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomRow>> {
        self.query(async move |shared| dump::rooms(&shared.link, after, limit).await)
    }

    fn stats(&self) -> Answer<'_, Vec<(String, u64)>> {
        self.query(async move |shared| check::stats(&shared.link).await)
    }

    fn check(&self, room: RoomId, mend: bool) -> Answer<'_, RoomCheck> {
        self.within(MONGO_OPERATOR_TIMEOUT, async move |shared| Ok(check::room(&shared.link, room, mend).await?))
    }

    fn dump(&self, after: Option<DumpCursor>) -> Answer<'_, DumpPage> {
        self.within(MONGO_OPERATOR_TIMEOUT, async move |shared| Ok(dump::page(&shared.link, after.as_ref()).await?))
    }

    fn load(&self, items: Vec<Item>, last: bool) -> Answer<'_, ()> {
        self.within(MONGO_OPERATOR_TIMEOUT, async move |shared| {
            let StoreMeta { node, epoch } = shared.meta;
            dump::load(&shared.link, node, epoch, items, last).await
        })
    }
}
