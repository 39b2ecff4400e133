//! Search: messages by the index of words, which is a part of their events: it is written with them and with what they are now,
//! never later.
//!
//! The server is asked for bounded pieces of that index, and what is found is compared here. A word (or a start of words) that
//! few messages have decides: all of them are looked at. Where each has many, messages with one of the words are looked at from
//! the newest on, a bounded number of them; of the start of a word alone, all messages, of which many are found then.

use super::fault::Fault;
use super::history;
use super::ids::{above_start, id};
use super::link::Link;
use super::projection::read_events;
use super::queries::{Filter, WITH_START, WITH_WORD, WORDS_OF_MESSAGES};
use super::query;
use crate::limits::{HISTORY_PAGE_BYTES_MAX, MONGO_SEARCH_PROBE, SEARCH_MESSAGES_MAX};
use crate::store::SearchQuery;
use crate::store::shown::{FrameList, Sight};
use client_protocol::chat::SearchPage;
use client_protocol::limits::SEARCH_PAGE_MAX;
use client_protocol::tail::EmptyTail;
use mongodb::bson::{Bson, doc};
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A message of the index.
#[derive(Debug, Deserialize)]
struct Indexed {
    seq: u64,
    #[serde(default)]
    words: BTreeSet<String>,
}

/// Messages that may be what is looked for, newest first.
#[derive(Debug, Default)]
struct Candidates {
    seqs: Vec<u64>,
    /// Where to go on below them; 0 where all were looked at.
    next: u64,
}

/// A page of messages by their words.
pub(super) async fn page(link: &Link, query: &SearchQuery) -> Result<SearchPage, Fault> {
    let nothing = SearchPage { messages: Vec::new(), next: 0, tail: EmptyTail {} };
    let Some(row) = query::room(link, query.room).await? else { return Ok(nothing) };
    let sight = Sight { viewer: query.viewer, last_seq: query.last_seq, head: row.head };
    let top = sight.top_of_log(query.before);
    let limit = (query.limit as usize).clamp(1, SEARCH_PAGE_MAX);
    let Candidates { seqs, next } = candidates(link, query, top, limit).await?;
    let found = history::limited(link, query.room, read_events(link, query.room, &seqs).await?, &sight).await?;
    let mut found: BTreeMap<u64, _> = found.into_iter().map(|logged| (logged.0.event.head.seq, logged)).collect();
    let mut messages = FrameList::new(HISTORY_PAGE_BYTES_MAX);
    let mut full_at = None;
    for seq in seqs {
        let Some(logged) = found.remove(&seq) else { continue };
        let message = history::message(logged, &sight)?;
        // It may have changed since the index was asked.
        if query.wanted.finds(&message) && !messages.push(message) {
            full_at = Some(seq);
            break;
        }
    }
    let next = full_at.map_or(next, |seq| seq + 1);
    Ok(SearchPage { messages: messages.into_items(), next, tail: EmptyTail {} })
}

/// The newest messages at or below `top` that have the words, at most `limit`.
async fn candidates(link: &Link, query: &SearchQuery, top: u64, limit: usize) -> Result<Candidates, Fault> {
    let words: Vec<&String> = query.wanted.words.iter().collect();
    let lead = match (words.as_slice(), &query.wanted.prefix) {
        ([word], None) => with_word(query, word, top),
        (words, start) => {
            let filters = words.iter().map(|word| with_word(query, word, top));
            let filters = filters.chain(start.iter().map(|start| with_start(query, start, top)));
            for filter in filters {
                let all: Vec<Indexed> = link.many(filter, true, MONGO_SEARCH_PROBE).await?;
                if all.len() < MONGO_SEARCH_PROBE {
                    return Ok(among(query, all, limit));
                }
            }
            match words.first() {
                Some(word) => with_word(query, word, top),
                None => {
                    let filter = WORDS_OF_MESSAGES.equal([room_of(query), true.into()]);
                    filter.within(None, Some((top as i64).into()))
                }
            }
        }
    };
    walk(link, query, lead, limit).await
}

fn room_of(query: &SearchQuery) -> Bson {
    id(query.room.bytes()).into()
}

fn with_word(query: &SearchQuery, word: &str, top: u64) -> Filter<'static> {
    WITH_WORD.equal([room_of(query), word.into()]).within(None, Some((top as i64).into()))
}

fn with_start(query: &SearchQuery, start: &str, top: u64) -> Filter<'static> {
    let filter = WITH_START.equal([room_of(query)]).with_element(start, &above_start(start));
    filter.and("seq", doc! { "$lte": top as i64 })
}

/// What is looked for among all messages that can be it.
fn among(query: &SearchQuery, mut all: Vec<Indexed>, limit: usize) -> Candidates {
    all.retain(|message| query.wanted.matches(&message.words));
    all.sort_unstable_by_key(|message| Reverse(message.seq));
    let mut seqs: Vec<u64> = all.into_iter().map(|message| message.seq).collect();
    let is_more = seqs.len() > limit;
    seqs.truncate(limit);
    let next = seqs.last().copied().filter(|_| is_more).unwrap_or(0);
    Candidates { seqs, next }
}

/// What is looked for among the newest messages of a filter.
async fn walk(link: &Link, query: &SearchQuery, filter: Filter<'_>, limit: usize) -> Result<Candidates, Fault> {
    let (mut looked_at, mut lowest) = (0, 0);
    let wanted = |message: &Indexed| {
        looked_at += 1;
        lowest = message.seq;
        query.wanted.matches(&message.words)
    };
    let found: Vec<Indexed> = link.many_that(filter, true, limit, SEARCH_MESSAGES_MAX, wanted).await?;
    let ended = found.len() < limit && looked_at < SEARCH_MESSAGES_MAX;
    Ok(Candidates { seqs: found.into_iter().map(|message| message.seq).collect(), next: if ended { 0 } else { lowest } })
}
