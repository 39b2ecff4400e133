//! Follow: what follows from a room's events. Own logs (rooms listed, notified of), bumps for those who do not read a room.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `Unbumped` | `follow_rooms`, `send_bumps`, `count_followed`, `level_rooms`, `attach_followed` | `room::evict_rooms` |
//!
//! What follows from a room's event is a command to the own log of a user, with a key derived from (room, seq, what): doing it twice does
//! nothing. So what failed is simply done again from the first event on that is not finished, and after a crash the followers of every
//! dirty room go on from `notified_seq`.

use crate::chat::Submitted;
use crate::delivery::Settled;
use crate::ingest::{Asks, ReadAnswered};
use crate::nodes;
use crate::notification::own_log;
use crate::outbox::Outbox;
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use client_protocol::notification::{Notified, RoomListed, RoomUnlisted, notified};
use client_protocol::room::{Bump, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{EventBody, Key, RoomId, ServerFrame, UserId};
use components::edge::{Found, Levels, Origin, Read, Record};
use components::limits::{LEVEL_AFTER_US, NET_CHANGE_INTERVAL_US, OTHERS_FOLLOW_US, PAGE_EVENTS, ROOM_RETRY_US};
use components::nodes::{FollowUp, Others};
use components::notification::{NotifyQueue, Unbumped};
use components::room::{Hydration, ReadFor, Room, RoomIndex, RoomState, Subscribers};
use components::session::{Session, Sessions, Subscriptions};
use components::time::{Node, Now};
use components::user::UserIndex;

/// Who is to have what in their own log because of an event.
fn follow_ups(
    id: RoomId,
    state: &RoomState,
    reading: impl Fn(UserId) -> bool,
    record: &Record,
) -> Vec<(UserId, Key, EventBody)> {
    let head = &record.event.head;
    let (room, seq, tail) = (id, head.seq, EmptyTail::default());
    let listed = |user| {
        (user, Key::derived(b'l', room, seq), EventBody::RoomListed(RoomListed { room, seq, tail: EmptyTail::default() }))
    };
    let notified = |user, kind| {
        let body = EventBody::Notified(Notified { room, seq, kind, tail: EmptyTail::default() });
        (user, Key::derived(b'n', room, seq), body)
    };
    match &record.event.body {
        EventBody::RoomCreated(created) => {
            std::iter::once(head.actor).chain(created.members.iter().copied()).map(listed).collect()
        }
        EventBody::MemberJoined(changed) | EventBody::MemberAdded(changed) => vec![listed(changed.user)],
        EventBody::MemberLeft(changed) | EventBody::MemberKicked(changed) | EventBody::MemberBanned(changed) => {
            let body = EventBody::RoomUnlisted(RoomUnlisted { room, seq, tail });
            vec![(changed.user, Key::derived(b'u', room, seq), body)]
        }
        EventBody::UserErased(erased) => {
            let body = EventBody::RoomUnlisted(RoomUnlisted { room, seq, tail });
            vec![(erased.user, Key::derived(b'u', room, seq), body)]
        }
        EventBody::MessagePosted(posted) => {
            let addressed = |user: &UserId| *user != head.actor && state.has_member(*user) && !reading(*user);
            if state.row.kind == kind::DIRECT {
                let peers = state.members.keys().copied().filter(addressed);
                return peers.map(|user| notified(user, notified::DIRECT)).collect();
            }
            let mut mentioned: Vec<_> = posted.mentions.iter().copied().filter(addressed).collect();
            mentioned.sort_unstable();
            mentioned.dedup();
            mentioned.into_iter().map(|user| notified(user, notified::MENTION)).collect()
        }
        _ => Vec::new(),
    }
}

/// What following writes beside the room.
#[derive(SystemParam)]
pub(crate) struct Following<'w> {
    now: Res<'w, Now>,
    node: Res<'w, Node>,
    queue: ResMut<'w, NotifyQueue>,
    others: ResMut<'w, Others>,
    asks: Asks<'w>,
    submit: MessageWriter<'w, Submitted>,
}

impl Following<'_> {
    /// Does what follows from an event for a user. What is done a second time, maybe after another node, is looked for first.
    fn follow_up(&mut self, follow_up: FollowUp, replayed: bool) {
        if self.node.shared_store && replayed {
            let submitted = nodes::follow_up_once(&mut self.others, &mut self.asks, follow_up);
            self.submit.write_batch(submitted);
        } else {
            let origin = Origin::World { follows: Some(follow_up.from) };
            self.submit.write(own_log(origin, follow_up.user, follow_up.key, follow_up.body, None));
        }
    }

    /// Leaves what follows from an event to the node that appended it, for a time.
    fn leave_to_others(&self, unbumped: &mut Unbumped, seq: u64) {
        if unbumped.failed_from.is_none() {
            unbumped.left_until_us = self.now.mono_us + OTHERS_FOLLOW_US;
        }
        unbumped.failed_from = Some(unbumped.failed_from.map_or(seq, |from| from.min(seq)));
    }
}

pub(crate) fn follow_rooms(
    mut settled: MessageReader<Settled>,
    mut desk: Following,
    mut rooms: Query<(&Room, &RoomState, &Subscribers, &mut Unbumped)>,
) {
    let now_us = desk.now.mono_us;
    for Settled { room: entity, records, replayed } in settled.read() {
        let Ok((room, state, subscribers, mut unbumped)) = rooms.get_mut(*entity) else { continue };
        if !unbumped.level_queued {
            unbumped.level_queued = true;
            desk.queue.levels.insert((now_us + LEVEL_AFTER_US, *entity));
        }
        if state.row.kind == kind::SELF {
            continue;
        }
        let reading = |user| subscribers.list.iter().any(|subscriber| subscriber.user == user);
        for record in records {
            let seq = record.event.head.seq;
            let follow_ups = follow_ups(room.id, state, reading, record);
            if !follow_ups.is_empty() && !replayed && desk.node.shared_store && record.event.head.node != desk.node.node {
                desk.leave_to_others(&mut unbumped, seq);
            } else {
                for (user, key, body) in follow_ups {
                    *unbumped.open.entry(seq).or_default() += 1;
                    desk.follow_up(FollowUp { from: (room.id, seq), user, key, body }, *replayed);
                }
            }
            if let EventBody::MessagePosted(posted) = &record.event.body
                && !replayed
            {
                unbumped.mentioned.extend(posted.mentions.iter().copied());
            }
        }
        if !unbumped.queued && !replayed {
            unbumped.queued = true;
            desk.queue.bumps.insert((now_us.max(unbumped.bumped_us + NET_CHANGE_INTERVAL_US), *entity));
        }
    }
}

/// Counts the follow-ups that ended.
pub(crate) fn count_followed(mut outbox: ResMut<Outbox>, index: Res<RoomIndex>, mut rooms: Query<&mut Unbumped>) {
    for (room, seq, well) in std::mem::take(&mut outbox.followed) {
        let Some(mut unbumped) = index.by_id.get(&room).and_then(|entity| rooms.get_mut(*entity).ok()) else { continue };
        if let Some(open) = unbumped.open.get_mut(&seq) {
            *open -= 1;
            if *open == 0 {
                unbumped.open.remove(&seq);
            }
        }
        if !well {
            unbumped.failed_from = Some(unbumped.failed_from.map_or(seq, |from| from.min(seq)));
        }
    }
}

/// Tells members who are here but do not read the room that there is something new, at most once a second and room.
#[allow(clippy::too_many_arguments)] // One query for each entity between a room and its members' sessions.
pub(crate) fn send_bumps(
    now: Res<Now>,
    mut queue: ResMut<NotifyQueue>,
    mut rooms: Query<(&Room, &RoomState, &mut Unbumped)>,
    index: Res<UserIndex>,
    users: Query<&Sessions>,
    mut sessions: Query<(&mut Session, &Subscriptions)>,
    mut outbox: ResMut<Outbox>,
) {
    while let Some(&(due_us, entity)) = queue.bumps.first() {
        if due_us > now.mono_us {
            break;
        }
        queue.bumps.pop_first();
        let Ok((room, state, mut unbumped)) = rooms.get_mut(entity) else { continue };
        unbumped.queued = false;
        unbumped.bumped_us = now.mono_us;
        let mentions = std::mem::take(&mut unbumped.mentioned);
        for (user, _) in state.members.iter().filter(|(_, member)| member.is_member()) {
            let Some(here) = index.by_id.get(user).and_then(|entity| users.get(*entity).ok()) else { continue };
            for &session in here.entities() {
                let Ok((mut session, subscriptions)) = sessions.get_mut(session) else { continue };
                if subscriptions.0.contains(&entity) {
                    continue;
                }
                if session.blocked || !session.listed {
                    session.missed_bump = true;
                    continue;
                }
                let bump = Bump {
                    room: room.id,
                    head: state.row.head,
                    message_no: state.row.message_no,
                    mentioned: mentions.contains(user),
                    tail: EmptyTail::default(),
                };
                outbox.frame(session.handle, &ServerFrame::Bump(bump));
            }
        }
    }
}

/// What a look at a room's followers writes beside the room.
#[derive(SystemParam)]
pub(crate) struct Levelling<'w> {
    now: Res<'w, Now>,
    queue: ResMut<'w, NotifyQueue>,
    levels: ResMut<'w, Levels>,
    asks: Asks<'w>,
}

/// Tells the store how far the followers of rooms have come, and has done again what failed.
pub(crate) fn level_rooms(mut desk: Levelling, mut rooms: Query<(&mut Room, Option<&RoomState>, &mut Unbumped)>) {
    let now_us = desk.now.mono_us;
    while let Some(&(due_us, entity)) = desk.queue.levels.first() {
        if due_us > now_us {
            break;
        }
        desk.queue.levels.pop_first();
        let Ok((mut room, state, mut unbumped)) = rooms.get_mut(entity) else { continue };
        unbumped.level_queued = false;
        match (room.hydration, state) {
            (Hydration::Ready, Some(state)) => {
                let head = state.row.head;
                let level = unbumped.level(head);
                if unbumped.level_seq < level {
                    unbumped.level_seq = level;
                    desk.levels.0.push((room.id, level));
                }
                if unbumped.left_until_us <= now_us {
                    read_followed(entity, room.id, &mut unbumped, &mut desk.asks);
                }
                unbumped.level_queued = level < head;
            }
            (Hydration::Failed { retry_us }, _) if unbumped.swept => {
                if retry_us <= now_us {
                    room.hydration = Hydration::Loading;
                    room.asked_us = now_us;
                    desk.asks.ask(ReadFor::Room(entity), Read::Room { room: room.id });
                } else {
                    unbumped.level_queued = true;
                }
            }
            // `hydrate_rooms` has it looked at again.
            _ => {}
        }
        if unbumped.level_queued {
            // What fails goes on failing for a while.
            let after_us = if unbumped.failed_from.is_some() { ROOM_RETRY_US } else { LEVEL_AFTER_US };
            let left = Some(unbumped.left_until_us).filter(|left_us| *left_us > now_us);
            desk.queue.levels.insert((left.unwrap_or(now_us + after_us), entity));
        }
    }
}

/// Asks for the next events whose followers are to do their work again, if there are any and none are being read.
fn read_followed(entity: Entity, room: RoomId, unbumped: &mut Unbumped, asks: &mut Asks) {
    let Some(first_seq) = unbumped.failed_from.filter(|_| !unbumped.reading) else { return };
    unbumped.reading = true;
    let read = Read::Page { room, first_seq, last_seq: first_seq + PAGE_EVENTS - 1 };
    asks.ask(ReadFor::Followed(entity), read);
}

/// Events whose followers failed: they do their work again. Keys make it harmless where it was done.
pub(crate) fn attach_followed(
    mut answers: MessageReader<ReadAnswered>,
    mut rooms: Query<(&RoomState, &mut Unbumped)>,
    mut settled: MessageWriter<Settled>,
    mut asks: Asks,
) {
    for answer in answers.read() {
        let ReadFor::Followed(room) = answer.purpose else { continue };
        let Ok((state, mut unbumped)) = rooms.get_mut(room) else { continue };
        unbumped.reading = false;
        let (Found::Page(records), Some(from)) = (&answer.found, unbumped.failed_from) else { continue };
        // What failed meanwhile may lie before this page: then it is that one's turn next.
        let Some(last) = records.last().map(|record| record.event.head.seq) else { continue };
        if records[0].event.head.seq != from {
            continue;
        }
        unbumped.failed_from = (last < state.row.head).then_some(last + 1);
        settled.write(Settled { room, records: records.clone(), replayed: true });
        // Page after page while few commands are open; else `level_rooms` goes on.
        if (unbumped.open.len() as u64) < PAGE_EVENTS {
            read_followed(room, state.row.room, &mut unbumped, &mut asks);
        }
    }
}
