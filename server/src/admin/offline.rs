//! Restore and copy: into a store that is empty and that nobody serves from. Both take a dump piece by piece; projections are made anew, and the
//! new store has a new epoch, so that clients drop their cursors.

use super::backup::{BackupError, BackupReader};
use crate::store::dump::{Counts, Filling, Item};
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::mongo::MongoStore;
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
    #[error(
        "a store is named by its data folder, or is `mongodb`: the database that MONGODB_URI (or mongodb_uri of the file) names"
    )]
    Place,
    /// A MongoDB store needs a folder for a moment.
    #[error("no folder for temporary files: {0}")]
    Temporary(std::io::Error),
}

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// The embedded store of a data folder.
    Folder(PathBuf),
    /// A MongoDB database, by its URI, which is a secret.
    Database(String),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => f.debug_tuple("Folder").field(folder).finish(),
            Self::Database(_) => f.write_str("Database"),
        }
    }
}

/// An open store, and what it needs while it is open.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Which it is, for people; nothing secret.
    pub place: String,
    /// The tool is a node of the database for a moment only: its number is kept nowhere.
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// What `text` names: a data folder, or `mongodb` for the database of `uri`. A URI itself is refused: other users of the machine would
    /// see it among the arguments of the process.
    ///
    /// # Errors
    ///
    /// [`OfflineError::Place`].
    pub fn named(text: &str, uri: Option<&str>) -> Result<Self, OfflineError> {
        match (text, uri) {
            ("mongodb", Some(uri)) => Ok(Self::Database(uri.to_owned())),
            ("mongodb" | "", _) => Err(OfflineError::Place),
            (text, _) if text.contains("://") => Err(OfflineError::Place),
            (folder, _) => Ok(Self::Folder(folder.into())),
        }
    }

    /// Opens the store; it is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`OfflineError`]: mostly that a server has it open, or that the database cannot be reached.
    pub fn open(&self) -> Result<Opened, OfflineError> {
        match self {
            Self::Folder(folder) => {
                let folder = folder.join("store");
                let store = EmbeddedStore::open(&folder, &EmbeddedOptions::default())?;
                Ok(Opened { store: Arc::new(store), place: folder.display().to_string(), _folder: None })
            }
            Self::Database(uri) => {
                let folder = tempfile::tempdir().map_err(OfflineError::Temporary)?;
                let store = MongoStore::open(uri, folder.path())?;
                let place = store.place();
                Ok(Opened { store: Arc::new(store), place, _folder: Some(folder) })
            }
        }
    }
}

/// Pieces that are collected into lots for a store.
struct Loader<'a> {
    store: &'a dyn Store,
    lot: Filling,
}

impl<'a> Loader<'a> {
    /// Begins: from here on the store is one that was not filled to its end.
    async fn begin(store: &'a dyn Store) -> Result<Self, StoreError> {
        store.load(Vec::new(), false).await?;
        Ok(Self { store, lot: Filling::default() })
    }

    async fn add(&mut self, item: Item) -> Result<(), StoreError> {
        self.lot.push(item);
        if self.lot.is_full() {
            self.store.load(std::mem::take(&mut self.lot).into_items(), false).await?;
        }
        Ok(())
    }

    async fn finish(self) -> Result<(), StoreError> {
        self.store.load(self.lot.into_items(), true).await
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
