//! What queries show of rows, the same in every store: a message as it is now, and as much of a list as fits in one frame.

use client_protocol::chat::{Message, ReactionCount};
use client_protocol::tail::EmptyTail;
use client_protocol::{Encode, Event, EventBody, UserId};
use components::rows::NowRow;

/// Who looks at a room, and how far they may see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// Who looks.
    pub(super) viewer: UserId,
    /// The last event that they may see.
    pub(super) last_seq: u64,
    /// The last event of the room.
    pub(super) head: u64,
}

impl Sight {
    /// The last event that a query may look at, which asks for what is below `before` (0: no bound).
    pub(super) fn top(&self, before: u64) -> u64 {
        self.top_of_log(before).min(self.head)
    }

    /// As [`Self::top`], where the log may go further than the room is known to.
    pub(super) fn top_of_log(&self, before: u64) -> u64 {
        let before = if before == 0 { u64::MAX } else { before };
        (before - 1).min(self.last_seq).min(i64::MAX as u64)
    }

    /// What may be seen of what a message is now; and the edit whose body it then has ([`put_edit`]), if that is to be read. One who went
    /// sees no later edit; of reactions and pins nothing is told that may be later. That a message was deleted is told, since it
    /// is gone.
    pub(super) fn limit(&self, now: NowRow) -> (NowRow, Option<u64>) {
        if now.as_of <= self.last_seq || now.deleted {
            return (now, None);
        }
        let mut edits = now.edits;
        edits.retain(|edit| *edit <= self.last_seq);
        let last = edits.last().copied();
        (NowRow { edits, as_of: last.unwrap_or(0), ..NowRow::default() }, last)
    }
}

/// Gives a message the body of an edit.
pub(super) fn put_edit(now: &mut NowRow, edit: Event) {
    if let EventBody::MessageEdited(edited) = edit.body {
        now.body = Some(edited.body);
        now.edited_ms = edit.head.time_ms;
    }
}

/// A message as it is now, which `sight` was asked about. `None` where the event posted none.
pub(super) fn message(event: Event, now: NowRow, sight: &Sight) -> Option<Message> {
    let EventBody::MessagePosted(posted) = event.body else { return None };
    Some(Message {
        seq: event.head.seq,
        message_no: event.head.message_no,
        time_ms: event.head.time_ms,
        actor: event.head.actor,
        key: event.head.key,
        body: now.body.unwrap_or(posted.body),
        mentions: posted.mentions,
        edited_ms: now.edited_ms,
        deleted: now.deleted,
        pinned: now.pinned,
        reactions: counted_reactions(&now.reactions, sight.viewer),
        // Where the room was read before the message, the message may be further.
        as_of: sight.head.max(now.as_of).min(sight.last_seq),
        tail: posted.tail,
    })
}

/// Reactions by kind, in the order in which the first of each came. Their number is bounded by the fold.
fn counted_reactions(reactions: &[(String, UserId)], viewer: UserId) -> Vec<ReactionCount> {
    let mut counts: Vec<ReactionCount> = Vec::new();
    for (reaction, user) in reactions {
        let mine = *user == viewer;
        match counts.iter_mut().find(|count| count.reaction == *reaction) {
            Some(count) => {
                count.count += 1;
                count.mine |= mine;
            }
            None => counts.push(ReactionCount { reaction: reaction.clone(), count: 1, mine, tail: EmptyTail::default() }),
        }
    }
    counts
}

/// A list that goes out in one frame.
#[derive(Debug)]
pub(super) struct FrameList<T> {
    items: Vec<T>,
    bytes_left: usize,
}

impl<T: Encode> FrameList<T> {
    /// An empty one, for at most `bytes` encoded bytes.
    pub(super) const fn new(bytes: usize) -> Self {
        Self { items: Vec::new(), bytes_left: bytes }
    }

    /// Takes an item. `false` if it does not fit; the first one always does, so that whoever asks on gets on.
    pub(super) fn push(&mut self, item: T) -> bool {
        let bytes = client_protocol::codec::encode(&item).len();
        if bytes > self.bytes_left && !self.items.is_empty() {
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.items.push(item);
        true
    }

    /// How many it holds.
    pub(super) const fn len(&self) -> usize {
        self.items.len()
    }

    /// The items.
    pub(super) fn into_items(self) -> Vec<T> {
        self.items
    }
}
