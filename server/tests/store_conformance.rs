//! The conformance suite against the embedded store. Other stores run the same suite in files of their own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod store_suite;

use server::store::Store;
use server::store::embedded::{EmbeddedOptions, EmbeddedStore};
use std::sync::Arc;
use store_suite::Backend;

async fn embedded() -> Backend {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    Backend::new(folder, move || {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&path, &EmbeddedOptions::default()).unwrap());
        Box::pin(async move { store })
    })
}

store_suite::conformance!(embedded);
