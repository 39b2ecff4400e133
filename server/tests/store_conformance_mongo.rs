//! The conformance suite against the MongoDB store, on a real server (see `mongo_server`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod store_suite;

use server::store::Store;
use server::store::mongo::MongoStore;
use std::sync::Arc;
use store_suite::Backend;

async fn mongo() -> Backend {
    let (folder, database) = (tempfile::tempdir().unwrap(), mongo_server::database());
    let (path, uri) = (folder.path().to_owned(), database.uri.clone());
    Backend::new((folder, database), move || {
        let (path, uri) = (path.clone(), uri.clone());
        Box::pin(async move {
            let store = tokio::task::spawn_blocking(move || MongoStore::open(&uri, &path).unwrap()).await.unwrap();
            let store: Arc<dyn Store> = Arc::new(store);
            store
        })
    })
}

store_suite::conformance!(mongo);
