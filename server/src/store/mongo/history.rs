//! History: messages as they are now, page by page along the index of messages.

use super::documents::{EventDoc, id};
use super::link::{Fault, Link};
use super::projection::Logged;
use super::queries::MESSAGES;
use super::query;
use crate::limits::HISTORY_PAGE_BYTES_MAX;
use crate::store::{HistoryQuery, StoreError, counted_reactions};
use client_protocol::chat::{HistoryPage, Message};
use client_protocol::limits::HISTORY_PAGE_MAX;
use client_protocol::tail::EmptyTail;
use client_protocol::{EventBody, UserId};

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

    let (mut messages, mut bytes, count) = (Vec::new(), 0, found.len());
    for doc in found.into_iter().take(limit) {
        let message = message(doc.into_parts()?, query.viewer, row.head)?;
        bytes += client_protocol::codec::encode(&message).len();
        if bytes > HISTORY_PAGE_BYTES_MAX && !messages.is_empty() {
            break;
        }
        messages.push(message);
    }
    let more = messages.len() < count;
    if !oldest_first {
        messages.reverse();
    }
    Ok(HistoryPage { messages, more, head: row.head, tail: EmptyTail {} })
}

/// A message as it is now, for `viewer`; `head` is that of its room.
pub(super) fn message((record, now): Logged, viewer: UserId, head: u64) -> Result<Message, Fault> {
    let head_of = record.event.head;
    let EventBody::MessagePosted(posted) = record.event.body else {
        return Err(StoreError::Corrupt(format!("event {} is no message", head_of.seq)).into());
    };
    let now = now.unwrap_or_default();
    Ok(Message {
        seq: head_of.seq,
        message_no: head_of.message_no,
        time_ms: head_of.time_ms,
        actor: head_of.actor,
        key: head_of.key,
        body: now.body.unwrap_or(posted.body),
        mentions: posted.mentions,
        edited_ms: now.edited_ms,
        deleted: now.deleted,
        pinned: now.pinned,
        reactions: counted_reactions(&now.reactions, viewer),
        // The message may have been read after the room, and be further.
        as_of: head.max(now.as_of),
        tail: posted.tail,
    })
}
