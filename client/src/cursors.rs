//! The session's side of the subscriptions: one entry a room, with its cursor. Plain data and rules: no sockets, time comes in as an
//! argument. Here it is checked that no event comes twice and none is missed.

use crate::entry::{Entry, Phase};
use crate::error::{ClientError, is_transient, leaves_open};
use crate::limits::{RESEND_MAX, ROOM_ITEMS_MAX, SERVER_WAIT_MAX, STALL};
use crate::requests::{Purpose, Requests};
use crate::subscription::{After, Cursor, ReaderSignal, RoomEvents, RoomItem};
use client_protocol::limits::SUBSCRIPTIONS_MAX;
use client_protocol::presence::TypingNotice;
use client_protocol::room::{Reset, SubscriptionEnded, Unsubscribe};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, Event, RoomId, chat};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A wish of the application to follow a room.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) room: RoomId,
    pub(crate) after: After,
    pub(crate) deadline: Instant,
    pub(crate) signal: ReaderSignal,
    pub(crate) answer: oneshot::Sender<Result<RoomEvents, ClientError>>,
}

/// The subscriptions of a session.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    entries: BTreeMap<RoomId, Entry>,
    /// Wishes for rooms whose last subscription is being ended; at most one a room.
    waiting: BTreeMap<RoomId, Wish>,
    /// The present epoch; 0 before the first connection.
    epoch: u64,
}

impl Cursors {
    /// Takes a wish, or refuses it at once.
    pub(crate) fn add(&mut self, wish: Wish) {
        let refusal = if self.waiting.contains_key(&wish.room)
            || self.entries.get(&wish.room).is_some_and(|entry| !entry.is_gone() && entry.phase != Phase::Ended)
        {
            Some(ClientError::AlreadySubscribed(wish.room))
        } else if self.entries.len() + self.waiting.len() >= SUBSCRIPTIONS_MAX {
            let detail = format!("{SUBSCRIPTIONS_MAX} at a time");
            Some(ClientError::Refused { code: Code::TooManySubscriptions, detail, retry_after: None })
        } else {
            None
        };
        match refusal {
            Some(error) => drop(wish.answer.send(Err(error))),
            None if self.entries.get(&wish.room).is_some_and(|entry| entry.phase != Phase::Ended) => {
                self.waiting.insert(wish.room, wish);
            }
            None => self.open(wish),
        }
    }

    fn open(&mut self, wish: Wish) {
        self.entries.insert(wish.room, Entry::new(wish, self.epoch));
    }

    /// A connection stands.
    pub(crate) fn on_connected(&mut self, epoch: u64) {
        self.epoch = epoch;
        for entry in self.entries.values_mut() {
            // A start that was given before the first epoch was known, or one that names no place.
            if entry.epoch == 0 || entry.cursor.is_none() || (entry.opening.is_some() && entry.starts_here()) {
                entry.epoch = epoch;
            }
        }
    }

    /// The connection is gone: everything is to be subscribed again, from what the reader was given.
    pub(crate) fn on_disconnected(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.phase != Phase::Ended) {
            entry.phase = if entry.phase == Phase::Paused { Phase::Paused } else { Phase::Idle(None) };
            entry.rewind();
        }
        self.poll_gone(None, Instant::now());
    }

    /// Puts what is to be asked of the server into `requests`.
    pub(crate) fn poll(&mut self, requests: &mut Requests, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.hand_over(now);
        }
        self.poll_gone(Some(requests), now);
        for (room, entry) in &mut self.entries {
            if entry.stalled_since.is_some_and(|since| now >= since + STALL) && entry.phase == Phase::Open {
                entry.rewind();
                entry.signal.want(true);
                entry.phase = Phase::Pausing;
                requests.push_own(unsubscribe(*room), Purpose::Unsubscribe(*room), now);
            }
            let due = match entry.phase {
                Phase::Idle(not_before) => not_before.is_none_or(|time| time <= now),
                Phase::Paused => entry.items.capacity() * 2 >= ROOM_ITEMS_MAX,
                _ => false,
            };
            if due {
                entry.signal.want(false);
                entry.phase = Phase::Opening;
                requests.push_own(entry.subscribe(*room), Purpose::Subscribe(*room), now);
            }
        }
    }

    /// Drops entries whose reader is gone, telling the server where it still sends, and opens what waited for that.
    fn poll_gone(&mut self, mut requests: Option<&mut Requests>, now: Instant) {
        let mut freed = Vec::new();
        self.entries.retain(|room, entry| {
            let gone = entry.is_gone();
            let keep = match entry.phase {
                Phase::Ended => !gone && !entry.backlog.is_empty(),
                Phase::Idle(_) | Phase::Paused => !gone,
                Phase::Opening | Phase::Closing => true,
                Phase::Pausing => {
                    entry.phase = if gone { Phase::Closing } else { Phase::Pausing };
                    true
                }
                Phase::Open => {
                    if gone && let Some(requests) = requests.as_deref_mut() {
                        entry.phase = Phase::Closing;
                        requests.push_own(unsubscribe(*room), Purpose::Unsubscribe(*room), now);
                    }
                    true
                }
            };
            if !keep {
                freed.push(*room);
            }
            keep
        });
        for room in freed {
            if let Some(wish) = self.waiting.remove(&room) {
                self.open(wish);
            }
        }
    }

    /// The connection's reads stop while this holds.
    pub(crate) fn stalled(&self) -> bool {
        self.entries.values().any(Entry::is_stalled)
    }

    /// When [`Self::poll`] or [`Self::expire`] has something to do next, if nothing else happens.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let entries = self.entries.values().flat_map(|entry| {
            let stall = entry.stalled_since.filter(|_| entry.is_stalled()).map(|since| since + STALL);
            let idle = match entry.phase {
                Phase::Idle(not_before) => not_before.filter(|time| *time > now),
                _ => None,
            };
            let opening = entry.opening.as_ref().map(|(wish, _)| wish.deadline);
            [stall, idle, opening].into_iter().flatten()
        });
        entries.chain(self.waiting.values().map(|wish| wish.deadline)).min()
    }

    /// Ends calls that waited too long for their first reply.
    pub(crate) fn expire(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            if let Some((wish, _)) = entry.opening.take_if(|(wish, _)| wish.deadline <= now) {
                // Dropping the receiver ends the entry by the usual way.
                let _ = wish.answer.send(Err(ClientError::Timeout));
            }
        }
        let late: Vec<RoomId> =
            self.waiting.iter().filter(|(_, wish)| wish.deadline <= now).map(|(room, _)| *room).collect();
        for wish in late.into_iter().filter_map(|room| self.waiting.remove(&room)) {
            let _ = wish.answer.send(Err(ClientError::Timeout));
        }
    }

    /// The session ends.
    pub(crate) fn fail_all(&mut self, reason: &ClientError) {
        for (_, entry) in std::mem::take(&mut self.entries) {
            if let Some((wish, _)) = entry.opening {
                let _ = wish.answer.send(Err(reason.clone()));
            }
        }
        for (_, wish) in std::mem::take(&mut self.waiting) {
            let _ = wish.answer.send(Err(reason.clone()));
        }
    }

    /// The answer to `Subscribe`.
    pub(crate) fn on_subscribed(&mut self, room: RoomId, reply: &Reply, now: Instant) {
        let Some(entry) = self.entries.get_mut(&room).filter(|entry| entry.phase == Phase::Opening) else { return };
        match reply.code() {
            Code::Ok => entry.opened(room, reply.seq),
            code if is_transient(code) || leaves_open(code) || code == Code::TokenExpired => {
                let wait = reply.tail.retry_after_ms.map_or(RESEND_MAX, Duration::from_millis).min(SERVER_WAIT_MAX);
                entry.phase = Phase::Idle(Some(now + wait));
            }
            code => {
                if let Some((wish, _)) = entry.opening.take() {
                    let _ = wish.answer.send(Err(ClientError::refused(reply)));
                }
                entry.end(RoomItem::Ended { last_seq: 0, code }, now);
            }
        }
    }

    /// The answer to `Unsubscribe`, whatever it says: nothing more comes.
    pub(crate) fn on_unsubscribed(&mut self, room: RoomId) {
        if let Some(entry) = self.entries.get_mut(&room) {
            match entry.phase {
                Phase::Pausing => entry.phase = Phase::Paused,
                Phase::Closing => entry.phase = Phase::Idle(None),
                _ => {}
            }
        }
    }

    /// Takes pushed events.
    ///
    /// # Errors
    ///
    /// [`ClientError::Protocol`] where they cannot be decoded, or where one is missing.
    pub(crate) fn on_events(&mut self, events: &chat::Events, now: Instant) -> Result<(), ClientError> {
        let Some(entry) = self.entries.get_mut(&events.room) else { return Ok(()) };
        if !matches!(entry.phase, Phase::Open | Phase::Opening) {
            return Ok(());
        }
        let Some(mut received) = entry.received else { return Ok(()) };
        let protocol = |what: String| ClientError::Protocol(format!("room {}: {what}", events.room));
        let records = Event::decode_records(&events.records).map_err(|error| protocol(error.to_string()))?;
        if records.len() != events.count as usize {
            return Err(protocol(format!("{} records where {} were announced", records.len(), events.count)));
        }
        for (event, seq) in records.into_iter().zip(events.first_seq..) {
            if event.head.seq != seq {
                return Err(protocol(format!("event {} where {seq} was due", event.head.seq)));
            }
            if seq <= received {
                continue;
            }
            if seq != received + 1 {
                return Err(protocol(format!("event {seq} after {received}")));
            }
            received = seq;
            entry.backlog.push_back(RoomItem::Event(event));
        }
        entry.received = Some(received);
        entry.hand_over(now);
        Ok(())
    }

    /// A cursor is void.
    pub(crate) fn on_reset(&mut self, reset: &Reset, now: Instant) {
        let Some(entry) = self.entries.get_mut(&reset.room) else { return };
        if matches!(entry.phase, Phase::Open | Phase::Opening) {
            entry.received = Some(reset.head);
            let cursor = Cursor { epoch: reset.epoch, seq: reset.head };
            entry.backlog.push_back(RoomItem::Reset { cursor, reason: reset.reason });
            entry.hand_over(now);
        }
    }

    /// The server ended a subscription. If that is for want of means it is asked again from the same place after a while.
    pub(crate) fn on_ended(&mut self, ended: &SubscriptionEnded, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&ended.room) {
            let code = Code::from_number(ended.code);
            if is_transient(code) || leaves_open(code) {
                entry.rewind();
                entry.phase = Phase::Idle(Some(now + RESEND_MAX));
                return;
            }
            entry.end(RoomItem::Ended { last_seq: ended.last_seq, code }, now);
        }
    }

    /// Someone types; dropped if the reader is slow.
    pub(crate) fn on_typing(&mut self, notice: &TypingNotice) {
        if let Some(entry) = self.entries.get_mut(&notice.room)
            && entry.phase == Phase::Open
            && entry.backlog.is_empty()
        {
            let _ = entry.items.try_send(RoomItem::Typing { user: notice.user });
        }
    }
}

fn unsubscribe(room: RoomId) -> Command {
    Command::Unsubscribe(Unsubscribe { room, tail: EmptyTail::default() })
}
