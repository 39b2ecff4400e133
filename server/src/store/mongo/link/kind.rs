//! What kind of server it is. Behind the protocol there may be something that works in another way: FerretDB 1 on SQLite.

use super::Link;
use crate::limits::MONGO_WAVES_MAX;
use crate::store::mongo::fault::Fault;
use crate::store::mongo::queries::Collection;
use mongodb::bson::{Bson, doc};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is known of the server.
#[derive(Debug, Default)]
pub(in crate::store::mongo) struct Kind {
    is_sqlite: OnceLock<bool>,
    singly: AtomicBool,
}

impl Kind {
    /// Whether SQLite stores what it is given. It takes one write at a time, and lets the others sleep: the longer, the more there are.
    pub(in crate::store::mongo) fn is_sqlite(&self) -> bool {
        self.is_sqlite.get().copied().unwrap_or(false)
    }

    /// Whether it finds a document by its id in an index, but looks at all documents where a list of ids is asked for.
    pub(super) fn asks_singly(&self) -> bool {
        self.singly.load(Ordering::Relaxed)
    }

    /// So many batches of appends are under way at a time.
    pub(in crate::store::mongo) fn waves(&self) -> usize {
        if self.is_sqlite() { 1 } else { MONGO_WAVES_MAX }
    }
}

impl Link {
    /// Finds out what kind of server it is, if that is not known yet.
    pub(in crate::store::mongo) async fn look_at_server(&self) -> Result<(), Fault> {
        let is_sqlite = self.kind.is_sqlite.get().copied();
        if is_sqlite == Some(false) || self.kind.asks_singly() {
            return Ok(());
        }
        let info = self.read(self.database.run_command(doc! { "buildInfo": 1 }).into_future()).await?;
        if !info.contains_key("ferretdbVersion") {
            self.kind.is_sqlite.get_or_init(|| false);
            return Ok(());
        }
        let find = doc! { "find": Collection::Meta.name(), "filter": { "_id": "" } };
        let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
        let explained = self.read(self.database.run_command(explain).into_future()).await?;
        // SQLite's plan is a list of lines. Its index on ids may be made a little later than the collection.
        let plan = explained.get_document("queryPlanner").and_then(|planner| planner.get_array("Plan"));
        let is_search = |line: &Bson| line.as_str().is_some_and(|line| line.contains("SEARCH"));
        self.kind.is_sqlite.get_or_init(|| plan.is_ok());
        self.kind.singly.store(plan.is_ok_and(|plan| plan.iter().any(is_search)), Ordering::Relaxed);
        Ok(())
    }
}
