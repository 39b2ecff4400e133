//! Search: messages by their words, users by the start of a name.

use super::{FarEnd, Queries, QueryError, fit, page_limit, visible_until};
use crate::limits::{SEARCH_NAME_BYTES_MAX, SEARCH_ROOM_MESSAGES_MAX, SEARCH_ROOMS_MAX, USERS_PAGE_MAX};
use crate::store::words::{Wanted, fold_name};
use crate::store::{NameCursor, SearchQuery, UserPage, UserSearch};
use client_protocol::chat::SearchPage;
use client_protocol::limits::SEARCH_PAGE_MAX;
use client_protocol::{RoomId, UserId};

impl Queries {
    /// A page of messages that have the words of `text`, newest first, at most [`SEARCH_PAGE_MAX`] and [`client_protocol::limits::PAGE_BYTES_MAX`]: those that
    /// [`Queries::history`] would show.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub async fn search(
        &self,
        user: UserId,
        room: RoomId,
        text: &str,
        before: u64,
        limit: u32,
    ) -> Result<SearchPage, QueryError> {
        let limit = page_limit(limit, SEARCH_PAGE_MAX)?;
        let wanted = Wanted::parse(text)?;
        let (row, member) = self.look(user, room).await?;
        let last_seq = visible_until(member.as_ref()).ok_or_else(|| Self::refusal(&row, member.as_ref()))?;
        let mut page = self.store.search(SearchQuery { room, viewer: user, wanted, before, last_seq, limit }).await?;
        if fit(&mut page.messages, FarEnd::Last) {
            page.next = page.messages.last().map_or(0, |last| last.seq);
        }
        Ok(page)
    }

    /// Messages that have the words of `text`, of rooms that the user is a member of: the newest [`SEARCH_ROOM_MESSAGES_MAX`] of each of
    /// [`SEARCH_ROOMS_MAX`] rooms from `offset` on, in the order of [`Queries::rooms`]; rooms without one are left out. Also says
    /// where the next rooms start (0: nowhere).
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub async fn search_rooms(
        &self,
        user: UserId,
        text: &str,
        offset: u32,
    ) -> Result<(Vec<(RoomId, SearchPage)>, u32), QueryError> {
        let wanted = Wanted::parse(text)?;
        let (rooms, next) = self.store.rooms_of(user, offset, SEARCH_ROOMS_MAX as u32).await?;
        let mut found = Vec::new();
        for room in rooms {
            let query = SearchQuery {
                room: room.room,
                viewer: user,
                wanted: wanted.clone(),
                before: 0,
                last_seq: u64::MAX,
                limit: SEARCH_ROOM_MESSAGES_MAX as u32,
            };
            let page = self.store.search(query).await?;
            if !page.messages.is_empty() || page.next > 0 {
                found.push((room.room, page));
            }
        }
        Ok((found, next))
    }

    /// Users with a name that starts with `start`, whatever its case and accents, in the order of the names; and where the next page
    /// starts.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub async fn search_users(&self, start: &str, after: Option<NameCursor>, limit: u32) -> Result<UserPage, QueryError> {
        let limit = page_limit(limit, USERS_PAGE_MAX)?;
        if start.len() > SEARCH_NAME_BYTES_MAX {
            return Err(QueryError::InvalidField("q: at most 256 bytes".to_owned()));
        }
        let start = fold_name(start);
        if start.is_empty() {
            return Err(QueryError::InvalidField("q: the start of a name".to_owned()));
        }
        Ok(self.store.search_users(UserSearch { start, after, limit }).await?)
    }
}
