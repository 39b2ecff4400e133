//! A commit that a power cut tore: the only repair that the store does by itself.
//!
//! A commit that was being written when the power went has any of its pages on the disk, and zeros for the others. The database drops
//! such a commit if it no longer reads as one. If all that is missing is the middle of a large value, it reads as a commit with a wrong
//! checksum, and the database refuses to open. That commit was never acknowledged: nothing is written after a commit before its sync
//! is done. So it is cut off, if it is the last thing in the journal and has a hole of zeros; anything else is left to people.
//!
//! Knows the journal of fjall 3: start (1, items u32, number u64), items (2, kind u8, compression u8, table u64, key length u16, value
//! length u32, length as written u32, key, value) or cleared tables (4, table u64), end (3, checksum u64, magic).

use crate::store::StoreError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a disk writes at once, at the least.
const SECTOR_BYTES: usize = 512;
const END_MAGIC: &[u8] = b"FJL\x03";

/// The bytes of a commit that was cut off.
pub(super) struct Torn {
    journal: PathBuf,
    at: u64,
    bytes: Vec<u8>,
}

/// Cuts a torn commit off the newest journal in `db`; `None` if there is none. The bytes are kept in the folder above.
pub(super) fn cut_off(db: &Path) -> Result<Option<Torn>, StoreError> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("the journal: {error}"));
    let Some(journal) = newest_journal(db).map_err(unavailable)? else { return Ok(None) };
    let mut bytes = Vec::new();
    File::open(&journal).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(unavailable)?;
    let Some(last) = last_commit(&bytes).filter(|commit| has_hole(&bytes, commit)) else { return Ok(None) };
    let torn = Torn { journal, at: last.start as u64, bytes: bytes[last.clone()].to_vec() };
    let kept = db.with_file_name(format!("torn-commit-{}", last.start));
    tracing::error!(
        journal = %torn.journal.display(), at = torn.at, bytes = torn.bytes.len(), kept = %kept.display(),
        "the last commit was being written when the machine stopped; it was not acknowledged and is cut off"
    );
    torn.keep(&kept).map_err(unavailable)?;
    Ok(Some(torn))
}

impl Torn {
    fn keep(&self, kept: &Path) -> std::io::Result<()> {
        let mut file = File::create(kept)?;
        file.write_all(&self.bytes)?;
        file.sync_all()?;
        let journal = OpenOptions::new().write(true).open(&self.journal)?;
        journal.set_len(self.at)?;
        journal.sync_all()
    }

    /// Puts the bytes back: cutting them off did not help, so they were not what was wrong.
    pub(super) fn put_back(self) -> Result<(), StoreError> {
        let put = || -> std::io::Result<()> {
            let mut journal = OpenOptions::new().write(true).open(&self.journal)?;
            journal.seek(SeekFrom::Start(self.at))?;
            journal.write_all(&self.bytes)?;
            journal.sync_all()
        };
        put().map_err(|error| StoreError::Unavailable(format!("the journal: {error}")))
    }
}

/// The journal with the highest number: the one that is written.
fn newest_journal(db: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(db)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        newest = newest.max(number.map(|number| (number, path)));
    }
    Ok(newest.map(|(_, path)| path))
}

/// The last commit that reads as one, if nothing but zeros follows it.
fn last_commit(journal: &[u8]) -> Option<Range<usize>> {
    let (mut last, mut at) = (None, 0);
    while let Some(end) = commit_end(journal, at) {
        last = Some(at..end);
        at = end;
    }
    journal[at..].iter().all(|&byte| byte == 0).then_some(last).flatten()
}

/// Where the commit that starts at `at` ends.
fn commit_end(journal: &[u8], mut at: usize) -> Option<usize> {
    if journal.get(at)? != &1 {
        return None;
    }
    at += 13;
    loop {
        match journal.get(at)? {
            2 => {
                let key = journal.get(at + 11..at + 13)?.first_chunk().copied().map(u16::from_le_bytes)?;
                let value = journal.get(at + 17..at + 21)?.first_chunk().copied().map(u32::from_le_bytes)?;
                at = at.checked_add(21 + usize::from(key))?.checked_add(value as usize)?;
            }
            3 => {
                let end = at + 9 + END_MAGIC.len();
                return (journal.get(at + 9..end)? == END_MAGIC).then_some(end);
            }
            4 => at += 9,
            _ => return None,
        }
    }
}

/// Whether a whole sector of the commit is missing.
fn has_hole(journal: &[u8], commit: &Range<usize>) -> bool {
    let sectors = commit.start.div_ceil(SECTOR_BYTES)..commit.end / SECTOR_BYTES;
    sectors.into_iter().any(|sector| journal[sector * SECTOR_BYTES..][..SECTOR_BYTES].iter().all(|&byte| byte == 0))
}
