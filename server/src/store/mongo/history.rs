//! History: messages as they are now, page by page along the index of messages.

use super::documents::EventDoc;
use super::fault::Fault;
use super::ids::id;
use super::link::Link;
use super::projection::Logged;
use super::queries::MESSAGES;
use super::query;
use crate::limits::HISTORY_PAGE_BYTES_MAX;
use crate::store::shown::{self, FrameList};
use crate::store::{HistoryQuery, StoreError};
use client_protocol::UserId;
use client_protocol::chat::{HistoryPage, Message};
use client_protocol::limits::HISTORY_PAGE_MAX;
use client_protocol::tail::EmptyTail;

/// A page of messages, as many as fit in one frame.
pub(super) async fn page(link: &Link, query: &HistoryQuery) -> Result<HistoryPage, Fault> {
    let empty = HistoryPage { messages: Vec::new(), more: false, head: 0, tail: EmptyTail {} };
    let Some(row) = query::room(link, query.room).await? else { return Ok(empty) };
    let before = if query.before == 0 { u64::MAX } else { query.before };
    let last = (before - 1).min(query.last_seq).min(row.head);
    let after = query.after.min(row.head);
    let limit = (query.limit as usize).clamp(1, HISTORY_PAGE_MAX);
    let oldest_first = query.before == 0 && query.after != 0;
    let filter = MESSAGES.equal([id(query.room.bytes()).into(), true.into()]);
    let filter = filter.within(Some((after as i64).into()), Some((last as i64).into()));
    // Bounds may cross: then nothing is between them.
    let found: Vec<EventDoc> = link.many(filter, !oldest_first, limit + 1).await?;

    let (mut fitting, count) = (FrameList::new(HISTORY_PAGE_BYTES_MAX), found.len());
    for doc in found.into_iter().take(limit) {
        if !fitting.push(message(doc.into_parts()?, query.viewer, row.head)?) {
            break;
        }
    }
    let mut messages = fitting.into_items();
    let more = messages.len() < count;
    if !oldest_first {
        messages.reverse();
    }
    Ok(HistoryPage { messages, more, head: row.head, tail: EmptyTail {} })
}

/// A message as it is now, for `viewer`; `head` is that of its room.
pub(super) fn message((record, now): Logged, viewer: UserId, head: u64) -> Result<Message, Fault> {
    let seq = record.event.head.seq;
    let message = shown::message(record.event, now.unwrap_or_default(), viewer, head);
    message.ok_or_else(|| StoreError::Corrupt(format!("event {seq} is no message")).into())
}
