//! Search: messages by the index of words, users by the index of names. Bounded: a query that has done enough says where to go on.
//!
//! A search goes down the messages of a room, block by block. The words of a block say which of its messages are looked at; those of a block
//! that is not indexed (yet) are looked at all.

use super::tables::{Table, View};
use super::{accounts, history, keys, query};
use crate::limits::{
    HISTORY_PAGE_BYTES_MAX, SEARCH_BLOCKS_MAX, SEARCH_INDEX_BYTES_MAX, SEARCH_MESSAGES_MAX, SEARCH_NAMES_MAX, USERS_PAGE_MAX,
};
use crate::store::blocks;
use crate::store::shown::{FrameList, Sight};
use crate::store::words::names_of;
use crate::store::{NameCursor, SearchQuery, StoreError, UserPage, UserSearch};
use client_protocol::chat::{Message, SearchPage};
use client_protocol::limits::SEARCH_PAGE_MAX;
use client_protocol::tail::EmptyTail;
use components::rows::NowRow;

fn strange(key: &[u8]) -> StoreError {
    StoreError::Corrupt(format!("a key of {} bytes in an index", key.len()))
}

/// A page as it grows.
struct Page<'a> {
    view: &'a View<'a>,
    query: &'a SearchQuery,
    sight: Sight,
    messages: FrameList<Message>,
    read: usize,
    index_bytes: usize,
}

impl Page<'_> {
    fn limit(&self) -> usize {
        (self.query.limit as usize).clamp(1, SEARCH_PAGE_MAX)
    }

    /// Takes a message if it is one that is looked for; `false` if it would be, and the page has no place for it.
    fn take(&mut self, message: Message, is_indexed: bool) -> Result<bool, StoreError> {
        self.read += 1;
        let wanted = self.query.wanted.finds(&message) && (is_indexed || self.has_words_now(&message)?);
        Ok(!wanted || self.messages.push(message))
    }

    /// Whether a message still has the words, if it was edited after the last event that the viewer may see. The index knows no others.
    fn has_words_now(&self, message: &Message) -> Result<bool, StoreError> {
        if self.sight.last_seq >= self.sight.head {
            return Ok(true);
        }
        let now: Option<NowRow> = self.view.row(Table::Nows, &keys::room_number(self.query.room, message.seq))?;
        Ok(self.query.wanted.finds_later(now.as_ref(), &self.sight))
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= self.limit() || self.read >= SEARCH_MESSAGES_MAX
    }

    /// Goes down the messages from the last one at or below `top`; answers where to go on.
    fn walk(&mut self, top: u64) -> Result<u64, StoreError> {
        let room = self.query.room;
        let mut number = history::messages_up_to(self.view, room, top)?;
        for _ in 0..SEARCH_BLOCKS_MAX {
            if self.index_bytes >= SEARCH_INDEX_BYTES_MAX {
                break;
            }
            if number == 0 {
                return Ok(0);
            }
            let (block, last) = blocks::place_of(number);
            if let Some(next) = self.look_at(block, last)? {
                return Ok(next);
            }
            number = blocks::first_of(block) - 1;
        }
        match number {
            0 => Ok(0),
            // What stands before the lowest message that was looked at.
            _ => history::seq_of(self.view, room, number + 1),
        }
    }

    /// Looks at the messages of a block from the place `last` down; answers where to go on if the search is to end here.
    fn look_at(&mut self, block: u64, last: u8) -> Result<Option<u64>, StoreError> {
        let (view, room) = (self.view, self.query.room);
        let words = view.value(Table::Words, &keys::room_number(room, block))?;
        let mut left = match &words {
            Some(row) => {
                self.index_bytes += row.len();
                blocks::find(row, &self.query.wanted)?
            }
            None => blocks::Places::MAX,
        };
        left &= blocks::Places::MAX >> (blocks::Places::BITS - 1 - u32::from(last));
        let mut above = None;
        while let Some(place) = left.checked_ilog2() {
            left &= !(1 << place);
            let number = blocks::first_of(block) + u64::from(place);
            let guess = above.filter(|(above, _)| *above == number + 1).map(|(_, seq): (u64, u64)| seq - 1);
            let message = history::message(view, room, number, guess, &self.sight)?;
            let seq = message.seq;
            above = Some((number, seq));
            if !self.take(message, words.is_some())? {
                return Ok(Some(seq + 1));
            }
            if self.is_full() {
                return Ok(Some(if number > 1 { seq } else { 0 }));
            }
        }
        Ok(None)
    }
}

/// A page of messages by their words.
pub(super) fn page(view: &View<'_>, query: &SearchQuery) -> Result<SearchPage, StoreError> {
    let nothing = SearchPage { messages: Vec::new(), next: 0, tail: EmptyTail {} };
    let Some(row) = query::room(view, query.room)? else { return Ok(nothing) };
    let sight = Sight { viewer: query.viewer, last_seq: query.last_seq, head: row.head };
    let top = sight.top(query.before);
    let mut page = Page { view, query, sight, messages: FrameList::new(HISTORY_PAGE_BYTES_MAX), read: 0, index_bytes: 0 };
    let next = page.walk(top)?;
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
