//! The disk: whether it takes writes, and what is done when it fails.

use crate::limits::{STORE_PROBE_BYTES, STORE_PROBE_INTERVAL};
use crate::store::StoreError;
use fjall::{OwnedWriteBatch, PersistMode};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// When a write must be on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Before the commit returns.
    Synced,
    /// With the next synced commit. Its order is kept: what is lost by a power cut is the end of the journal.
    Later,
}

/// The disk that the store is on.
pub(super) struct Disk {
    folder: PathBuf,
    sync: bool,
    free_bytes_min: AtomicU64,
    ready: AtomicBool,
    probed: Mutex<Option<Instant>>,
}

impl Disk {
    /// The disk of `folder`. Writes are refused while less than `free_bytes_min` bytes are free.
    pub(super) fn new(folder: &Path, sync: bool, free_bytes_min: u64) -> Self {
        let disk = Self {
            folder: folder.to_owned(),
            sync,
            free_bytes_min: AtomicU64::new(free_bytes_min),
            ready: AtomicBool::new(true),
            probed: Mutex::new(None),
        };
        disk.look();
        disk
    }

    /// Whether writes are taken.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Commits a batch with exactly one sync, or ends the process. The one place that decides what a failing disk means:
    ///
    /// - No room *before* anything is written: refused, and the store is not ready until a probe could be written. The reserve
    ///   ([`crate::limits::STORE_FREE_BYTES_MIN`]) leaves the database what it needs for work that it has begun.
    /// - A write or a sync that fails: nobody can say any more what is on the disk (pages of a failed sync may be dropped and the next
    ///   sync succeed), so the process ends at once and the next start reads what is there.
    pub(super) fn commit_or_stop(&self, batch: OwnedWriteBatch, durable: Durable) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        if !self.is_ready() || !self.has_room() {
            return Err(StoreError::Unavailable("the disk is full".to_owned()));
        }
        let mode = match durable {
            Durable::Synced if self.sync => PersistMode::SyncData,
            Durable::Synced | Durable::Later => PersistMode::Buffer,
        };
        match batch.durability(Some(mode)).commit() {
            Ok(()) => Ok(()),
            Err(error) => stop(&format!("a commit failed: {error}")),
        }
    }

    /// Looks whether the disk takes writes; to be called now and then.
    pub(super) fn look(&self) {
        // While it is too full, nothing is written to it, not even a probe.
        if !self.has_room() || self.is_ready() || !self.may_probe() {
            return;
        }
        match self.write_probe() {
            Ok(()) => {
                tracing::info!(folder = %self.folder.display(), "the disk takes writes again");
                self.ready.store(true, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "the disk has room and takes no writes"),
        }
    }

    /// Whether the time for another probe has come.
    fn may_probe(&self) -> bool {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let may = probed.is_none_or(|at| at.elapsed() >= STORE_PROBE_INTERVAL);
        if may {
            *probed = Some(Instant::now());
        }
        may
    }

    fn has_room(&self) -> bool {
        match self.free_bytes() {
            Ok(free) if free < self.free_bytes_min.load(Ordering::Relaxed) => {
                if self.ready.swap(false, Ordering::Relaxed) {
                    tracing::error!(free_bytes = free, folder = %self.folder.display(), "the disk is full: no writes are taken");
                }
                false
            }
            Ok(_) => true,
            Err(error) => {
                // Not knowing is no reason to refuse: a write that then fails ends the process.
                tracing::warn!(%error, "the free space of the disk is not known");
                true
            }
        }
    }

    fn write_probe(&self) -> std::io::Result<()> {
        let path = self.folder.join("probe");
        let mut file = File::create(&path)?;
        file.write_all(&[0x5a; STORE_PROBE_BYTES])?;
        file.sync_all()?;
        drop(file);
        std::fs::remove_file(path)
    }

    #[cfg(unix)]
    fn free_bytes(&self) -> std::io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self) -> std::io::Result<u64> {
        Ok(u64::MAX)
    }

    /// Makes the disk look full, or free again.
    #[cfg(test)]
    pub(super) fn set_free_bytes_min(&self, bytes: u64) {
        self.free_bytes_min.store(bytes, Ordering::Relaxed);
    }
}

/// Ends the process, without running anything that could still write.
fn stop(why: &str) -> ! {
    tracing::error!(why, "the store cannot go on; the process ends");
    std::process::abort()
}
