//! Presence and typing: latest wins, never stored, lost without harm.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `PresenceState` | `touch`, `apply_presence` | `tell_watchers` |
//! | `Watches` | `apply_presence`, `tell_watchers` | `tell_watchers` |

use crate::delivery::Settled;
use crate::ingest::From;
use crate::outbox::Outbox;
use crate::schedule::{Feature, In, Stage, Tick};
use bevy_app::{App, Plugin};
use bevy_ecs::message::Messages;
use bevy_ecs::prelude::*;
use client_protocol::frame::LENGTH_BYTES;
use client_protocol::limits::{PRESENCE_WATCH_MAX, TYPING_EXPIRES_MS, TYPING_INTERVAL_MS, TYPING_READERS_MAX};
use client_protocol::presence::{Presence, TypingNotice, state};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, EventBody, RoomId, ServerFrame, UserId};
use components::limits::{NET_CHANGE_INTERVAL_US, TYPING_REMEMBERED_MAX};
use components::presence::{PresenceState, PresenceWatch, TypingNotices};
use components::room::{RoomIndex, RoomState, Subscribers};
use components::session::{Session, SessionOf, Sessions, Subscriptions, Watches};
use components::time::Now;
use components::user::{User, UserIndex};
use std::collections::BTreeMap;

/// In [`Watches`]: the session was told nothing yet.
const UNTOLD: u8 = u8::MAX;

/// A command about presence came.
#[derive(Message, Debug, Clone)]
pub enum PresenceAsked {
    /// The user is typing.
    Typing {
        /// Their session.
        session: Entity,
        /// Who.
        user: UserId,
        /// Where.
        room: RoomId,
    },
    /// The session watches these users.
    Watch(From, Vec<UserId>),
    /// The user says how they are.
    Set(From, u8),
}

/// Presence and typing.
#[derive(Debug)]
pub struct PresencePlugin;

impl Plugin for PresencePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<PresenceWatch>()
            .init_resource::<TypingNotices>()
            .add_message::<PresenceAsked>()
            .add_systems(Tick, apply_presence.in_set(In(Stage::Hydrate, Feature::Presence)))
            .add_systems(
                Tick,
                (relay_typing, note_memberships, tell_watchers).chain().in_set(In(Stage::Notify, Feature::Presence)),
            );
    }
}

/// A user's sessions changed: they came, went, or said something. One who is online in one of them is online.
pub(crate) fn touch(world: &mut World, user: Entity) {
    let Some(id) = world.get::<User>(user).map(|user| user.user) else { return };
    let sessions = world.get::<Sessions>(user).map_or(&[][..], |sessions| sessions.entities());
    let away = |session: &Entity| world.get::<Session>(*session).is_some_and(|session| session.away);
    let after = match (sessions.is_empty(), sessions.iter().all(away)) {
        (true, _) => state::OFFLINE,
        (false, true) => state::AWAY,
        (false, false) => state::ONLINE,
    };
    if let Some(mut state) = world.get_mut::<PresenceState>(user) {
        state.0 = after;
    }
    let mut watch = world.resource_mut::<PresenceWatch>();
    if watch.watchers.contains_key(&id) {
        watch.changed.insert(id);
    }
}

/// Forgets what a session watched.
pub(crate) fn forget_watcher(world: &mut World, session: Entity) {
    let watched = world.get_mut::<Watches>(session).map(|mut watches| std::mem::take(&mut watches.0)).unwrap_or_default();
    let mut watch = world.resource_mut::<PresenceWatch>();
    for user in watched.keys() {
        if let Some(watchers) = watch.watchers.get_mut(user) {
            watchers.remove(&session);
            if watchers.is_empty() {
                watch.watchers.remove(user);
            }
        }
    }
}

/// What a session was not told while it took nothing, and what it may see since it reads one more room.
pub(crate) fn tell_again(world: &mut World, session: Entity) {
    let watched: Vec<_> =
        world.get::<Watches>(session).map(|watches| watches.0.keys().copied().collect()).unwrap_or_default();
    world.resource_mut::<PresenceWatch>().changed.extend(watched);
}

/// Who comes to a room, or goes, is seen by others from then on, or no longer.
fn note_memberships(mut settled: MessageReader<Settled>, mut watch: ResMut<PresenceWatch>) {
    for Settled { records, .. } in settled.read() {
        for record in records {
            let user = match &record.event.body {
                EventBody::MemberJoined(changed)
                | EventBody::MemberAdded(changed)
                | EventBody::MemberLeft(changed)
                | EventBody::MemberKicked(changed)
                | EventBody::MemberBanned(changed) => changed.user,
                EventBody::UserErased(erased) => erased.user,
                _ => continue,
            };
            if watch.watchers.contains_key(&user) {
                watch.changed.insert(user);
            }
        }
    }
}

fn apply_presence(world: &mut World) {
    let asked: Vec<_> = world.resource_mut::<Messages<PresenceAsked>>().drain().collect();
    for asked in asked {
        match asked {
            PresenceAsked::Typing { session, user, room } => note_typing(world, session, user, room),
            PresenceAsked::Set(from, state @ (state::ONLINE | state::AWAY)) => {
                let reply = say(world, from, state == state::AWAY);
                world.resource_mut::<Outbox>().reply(from.origin, reply);
            }
            PresenceAsked::Set(from, _) => {
                let refusal = Reply::refused(Code::InvalidField, "state: 1 (online) or 2 (away)");
                world.resource_mut::<Outbox>().reply(from.origin, refusal);
            }
            PresenceAsked::Watch(from, users) => watch(world, from, &users),
        }
    }
}

fn say(world: &mut World, from: From, away: bool) -> Reply {
    if let Err(refusal) = crate::chat::charge(world, from) {
        return refusal;
    }
    let Some(mut session) = from.session.and_then(|session| world.get_mut::<Session>(session)) else {
        return Reply::refused(Code::UnknownKind, "presence is for sessions");
    };
    session.away = away;
    if let Some(user) = world.resource::<UserIndex>().by_id.get(&from.user).copied() {
        touch(world, user);
    }
    Reply::done(0)
}

fn watch(world: &mut World, from: From, users: &[UserId]) {
    if let Err(refusal) = crate::chat::charge(world, from) {
        world.resource_mut::<Outbox>().reply(from.origin, refusal);
        return;
    }
    let refusal = match from.session {
        None => Some(Reply::refused(Code::UnknownKind, "presence is for sessions")),
        Some(_) if users.len() > PRESENCE_WATCH_MAX => {
            Some(Reply::refused(Code::TooLarge, format!("users: at most {PRESENCE_WATCH_MAX}")))
        }
        Some(session) => {
            forget_watcher(world, session);
            if let Some(mut watches) = world.get_mut::<Watches>(session) {
                watches.0 = users.iter().map(|user| (*user, UNTOLD)).collect();
            }
            let mut watch = world.resource_mut::<PresenceWatch>();
            for user in users {
                watch.watchers.entry(*user).or_default().insert(session);
                watch.changed.insert(*user);
            }
            None
        }
    };
    world.resource_mut::<Outbox>().reply(from.origin, refusal.unwrap_or_else(|| Reply::done(0)));
}

/// Takes a typing notice from a reader of a room that is small enough, and not too often.
fn note_typing(world: &mut World, session: Entity, user: UserId, room: RoomId) {
    let now_us = world.resource::<Now>().mono_us;
    let Some(entity) = world.resource::<RoomIndex>().by_id.get(&room).copied() else { return };
    if !world.get::<Subscriptions>(session).is_some_and(|subscriptions| subscriptions.0.contains(&entity)) {
        return;
    }
    let mut typing = world.resource_mut::<TypingNotices>();
    if typing.last_us.len() >= TYPING_REMEMBERED_MAX {
        typing.last_us.retain(|_, last_us| *last_us + TYPING_EXPIRES_MS * 1_000 > now_us);
        if typing.last_us.len() >= TYPING_REMEMBERED_MAX {
            return;
        }
    }
    let last_us = typing.last_us.get(&(room, user)).copied();
    if last_us.is_none_or(|last_us| last_us + TYPING_INTERVAL_MS * 1_000 <= now_us) {
        typing.last_us.insert((room, user), now_us);
        typing.fresh.push((room, user));
    }
}

fn relay_typing(
    mut typing: ResMut<TypingNotices>,
    index: Res<RoomIndex>,
    rooms: Query<(&RoomState, &Subscribers)>,
    mut outbox: ResMut<Outbox>,
) {
    for (room, user) in std::mem::take(&mut typing.fresh) {
        let Some((state, subscribers)) = index.by_id.get(&room).and_then(|entity| rooms.get(*entity).ok()) else { continue };
        if !state.has_member(user) || subscribers.list.len() > TYPING_READERS_MAX {
            continue;
        }
        let notice = ServerFrame::TypingNotice(TypingNotice { room, user, tail: EmptyTail::default() });
        let datagram = notice.encode().slice(LENGTH_BYTES..);
        for reader in subscribers.list.iter().filter(|reader| reader.user != user && reader.end_seq.is_none()) {
            outbox.datagrams.push((reader.handle, datagram.clone()));
        }
    }
}

/// Tells watchers what changed since they were last told, at most once a second.
#[allow(clippy::too_many_arguments)] // One query for each entity that presence is made of.
fn tell_watchers(
    now: Res<Now>,
    mut watch: ResMut<PresenceWatch>,
    index: Res<UserIndex>,
    states: Query<&PresenceState>,
    rooms: Query<&RoomState>,
    mut sessions: Query<(&Session, &SessionOf, &Subscriptions, &mut Watches)>,
    mut outbox: ResMut<Outbox>,
) {
    if watch.changed.is_empty() {
        return;
    }
    let due_us = watch.told_us + NET_CHANGE_INTERVAL_US;
    if watch.told_us > 0 && due_us > now.mono_us {
        watch.due_us = Some(due_us);
        return;
    }
    watch.due_us = None;
    watch.told_us = now.mono_us.max(1);
    let changed = std::mem::take(&mut watch.changed);
    let mut news: BTreeMap<Entity, Vec<(UserId, u8)>> = BTreeMap::new();
    for user in changed {
        let actual =
            index.by_id.get(&user).and_then(|entity| states.get(*entity).ok()).map_or(state::OFFLINE, |state| state.0);
        for &session in watch.watchers.get(&user).into_iter().flatten() {
            let Ok((watcher, _, subscriptions, mut watches)) = sessions.get_mut(session) else { continue };
            // `tell_again` comes back to it.
            if watcher.blocked {
                continue;
            }
            // Presence is for those who share a room; to others everybody is offline.
            let shared = subscriptions.0.iter().any(|room| rooms.get(*room).is_ok_and(|state| state.has_member(user)));
            let shown = if shared { actual } else { state::OFFLINE };
            if watches.0.insert(user, shown) != Some(shown) {
                news.entry(session).or_default().push((user, shown));
            }
        }
    }
    for (session, users) in news {
        if let Ok((session, ..)) = sessions.get(session) {
            outbox.frame(session.handle, &ServerFrame::Presence(Presence { users, tail: EmptyTail::default() }));
        }
    }
}
