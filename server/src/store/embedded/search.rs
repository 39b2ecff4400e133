//! Search: messages by the index of words, users by the index of names. Bounded: a query that has done enough says where to go on.
//!
//! Entries of a word stand in the order of the log, so a search walks all its words down at once: each is asked for its newest
//! entry at or below the lowest of the others, until all agree. The start of a word stands for every word that starts so; where these are
//! too many to walk, they stand in most messages, and reading messages finds some soon.

use super::tables::{Table, View};
use super::{accounts, history, keys, query};
use crate::limits::{
    HISTORY_PAGE_BYTES_MAX, SEARCH_MESSAGES_MAX, SEARCH_NAMES_MAX, SEARCH_STARTS_MAX, SEARCH_STEPS_BEFORE_JUMP,
    SEARCH_STEPS_MAX, USERS_PAGE_MAX,
};
use crate::store::shown::{FrameList, Sight};
use crate::store::words::{Wanted, names_of};
use crate::store::{NameCursor, SearchQuery, StoreError, UserPage, UserSearch};
use client_protocol::RoomId;
use client_protocol::chat::{Message, SearchPage};
use client_protocol::limits::SEARCH_PAGE_MAX;
use client_protocol::tail::EmptyTail;
use fjall::Iter;

fn strange(key: &[u8]) -> StoreError {
    StoreError::Corrupt(format!("a key of {} bytes in an index", key.len()))
}

/// The entries of one word, from the newest on.
struct Descent<'a> {
    view: &'a View<'a>,
    room: RoomId,
    word: String,
    entries: Option<Iter>,
    /// The newest entry that was not passed; 0 when there are no more.
    at: u64,
}

impl<'a> Descent<'a> {
    fn new(view: &'a View<'a>, room: RoomId, word: String) -> Self {
        Self { view, room, word, entries: None, at: u64::MAX }
    }

    /// The newest seq at or below `seq`; 0 where there is none.
    fn at_most(&mut self, seq: u64, steps: &mut usize) -> Result<u64, StoreError> {
        let mut walked = 0;
        while self.at > seq {
            if walked == SEARCH_STEPS_BEFORE_JUMP {
                self.entries = None;
            }
            walked += 1;
            *steps += 1;
            let entries = self.entries.get_or_insert_with(|| {
                let (first, last) = (keys::word_seq(self.room, &self.word, 0), keys::word_seq(self.room, &self.word, seq));
                self.view.range(Table::Words, &first, &last)
            });
            self.at = match entries.next_back() {
                None => 0,
                Some(item) => {
                    let key = item.key()?;
                    keys::parse_word(&key).ok_or_else(|| strange(&key))?.1
                }
            };
        }
        Ok(self.at)
    }
}

/// Words of which a message must have one.
struct Term<'a>(Vec<Descent<'a>>);

impl Term<'_> {
    fn at_most(&mut self, seq: u64, steps: &mut usize) -> Result<u64, StoreError> {
        let mut newest = 0;
        for word in &mut self.0 {
            newest = word.at_most(seq, steps)?.max(newest);
        }
        Ok(newest)
    }
}

/// The words of a room that start so; `None` if they are more than a search may follow.
fn words_from(view: &View<'_>, room: RoomId, start: &str) -> Result<Option<Vec<String>>, StoreError> {
    let mut last = keys::word_start(room, start);
    last.resize(last.len() + crate::limits::WORD_BYTES_MAX, 0xff);
    let mut first = keys::word_start(room, start);
    let mut words = Vec::new();
    while let Some(item) = view.range(Table::Words, &first, &last).next() {
        if words.len() == SEARCH_STARTS_MAX {
            return Ok(None);
        }
        let key = item.key()?;
        let (word, _) = keys::parse_word(&key).ok_or_else(|| strange(&key))?;
        // Behind all entries of this word.
        first = keys::word_start(room, word);
        first.push(1);
        words.push(word.to_owned());
    }
    Ok(Some(words))
}

/// A page as it grows.
struct Page<'a> {
    view: &'a View<'a>,
    query: &'a SearchQuery,
    sight: Sight,
    messages: FrameList<Message>,
    read: usize,
}

impl Page<'_> {
    fn limit(&self) -> usize {
        (self.query.limit as usize).clamp(1, SEARCH_PAGE_MAX)
    }

    /// Takes a message if it is one that is looked for; `false` if it would be, and the page has no place for it.
    fn take(&mut self, message: Message) -> bool {
        self.read += 1;
        !self.query.wanted.finds(&message) || self.messages.push(message)
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= self.limit() || self.read >= SEARCH_MESSAGES_MAX
    }

    /// Walks the index down from `top`; answers where to go on.
    fn walk(&mut self, mut terms: Vec<Term<'_>>, top: u64) -> Result<u64, StoreError> {
        let (mut below, mut steps) = (top, 0);
        while below > 0 {
            let mut agreed = below;
            let mut agreeing = 0;
            for term in 0.. {
                if agreeing == terms.len() {
                    break;
                }
                let count = terms.len();
                let seq = terms[term % count].at_most(agreed, &mut steps)?;
                if seq == 0 {
                    return Ok(0);
                }
                agreeing = if seq == agreed { agreeing + 1 } else { 1 };
                agreed = seq;
                if steps >= SEARCH_STEPS_MAX && agreeing < terms.len() {
                    return Ok(agreed + 1);
                }
            }
            let message = history::message_at(self.view, self.query.room, agreed, &self.sight)?;
            if !message.is_none_or(|message| self.take(message)) {
                return Ok(agreed + 1);
            }
            below = agreed - 1;
            if below > 0 && (self.is_full() || steps >= SEARCH_STEPS_MAX) {
                return Ok(agreed);
            }
        }
        Ok(0)
    }

    /// Reads messages from the last one at or below `top` on; answers where to go on.
    fn read_on(&mut self, top: u64) -> Result<u64, StoreError> {
        let newest = history::messages_up_to(self.view, self.query.room, top)?;
        let mut guess = None;
        for number in (1..=newest).rev() {
            let message = history::message(self.view, self.query.room, number, guess, &self.sight)?;
            let seq = message.seq;
            guess = Some(seq - 1);
            if !self.take(message) {
                return Ok(seq + 1);
            }
            if number > 1 && self.is_full() {
                return Ok(seq);
            }
        }
        Ok(0)
    }
}

/// A page of messages by their words.
pub(super) fn page(view: &View<'_>, query: &SearchQuery) -> Result<SearchPage, StoreError> {
    let nothing = SearchPage { messages: Vec::new(), next: 0, tail: EmptyTail {} };
    let Some(row) = query::room(view, query.room)? else { return Ok(nothing) };
    let sight = Sight { viewer: query.viewer, last_seq: query.last_seq, head: row.head };
    let top = sight.top(query.before);
    let Wanted { words, prefix } = &query.wanted;
    let term = |words: Vec<String>| Term(words.into_iter().map(|word| Descent::new(view, query.room, word)).collect());
    let mut terms: Vec<Term<'_>> = words.iter().map(|word| term(vec![word.clone()])).collect();
    if let Some(start) = prefix {
        match words_from(view, query.room, start)? {
            Some(words) if words.is_empty() => return Ok(nothing),
            Some(words) => terms.push(term(words)),
            // The other words find the messages, and each is looked at anyway.
            None => {}
        }
    }
    let mut page = Page { view, query, sight, messages: FrameList::new(HISTORY_PAGE_BYTES_MAX), read: 0 };
    let next = if terms.is_empty() { page.read_on(top)? } else { page.walk(terms, top)? };
    Ok(SearchPage { messages: page.messages.into_items(), next, tail: EmptyTail {} })
}

/// A page of users by the start of a name.
pub(super) fn users(view: &View<'_>, query: &UserSearch) -> Result<UserPage, StoreError> {
    let limit = (query.limit as usize).clamp(1, USERS_PAGE_MAX);
    let mut first = query.start.clone().into_bytes();
    let mut last = first.clone();
    last.push(0xff);
    if let Some(after) = &query.after {
        first = first.max([keys::name_user(&after.name, after.user), vec![0]].concat());
    }
    let mut page = UserPage { accounts: Vec::new(), next: None };
    if first > last {
        return Ok(page);
    }
    for (seen, item) in view.range(Table::Names, &first, &last).enumerate() {
        if page.accounts.len() == limit || seen == SEARCH_NAMES_MAX {
            return Ok(page);
        }
        let key = item.key()?;
        let (name, user) = keys::parse_name(&key).ok_or_else(|| strange(&key))?;
        page.next = Some(NameCursor { name: name.to_owned(), user });
        let Some(account) = accounts::by_id(view, user)? else { continue };
        let first_match = names_of(&account).into_iter().find(|name| name.starts_with(&query.start));
        if first_match.as_deref() == Some(name) {
            page.accounts.push(account);
        }
    }
    page.next = None;
    Ok(page)
}
