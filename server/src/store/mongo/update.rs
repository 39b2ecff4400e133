//! Updates: many changes in one command, each with a filter that says what it expects to find.

use super::fault::{DUPLICATE_KEY, Fault};
use super::link::Link;
use super::queries::{Collection, Filter};
use crate::limits::{MONGO_SERVER_TIME, MONGO_UPDATES_MAX};
use mongodb::bson::{Bson, Document, doc, serialize_to_document};
use serde::{Deserialize, Serialize};

/// One statement of an update command.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// Which document.
    pub(super) filter: Document,
    /// What it becomes: a whole document, or changes to it.
    pub(super) change: Document,
    /// Whether it is made if it is not there.
    pub(super) upsert: bool,
}

impl Statement {
    /// Sets fields of a document, if it is there.
    pub(super) fn set(filter: Filter<'_>, fields: Document) -> Self {
        Self { filter: filter.document(), change: doc! { "$set": fields }, upsert: false }
    }

    /// Puts a whole row in the place of one, if that is there.
    pub(super) fn replace(filter: Filter<'_>, row: &impl Serialize) -> Result<Self, Fault> {
        Ok(Self { filter: filter.document(), change: document(row)?, upsert: false })
    }

    /// Makes the document where there is none.
    pub(super) fn or_insert(self, upsert: bool) -> Self {
        Self { upsert, ..self }
    }
}

/// The document of a row, or of a part of one.
pub(super) fn document(row: &impl Serialize) -> Result<Document, Fault> {
    serialize_to_document(row).map_err(|error| Fault::Corrupt(error.to_string()))
}

#[derive(Deserialize)]
struct UpdateReply {
    n: i64,
    #[serde(default, rename = "writeErrors")]
    write_errors: Vec<WriteErrorReply>,
    #[serde(default, rename = "writeConcernError")]
    write_concern_error: Option<Document>,
}

#[derive(Deserialize)]
struct WriteErrorReply {
    code: i32,
    #[serde(default)]
    errmsg: String,
}

impl Link {
    /// Sends statements, in no order, as few commands. Answers whether each changed or found a document; nothing is said of a single
    /// one: where not all did, look again.
    pub(super) async fn update(&self, collection: Collection, statements: &[Statement]) -> Result<bool, Fault> {
        let mut all = true;
        for statements in statements.chunks(MONGO_UPDATES_MAX) {
            let updates = statements.iter().map(|statement| {
                let Statement { filter, change, upsert } = statement;
                Bson::Document(doc! { "q": filter, "u": change, "upsert": upsert, "multi": false })
            });
            let command = doc! {
                "update": collection.name(),
                "updates": updates.collect::<Vec<_>>(),
                "ordered": false,
                "writeConcern": { "w": "majority", "j": true, "wtimeout": MONGO_SERVER_TIME.as_millis() as i64 },
            };
            let reply = self.write_once(self.database.run_command(command).into_future()).await?;
            let reply: UpdateReply =
                mongodb::bson::deserialize_from_document(reply).map_err(|error| Fault::Corrupt(error.to_string()))?;
            if let Some(error) = reply.write_concern_error {
                return Err(Fault::Unknown(format!("a write is not on a majority yet: {error}")));
            }
            if let Some(error) = reply.write_errors.iter().find(|error| error.code != DUPLICATE_KEY) {
                return Err(Fault::Unknown(format!("an update was refused: {} (code {})", error.errmsg, error.code)));
            }
            all &= reply.n == statements.len() as i64;
        }
        Ok(all)
    }
}
