//! History: messages as they are now, page by page along the index of messages.

use super::documents::EventDoc;
use super::fault::Fault;
use super::ids::id;
use super::link::Link;
use super::projection::{Logged, read_events};
use super::queries::MESSAGES;
use super::query;
use super::resolve;
use crate::limits::HISTORY_PAGE_BYTES_MAX;
use crate::store::shown::{self, FrameList, Sight};
use crate::store::{HistoryQuery, StoreError};
use client_protocol::RoomId;
use client_protocol::chat::{HistoryPage, Message};
use client_protocol::limits::HISTORY_PAGE_MAX;
use client_protocol::tail::EmptyTail;

/// A page of messages, as many as fit in one frame.
pub(super) async fn page(link: &Link, query: &HistoryQuery) -> Result<HistoryPage, Fault> {
    let empty = HistoryPage { messages: Vec::new(), more: false, head: 0, tail: EmptyTail {} };
    let Some(row) = query::room(link, query.room).await? else { return Ok(empty) };
    let mut sight = Sight { viewer: query.viewer, last_seq: query.last_seq, head: row.head };
    let limit = (query.limit as usize).clamp(1, HISTORY_PAGE_MAX);
    let oldest_first = query.before == 0 && query.after != 0;
    let mut found = find(link, query, sight.top_of_log(query.before), oldest_first, limit + 1).await?;
    if found.iter().any(|event| event.seq > sight.head) {
        // The row is behind, and with it perhaps what messages are now: whoever goes on from the page's head must have missed nothing.
        sight.head = resolve::heal(link, query.room).await?.row.head;
        found = find(link, query, sight.top(query.before), oldest_first, limit + 1).await?;
    }

    let count = found.len();
    let logged = found.into_iter().take(limit).map(EventDoc::into_parts).collect::<Result<Vec<_>, _>>()?;
    let mut fitting = FrameList::new(HISTORY_PAGE_BYTES_MAX);
    for logged in limited(link, query.room, logged, &sight).await? {
        if !fitting.push(message(logged, &sight)?) {
            break;
        }
    }
    let mut messages = fitting.into_items();
    let more = messages.len() < count;
    if !oldest_first {
        messages.reverse();
    }
    Ok(HistoryPage { messages, more, head: sight.head, tail: EmptyTail {} })
}

/// Messages up to `last`.
async fn find(
    link: &Link,
    query: &HistoryQuery,
    last: u64,
    oldest_first: bool,
    limit: usize,
) -> Result<Vec<EventDoc>, Fault> {
    let after = query.after.min(i64::MAX as u64);
    let filter = MESSAGES.equal([id(query.room.bytes()).into(), true.into()]);
    // Bounds may cross: then nothing is between them.
    let filter = filter.within(Some((after as i64).into()), Some((last as i64).into()));
    link.many(filter, !oldest_first, limit).await
}

/// The newest messages of a room at or below `top`, newest first.
pub(super) async fn newest(link: &Link, room: RoomId, top: u64, count: usize) -> Result<Vec<Logged>, Fault> {
    let filter = MESSAGES.equal([id(room.bytes()).into(), true.into()]).within(None, Some((top as i64).into()));
    let found: Vec<EventDoc> = link.many(filter, true, count).await?;
    Ok(found.into_iter().map(EventDoc::into_parts).collect::<Result<_, StoreError>>()?)
}

/// Messages with what may be seen of what they are now.
pub(super) async fn limited(link: &Link, room: RoomId, logged: Vec<Logged>, sight: &Sight) -> Result<Vec<Logged>, Fault> {
    let mut edits = Vec::new();
    let cut = |(record, now): Logged| {
        let (now, edit) = sight.limit(now.unwrap_or_default());
        edits.extend(edit);
        (record, Some(now))
    };
    let mut limited: Vec<Logged> = logged.into_iter().map(cut).collect();
    for (edit, _) in read_events(link, room, &edits).await? {
        let seq = edit.event.head.seq;
        let edited = limited.iter_mut().filter_map(|(_, now)| now.as_mut()).find(|now| now.edits.last() == Some(&seq));
        if let Some(now) = edited {
            shown::put_edit(now, edit.event);
        }
    }
    Ok(limited)
}

/// A message as it is now.
pub(super) fn message((record, now): Logged, sight: &Sight) -> Result<Message, Fault> {
    let seq = record.event.head.seq;
    let message = shown::message(record.event, now.unwrap_or_default(), sight);
    message.ok_or_else(|| StoreError::Corrupt(format!("event {seq} is no message")).into())
}
