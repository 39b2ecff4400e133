//! MongoDB as the store: a database of its own for each round; and the baseline on the same server, which inserts each message by
//! itself: documents and indexes are those of Starling, taken from the round before.

use super::{Running, Target, plans};
use crate::control::{Protocol, SessionPlan};
use crate::error::BenchError;
use crate::limits::{DATABASE_TIMEOUT, SAMPLE_SKIPPED};
use crate::scenario::{Activity, Scenario};
use mongo_server::{Database, Host, MongoServerError};
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Client, IndexModel};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The collection of events, in Starling's schema.
const EVENTS: &str = "events";

impl From<MongoServerError> for BenchError {
    fn from(error: MongoServerError) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<mongodb::error::Error> for BenchError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// What Starling has written.
#[derive(Debug, Clone)]
struct Pattern {
    document: Document,
    indexes: Vec<IndexModel>,
}

/// A MongoDB server, which the rounds of a campaign share.
#[derive(Debug)]
pub struct Mongo {
    host: Host,
    pattern: Mutex<Option<Pattern>>,
}

/// Runs a conversation with the database.
fn wait<T>(talk: impl Future<Output = Result<T, BenchError>>) -> Result<T, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::io("a runtime"))?;
    let late = |_| BenchError::Database(format!("it did not answer within {DATABASE_TIMEOUT:?}"));
    runtime.block_on(async { tokio::time::timeout(DATABASE_TIMEOUT, talk).await.map_err(late)? })
}

async fn events(uri: &str) -> Result<mongodb::Collection<Document>, BenchError> {
    let client = Client::with_uri_str(uri).await?;
    let database = client.default_database().ok_or_else(|| BenchError::Database("a URI without a database".to_owned()))?;
    Ok(database.collection(EVENTS))
}

impl Mongo {
    /// The server that `uri` or MONGODB_URI names, else one of our own: its data in `place`, on these cores only, if any are given.
    ///
    /// # Errors
    ///
    /// [`BenchError::Database`] where there is none.
    pub fn find(uri: Option<&str>, place: &Path, cores: Option<&str>) -> Result<Arc<Self>, BenchError> {
        let host = Host::find(uri, place, cores)?;
        Ok(Arc::new(Self { host, pattern: Mutex::new(None) }))
    }

    /// A database of a round's own.
    ///
    /// # Errors
    ///
    /// [`BenchError::Database`] where the URI cannot be used.
    pub fn database(&self) -> Result<Database, BenchError> {
        Ok(self.host.database()?)
    }

    /// The database's process, if we started it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.host.pid()
    }

    /// Looks what a message and the indexes of Starling look like, unless that is known, and drops its database.
    ///
    /// # Errors
    ///
    /// [`BenchError::Database`] where the database does not answer.
    pub fn retire(&self, database: &Database) -> Result<(), BenchError> {
        let mut pattern = self.pattern.lock().unwrap_or_else(PoisonError::into_inner);
        if pattern.is_none() {
            *pattern = wait(look(&database.uri))?;
        }
        Ok(database.remove()?)
    }
}

/// A message that is there, and the indexes beside that on `_id`; nothing where nobody has posted.
async fn look(uri: &str) -> Result<Option<Pattern>, BenchError> {
    let events = events(uri).await?;
    // Not one of the first: those of the warm-up are like all others, but rooms and own logs begin with other events.
    let mut found = events.find(doc! { "is_message": true }).skip(SAMPLE_SKIPPED).limit(1).await?;
    let document = if found.advance().await? { found.deserialize_current()? } else { return Ok(None) };
    let mut indexes = Vec::new();
    let mut listed = events.list_indexes().await?;
    while listed.advance().await? {
        let index: IndexModel = listed.deserialize_current()?;
        if index.keys != doc! { "_id": 1 } {
            let unique = index.options.and_then(|options| options.unique);
            indexes.push(
                IndexModel::builder().keys(index.keys).options(IndexOptions::builder().unique(unique).build()).build(),
            );
        }
    }
    Ok(Some(Pattern { document, indexes }))
}

/// One insert for each message, w:majority and j:true, by as many writers as Starling has sends in flight.
#[derive(Debug)]
pub struct Inserts {
    /// The server.
    pub mongo: Arc<Mongo>,
    /// Connections that the writers share.
    pub connections: u32,
    /// Messages of an insert; 1 but where the database itself is asked what it can take.
    pub batch: u32,
    /// Cores for them; they are the load process.
    pub cores: Option<String>,
}

impl Target for Inserts {
    fn name(&self) -> &str {
        if self.batch == 1 { "one insert a message" } else { "inserts of batches" }
    }

    fn refuses(&self, scenario: &Scenario) -> Option<&'static str> {
        let closed = matches!(scenario.activity, Activity::Closed { .. });
        (!closed).then_some("it only stores, in a closed loop")
    }

    fn start(&self) -> Result<Box<dyn Running>, BenchError> {
        let pattern = self.mongo.pattern.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Pattern { document, indexes }) = pattern else {
            return Err(BenchError::Database("nothing is known of Starling's documents: its round comes first".to_owned()));
        };
        let database = self.mongo.database()?;
        wait(async {
            let made = events(&database.uri).await?.create_indexes(indexes).await?;
            drop(made);
            Ok(())
        })?;
        let document = document.to_vec().map_err(|error| BenchError::Database(error.to_string()))?;
        let (mongo, cores) = (Arc::clone(&self.mongo), self.cores.clone());
        let (uri, connections, batch) = (database.uri.clone(), self.connections, self.batch);
        let protocol = Protocol::Inserts { uri, connections, batch, document, cores };
        Ok(Box::new(RunningInserts { mongo, database, protocol }))
    }
}

struct RunningInserts {
    mongo: Arc<Mongo>,
    database: Database,
    protocol: Protocol,
}

impl Running for RunningInserts {
    fn pid(&self) -> Option<u32> {
        None
    }

    fn database_pid(&self) -> Option<u32> {
        self.mongo.pid()
    }

    fn data(&self) -> Option<&Path> {
        None
    }

    fn populate(&self, scenario: &Scenario) -> Result<(Protocol, Vec<SessionPlan>), BenchError> {
        Ok((self.protocol.clone(), plans(scenario)))
    }

    fn stop(self: Box<Self>) -> Result<(), BenchError> {
        Ok(self.database.remove()?)
    }
}
