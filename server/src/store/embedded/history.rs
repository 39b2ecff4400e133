//! History: messages as they are now, page by page along their numbers.
//!
//! Every event knows how many messages the log holds up to it, so a bound in seqs becomes a bound in message numbers with one read. Back from
//! a number to its seq: messages mostly stand next to each other, and where they do not, [`Table::Messages`] says where they go on.

use super::tables::{Table, View};
use super::{keys, query};
use crate::limits::HISTORY_PAGE_BYTES_MAX;
use crate::store::shown::{self, FrameList, Sight};
use crate::store::{HistoryQuery, StoreError};
use client_protocol::chat::{HistoryPage, Message};
use client_protocol::limits::HISTORY_PAGE_MAX;
use client_protocol::tail::EmptyTail;
use client_protocol::{Event, RoomId};
use components::rows::NowRow;

/// A page of messages, as many as fit in one frame.
pub(super) fn page(view: &View<'_>, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
    let empty = HistoryPage { messages: Vec::new(), more: false, head: 0, tail: EmptyTail {} };
    let Some(row) = query::room(view, query.room)? else { return Ok(empty) };
    let sight = Sight { viewer: query.viewer, last_seq: query.last_seq, head: row.head };
    let last_seq = sight.top(query.before);
    // Messages (lowest, highest], by number.
    let lowest = messages_up_to(view, query.room, query.after.min(row.head))?;
    let highest = messages_up_to(view, query.room, last_seq)?.max(lowest);
    let limit = u64::from(query.limit).clamp(1, HISTORY_PAGE_MAX as u64);
    let oldest_first = query.before == 0 && query.after != 0;
    let count = limit.min(highest - lowest);

    let mut fitting = FrameList::new(HISTORY_PAGE_BYTES_MAX);
    let mut guess = None;
    for step in 0..count {
        let number = if oldest_first { lowest + 1 + step } else { highest - step };
        let message = message(view, query.room, number, guess, &sight)?;
        guess = Some(if oldest_first { message.seq + 1 } else { message.seq - 1 });
        if !fitting.push(message) {
            break;
        }
    }
    let mut messages = fitting.into_items();
    let more = (messages.len() as u64) < highest - lowest;
    if !oldest_first {
        messages.reverse();
    }
    Ok(HistoryPage { messages, more, head: row.head, tail: EmptyTail {} })
}

/// How many messages the log holds up to a seq.
pub(super) fn messages_up_to(view: &View<'_>, room: RoomId, seq: u64) -> Result<u64, StoreError> {
    if seq == 0 {
        return Ok(0);
    }
    let event = view.event(room, seq)?;
    event
        .map(|event| event.head.message_no)
        .ok_or_else(|| StoreError::Corrupt(format!("event {seq} of room {room} is missing")))
}

/// The message with this number. It is looked for at `guess` first: next to its neighbour.
pub(super) fn message(
    view: &View<'_>,
    room: RoomId,
    number: u64,
    guess: Option<u64>,
    sight: &Sight,
) -> Result<Message, StoreError> {
    let message = as_shown(view, room, posted(view, room, number, guess)?, sight)?;
    message.ok_or_else(|| missing(room, number))
}

/// A message is not where it should be.
pub(super) fn missing(room: RoomId, number: u64) -> StoreError {
    StoreError::Corrupt(format!("message {number} of room {room} is missing"))
}

/// The event that posted the message with this number. It is looked for at `guess` first.
pub(super) fn posted(view: &View<'_>, room: RoomId, number: u64, guess: Option<u64>) -> Result<Event, StoreError> {
    let at = |seq| {
        let event = view.event(room, seq)?;
        Ok::<_, StoreError>(event.filter(|event| event.body.is_message() && event.head.message_no == number))
    };
    if let Some(guess) = guess
        && let Some(event) = at(guess)?
    {
        return Ok(event);
    }
    at(seq_of(view, room, number)?)?.ok_or_else(|| missing(room, number))
}

/// The seq of the message with this number: the last event before it that is no message says where the next one stands, and each
/// message after that is one further.
pub(super) fn seq_of(view: &View<'_>, room: RoomId, number: u64) -> Result<u64, StoreError> {
    let (first, last) = (keys::room_number(room, 0), keys::room_number(room, number));
    let Some(place) = view.range(Table::Messages, &first, &last).next_back() else { return Ok(number) };
    let (key, seq) = place.into_inner()?;
    let place = keys::last_number(&key).zip(keys::number(&seq)).filter(|(next_number, _)| *next_number <= number);
    let (next_number, seq) = place.ok_or_else(|| StoreError::Corrupt("a row of Messages is no place".to_owned()))?;
    Ok(seq.saturating_add(number - next_number))
}

/// The message that the event `seq` posted; `None` where it is no message.
pub(super) fn message_at(view: &View<'_>, room: RoomId, seq: u64, sight: &Sight) -> Result<Option<Message>, StoreError> {
    match view.event(room, seq)? {
        Some(event) => as_shown(view, room, event, sight),
        None => Ok(None),
    }
}

fn as_shown(view: &View<'_>, room: RoomId, event: Event, sight: &Sight) -> Result<Option<Message>, StoreError> {
    let now: NowRow = view.row(Table::Nows, &keys::room_number(room, event.head.seq))?.unwrap_or_default();
    let (mut now, edit) = sight.limit(now);
    if let Some(edit) = edit
        && let Some(edit) = view.event(room, edit)?
    {
        shown::put_edit(&mut now, edit);
    }
    Ok(shown::message(event, now, sight))
}
