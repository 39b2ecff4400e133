//! The embedded store: one process, one folder, no server beside it.
//!
//! Log, keys and projections of a commit go into one atomic batch with one sync. Three sorts of threads: the [`writer`], through which
//! all events go; a few that serve the world's [`read`]s; and tokio's blocking threads for everything else, a bounded number at a
//! time. What the store is not: shared between processes (the folder is locked), or a place for queries that scan.
//!
//! | file | what |
//! |---|---|
//! | [`tables`], [`keys`] | tables, their keys; a view of one instant; writes on top of the database |
//! | [`append`], [`projection`] | what an append writes |
//! | [`writer`], [`disk`] | group commit; when the disk fails |
//! | [`torn`] | what a power cut may leave |
//! | [`read`] | the world's reads |
//! | [`query`], [`history`] | room lists, members, pages of messages |
//! | [`index`], [`search`] | words and names: written, and looked for |
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
mod tables;
#[cfg(test)]
mod tests;
mod torn;
mod writer;

use super::check::RoomCheck;
use super::dump::{DumpCursor, DumpPage, Item};
use super::{
    Account, Answer, HistoryQuery, Login, ProfilePatch, ReplySink, Rotation, SearchQuery, SentQuery, Store, StoreError,
    StoreMeta, StoreWork, UserPage, UserSearch,
};
use crate::limits::{STORE_CACHE_BYTES, STORE_FREE_BYTES_MIN, STORE_QUERIES_MAX, STORE_READ_THREADS};
use client_protocol::chat::{HistoryPage, Message, SearchPage};
use client_protocol::room::{MemberEntry, RoomEntry};
use client_protocol::{Key, NodeId, RoomId, SessionId, UserId};
use components::edge::StoreReply;
use components::rows::{MemberRow, RoomRow};
use disk::Disk;
use fjall::{Database, Keyspace, PersistMode};
use migrate::SCHEMA;
use read::ReadJob;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use tables::{Tables, View};
use tokio::sync::{Semaphore, oneshot};
use writer::{Erase, Job, Writer};

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
    reads: Sender<ReadJob>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("meta", &self.shared.meta).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in `folder`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if another process has it open, or the disk cannot be read; [`StoreError::Corrupt`] if what is there
    /// cannot be read or was written by a version with another schema.
    pub fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(unusable)?;
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
        let (reads, reads_taken) = channel();
        let mut threads = vec![spawn("store-writer", move || writer.run(&jobs_taken))?];
        let reads_taken = Arc::new(Mutex::new(reads_taken));
        for _ in 0..STORE_READ_THREADS {
            let (shared, reads_taken) = (Arc::clone(&shared), Arc::clone(&reads_taken));
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
            let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let epoch = since_1970.as_millis() as u64;
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

impl Store for EmbeddedStore {
    fn meta(&self) -> StoreMeta {
        self.shared.meta
    }

    fn is_ready(&self) -> bool {
        self.shared.disk.is_ready()
    }

    /// The folder is locked: there is one process.
    fn is_shared(&self) -> bool {
        false
    }

    fn connect(&self, sink: ReplySink) {
        if self.shared.sink.set(sink).is_err() {
            tracing::error!("the store was connected twice; the first sink stays");
        }
    }

    fn submit(&self, work: StoreWork) {
        let mut taken = true;
        if !work.appends.is_empty() {
            taken &= self.jobs.send(Job::Append(work.appends)).is_ok();
        }
        if !work.levels.is_empty() {
            taken &= self.jobs.send(Job::Levels(work.levels)).is_ok();
        }
        for read in work.reads {
            taken &= self.reads.send(Some(read)).is_ok();
        }
        if !taken {
            tracing::error!("work was submitted after the store was closed");
        }
    }

    fn dirty_rooms(&self) -> Answer<'_, Vec<RoomId>> {
        self.blocking(writer::dirty_rooms)
    }

    fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        self.shared.queries.close();
        let mut told = self.jobs.send(Job::Close).is_ok();
        for _ in 0..STORE_READ_THREADS {
            told &= self.reads.send(None).is_ok();
        }
        for thread in threads {
            told &= thread.join().is_ok();
        }
        if !told {
            tracing::error!("a thread of the store had ended before");
        }
    }

    fn create_account(&self, account: Account) -> Answer<'_, ()> {
        self.blocking(|shared| accounts::create(shared, account))
    }

    fn account(&self, user: UserId) -> Answer<'_, Option<Account>> {
        self.reading(move |view| accounts::by_id(view, user))
    }

    fn account_by_name(&self, name: String) -> Answer<'_, Option<Account>> {
        self.reading(move |view| accounts::by_name(view, &name))
    }

    fn update_profile(&self, user: UserId, patch: ProfilePatch, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.blocking(move |shared| accounts::update_profile(shared, user, patch, now_ms))
    }

    fn set_account_status(&self, user: UserId, status: u8, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.blocking(move |shared| accounts::set_status(shared, user, status, now_ms))
    }

    fn create_login(&self, login: Login, token_hash: [u8; 32]) -> Answer<'_, ()> {
        self.blocking(move |shared| logins::create(shared, login, token_hash))
    }

    fn rotate_login(&self, shown: [u8; 32], next: [u8; 32], now_ms: u64, expires_ms: u64) -> Answer<'_, Rotation> {
        self.blocking(move |shared| logins::rotate(shared, shown, next, now_ms, expires_ms))
    }

    fn logins(&self, user: UserId) -> Answer<'_, Vec<Login>> {
        self.reading(move |view| logins::list(view, user))
    }

    fn end_login(&self, user: UserId, login: SessionId) -> Answer<'_, bool> {
        self.blocking(move |shared| logins::end_one(shared, user, login))
    }

    fn login_is_live(&self, login: SessionId) -> Answer<'_, bool> {
        self.reading(move |view| logins::is_live(view, login))
    }

    fn room(&self, room: RoomId) -> Answer<'_, Option<RoomRow>> {
        self.reading(move |view| query::room(view, room))
    }

    fn member(&self, room: RoomId, user: UserId) -> Answer<'_, Option<MemberRow>> {
        self.reading(move |view| query::member(view, room, user))
    }

    fn rooms_of(&self, user: UserId, offset: u32, limit: u32) -> Answer<'_, (Vec<RoomEntry>, u32)> {
        let epoch = self.shared.meta.epoch;
        self.reading(move |view| query::rooms_of(view, epoch, user, offset, limit))
    }

    fn room_entry(&self, user: UserId, room: RoomId) -> Answer<'_, Option<RoomEntry>> {
        let epoch = self.shared.meta.epoch;
        self.reading(move |view| query::room_entry(view, epoch, user, room))
    }

    fn public_rooms(&self, name: String, after: RoomId, limit: u32) -> Answer<'_, (Vec<RoomRow>, bool)> {
        self.reading(move |view| query::public_rooms(view, &name, after, limit))
    }

    fn members(&self, room: RoomId, after: UserId, limit: u32) -> Answer<'_, (Vec<MemberEntry>, bool)> {
        self.reading(move |view| query::members(view, room, after, limit))
    }

    fn history(&self, query: HistoryQuery) -> Answer<'_, HistoryPage> {
        self.reading(move |view| history::page(view, &query))
    }

    fn search(&self, query: SearchQuery) -> Answer<'_, SearchPage> {
        self.reading(move |view| search::page(view, &query))
    }

    fn search_users(&self, query: UserSearch) -> Answer<'_, UserPage> {
        self.reading(move |view| search::users(view, &query))
    }

    fn erasing(&self) -> Answer<'_, Vec<UserId>> {
        self.reading(erase::erasing)
    }

    fn finish_erase(&self, user: UserId) -> Answer<'_, ()> {
        self.blocking(move |shared| erase::finish(shared, user))
    }

    fn rooms_ever(&self, user: UserId, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomId>> {
        self.reading(move |view| erase::rooms_ever(view, user, after, limit))
    }

    fn sent(&self, query: SentQuery) -> Answer<'_, Vec<(Key, u64)>> {
        self.reading(move |view| erase::sent(view, &query))
    }

    fn messages(&self, room: RoomId, viewer: UserId, seqs: Vec<u64>) -> Answer<'_, Vec<Message>> {
        self.reading(move |view| erase::messages(view, room, viewer, &seqs))
    }

    fn erase(&self, room: RoomId, user: UserId, seqs: Vec<u64>, erased_seq: u64) -> Answer<'_, ()> {
        self.writing(|done| Job::Erase(Erase { room, user, seqs, erased_seq, done }))
    }

    fn purge(&self) -> Answer<'_, ()> {
        self.blocking(|shared| shared.tables.purge())
    }

    fn accounts(&self, after: Option<UserId>, limit: usize) -> Answer<'_, Vec<Account>> {
        self.reading(move |view| accounts::list(view, after, limit))
    }

    fn set_password(&self, user: UserId, hash: String, now_ms: u64) -> Answer<'_, Option<Account>> {
        self.blocking(move |shared| accounts::set_password(shared, user, hash, now_ms))
    }

    fn rooms(&self, after: Option<RoomId>, limit: usize) -> Answer<'_, Vec<RoomRow>> {
        self.reading(move |view| query::rooms(view, after, limit))
    }

    fn stats(&self) -> Answer<'_, Vec<(String, u64)>> {
        self.blocking(|shared| shared.tables.stats())
    }

    fn check(&self, room: RoomId, mend: bool) -> Answer<'_, RoomCheck> {
        if !mend {
            return self.reading(move |view| check::room(view, None, room));
        }
        self.writing(|done| Job::Mend(room, done))
    }

    fn dump(&self, after: Option<DumpCursor>) -> Answer<'_, DumpPage> {
        self.reading(move |view| dump::page(view, after.as_ref()))
    }

    fn load(&self, items: Vec<Item>, last: bool) -> Answer<'_, ()> {
        self.blocking(move |shared| dump::load(shared, items, last))
    }
}
