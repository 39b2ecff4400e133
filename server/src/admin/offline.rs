//! Restore and copy: into a store that is empty and that nobody serves from. Both take a dump piece by piece; projections are made anew, and the
//! new store has a new epoch, so that clients drop their cursors.

use super::backup::{BackupError, BackupReader};
use crate::limits::{DUMP_PAGE_BYTES, DUMP_PAGE_ITEMS};
use crate::store::dump::{Counts, Item};
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::{Store, StoreError};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// Why it did not work. The new store cannot be used then: it is to be removed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// No store is named so.
    #[error("{0}: a store is named by its data folder")]
    Place(String),
}

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The embedded store of a data folder.
    Folder(PathBuf),
}

impl std::str::FromStr for Place {
    type Err = OfflineError;

    fn from_str(text: &str) -> Result<Self, OfflineError> {
        match text.contains("://") || text.is_empty() {
            true => Err(OfflineError::Place(text.to_owned())),
            false => Ok(Self::Folder(text.into())),
        }
    }
}

impl Place {
    /// Opens the store; it is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: mostly that a server has it open.
    pub fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Folder(folder) => Ok(Arc::new(EmbeddedStore::open(&folder.join("store"), &EmbeddedOptions::default())?)),
        }
    }
}

/// Pieces that are collected into lots for a store.
struct Loader<'a> {
    store: &'a dyn Store,
    items: Vec<Item>,
    bytes: usize,
}

impl<'a> Loader<'a> {
    /// Begins: from here on the store is one that was not filled to its end.
    async fn begin(store: &'a dyn Store) -> Result<Self, StoreError> {
        store.load(Vec::new(), false).await?;
        Ok(Self { store, items: Vec::new(), bytes: 0 })
    }

    async fn add(&mut self, item: Item) -> Result<(), StoreError> {
        self.bytes += match &item {
            Item::Event { record, .. } => record.len(),
            Item::Login { tokens, .. } => tokens.len() * 32,
            Item::Room { .. } | Item::Account(_) => 0,
        };
        self.items.push(item);
        if self.items.len() >= DUMP_PAGE_ITEMS || self.bytes >= DUMP_PAGE_BYTES {
            self.bytes = 0;
            self.store.load(std::mem::take(&mut self.items), false).await?;
        }
        Ok(())
    }

    async fn finish(self) -> Result<(), StoreError> {
        self.store.load(self.items, true).await
    }
}

/// Restores a backup into an empty store; `told` is called with what was read, now and then. Nothing is taken for whole before all of it
/// was read and its checksum is right.
///
/// # Errors
///
/// [`OfflineError`].
pub async fn restore(store: &dyn Store, input: impl Read, told: impl Fn(&Counts)) -> Result<Counts, OfflineError> {
    let mut reader = BackupReader::new(input)?;
    let mut loader = Loader::begin(store).await?;
    while let Some(item) = reader.next_item()? {
        loader.add(item).await?;
        told(&reader.counts());
    }
    loader.finish().await?;
    Ok(reader.counts())
}

/// Copies everything from one store to an empty one; `told` is called with what was copied, now and then.
///
/// # Errors
///
/// [`OfflineError`].
pub async fn copy(from: &dyn Store, to: &dyn Store, told: impl Fn(&Counts)) -> Result<Counts, OfflineError> {
    let mut counts = Counts::default();
    let mut loader = Loader::begin(to).await?;
    let mut after = None;
    loop {
        let page = from.dump(after).await?;
        for item in page.items {
            counts.add(&item);
            loader.add(item).await?;
        }
        told(&counts);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    loader.finish().await?;
    Ok(counts)
}
