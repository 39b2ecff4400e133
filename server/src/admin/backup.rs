//! The stream of a backup: everything that a store holds and that cannot be made anew, for any store.
//!
//! `STARLING BACKUP 1\n`, then records: a length (u32, little endian) and so many bytes of an [`Item`]; the length 0 ends them, and then
//! come the length (u32) and bytes of the [`Counts`], and the SHA-256 of all bytes before it. Nothing is taken for whole without that.

use super::Admin;
use super::handle::{HandleError, Out};
use super::request::progress;
use crate::limits::BACKUP_ITEM_BYTES_MAX;
use crate::store::dump::{Counts, Item};
use client_protocol::codec;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// What a backup begins with; the number is its version.
pub const MAGIC: &[u8] = b"STARLING BACKUP 1\n";

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no backup, or of a version that is not known.
    #[error("this is no backup that this version can read")]
    Foreign,
    /// It is damaged, or ends early.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
}

/// Writes a backup, piece by piece.
#[derive(Debug)]
pub struct BackupWriter {
    digest: Sha256,
    counts: Counts,
}

impl Default for BackupWriter {
    fn default() -> Self {
        Self { digest: Sha256::new(), counts: Counts::default() }
    }
}

impl BackupWriter {
    /// The bytes before the first piece.
    pub fn begin(&mut self) -> Vec<u8> {
        self.digest.update(MAGIC);
        MAGIC.to_vec()
    }

    /// The bytes of some pieces.
    pub fn items(&mut self, items: &[Item]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for item in items {
            self.counts.add(item);
            put(&mut bytes, &codec::encode(item));
        }
        self.digest.update(&bytes);
        bytes
    }

    /// The bytes after the last piece.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        let mut bytes = 0_u32.to_le_bytes().to_vec();
        put(&mut bytes, &codec::encode(&self.counts));
        self.digest.update(&bytes);
        bytes.extend_from_slice(&self.digest.finalize());
        bytes
    }

    /// How much was written so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}

fn put(bytes: &mut Vec<u8>, piece: &[u8]) {
    bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
    bytes.extend_from_slice(piece);
}

/// Reads a backup.
#[derive(Debug)]
pub struct BackupReader<R> {
    input: R,
    digest: Sha256,
    counts: Counts,
}

impl<R: Read> BackupReader<R> {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub fn new(input: R) -> Result<Self, BackupError> {
        let mut reader = Self { input, digest: Sha256::new(), counts: Counts::default() };
        match reader.take(MAGIC.len()) {
            Ok(magic) if magic == MAGIC => Ok(reader),
            Ok(_) | Err(BackupError::Damaged(_)) => Err(BackupError::Foreign),
            Err(error) => Err(error),
        }
    }

    /// The next piece; `None` after the last one, when all of it is known to be whole.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub fn next_item(&mut self) -> Result<Option<Item>, BackupError> {
        let bytes = self.piece()?;
        if bytes.is_empty() {
            return self.check_end().map(|()| None);
        }
        let item = codec::decode(&bytes).map_err(|error| BackupError::Damaged(error.to_string()))?;
        self.counts.add(&item);
        Ok(Some(item))
    }

    /// How much was read so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn piece(&mut self) -> Result<Vec<u8>, BackupError> {
        let length = self.take(4)?;
        let length = length.first_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
        if length > BACKUP_ITEM_BYTES_MAX {
            return Err(BackupError::Damaged(format!("a piece of {length} bytes")));
        }
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Damaged("it ends early".to_owned()),
            _ => error.into(),
        })?;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn check_end(&mut self) -> Result<(), BackupError> {
        let counts = self.piece()?;
        let counts: Counts = codec::decode(&counts).map_err(|error| BackupError::Damaged(error.to_string()))?;
        let digest = self.digest.clone().finalize();
        let stored = self.take(digest.len())?;
        if stored != digest.as_slice() {
            return Err(BackupError::Damaged("its checksum is another one".to_owned()));
        }
        if counts != self.counts {
            return Err(BackupError::Damaged(format!("it says {counts:?} and has {:?}", self.counts)));
        }
        if self.input.read(&mut [0])? != 0 {
            return Err(BackupError::Damaged("something follows its end".to_owned()));
        }
        Ok(())
    }
}

/// Sends a backup of the store to the tool: progress is not told, since bytes follow the first line.
pub(super) async fn send(admin: &Admin, out: &mut Out) -> Result<(), HandleError> {
    let first = admin.store.dump(None).await?;
    out.line(&progress(0, 0)).await?;
    out.line(&json!({ "type": "backup" })).await?;
    let mut writer = BackupWriter::default();
    out.bytes(&writer.begin()).await?;
    let mut page = first;
    loop {
        out.bytes(&writer.items(&page.items)).await?;
        match page.next {
            Some(next) => page = admin.store.dump(Some(next)).await?,
            None => break,
        }
    }
    tracing::info!(counts = ?writer.counts(), "a backup was made");
    out.bytes(&writer.end()).await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use client_protocol::RoomId;

    fn sample() -> (Vec<Item>, Vec<u8>) {
        let room = RoomId::from_bytes([3; 16]);
        let items = vec![Item::Room { room, notified_seq: 1 }, Item::Event { room, record: vec![1, 2, 3] }];
        let mut writer = BackupWriter::default();
        let mut bytes = writer.begin();
        bytes.extend(writer.items(&items));
        bytes.extend(writer.end());
        (items, bytes)
    }

    fn read(bytes: &[u8]) -> Result<Vec<Item>, BackupError> {
        let mut reader = BackupReader::new(bytes)?;
        let mut items = Vec::new();
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
        Ok(items)
    }

    #[test]
    fn what_was_written_is_read() {
        let (items, bytes) = sample();
        assert_eq!(read(&bytes).unwrap(), items);
    }

    #[test]
    fn every_damage_is_found() {
        let (_, bytes) = sample();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut at {length}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "changed at {at}");
        }
        assert!(read(&[bytes, vec![0]].concat()).is_err(), "longer than it is");
        assert!(matches!(read(b"something else entirely"), Err(BackupError::Foreign)));
    }
}
