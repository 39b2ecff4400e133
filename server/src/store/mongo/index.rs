//! The index of words: one document for each block of messages ([`crate::store::blocks`]), written in the background once the block is
//! complete. A search reads the messages of a block that has none, and asks for it.
//!
//! No server waits for another one, and no word of what was changed or deleted stays:
//!
//! - Who changes a message counts that in its block's document, and takes the words out, after the message itself was written and before
//!   the change is answered. So the words are never older than that, and after a crash whoever heals the room, or goes on with an erase,
//!   does it again.
//! - Who indexes a block whose messages were never changed makes its document, and fails where there is one: then something was changed.
//! - Who indexes it anew reads how often it was changed, then its messages, and writes only if it was not changed again meanwhile.

use super::documents::binary;
use super::fault::Fault;
use super::gather::Unindexed;
use super::history;
use super::ids::block_id;
use super::link::Link;
use super::queries::{BLOCK, Collection};
use super::update::Statement;
use crate::limits::WORD_BLOCK_MESSAGES;
use crate::store::StoreError;
use crate::store::blocks::{Gathered, first_of};
use crate::store::words::{body_now, tell_words_of};
use client_protocol::{Event, RoomId};
use components::rows::NowRow;
use mongodb::bson::{Binary, doc};
use serde::{Deserialize, Serialize};

/// The words of a block of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockDoc {
    #[serde(rename = "_id")]
    id: String,
    /// How often its messages were changed.
    #[serde(default)]
    changes: u64,
    /// The seqs of its messages, 8 bytes each, least significant first; missing where the block is not indexed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seqs: Option<Binary>,
    /// Their words; missing where there is so much text that a search reads the messages instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    words: Option<Binary>,
}

/// What a document says of a block that is indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indexed {
    /// The seqs of its messages.
    pub(super) seqs: Vec<u64>,
    /// Their words, unless they are too many.
    pub(super) words: Option<Vec<u8>>,
}

impl BlockDoc {
    fn new(room: RoomId, block: u64, changes: u64, Indexed { seqs, words }: Indexed) -> Self {
        let seqs = seqs.into_iter().flat_map(u64::to_le_bytes).collect();
        Self { id: block_id(room, block), changes, seqs: Some(binary(seqs)), words: words.map(binary) }
    }

    /// The number of the block.
    pub(super) fn block(&self) -> Result<u64, StoreError> {
        super::ids::parse_event_id(&self.id).map(|(_, block)| block)
    }

    /// What it says; `None` where the block is not indexed.
    pub(super) fn indexed(self) -> Result<Option<Indexed>, StoreError> {
        let Some(seqs) = self.seqs else { return Ok(None) };
        let (seqs, rest) = seqs.bytes.as_chunks();
        if seqs.len() as u64 != WORD_BLOCK_MESSAGES || !rest.is_empty() {
            return Err(StoreError::Corrupt(format!("block {} of words has no seqs of its messages", self.id)));
        }
        let seqs = seqs.iter().map(|seq| u64::from_le_bytes(*seq)).collect();
        Ok(Some(Indexed { seqs, words: self.words.map(|words| words.bytes) }))
    }
}

/// Messages of a block, taken from its first on.
#[derive(Debug, Default)]
pub(super) struct Messages {
    seqs: Vec<u64>,
    gathered: Gathered,
}

impl Messages {
    /// Takes the next message, as it is now.
    pub(super) fn push(&mut self, event: &Event, now: Option<&NowRow>) {
        let place = self.seqs.len() as u8;
        self.seqs.push(event.head.seq);
        if let Some(body) = body_now(event, now) {
            tell_words_of(body, |word| self.gathered.push(place, word));
        }
    }

    /// As they are indexed, once they are all there.
    pub(super) fn into_indexed(self) -> Option<Indexed> {
        let is_whole = self.seqs.len() as u64 == WORD_BLOCK_MESSAGES;
        is_whole.then(|| Indexed { seqs: self.seqs, words: self.gathered.encode() })
    }
}

/// Says that messages of a block were changed: its words are gone until it is indexed anew.
pub(super) fn change(room: RoomId, block: u64) -> Statement {
    let filter = BLOCK.equal([block_id(room, block).into()]).document();
    let change = doc! { "$inc": { "changes": 1_i64 }, "$unset": { "seqs": "", "words": "" } };
    Statement { filter, change, upsert: true }
}

/// Indexes blocks that are not.
pub(super) async fn index(link: &Link, blocks: &[Unindexed]) -> Result<(), Fault> {
    let mut documents = Vec::new();
    for block in blocks {
        documents.extend(as_posted(block)?);
        // It is work, and others wait for the thread.
        tokio::task::yield_now().await;
    }
    let all_new = documents.is_empty() || link.insert_new(Collection::Words, &documents).await?;
    for block in blocks.iter().filter(|block| !all_new || block.records.is_none()) {
        match anew(link, block.room, block.block, block.last_seq).await {
            // A search reads the messages, and a check of the room says what is wrong.
            Err(Fault::Corrupt(why)) => {
                tracing::error!(room = %block.room, block = block.block, why, "messages cannot be indexed");
            }
            done => done?,
        }
    }
    Ok(())
}

/// The document of a block whose messages are at hand, and were never changed.
fn as_posted(block: &Unindexed) -> Result<Option<BlockDoc>, StoreError> {
    let Some(records) = &block.records else { return Ok(None) };
    let mut messages = Messages::default();
    for record in records {
        let decoded = Event::decode_record(record);
        let (event, _) = decoded.map_err(|error| StoreError::Corrupt(format!("a record that was appended: {error}")))?;
        messages.push(&event, None);
    }
    Ok(messages.into_indexed().map(|indexed| BlockDoc::new(block.room, block.block, 0, indexed)))
}

/// Indexes a block from the log, if it is not indexed.
pub(super) async fn anew(link: &Link, room: RoomId, block: u64, last_seq: u64) -> Result<(), Fault> {
    match Reread::read(link, room, block, last_seq).await? {
        // Where it was changed or indexed meanwhile nothing is written: the next search asks again.
        Some(reread) => reread.write(link).await.map(|_| ()),
        None => Ok(()),
    }
}

/// A block as the log has it.
#[derive(Debug)]
pub(super) struct Reread {
    /// Whether there was a document of it.
    is_known: bool,
    /// The document to be, with the number of changes that was read before its messages.
    document: BlockDoc,
}

impl Reread {
    /// Reads a block that is not indexed; `None` if it is.
    pub(super) async fn read(link: &Link, room: RoomId, block: u64, last_seq: u64) -> Result<Option<Self>, Fault> {
        // Before the messages.
        let known: Option<BlockDoc> = link.one(BLOCK.equal([block_id(room, block).into()])).await?;
        if known.as_ref().is_some_and(|known| known.seqs.is_some()) {
            return Ok(None);
        }
        let found = history::newest(link, room, last_seq, WORD_BLOCK_MESSAGES as usize).await?;
        let mut messages = Messages::default();
        for (expected, (record, now)) in (first_of(block)..).zip(found.into_iter().rev()) {
            if record.event.head.message_no != expected {
                return Err(Fault::Corrupt(format!("message {expected} of room {room} is missing")));
            }
            messages.push(&record.event, now.as_ref());
        }
        let Some(indexed) = messages.into_indexed() else {
            return Err(Fault::Corrupt(format!("messages of block {block} of room {room} are missing")));
        };
        let changes = known.as_ref().map_or(0, |known| known.changes);
        Ok(Some(Self { is_known: known.is_some(), document: BlockDoc::new(room, block, changes, indexed) }))
    }

    /// Writes it, unless the block was changed or indexed since it was read. Answers whether it did.
    pub(super) async fn write(self, link: &Link) -> Result<bool, Fault> {
        let Self { is_known, document } = self;
        if !is_known {
            return link.insert_new(Collection::Words, &[document]).await;
        }
        let filter = BLOCK.equal([document.id.clone().into()]).and("changes", document.changes as i64);
        link.update(Collection::Words, &[Statement::replace(filter, &document)?]).await
    }
}
