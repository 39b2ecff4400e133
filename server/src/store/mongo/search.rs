//! Search: a walk down the messages of a room, block by block ([`super::index`]). The words of a block say which of its messages are looked
//! at; those of a block that is not indexed (yet) are looked at all. Bounded: a query that has done enough says where to go on.

use super::fault::Fault;
use super::gather::Unindexed;
use super::history;
use super::ids::block_id;
use super::index::{BlockDoc, Indexed};
use super::link::Link;
use super::projection::{Logged, read_events};
use super::queries::BLOCK;
use super::query;
use crate::limits::{
    HISTORY_PAGE_BYTES_MAX, MONGO_SEARCH_BLOCKS_LOT_MAX, MONGO_SEARCH_BLOCKS_LOT_MIN, SEARCH_BLOCKS_MAX,
    SEARCH_INDEX_BYTES_MAX, SEARCH_MESSAGES_MAX, WORD_BLOCK_MESSAGES,
};
use crate::store::SearchQuery;
use crate::store::blocks::{self, Places, first_of, place_of};
use crate::store::shown::{FrameList, Sight};
use client_protocol::chat::{Message, SearchPage};
use client_protocol::limits::SEARCH_PAGE_MAX;
use client_protocol::tail::EmptyTail;
use mongodb::bson::Bson;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A page as it grows.
struct Page<'a> {
    link: &'a Link,
    query: &'a SearchQuery,
    sight: Sight,
    messages: FrameList<Message>,
    read: usize,
    index_bytes: usize,
    /// Blocks that were read ahead, and the lowest of them.
    blocks: BTreeMap<u64, Indexed>,
    blocks_from: Option<u64>,
    /// So many are read next time.
    blocks_lot: u64,
    /// Is told of blocks that are complete and not indexed, also where the search comes to no end.
    unindexed: &'a (dyn Fn(Unindexed) + Send + Sync),
}

/// A page of messages by their words. `unindexed` is told of the blocks that should be indexed before the next search.
pub(super) async fn page(
    link: &Link,
    query: &SearchQuery,
    unindexed: &(dyn Fn(Unindexed) + Send + Sync),
) -> Result<SearchPage, Fault> {
    let nothing = SearchPage { messages: Vec::new(), next: 0, tail: EmptyTail {} };
    let Some(row) = query::room(link, query.room).await? else { return Ok(nothing) };
    let sight = Sight { viewer: query.viewer, last_seq: query.last_seq, head: row.head };
    let mut page = Page {
        link,
        query,
        sight,
        messages: FrameList::new(HISTORY_PAGE_BYTES_MAX),
        read: 0,
        index_bytes: 0,
        blocks: BTreeMap::new(),
        blocks_from: None,
        blocks_lot: MONGO_SEARCH_BLOCKS_LOT_MIN,
        unindexed,
    };
    let next = page.walk(sight.top_of_log(query.before)).await?;
    Ok(SearchPage { messages: page.messages.into_items(), next, tail: EmptyTail {} })
}

impl Page<'_> {
    fn limit(&self) -> usize {
        (self.query.limit as usize).clamp(1, SEARCH_PAGE_MAX)
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= self.limit() || self.read >= SEARCH_MESSAGES_MAX
    }

    /// Goes down the messages from the last one at or below `top`; answers where to go on, 0 where there is nothing more.
    async fn walk(&mut self, top: u64) -> Result<u64, Fault> {
        // The newest of a room are not indexed yet, and are looked at next.
        let count = if self.query.before == 0 { WORD_BLOCK_MESSAGES as usize } else { 1 };
        let newest = history::newest(self.link, self.query.room, top, count).await?;
        let Some((record, _)) = newest.first() else { return Ok(0) };
        let (mut number, mut top) = (record.event.head.message_no, record.event.head.seq);
        let mut newest = Some(newest);
        for _ in 0..SEARCH_BLOCKS_MAX {
            if self.index_bytes >= SEARCH_INDEX_BYTES_MAX {
                break;
            }
            let (block, last) = place_of(number);
            let at_hand = newest.take();
            let (next, first_seq) = match self.indexed(block).await? {
                Some(Indexed { seqs, words: Some(words) }) => (self.look_up(last, &seqs, &words).await?, seqs[0]),
                found => {
                    let count = usize::from(last) + 1;
                    let mut messages = match at_hand.filter(|messages| messages.len() >= count) {
                        Some(messages) => messages,
                        None => history::newest(self.link, self.query.room, top, count).await?,
                    };
                    messages.truncate(count);
                    let first_seq = self.first_seq(number, last, &messages)?;
                    if found.is_none() && count as u64 == WORD_BLOCK_MESSAGES {
                        let last_seq = messages[0].0.event.head.seq;
                        (self.unindexed)(Unindexed { room: self.query.room, block, last_seq, records: None });
                    }
                    (self.look_at(messages, false).await?, first_seq)
                }
            };
            if let Some(next) = next {
                return Ok(next);
            }
            number = first_of(block) - 1;
            top = first_seq - 1;
            if number == 0 {
                return Ok(0);
            }
        }
        // What stands before the lowest message that was looked at.
        Ok(top + 1)
    }

    /// The seq of the first message of a block, where these are its messages from message `number` at place `last` down.
    fn first_seq(&self, number: u64, last: u8, messages: &[Logged]) -> Result<u64, Fault> {
        let numbers = messages.iter().map(|(record, _)| record.event.head.message_no);
        let is_dense = messages.len() == usize::from(last) + 1 && numbers.eq((0..=number).rev().take(messages.len()));
        let first = messages.last().filter(|_| is_dense).map(|(record, _)| record.event.head.seq);
        first.ok_or_else(|| Fault::Corrupt(format!("room {} misses messages up to its message {number}", self.query.room)))
    }

    /// What the index has of a block. Reads some more blocks along, since they come next.
    async fn indexed(&mut self, block: u64) -> Result<Option<Indexed>, Fault> {
        if self.blocks_from.is_none_or(|from| block < from) {
            let from = (block + 1).saturating_sub(self.blocks_lot);
            self.blocks_lot = (self.blocks_lot * 2).min(MONGO_SEARCH_BLOCKS_LOT_MAX);
            let ids: Vec<Bson> = (from..=block).map(|block| block_id(self.query.room, block).into()).collect();
            let limit = ids.len();
            for doc in self.link.many::<BlockDoc>(BLOCK.one_of(ids), false, limit).await? {
                let block = doc.block()?;
                match doc.indexed() {
                    Ok(indexed) => self.blocks.extend(indexed.map(|indexed| (block, indexed))),
                    // Its messages are looked at; a check mends it.
                    Err(error) => tracing::error!(room = %self.query.room, block, %error, "a block of words cannot be read"),
                }
            }
            self.blocks_from = Some(from);
        }
        Ok(self.blocks.remove(&block))
    }

    /// Looks at the messages of a block, from the place `last` down, that have the words; answers where to go on if the search is to end
    /// here.
    async fn look_up(&mut self, last: u8, seqs: &[u64], words: &[u8]) -> Result<Option<u64>, Fault> {
        self.index_bytes += words.len();
        let places = blocks::find(words, &self.query.wanted)? & Places::MAX >> (Places::BITS - 1 - u32::from(last));
        let mut left: Vec<u64> = seqs.iter().zip(0..).filter(|(_, at)| places >> at & 1 == 1).map(|(seq, _)| *seq).collect();
        while !left.is_empty() {
            let count = (self.limit() - self.messages.len()).min(left.len());
            let lot = left.split_off(left.len() - count);
            let mut found = read_events(self.link, self.query.room, &lot).await?;
            found.sort_unstable_by_key(|(record, _)| Reverse(record.event.head.seq));
            if let Some(next) = self.look_at(found, true).await? {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// Looks at messages, newest first; answers where to go on if the search is to end here.
    async fn look_at(&mut self, found: Vec<Logged>, is_indexed: bool) -> Result<Option<u64>, Fault> {
        // The index knows a message by the words that it has now, also where the viewer sees it as it was.
        let is_wanted_now = |(_, now): &Logged| is_indexed || self.query.wanted.finds_later(now.as_ref(), &self.sight);
        let wanted_now: Vec<bool> = found.iter().map(is_wanted_now).collect();
        let found = history::limited(self.link, self.query.room, found, &self.sight).await?;
        for (logged, is_wanted_now) in found.into_iter().zip(wanted_now) {
            let message = history::message(logged, &self.sight)?;
            let (seq, number) = (message.seq, message.message_no);
            self.read += 1;
            if is_wanted_now && self.query.wanted.finds(&message) && !self.messages.push(message) {
                return Ok(Some(seq + 1));
            }
            if self.is_full() {
                return Ok(Some(if number > 1 { seq } else { 0 }));
            }
        }
        Ok(None)
    }
}
