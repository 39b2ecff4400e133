//! Queries: what REST and the query streams of QUIC read, and what a user may see of it.
//!
//! | who | room document | members | messages |
//! |---|---|---|---|
//! | member | yes | yes | all |
//! | was a member (left, removed or banned) | public rooms only | no | up to the event by which they went |
//! | other | public rooms only | no | no |
//!
//! Of rooms that are not public outsiders learn nothing: `not_found`. A user's own log is no room here. Stores decide nothing of this:
//! they are asked only for what was found to be allowed.

mod search;

use crate::store::words::WantedError;
use crate::store::{HistoryQuery, Store, StoreError};
use client_protocol::chat::HistoryPage;
use client_protocol::limits::{HISTORY_PAGE_MAX, MEMBERS_PAGE_MAX, PAGE_BYTES_MAX, ROOMS_PAGE_MAX};
use client_protocol::room::{MemberEntry, Members, RoomEntry, Rooms, kind};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Encode, Query, RoomId, ServerFrame, UserId, codec};
use components::rows::{MemberRow, RoomRow, membership};
use std::fmt;
use std::sync::Arc;
use systems::rules::visible_until;

/// Why a query was refused.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no such room, or none that the user may know of.
    #[error("there is no such room")]
    NotFound,
    /// The user may know of the room, but not see this.
    #[error("only members may see this")]
    Forbidden,
    /// As `Forbidden`, and the user may not become a member.
    #[error("you are banned from this room")]
    Banned,
    /// A field is not what it may be.
    #[error("{0}")]
    InvalidField(String),
    /// The store does not answer.
    #[error("the store is unavailable")]
    Unavailable,
    /// What is stored cannot be read.
    #[error("internal: {0}")]
    Internal(String),
    /// No query of this kind in this version.
    #[error("unknown query")]
    UnknownKind,
}

impl QueryError {
    /// The code that says the same.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Forbidden => Code::Forbidden,
            Self::Banned => Code::Banned,
            Self::InvalidField(_) => Code::InvalidField,
            Self::Unavailable => Code::Unavailable,
            Self::Internal(_) => Code::Internal,
            Self::UnknownKind => Code::UnknownKind,
        }
    }

    /// As the answer to a request. Faults of the server are told to the log only.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Unavailable => Reply::retry_after(Code::Unavailable, 1_000),
            Self::Internal(why) => {
                tracing::error!(%why, "a query failed");
                Reply::refused(Code::Internal, "")
            }
            error => Reply::refused(error.code(), error.to_string()),
        }
    }
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => {
                tracing::warn!(%why, "the store is unavailable");
                Self::Unavailable
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<WantedError> for QueryError {
    fn from(error: WantedError) -> Self {
        Self::InvalidField(format!("text: {error}"))
    }
}

/// Which part of a page is its far end: what goes if the page is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FarEnd {
    First,
    Last,
}

/// How far a user has read a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadState {
    /// Read up to this seq.
    pub read_seq: u64,
    /// Messages after it.
    pub unread: u64,
    /// Seq of the room's last event.
    pub head: u64,
    /// Number of the room's last message.
    pub message_no: u64,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    store: Arc<dyn Store>,
}

impl fmt::Debug for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queries").finish_non_exhaustive()
    }
}

/// How many entries to ask for: more than a page may have is cut, none at all is a mistake.
fn page_limit(asked: u32, max: usize) -> Result<u32, QueryError> {
    match asked {
        0 => Err(QueryError::InvalidField("limit: at least 1".to_owned())),
        asked => Ok(asked.min(u32::try_from(max).unwrap_or(u32::MAX))),
    }
}

/// Cuts a page at its far end until its entries fit; says whether any went. One entry always fits (see [`client_protocol::limits`]).
fn fit<T: Encode>(entries: &mut Vec<T>, far_end: FarEnd) -> bool {
    let sizes: Vec<usize> = entries.iter().map(|entry| codec::encode(entry).len()).collect();
    let mut bytes = 0;
    let mut fits = |size: &usize| {
        bytes += size;
        bytes <= PAGE_BYTES_MAX
    };
    let kept = match far_end {
        FarEnd::Last => sizes.iter().take_while(|size| fits(size)).count(),
        FarEnd::First => sizes.iter().rev().take_while(|size| fits(size)).count(),
    };
    let cut = entries.len() - kept;
    match far_end {
        FarEnd::Last => entries.truncate(kept),
        FarEnd::First => drop(entries.drain(..cut)),
    }
    cut > 0
}

impl Queries {
    /// Queries on a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// A room that was created, own logs left out; and the user's membership of it, if there ever was one.
    async fn look(&self, user: UserId, room: RoomId) -> Result<(RoomRow, Option<MemberRow>), QueryError> {
        let row = self.store.room(room).await?.ok_or(QueryError::NotFound)?;
        if !matches!(row.kind, kind::DIRECT | kind::GROUP | kind::PUBLIC) {
            return Err(QueryError::NotFound);
        }
        Ok((row, self.store.member(room, user).await?))
    }

    /// What to say to one who may not see something of a room.
    fn refusal(row: &RoomRow, member: Option<&MemberRow>) -> QueryError {
        match (row.kind, member) {
            (kind::PUBLIC, Some(member)) if member.state == membership::BANNED => QueryError::Banned,
            (kind::PUBLIC, _) => QueryError::Forbidden,
            _ => QueryError::NotFound,
        }
    }

    /// A room as it is now, for its members; public ones for everybody.
    ///
    /// # Errors
    ///
    /// [`QueryError::NotFound`]; the store.
    pub async fn room(&self, user: UserId, room: RoomId) -> Result<RoomRow, QueryError> {
        let (row, member) = self.look(user, room).await?;
        match row.kind == kind::PUBLIC || member.as_ref().is_some_and(MemberRow::is_member) {
            true => Ok(row),
            false => Err(QueryError::NotFound),
        }
    }

    /// Whether the room was created, for one who is about to create it.
    ///
    /// # Errors
    ///
    /// The store.
    pub(crate) async fn room_exists(&self, room: RoomId) -> Result<bool, QueryError> {
        Ok(self.store.room(room).await?.is_some_and(|row| row.kind != 0))
    }

    /// A page of messages as they are now, at most [`HISTORY_PAGE_MAX`] and [`PAGE_BYTES_MAX`]. See [`client_protocol::chat::History`]
    /// for `before` and `after`. One who left sees none after their going, and no head after it.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub async fn history(
        &self,
        user: UserId,
        room: RoomId,
        before: u64,
        after: u64,
        limit: u32,
    ) -> Result<HistoryPage, QueryError> {
        let limit = page_limit(limit, HISTORY_PAGE_MAX)?;
        let (row, member) = self.look(user, room).await?;
        let last_seq = visible_until(member.as_ref()).ok_or_else(|| Self::refusal(&row, member.as_ref()))?;
        let query = HistoryQuery { room, viewer: user, before, after, limit, last_seq };
        let mut page = self.store.history(query).await?;
        page.head = page.head.min(last_seq);
        let far_end = if before == 0 && after > 0 { FarEnd::Last } else { FarEnd::First };
        page.more |= fit(&mut page.messages, far_end);
        Ok(page)
    }

    /// Members with ids above `after`, at most [`MEMBERS_PAGE_MAX`], and whether there are more; for members only.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub async fn members(
        &self,
        user: UserId,
        room: RoomId,
        after: UserId,
        limit: u32,
    ) -> Result<(Vec<MemberEntry>, bool), QueryError> {
        let limit = page_limit(limit, MEMBERS_PAGE_MAX)?;
        let (row, member) = self.look(user, room).await?;
        if !member.as_ref().is_some_and(MemberRow::is_member) {
            return Err(Self::refusal(&row, member.as_ref()));
        }
        let (mut members, more) = self.store.members(room, after, limit).await?;
        let cut = fit(&mut members, FarEnd::Last);
        Ok((members, more || cut))
    }

    /// Rooms of the user, newest event first, at most [`ROOMS_PAGE_MAX`]; and where the next page starts (0: nowhere).
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub async fn rooms(&self, user: UserId, offset: u32, limit: u32) -> Result<(Vec<RoomEntry>, u32), QueryError> {
        let limit = page_limit(limit, ROOMS_PAGE_MAX)?;
        let (mut rooms, mut next) = self.store.rooms_of(user, offset, limit).await?;
        if fit(&mut rooms, FarEnd::Last) {
            next = offset.saturating_add(u32::try_from(rooms.len()).unwrap_or(u32::MAX));
        }
        Ok((rooms, next))
    }

    /// Public rooms with ids above `after` whose name has `name` in it, and whether there are more.
    ///
    /// # Errors
    ///
    /// [`QueryError`].
    pub async fn public_rooms(&self, name: &str, after: RoomId, limit: u32) -> Result<(Vec<RoomRow>, bool), QueryError> {
        let limit = page_limit(limit, ROOMS_PAGE_MAX)?;
        Ok(self.store.public_rooms(name.trim().to_lowercase(), after, limit).await?)
    }

    /// How far the user has read a room that they are a member of, as stored: marks of sessions may come a few seconds later.
    ///
    /// # Errors
    ///
    /// [`QueryError`]: as for [`Queries::members`].
    pub async fn read_state(&self, user: UserId, room: RoomId) -> Result<ReadState, QueryError> {
        let (row, member) = self.look(user, room).await?;
        if !member.as_ref().is_some_and(MemberRow::is_member) {
            return Err(Self::refusal(&row, member.as_ref()));
        }
        let stored = self.store.room_entry(user, room).await?.ok_or(QueryError::NotFound)?;
        Ok(ReadState {
            read_seq: stored.read_seq,
            unread: stored.unread(),
            head: stored.head,
            message_no: stored.message_no,
        })
    }

    /// Answers a query of a QUIC stream: the one frame to send.
    pub async fn handle(&self, user: UserId, request: u64, query: Query) -> ServerFrame {
        self.answer(user, request, query).await.unwrap_or_else(|error| ServerFrame::Reply(request, error.reply()))
    }

    async fn answer(&self, user: UserId, request: u64, query: Query) -> Result<ServerFrame, QueryError> {
        Ok(match query {
            Query::History(ask) => {
                let page = self.history(user, ask.room, ask.before, ask.after, ask.limit).await?;
                ServerFrame::HistoryPage(request, page)
            }
            Query::ListMembers(ask) => {
                let (members, more) = self.members(user, ask.room, ask.after, ask.limit).await?;
                ServerFrame::MembersPage(request, Members { members, more, tail: EmptyTail {} })
            }
            Query::ListRooms(ask) => {
                let (rooms, next) = self.rooms(user, ask.offset, ask.limit).await?;
                ServerFrame::RoomsPage(request, Rooms { rooms, next, tail: EmptyTail {} })
            }
            Query::Search(ask) => {
                let page = self.search(user, ask.room, &ask.text, ask.before, ask.limit).await?;
                ServerFrame::SearchPage(request, page)
            }
            _ => return Err(QueryError::UnknownKind),
        })
    }
}
