//! Subscription: sessions that ask to read a room, and from where; the readers that a room has.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `Subscribers` | `change_subscriptions`, `admit_subscribers`, `flush`, `delivery` | `flush`, `presence`, `follow` |
//! | `Subscriptions` | `change_subscriptions`, `admit_subscribers`, `flush`, `delivery` | `presence`, `follow`, `session` |

use crate::catch_up;
use crate::flush::flush_now;
use crate::ingest::From;
use crate::outbox::Outbox;
use crate::room::ensure_room;
use crate::rules::visible_until;
use crate::user::take_token;
use bevy_ecs::message::Messages;
use bevy_ecs::prelude::*;
use client_protocol::limits::{REPLAY_EVENTS_MAX, REQUEST_TIMEOUT_MS, SUBSCRIPTIONS_MAX};
use client_protocol::room::{LIVE, Reset, Subscribe, kind, reset_reason};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, RoomId, ServerFrame};
use components::catch_up::{CatchUp, Pages};
use components::edge::Origin;
use components::limits::{ROOM_RETRY_US, SUBSCRIBE_BURST, SUBSCRIBE_RATE};
use components::nodes::Freshness;
use components::presence::PresenceWatch;
use components::room::{Hydration, Room, RoomIndex, RoomState, SubscribeAsked, Subscriber, Subscribers};
use components::rows::membership;
use components::session::{Session, Subscriptions, Watches};
use components::time::{Node, Now};

/// A session asked to read a room, or to stop.
#[derive(Message, Debug, Clone)]
pub enum SubscriptionChanged {
    /// To read.
    Subscribe(From, Subscribe),
    /// To stop.
    Unsubscribe(From, RoomId),
}

/// Subscriptions asked for and given up. Exclusive: it brings in rooms.
pub(crate) fn change_subscriptions(world: &mut World) {
    let changes: Vec<_> = world.resource_mut::<Messages<SubscriptionChanged>>().drain().collect();
    for change in changes {
        let (SubscriptionChanged::Subscribe(from, _) | SubscriptionChanged::Unsubscribe(from, _)) = &change;
        if let Err(wait_ms) = take_turn(world, *from) {
            world.resource_mut::<Outbox>().reply(from.origin, Reply::retry_after(Code::RateLimited, wait_ms));
            continue;
        }
        match change {
            SubscriptionChanged::Unsubscribe(from, id) => {
                let room = world.resource::<RoomIndex>().by_id.get(&id).copied();
                if let (Some(room), Some(session)) = (room, from.session) {
                    supersede(world, room, session);
                    forget_subscriber(world, room, session);
                    if let Some(mut subscriptions) = world.get_mut::<Subscriptions>(session) {
                        subscriptions.0.remove(&room);
                    }
                }
                world.resource_mut::<Outbox>().reply(from.origin, Reply::done(0));
            }
            SubscriptionChanged::Subscribe(from, subscribe) => ask_to_subscribe(world, from, &subscribe),
        }
    }
}

/// Takes what a change costs from its session's budget; the time to wait if there is none, in milliseconds.
fn take_turn(world: &mut World, from: From) -> Result<(), u64> {
    let now_us = world.resource::<Now>().mono_us;
    let session = from.session.and_then(|session| world.get_mut::<Session>(session));
    session.map_or(Ok(()), |mut session| take_token(&mut session.subscribing, now_us, SUBSCRIBE_RATE, SUBSCRIBE_BURST))
}

fn ask_to_subscribe(world: &mut World, from: From, subscribe: &Subscribe) {
    let (Some(session), Origin::Session { session: handle, request }) = (from.session, from.origin) else {
        world
            .resource_mut::<Outbox>()
            .reply(from.origin, Reply::refused(Code::UnknownKind, "subscriptions are for sessions"));
        return;
    };
    let room = ensure_room(world, subscribe.room);
    // Subscribing again moves the cursor.
    supersede(world, room, session);
    forget_subscriber(world, room, session);
    let now_us = world.resource::<Now>().mono_us;
    let Some(mut subscriptions) = world.get_mut::<Subscriptions>(session) else { return };
    if !subscriptions.0.contains(&room) && subscriptions.0.len() >= SUBSCRIPTIONS_MAX {
        let refusal = Reply::refused(Code::TooManySubscriptions, format!("at most {SUBSCRIPTIONS_MAX}"));
        world.resource_mut::<Outbox>().reply(from.origin, refusal);
        return;
    }
    subscriptions.0.insert(room);
    if let Some(mut subscribers) = world.get_mut::<Subscribers>(room) {
        subscribers.asked.push(SubscribeAsked {
            session,
            handle,
            user: from.user,
            request,
            epoch: subscribe.epoch,
            after_seq: subscribe.after_seq,
            asked_us: now_us,
        });
    }
    world.resource_mut::<RoomIndex>().asked.insert(room);
}

/// A later word of a session on a room answers an earlier one that still waits.
fn supersede(world: &mut World, room: Entity, session: Entity) {
    let Some(subscribers) = world.get::<Subscribers>(room) else { return };
    let waiting = subscribers.asked.iter().filter(|asked| asked.session == session);
    let origins: Vec<_> = waiting.map(|asked| Origin::Session { session: asked.handle, request: asked.request }).collect();
    let mut outbox = world.resource_mut::<Outbox>();
    for origin in origins {
        outbox.reply(origin, Reply::refused(Code::Conflict, "the session asked for something else meanwhile"));
    }
}

/// Ends a session's reading of a room, wherever it stands.
pub(crate) fn forget_subscriber(world: &mut World, room: Entity, session: Entity) {
    let now_us = world.resource::<Now>().mono_us;
    if let Some(mut subscribers) = world.get_mut::<Subscribers>(room) {
        if let Some(at) = subscribers.list.iter().position(|subscriber| subscriber.session == session) {
            subscribers.list.remove(at);
            // A hand-over that was interrupted goes on with the same reader.
            subscribers.resume_at -= usize::from(at < subscribers.resume_at);
        }
        subscribers.asked.retain(|asked| asked.session != session);
    }
    if let Some(mut room) = world.get_mut::<Room>(room) {
        room.used_us = now_us;
    }
    let next = world.get_mut::<CatchUp>(session).and_then(|mut catch_up| catch_up::leave(&mut catch_up, room));
    if catch_up::has_pages(world.resource::<Pages>(), room) {
        // Those that nobody else needs are dropped.
        flush_now(world, room);
    }
    if let Some(next) = next {
        flush_now(world, next);
    }
}

/// Lets those in who asked to read a room that is ready.
pub(crate) fn admit_subscribers(
    now: Res<Now>,
    node: Res<Node>,
    mut rooms: Query<(&Room, Option<&RoomState>, &Freshness, &mut Subscribers)>,
    mut sessions: Query<(&mut Subscriptions, &Watches)>,
    mut index: ResMut<RoomIndex>,
    mut watch: ResMut<PresenceWatch>,
    mut outbox: ResMut<Outbox>,
) {
    let asked = std::mem::take(&mut index.asked);
    for entity in asked {
        let Ok((room, state, freshness, mut subscribers)) = rooms.get_mut(entity) else { continue };
        let late = |asked: &mut SubscribeAsked| asked.asked_us + REQUEST_TIMEOUT_MS * 1_000 <= now.mono_us;
        for asked in subscribers.asked.extract_if(.., late) {
            let origin = Origin::Session { session: asked.handle, request: asked.request };
            outbox.reply(origin, Reply::retry_after(Code::Unavailable, 1_000));
            if let Ok((mut subscriptions, _)) = sessions.get_mut(asked.session) {
                subscriptions.0.remove(&entity);
            }
        }
        let state = match (room.hydration, state) {
            (Hydration::Loading, _) => {
                if !subscribers.asked.is_empty() {
                    index.asked.insert(entity);
                }
                continue;
            }
            (Hydration::Ready, Some(state)) => Some(state),
            _ => None,
        };
        for asked in std::mem::take(&mut subscribers.asked) {
            let origin = Origin::Session { session: asked.handle, request: asked.request };
            let started = start(&asked, state, node.epoch);
            let stale = node.shared_store && state.is_some() && freshness.as_of_us < asked.asked_us;
            if stale && matches!(started, Err(_) | Ok((_, Some(reset_reason::AHEAD)))) {
                // Another node may have let them in, or gone on with the log.
                subscribers.asked.push(asked);
                index.asked.insert(entity);
                index.to_look.insert(entity);
                continue;
            }
            match started {
                Ok((subscriber, reset)) => {
                    // One who has gone is not told how the room goes on.
                    let head = state.map_or(0, |state| state.row.head).min(subscriber.end_seq.unwrap_or(u64::MAX));
                    outbox.reply(origin, Reply::done(head));
                    if let Some(reason) = reset {
                        let reset = Reset { room: room.id, epoch: node.epoch, head, reason, tail: EmptyTail::default() };
                        outbox.frame(asked.handle, &ServerFrame::Reset(reset));
                    }
                    subscribers.list.push(subscriber);
                    // More people share a room with this session now.
                    if let Ok((_, watches)) = sessions.get(asked.session) {
                        watch.changed.extend(watches.0.keys());
                    }
                    crate::flush::queue_flush(&mut index, entity, &mut subscribers, now.mono_us);
                }
                Err(refusal) => {
                    outbox.reply(origin, refusal);
                    if let Ok((mut subscriptions, _)) = sessions.get_mut(asked.session) {
                        subscriptions.0.remove(&entity);
                    }
                }
            }
        }
    }
}

/// Where a new reader starts: its cursor, and why it was moved if it was.
fn start(asked: &SubscribeAsked, state: Option<&RoomState>, epoch: u64) -> Result<(Subscriber, Option<u8>), Reply> {
    let Some(state) = state else { return Err(Reply::retry_after(Code::Unavailable, ROOM_RETRY_US / 1_000)) };
    let row = &state.row;
    let member = state.members.get(&asked.user);
    let own = RoomId::self_log(asked.user) == row.room;
    let visible = if own { Some(u64::MAX) } else { visible_until(member) };
    let end_seq = match visible {
        Some(u64::MAX) => None,
        // What they have not seen of the time when they were there.
        Some(last) if asked.epoch == epoch && asked.after_seq < last => Some(last),
        _ if member.is_some_and(|member| member.state == membership::BANNED) && row.kind == kind::PUBLIC => {
            return Err(Reply::refused(Code::Banned, ""));
        }
        _ if row.head > 0 && row.kind == kind::PUBLIC => return Err(Reply::refused(Code::Forbidden, "not a member")),
        _ => return Err(Reply::refused(Code::NotFound, "")),
    };
    let head = row.head.min(end_seq.unwrap_or(u64::MAX));
    let (next_seq, reset) = match asked.after_seq {
        LIVE => (head + 1, None),
        _ if asked.epoch != epoch => (head + 1, Some(reset_reason::EPOCH)),
        after if after > head => (head + 1, Some(reset_reason::AHEAD)),
        after if head - after > REPLAY_EVENTS_MAX => (head + 1, Some(reset_reason::TOO_FAR_BEHIND)),
        after => (after + 1, None),
    };
    let subscriber = Subscriber { session: asked.session, handle: asked.handle, user: asked.user, next_seq, end_seq };
    Ok((subscriber, reset))
}
