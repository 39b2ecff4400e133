//! What a start does to whole collections. On a large one it takes its time: the limit is that of the start.

use super::Link;
use crate::store::mongo::fault::Fault;
use crate::store::mongo::queries::{Collection, Index};
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind};

/// What a server calls a collection, or an index, that is not there.
const NOT_FOUND: [i32; 2] = [26, 27];

impl Link {
    /// Makes an index if it is not there.
    pub(in crate::store::mongo) async fn make_index(&self, index: &Index) -> Result<(), Fault> {
        let keys: Document = index.keys.iter().map(|key| ((*key).to_owned(), Bson::Int32(1))).collect();
        let options = mongodb::options::IndexOptions::builder().unique(index.unique.then_some(true)).build();
        let model = mongodb::IndexModel::builder().keys(keys).options(options).build();
        let collection = self.collection::<Document>(index.collection);
        collection.create_index(model).await.map(|_| ()).map_err(Fault::from)
    }

    /// Drops an index if it is there.
    pub(in crate::store::mongo) async fn drop_index(&self, collection: Collection, name: &str) -> Result<(), Fault> {
        match self.collection::<Document>(collection).drop_index(name).await {
            Err(error) if is_not_found(&error) => Ok(()),
            done => done.map_err(Fault::from),
        }
    }

    /// Removes a field from all documents of a collection that have it: the one query that looks at all of them.
    pub(in crate::store::mongo) async fn unset_everywhere(&self, collection: Collection, field: &str) -> Result<(), Fault> {
        let (filter, change) = (doc! { field: { "$exists": true } }, doc! { "$unset": { field: "" } });
        self.collection::<Document>(collection).update_many(filter, change).await.map(|_| ()).map_err(Fault::from)
    }
}

fn is_not_found(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if NOT_FOUND.contains(&command.code))
}
