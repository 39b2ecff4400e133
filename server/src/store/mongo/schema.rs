//! The start: schema version, migrations, indexes, and which node this is.

use super::documents::NodeDoc;
use super::fault::Fault;
use super::link::Link;
use super::queries::{Collection, INDEXES, META, NODE};
use super::retry::{Pauses, until_known};
use super::update::Statement;
use crate::clock::now_ms;
use crate::limits::{MONGO_INDEX_TIMEOUT, MONGO_OPEN_TIMEOUT};
use crate::store::{StoreError, StoreMeta};
use client_protocol::NodeId;
use mongodb::bson::doc;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::pin::Pin;
use tokio::time::Instant;

/// The schema that this version reads and writes.
pub(super) const SCHEMA: u32 = 2;
/// Steps from one schema to the next: `(from, what it does)`. They must be safe to repeat, since a start may end half-way.
const MIGRATIONS: &[Migration] = &[Migration { from: 1, run: |link| Box::pin(words_out_of_events(link)) }];

/// What a step does.
pub(super) type Step = for<'a> fn(&'a Link) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// A step from a schema to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// The schema that it starts from.
    pub(super) from: u32,
    /// What it sends.
    pub(super) run: Step,
}

/// What the database knows of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MetaDoc {
    #[serde(rename = "_id")]
    id: String,
    version: u32,
    epoch: u64,
}

/// The one document of it.
const META_ID: &str = "starling";
/// The document that is there while a load is under way.
pub(super) const LOADING_ID: &str = "loading";

/// The file that says which node a data folder is. Held while the server runs, so that no two processes are the same node.
#[derive(Debug)]
pub(super) struct NodeFile(File);

impl NodeFile {
    /// Opens the file in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let unusable = |why: String| StoreError::Unavailable(format!("{}: {why}", folder.display()));
        crate::folder::make(folder).map_err(|error| unusable(error.to_string()))?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(folder.join("mongodb-node"));
        let file = file.map_err(|error| unusable(error.to_string()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(unusable("another process has the data folder open".to_owned())),
            Err(TryLockError::Error(error)) => Err(unusable(error.to_string())),
        }
    }

    /// The number of the node, if it has one yet.
    fn node(&mut self) -> Result<Option<NodeId>, StoreError> {
        let mut text = String::new();
        self.0
            .rewind()
            .and_then(|()| self.0.read_to_string(&mut text))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        match text.trim() {
            "" => Ok(None),
            number => number
                .parse()
                .map(|node| Some(NodeId(node)))
                .map_err(|_| StoreError::Corrupt("the file mongodb-node of the data folder holds no number".to_owned())),
        }
    }

    fn keep(&mut self, node: NodeId) -> std::io::Result<()> {
        self.0.rewind()?;
        self.0.set_len(0)?;
        self.0.write_all(format!("{}\n", node.0).as_bytes())?;
        self.0.sync_all()
    }
}

/// Brings the database to this version's schema, and says what it and this node are. Tries to reach it until [`Link::open_until`], and a
/// call that does not come through then as long as [`MONGO_OPEN_TIMEOUT`].
pub(super) async fn open(link: &Link, node_file: &mut NodeFile) -> Result<StoreMeta, StoreError> {
    let meta = tried_until(link, link.open_until(), || read_or_write_meta(link)).await?;
    if tried(link, || super::dump::is_loading(link)).await? {
        let why = "a restore into the database did not come to its end: drop it and restore again";
        return Err(StoreError::Corrupt(why.to_owned()));
    }
    migrate(link, meta.version, MIGRATIONS, SCHEMA).await?;
    tried(link, || link.look_at_server()).await?;
    // SQLite behind the protocol keeps the others, too, but never uses them.
    for index in INDEXES.iter().filter(|index| index.unique || !link.kind.is_sqlite()) {
        in_time(link.make_index(index)).await?;
    }
    let node = read_or_take_node(link, node_file).await?;
    Ok(StoreMeta { epoch: meta.epoch, node })
}

/// A step of a start that may be done twice: tried again while the database does not answer.
pub(super) async fn tried<T, F>(link: &Link, step: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Fault>>,
{
    tried_until(link, Instant::now() + MONGO_OPEN_TIMEOUT, step).await
}

async fn tried_until<T, F>(link: &Link, until: Instant, mut step: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut last = "the database did not answer".to_owned();
    let attempts = async {
        let mut pauses = Pauses::new();
        loop {
            match step().await {
                Err(Fault::NotDone(why) | Fault::Unknown(why)) => {
                    tracing::warn!(why, "the database cannot be used yet");
                    last = why;
                }
                done => return done,
            }
            pauses.pause().await;
        }
    };
    match tokio::time::timeout_at(until, attempts).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Unavailable(format!("{} cannot be used: {last}", link.place()))),
    }
}

/// Writes down that a load begins: until it ends nobody can open the database.
pub(super) async fn begin_load(link: &Link) -> Result<(), Fault> {
    link.insert(Collection::Meta, &doc! { "_id": LOADING_ID, "since_ms": now_ms() as i64 }).await
}

/// Ends a load: the epoch is a new one, later than every epoch that marks in it may have.
pub(super) async fn end_load(link: &Link, before: u64) -> Result<(), Fault> {
    let epoch = now_ms().max(before + 1);
    let statement = Statement::set(META.equal([META_ID.into()]), doc! { "epoch": epoch as i64 });
    link.update(Collection::Meta, &[statement]).await?;
    link.delete(META.equal([LOADING_ID.into()])).await.map(|_| ())
}

/// Gives a step of the start its time.
async fn in_time(step: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    let late = || Fault::Unknown("a step of the start takes too long; it may have to be made by hand".to_owned());
    tokio::time::timeout(MONGO_INDEX_TIMEOUT, step).await.unwrap_or_else(|_| Err(late()))
}

/// Schema 1 had the words of messages in their events, with an index. Blocks are indexed when a search asks for them.
async fn words_out_of_events(link: &Link) -> Result<(), Fault> {
    link.drop_index(Collection::Events, "room_id_1_words_1_seq_1").await?;
    // Others of a replica set take longer to follow than a call waits for them.
    let unset = async || link.unset_everywhere(Collection::Events, "words").await.map(Some);
    until_known("words were taken out of events", unset).await
}

async fn read_or_write_meta(link: &Link) -> Result<MetaDoc, Fault> {
    loop {
        if let Some(meta) = link.one::<MetaDoc>(META.equal([META_ID.into()])).await? {
            return Ok(meta);
        }
        let meta = MetaDoc { id: META_ID.to_owned(), version: SCHEMA, epoch: now_ms() };
        match link.insert(Collection::Meta, &meta).await {
            // Another server was faster, or an attempt of ours did land.
            Err(Fault::Taken) => tokio::time::sleep(crate::limits::MONGO_RETRY_MIN).await,
            done => return done.map(|()| meta),
        }
    }
}

/// Goes from `version` to `wanted`, step by step.
pub(super) async fn migrate(link: &Link, version: u32, migrations: &[Migration], wanted: u32) -> Result<(), StoreError> {
    if version > wanted {
        let why = format!("the database has schema {version}; this version of the server reads schema {wanted} at most");
        return Err(StoreError::Corrupt(why));
    }
    for from in version..wanted {
        let Some(step) = migrations.iter().find(|step| step.from == from) else {
            return Err(StoreError::Corrupt(format!("there is no way from schema {from} of the database to {wanted}")));
        };
        in_time((step.run)(link)).await?;
        let filter = META.equal([META_ID.into()]).and("version", from);
        let reached = Statement::set(filter, doc! { "version": from + 1 });
        // Where it changes nothing, another server has made the same step.
        link.update(Collection::Meta, &[reached]).await?;
        tracing::info!(from, to = from + 1, "the database has a new schema");
    }
    Ok(())
}

/// The node of the data folder; a new one, that no other server of this database has, at the first start.
async fn read_or_take_node(link: &Link, node_file: &mut NodeFile) -> Result<NodeId, StoreError> {
    if let Some(node) = node_file.node()? {
        let known = tried(link, || link.one::<NodeDoc>(NODE.equal([node.0.into()]))).await?;
        if known.is_some() {
            return Ok(node);
        }
    }
    // A number of an attempt that did land, unheard of, stays unused.
    let node = tried(link, || take_node(link)).await?;
    node_file.keep(node).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(node)
}

/// A number that no other server of this database has.
async fn take_node(link: &Link) -> Result<NodeId, Fault> {
    loop {
        let node = getrandom::u32().map_err(|error| Fault::NotDone(format!("no randomness: {error}")))?;
        match link.insert(Collection::Nodes, &NodeDoc::new(node, now_ms())).await {
            Err(Fault::Taken) => {}
            done => return done.map(|()| NodeId(node)),
        }
    }
}
