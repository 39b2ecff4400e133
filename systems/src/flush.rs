//! Flush: fills the slot of the edge, from the outbox and from each session's cursor to the head of its rooms.
//!
//! A session is a cursor; there are no outboxes of messages for sessions. A room's flush interval grows with its audience, since packets, not
//! messages, are what delivery costs: a lone event leaves at once, what follows waits until `readers x flush_us_per_reader` has passed, or
//! less where packets are full anyway.

use crate::catch_up::{self, ask_for_pages, attach_pages, page_of};
use crate::hot_log;
use crate::ingest::Asks;
use crate::outbox::Outbox;
use crate::schedule::{Feature, In, Stage, Tick};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use bytes::Bytes;
use client_protocol::limits::{CHUNK_BYTES_MAX, REPLAY_EVENTS_MAX};
use client_protocol::room::{Reset, SubscriptionEnded, reset_reason};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, RoomId, ServerFrame};
use components::catch_up::{CatchUp, Page, Pages};
use components::edge::{SessionHandle, Slot};
use components::limits::{
    FLUSH_EVENTS_FULL, FLUSH_PIECE_READERS_MIN, FLUSH_PIECE_US, SLOT_CHUNKS_PER_SESSION_MAX, SLOT_SENDS_MAX,
    SLOT_SESSION_BYTES_MAX,
};
use components::room::{HotLog, Room, RoomIndex, RoomState, Subscriber, Subscribers};
use components::rows::membership;
use components::session::{Session, Subscriptions};
use components::time::{Node, Now, Tuning};
use std::collections::BTreeSet;

/// Fills the slot.
#[derive(Debug)]
pub struct FlushPlugin;

impl Plugin for FlushPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Slot>()
            .init_resource::<Pages>()
            .add_systems(Tick, attach_pages.in_set(In(Stage::Hydrate, Feature::Extension)))
            .add_systems(Tick, (hand_out_outbox, flush_rooms).chain().in_set(In(Stage::Flush, Feature::Room)))
            // What Retire says (time-outs, expiry) leaves with this tick too.
            .add_systems(Tick, hand_out_outbox.in_set(In(Stage::Retire, Feature::Extension)));
    }
}

/// Sets the next flush of a room to be at `at_us`, unless an earlier one is set. All readers are looked at from then on, also those who
/// had their turn in a pass that is under way.
pub(crate) fn queue_flush(index: &mut RoomIndex, room: Entity, subscribers: &mut Subscribers, at_us: u64) {
    subscribers.again |= subscribers.resume_at > 0;
    queue_piece(index, room, subscribers, at_us);
}

fn queue_piece(index: &mut RoomIndex, room: Entity, subscribers: &mut Subscribers, at_us: u64) {
    if subscribers.due_us.is_some_and(|due_us| due_us <= at_us) {
        return;
    }
    if let Some(due_us) = subscribers.due_us.replace(at_us) {
        index.flushes.remove(&(due_us, room));
    }
    index.flushes.insert((at_us, room));
}

/// Sets the next flush of a room that has new events.
pub(crate) fn queue_next_flush(
    index: &mut RoomIndex,
    room: Entity,
    subscribers: &mut Subscribers,
    now_us: u64,
    tuning: &Tuning,
) {
    if !subscribers.list.is_empty() {
        let at_us = next_flush_us(subscribers, tuning);
        queue_piece(index, room, subscribers, now_us.max(at_us));
    }
}

/// The flush interval of a room in which little is said.
fn longest_interval_us(subscribers: &Subscribers, tuning: &Tuning) -> u64 {
    (subscribers.list.len() as u64 * tuning.flush_us_per_reader).min(tuning.flush_us_max)
}

/// A room's flush interval grows with its audience, and shrinks where so much is said that packets are full anyway: waiting longer saves
/// nothing then. A room that is handed out in pieces takes its whole interval for that.
fn interval_us(subscribers: &Subscribers, tuning: &Tuning) -> u64 {
    let longest = longest_interval_us(subscribers, tuning);
    let events = subscribers.events_per_s.saturating_mul(longest) / 1_000_000;
    if subscribers.list.len() > SLOT_SENDS_MAX || events <= FLUSH_EVENTS_FULL {
        return longest;
    }
    (longest * FLUSH_EVENTS_FULL / events).max(longest / 2)
}

/// Takes in how much was said lately. The room is looked at also for single readers who come or catch up: what is counted spans half an
/// interval or more, and begins and ends with events.
fn note_rate(subscribers: &mut Subscribers, head: u64, now_us: u64, tuning: &Tuning) {
    let (counted_us, counted_head) = subscribers.counted;
    let (events, elapsed_us) = (head.saturating_sub(counted_head), now_us.saturating_sub(counted_us));
    if counted_us == 0 {
        subscribers.counted = (now_us, head);
    } else if events > 0 && elapsed_us > 0 && elapsed_us >= longest_interval_us(subscribers, tuning) / 2 {
        subscribers.events_per_s = events.saturating_mul(1_000_000) / elapsed_us;
        subscribers.counted = (now_us, head);
    }
}

/// When the next flush of a room can be, going by the last one.
pub(crate) fn next_flush_us(subscribers: &Subscribers, tuning: &Tuning) -> u64 {
    subscribers.flushed_us + interval_us(subscribers, tuning)
}

/// How many readers of a room may have had something by now, in a pass that is under way. What is handed out at once makes everybody else
/// on the server wait, and comes back as acknowledgements at once: a large room takes its whole interval for it. Readers are counted, not
/// sends: a pass takes no longer where each of them gets more.
fn readers_by_now(subscribers: &Subscribers, now_us: u64, tuning: &Tuning) -> usize {
    let readers = subscribers.list.len();
    let interval_us = interval_us(subscribers, tuning);
    if readers <= SLOT_SENDS_MAX || interval_us == 0 {
        return usize::MAX;
    }
    let due = (readers as u64).saturating_mul(now_us - subscribers.pass_us.min(now_us)) / interval_us;
    usize::try_from(due).unwrap_or(usize::MAX).saturating_add(FLUSH_PIECE_READERS_MIN)
}

/// Has a room looked at in this tick.
pub(crate) fn flush_now(world: &mut World, room: Entity) {
    let now_us = world.resource::<Now>().mono_us;
    world.resource_scope(|world, mut index: Mut<RoomIndex>| {
        if let Some(mut subscribers) = world.get_mut::<Subscribers>(room) {
            queue_flush(&mut index, room, &mut subscribers, now_us);
        }
    });
}

/// Replies and notices first: an answer never waits behind events.
fn hand_out_outbox(mut outbox: ResMut<Outbox>, mut slot: ResMut<Slot>) {
    if outbox.is_empty() {
        return;
    }
    let outbox = &mut *outbox;
    let slot = &mut *slot;
    for (session, frame) in outbox.frames.drain(..) {
        slot.sends.push((session, slot.frames.len() as u32));
        slot.frames.push(frame);
    }
    for (session, frame) in outbox.datagrams.drain(..) {
        slot.datagrams.push((session, slot.frames.len() as u32));
        slot.frames.push(frame);
    }
    slot.rest.append(&mut outbox.rest);
    slot.closes.append(&mut outbox.closes);
    slot.refused.append(&mut outbox.refused);
}

/// What flushing writes beside the room.
#[derive(SystemParam)]
pub(crate) struct Flushing<'w, 's> {
    now: Res<'w, Now>,
    node: Res<'w, Node>,
    pub(crate) sessions: Query<'w, 's, (&'static mut Session, &'static mut Subscriptions, &'static mut CatchUp)>,
    pub(crate) pages: ResMut<'w, Pages>,
    slot: ResMut<'w, Slot>,
    pub(crate) asks: Asks<'w>,
}

/// How far one look at one session came.
enum Served {
    /// It has everything that it may have.
    Level,
    /// It takes nothing now, or it is not its turn for a page.
    Waits,
    /// More is there for it: the next hand-over goes on.
    More,
    /// It waits for a page.
    NeedsPage(u64),
    /// It has read up to its end.
    Ended,
}

fn flush_rooms(
    mut flushing: Flushing,
    mut rooms: Query<(&Room, Option<&RoomState>, &mut HotLog, &mut Subscribers)>,
    mut index: ResMut<RoomIndex>,
) {
    let now_us = flushing.now.mono_us;
    let mut due = Vec::new();
    while let Some(&(at_us, entity)) = index.flushes.first() {
        if at_us > now_us {
            break;
        }
        index.flushes.pop_first();
        if let Ok((.., mut subscribers)) = rooms.get_mut(entity) {
            subscribers.due_us = None;
            due.push((at_us + interval_us(&subscribers, &flushing.node.tuning), at_us, entity));
        }
    }
    // Small rooms first: nobody waits behind a large one. But a large one that has waited for its own interval does not wait any more.
    due.sort_unstable();
    for (_, at_us, entity) in due {
        // A room that is still being loaded is flushed when its first reader is let in.
        let Ok((room, Some(state), mut hot, mut subscribers)) = rooms.get_mut(entity) else {
            catch_up::drop_pages(&mut flushing.pages, entity);
            continue;
        };
        if flushing.slot.events_sent >= SLOT_SENDS_MAX {
            queue_piece(&mut index, entity, &mut subscribers, at_us);
            continue;
        }
        let before = hot.bytes;
        hot_log::cut(&mut hot, room.id);
        index.hot_bytes = index.hot_bytes - before + hot.bytes;
        if let Some(at_us) = flushing.flush_room(entity, room.id, state, &hot, &mut subscribers) {
            queue_piece(&mut index, entity, &mut subscribers, at_us);
        }
    }
    for entity in catch_up::whose_turn(&mut flushing.pages) {
        if let Ok((.., mut subscribers)) = rooms.get_mut(entity) {
            queue_flush(&mut index, entity, &mut subscribers, now_us);
        } else {
            catch_up::drop_pages(&mut flushing.pages, entity);
        }
    }
}

/// The last frame handed out in a pass: most readers stand at the same seq.
#[derive(Debug, Clone, Copy)]
struct Last {
    from: u64,
    until: u64,
    end: u64,
    frame: u32,
}

impl Flushing<'_, '_> {
    /// Gives every reader what is between its cursor and the head; says when more can go out, if there is more.
    fn flush_room(
        &mut self,
        entity: Entity,
        room: RoomId,
        state: &RoomState,
        hot: &HotLog,
        subscribers: &mut Subscribers,
    ) -> Option<u64> {
        let now_us = self.now.mono_us;
        let mut next_us = None;
        let mut ended = Vec::new();
        let mut needed = BTreeSet::new();
        let mut last = None;
        let mut at = std::mem::take(&mut subscribers.resume_at).min(subscribers.list.len());
        if at == 0 {
            note_rate(subscribers, state.row.head, now_us, &self.node.tuning);
            (subscribers.pass_us, subscribers.pass_head, subscribers.pass_served) = (now_us, state.row.head, 0);
        }
        let by_now = readers_by_now(subscribers, now_us, &self.node.tuning);
        while at < subscribers.list.len() {
            let is_full = self.slot.events_sent >= SLOT_SENDS_MAX;
            if is_full || subscribers.pass_served >= by_now {
                subscribers.resume_at = at;
                subscribers.again |= next_us.is_some();
                next_us = Some(if is_full { now_us } else { now_us + FLUSH_PIECE_US });
                break;
            }
            let sent_before = self.slot.events_sent;
            match self.serve(&mut subscribers.list[at], (entity, room), state, hot, &mut last) {
                Served::Level | Served::Waits => {}
                Served::More => next_us = Some(now_us),
                Served::NeedsPage(page) => {
                    needed.insert(page);
                }
                Served::Ended => ended.push(at),
            }
            subscribers.pass_served += usize::from(self.slot.events_sent > sent_before);
            at += 1;
        }
        let whole_pass = subscribers.resume_at == 0;
        if whole_pass {
            subscribers.flushed_us = subscribers.pass_us;
            if state.row.head > subscribers.pass_head && next_us.is_none() {
                // Those who came first in this pass have not got what came since.
                next_us = Some(now_us.max(next_flush_us(subscribers, &self.node.tuning)));
            }
            if std::mem::take(&mut subscribers.again) {
                next_us = Some(now_us);
            }
        }
        if whole_pass || !needed.is_empty() {
            ask_for_pages(self, (entity, room), subscribers, &needed, state.row.head);
        }
        // From the back, so that places before stay as they are.
        for &at in ended.iter().rev() {
            let reader = subscribers.list.remove(at);
            // A hand-over that was interrupted goes on with the same reader.
            subscribers.resume_at -= usize::from(at < subscribers.resume_at);
            if let Ok((_, mut subscriptions, _)) = self.sessions.get_mut(reader.session) {
                subscriptions.0.remove(&entity);
            }
        }
        next_us
    }

    fn serve(
        &mut self,
        subscriber: &mut Subscriber,
        (entity, room): (Entity, RoomId),
        state: &RoomState,
        hot: &HotLog,
        last: &mut Option<Last>,
    ) -> Served {
        let head = state.row.head;
        let until = subscriber.end_seq.unwrap_or(head).min(head);
        if subscriber.next_seq > until && subscriber.end_seq.is_none() {
            return Served::Level;
        }
        let handed = match self.sessions.get(subscriber.session) {
            Ok((session, ..)) if !session.blocked => session.handed,
            _ => return Served::Waits,
        };
        // What it got of other rooms counts: it may turn out to be blocked.
        let mut handed_bytes = if handed.0 == self.now.mono_us { handed.1 } else { 0 };
        if handed_bytes >= SLOT_SESSION_BYTES_MAX {
            return Served::More;
        }
        let mut needed = None;
        if head + 1 - subscriber.next_seq.min(head + 1) > REPLAY_EVENTS_MAX && subscriber.end_seq.is_none() {
            self.reset(subscriber, room, head);
            self.leave_catch_up(subscriber.session, entity);
            return Served::Level;
        }
        let bytes_end = handed_bytes + CHUNK_BYTES_MAX;
        for _ in 0..SLOT_CHUNKS_PER_SESSION_MAX {
            if subscriber.next_seq > until || handed_bytes >= bytes_end {
                break;
            }
            let known = last.filter(|last| last.from == subscriber.next_seq && last.until == until);
            let (end, frame) = match known {
                Some(last) => (last.end, last.frame),
                None => match self.find((entity, room), subscriber.next_seq, until, hot) {
                    Some((bytes, end)) => {
                        let frame = self.slot.frames.len() as u32;
                        self.slot.frames.push(bytes);
                        *last = Some(Last { from: subscriber.next_seq, until, end, frame });
                        (end, frame)
                    }
                    None => {
                        needed = Some(page_of(subscriber.next_seq));
                        break;
                    }
                },
            };
            self.slot.sends.push((subscriber.handle, frame));
            self.slot.events_sent += 1;
            handed_bytes += self.slot.frames[frame as usize].len();
            subscriber.next_seq = end;
        }
        if let Ok((mut session, _, mut catch_up)) = self.sessions.get_mut(subscriber.session) {
            session.handed = (self.now.mono_us, handed_bytes);
            match needed {
                Some(page) if catch_up::enter(&mut catch_up, entity) => return Served::NeedsPage(page),
                Some(_) => return Served::Waits,
                None if subscriber.next_seq > until => {
                    self.pages.woken.extend(catch_up::leave(&mut catch_up, entity));
                }
                None => {}
            }
        }
        match subscriber.end_seq {
            _ if subscriber.next_seq <= until => Served::More,
            Some(end_seq) if subscriber.next_seq > end_seq => {
                self.end(subscriber, room, end_seq, state);
                Served::Ended
            }
            _ => Served::Level,
        }
    }

    fn find(&self, (entity, room): (Entity, RoomId), next_seq: u64, until: u64, hot: &HotLog) -> Option<(Bytes, u64)> {
        if let Some(found) = hot_log::frame_from(hot.chunks.iter(), room, next_seq, until) {
            return Some(found);
        }
        match self.pages.by_room.get(&(entity, page_of(next_seq)))? {
            Page::Ready(chunks) => hot_log::frame_from(chunks.iter(), room, next_seq, until),
            Page::Loading(_) => None,
        }
    }

    fn leave_catch_up(&mut self, session: Entity, room: Entity) {
        if let Ok((.., mut catch_up)) = self.sessions.get_mut(session) {
            self.pages.woken.extend(catch_up::leave(&mut catch_up, room));
        }
    }

    fn reset(&mut self, subscriber: &mut Subscriber, room: RoomId, head: u64) {
        let (epoch, reason) = (self.node.epoch, reset_reason::TOO_FAR_BEHIND);
        let frame = ServerFrame::Reset(Reset { room, epoch, head, reason, tail: EmptyTail::default() });
        self.say(subscriber.handle, &frame);
        subscriber.next_seq = head + 1;
    }

    fn end(&mut self, subscriber: &Subscriber, room: RoomId, last_seq: u64, state: &RoomState) {
        let banned = state.members.get(&subscriber.user).is_some_and(|member| member.state == membership::BANNED);
        let code = if banned { Code::Banned } else { Code::NotFound }.number();
        let frame = ServerFrame::SubscriptionEnded(SubscriptionEnded { room, last_seq, code, tail: EmptyTail::default() });
        self.say(subscriber.handle, &frame);
    }

    /// After the events that went before: this does not pass through the outbox.
    fn say(&mut self, session: SessionHandle, frame: &ServerFrame) {
        let at = self.slot.frames.len() as u32;
        self.slot.frames.push(frame.encode());
        self.slot.sends.push((session, at));
        self.slot.events_sent += 1;
    }
}
