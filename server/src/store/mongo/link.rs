//! The link to the database: one client, and calls with a time limit.

mod health;
mod kind;
mod upkeep;
mod uri;

use super::fault::{Fault, are_duplicates};
use super::late::LateRows;
use super::queries::{Collection, Filter};
use crate::limits::{
    MONGO_CALL_TIMEOUT, MONGO_FIND_BATCH, MONGO_FINDS_MAX, MONGO_OPEN_TIMEOUT, MONGO_SERVER_TIME, MONGO_TURN_TIMEOUT,
    MONGO_UPDATES_MAX,
};
use crate::store::StoreError;
use futures_util::future::try_join_all;
use mongodb::bson::Document;
use mongodb::error::{Error, ErrorKind};
use mongodb::{Client, Cursor, Database};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
#[cfg(test)]
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// The database.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    pub(super) database: Database,
    place: String,
    open_until: Instant,
    pub(super) kind: kind::Kind,
    writing: Semaphore,
    /// Rows that this node writes later.
    pub(super) late: LateRows,
    /// What [`super::watch`] found last.
    pub(super) health: health::Health,
    /// A call has failed.
    pub(super) trouble: Notify,
    pub(super) ended: Notify,
    /// After so many writes nothing arrives any more, as after a crash.
    #[cfg(test)]
    pub(super) writes_left: std::sync::atomic::AtomicI64,
}

impl Link {
    /// A link; nothing is sent yet, but for looking up the name of a `mongodb+srv` URI. Must be called on the runtime that is to do the
    /// work. [`MONGO_OPEN_TIMEOUT`] begins.
    pub(super) async fn new(uri: &str) -> Result<Self, StoreError> {
        let open_until = Instant::now() + MONGO_OPEN_TIMEOUT;
        let options = uri::read(uri, open_until).await?;
        let name = options.default_database.clone().unwrap_or_else(|| super::DEFAULT_DATABASE.to_owned());
        let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
        let place = format!("MongoDB at {}, database {name}", hosts.join(","));
        let client = Client::with_options(options).map_err(|error| uri::unusable(&error))?;
        let database = client.database(&name);
        Ok(Self {
            client,
            database,
            place,
            open_until,
            kind: kind::Kind::default(),
            writing: Semaphore::new(1),
            late: LateRows::default(),
            health: health::Health::default(),
            trouble: Notify::new(),
            ended: Notify::new(),
            #[cfg(test)]
            writes_left: i64::MAX.into(),
        })
    }

    /// Which database this is, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// When a start must have reached the database.
    pub(super) const fn open_until(&self) -> Instant {
        self.open_until
    }

    /// A collection.
    pub(super) fn collection<T: Send + Sync>(&self, collection: Collection) -> mongodb::Collection<T> {
        self.database.collection(collection.name())
    }

    /// Runs a call with the time limit of all calls.
    pub(super) async fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        self.judge(Instant::now() + MONGO_CALL_TIMEOUT, call, Fault::from).await
    }

    /// As [`Self::call`], until `deadline`; `meaning` says what an error means.
    async fn judge<T>(
        &self,
        deadline: Instant,
        call: impl Future<Output = Result<T, Error>>,
        meaning: impl FnOnce(Error) -> Fault,
    ) -> Result<T, Fault> {
        let result = match tokio::time::timeout_at(deadline, call).await {
            Ok(result) => result.map_err(meaning),
            Err(_) => {
                Err(Fault::Unknown(format!("the database did not answer within {} ms", MONGO_CALL_TIMEOUT.as_millis())))
            }
        };
        if matches!(result, Err(Fault::NotDone(_) | Fault::Unknown(_))) {
            self.trouble.notify_one();
        }
        result
    }

    /// Runs a call that only reads: whatever becomes of it, nothing was done.
    async fn read<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        self.call(call).await.map_err(|fault| match fault {
            Fault::Unknown(why) => Fault::NotDone(why),
            fault => fault,
        })
    }

    /// Runs a call that writes, and that the driver may try twice.
    pub(super) async fn write<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        self.in_turn(call, Fault::of_repeated).await
    }

    /// Runs a call that writes, and that the driver makes once: a command, or a delete of many documents.
    pub(super) async fn write_once<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        self.in_turn(call, Fault::from).await
    }

    /// A write: one at a time where the server would make them wait for each other.
    async fn in_turn<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
        meaning: impl FnOnce(Error) -> Fault,
    ) -> Result<T, Fault> {
        #[cfg(test)]
        self.crash_or_go_on()?;
        let deadline = Instant::now() + MONGO_CALL_TIMEOUT;
        let late = |_| Fault::NotDone("other writes take too long".to_owned());
        let _turn = match self.kind.is_sqlite() {
            true => Some(tokio::time::timeout(MONGO_TURN_TIMEOUT, self.writing.acquire()).await.map_err(late)?),
            false => None,
        };
        self.judge(deadline, call, meaning).await
    }

    /// Tests end the process, as it were, before any write.
    #[cfg(test)]
    fn crash_or_go_on(&self) -> Result<(), Fault> {
        if self.writes_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Fault::Unknown("the process has crashed".to_owned()));
        }
        Ok(())
    }

    /// The first document of a filter.
    pub(super) async fn one<T: DeserializeOwned + Send + Sync>(&self, filter: Filter<'_>) -> Result<Option<T>, Fault> {
        let collection = self.collection::<T>(filter.shape.collection);
        let projection = filter.shape.projection();
        let find = async {
            let mut find = collection.find_one(filter.document()).max_time(MONGO_SERVER_TIME);
            if let Some(projection) = projection {
                find = find.projection(projection);
            }
            find.await
        };
        self.read(find).await
    }

    /// The documents of a filter, at most `limit`, in the order of its shape or against it.
    pub(super) async fn many<T: DeserializeOwned + Send + Sync>(
        &self,
        filter: Filter<'_>,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<T>, Fault> {
        // Looking at all of a small collection costs less; those of events and words grow for ever.
        if self.kind.asks_singly()
            && matches!(filter.shape.collection, Collection::Events | Collection::Words)
            && let Some(filters) = filter.singly()
        {
            let mut finds: Vec<_> = filters.into_iter().map(|filter| self.one(filter)).collect();
            let mut found = Vec::new();
            while !finds.is_empty() {
                let lot = finds.split_off(finds.len().saturating_sub(MONGO_FINDS_MAX));
                found.extend(try_join_all(lot).await?.into_iter().flatten());
            }
            return Ok(found);
        }
        let server_limit = i64::try_from(limit).ok().filter(|limit| *limit > 0);
        self.find(filter, descending, limit, server_limit, |_| true).await
    }

    /// All documents of a filter, in any order: servers that would sort them one by one need not. `server_time` is what the database may
    /// spend on all of them together.
    pub(super) async fn all<T: DeserializeOwned + Send + Sync>(
        &self,
        filter: Filter<'_>,
        server_time: Duration,
    ) -> Result<Vec<T>, Fault> {
        let collection = self.collection::<T>(filter.shape.collection);
        let projection = filter.shape.projection();
        let find = async {
            let mut find = collection.find(filter.document()).max_time(server_time).batch_size(MONGO_FIND_BATCH);
            if let Some(projection) = projection {
                find = find.projection(projection);
            }
            find.await
        };
        let cursor = self.read(find).await?;
        self.take(cursor, usize::MAX, |_| true).await
    }

    /// As [`Self::many`], of those that `wanted` takes among the first `looked_at`.
    pub(super) async fn many_that<T: DeserializeOwned + Send + Sync>(
        &self,
        filter: Filter<'_>,
        descending: bool,
        limit: usize,
        looked_at: usize,
        wanted: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, Fault> {
        self.find(filter, descending, limit, i64::try_from(looked_at).ok(), wanted).await
    }

    async fn find<T: DeserializeOwned + Send + Sync>(
        &self,
        filter: Filter<'_>,
        descending: bool,
        limit: usize,
        server_limit: Option<i64>,
        wanted: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, Fault> {
        let collection = self.collection::<T>(filter.shape.collection);
        let order = filter.shape.order(descending);
        let projection = filter.shape.projection();
        let find = async {
            let mut find = collection.find(filter.document()).max_time(MONGO_SERVER_TIME);
            if let Some(order) = order {
                find = find.sort(order);
            }
            if let Some(projection) = projection {
                find = find.projection(projection);
            }
            if let Some(limit) = server_limit {
                find = find.limit(limit);
            }
            find.batch_size(u32::try_from(limit).unwrap_or(u32::MAX).min(MONGO_FIND_BATCH)).await
        };
        let cursor = self.read(find).await?;
        self.take(cursor, limit, wanted).await
    }

    /// What a cursor brings, each piece of it within the time of a call.
    async fn take<T: DeserializeOwned + Send + Sync>(
        &self,
        mut cursor: Cursor<T>,
        limit: usize,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, Fault> {
        let mut found = Vec::new();
        while found.len() < limit && self.read(cursor.advance()).await? {
            let document = cursor.deserialize_current().map_err(|error| Fault::Corrupt(error.to_string()))?;
            if wanted(&document) {
                found.push(document);
            }
        }
        Ok(found)
    }

    /// Inserts a document.
    pub(super) async fn insert<T: Serialize + Send + Sync>(
        &self,
        collection: Collection,
        document: &T,
    ) -> Result<(), Fault> {
        let collection = self.collection::<T>(collection);
        self.write(async { collection.insert_one(document).await }).await.map(|_| ())
    }

    /// Inserts documents, in no order. Answers whether none of them was there.
    pub(super) async fn insert_new<T: Serialize + Send + Sync>(
        &self,
        collection: Collection,
        documents: &[T],
    ) -> Result<bool, Fault> {
        let handle = self.collection::<T>(collection);
        let mut all = true;
        for documents in documents.chunks(MONGO_UPDATES_MAX) {
            let insert = async {
                match handle.insert_many(documents).ordered(false).await {
                    Ok(_) => Ok(true),
                    Err(error) => match error.kind.as_ref() {
                        ErrorKind::InsertMany(errors) if are_duplicates(errors) => Ok(false),
                        _ => Err(error),
                    },
                }
            };
            all &= self.write(insert).await?;
        }
        Ok(all)
    }

    /// Deletes the documents of a filter.
    pub(super) async fn delete(&self, filter: Filter<'_>) -> Result<u64, Fault> {
        let collection = self.collection::<Document>(filter.shape.collection);
        self.write_once(async { collection.delete_many(filter.document()).await }).await.map(|result| result.deleted_count)
    }

    /// Ends the watch and the connections.
    pub(super) async fn end(&self) {
        self.ended.notify_one();
        self.client.clone().shutdown().immediate(true).await;
    }
}
