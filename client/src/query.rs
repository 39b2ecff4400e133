//! Queries: history, members and the room list, each on a stream of its own, so that bulk reads never hold up live events.

use crate::client::Client;
use crate::connection;
use crate::error::ClientError;
use client_protocol::chat::{History, HistoryPage, Search, SearchPage};
use client_protocol::limits::{HISTORY_PAGE_MAX, MEMBERS_PAGE_MAX, ROOMS_PAGE_MAX, SEARCH_PAGE_MAX};
use client_protocol::room::{ListMembers, ListRooms, Members, RoomEntry, Rooms};
use client_protocol::tail::EmptyTail;
use client_protocol::{Query, RoomId, ServerFrame, UserId};
use tokio::time::Instant;

/// Which messages of a room are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The newest ones.
    Newest,
    /// The newest ones before this seq.
    Before(u64),
    /// The oldest ones after this seq.
    After(u64),
}

impl Client {
    /// Messages of a room as they are now, by ascending seq: at most `limit`, and at most
    /// [`client_protocol::limits::HISTORY_PAGE_MAX`].
    ///
    /// To show a room and follow it, read a page and subscribe after its `head`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`], [`ClientError::Timeout`], or why the session ended.
    pub async fn history(&self, room: RoomId, page: Page, limit: usize) -> Result<HistoryPage, ClientError> {
        let (before, after) = match page {
            Page::Newest => (0, 0),
            Page::Before(seq) => (seq, 0),
            Page::After(seq) => (0, seq),
        };
        let limit = limit.clamp(1, HISTORY_PAGE_MAX) as u32;
        let query = Query::History(History { room, before, after, limit, tail: EmptyTail::default() });
        match self.query(query).await? {
            ServerFrame::HistoryPage(_, page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Messages of a room that have all the words of `text`, as they are now, newest first: at most `limit`, and at most
    /// [`client_protocol::limits::SEARCH_PAGE_MAX`]. `before` is 0, then [`SearchPage::next`] until that is 0: pages may be short, or
    /// empty, before the end. Case and accents make no difference; where `text` ends with a letter or digit, its last word may be the
    /// start of one.
    ///
    /// # Errors
    ///
    /// As [`Self::history`].
    pub async fn search(
        &self,
        room: RoomId,
        text: impl Into<String>,
        before: u64,
        limit: usize,
    ) -> Result<SearchPage, ClientError> {
        let limit = limit.clamp(1, SEARCH_PAGE_MAX) as u32;
        let query = Query::Search(Search { room, text: text.into(), before, limit, tail: EmptyTail::default() });
        match self.query(query).await? {
            ServerFrame::SearchPage(_, page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Members of a room with ids above `after` (the default id starts), by ascending id: at most `limit`, and at most
    /// [`client_protocol::limits::MEMBERS_PAGE_MAX`].
    ///
    /// # Errors
    ///
    /// As [`Self::history`].
    pub async fn members(&self, room: RoomId, after: UserId, limit: usize) -> Result<Members, ClientError> {
        let limit = limit.clamp(1, MEMBERS_PAGE_MAX) as u32;
        let query = Query::ListMembers(ListMembers { room, after, limit, tail: EmptyTail::default() });
        match self.query(query).await? {
            ServerFrame::MembersPage(_, page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// A page of the user's rooms, newest first: `offset` is 0, then [`Rooms::next`] until that is 0 again; at most `limit` entries,
    /// and at most [`client_protocol::limits::ROOMS_PAGE_MAX`].
    ///
    /// # Errors
    ///
    /// As [`Self::history`].
    pub async fn rooms_page(&self, offset: u32, limit: usize) -> Result<Rooms, ClientError> {
        let limit = limit.clamp(1, ROOMS_PAGE_MAX) as u32;
        let query = Query::ListRooms(ListRooms { offset, limit, tail: EmptyTail::default() });
        match self.query(query).await? {
            ServerFrame::RoomsPage(_, page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// All rooms of the user, newest first: at most [`client_protocol::limits::USER_ROOMS_MAX`].
    ///
    /// # Errors
    ///
    /// As [`Self::history`].
    pub async fn rooms(&self) -> Result<Vec<RoomEntry>, ClientError> {
        let mut rooms = Vec::new();
        let mut offset = 0;
        loop {
            let page = self.rooms_page(offset, ROOMS_PAGE_MAX).await?;
            rooms.extend(page.rooms);
            // A list that does not move on would be asked for for ever.
            if page.next <= offset || rooms.len() >= client_protocol::limits::USER_ROOMS_MAX {
                return Ok(rooms);
            }
            offset = page.next;
        }
    }

    /// Asks, on this connection or the next.
    async fn query(&self, query: Query) -> Result<ServerFrame, ClientError> {
        let question = query.frame(1);
        let deadline = Instant::now() + self.shared.request_deadline;
        let asking = async {
            let _place = self.shared.queries.acquire().await.map_err(|_| ClientError::closed_here())?;
            loop {
                let link = self.online().await?;
                match connection::ask(&link.connection, question.clone()).await {
                    Ok(ServerFrame::Reply(_, reply)) => return Err(ClientError::refused(&reply)),
                    Ok(answer) => return Ok(answer),
                    // Reads change nothing: the next connection is asked again.
                    Err(ClientError::Closed { .. }) if link.connection.close_reason().is_some() => {}
                    Err(error) => return Err(error),
                }
            }
        };
        tokio::time::timeout_at(deadline, asking).await.map_err(|_| ClientError::Timeout)?
    }
}

fn unexpected(frame: &ServerFrame) -> ClientError {
    ClientError::Protocol(format!("an answer of another kind: {frame:?}"))
}
