//! Room: rooms come into memory when someone needs them and leave when nobody does; who reads them.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `Room` | `ensure_room`, `hydrate_rooms`, `evict_rooms` | everyone |
//! | `RoomState` | `hydrate_rooms`, `delivery` | `sequence`, `notification`, `presence` |
//! | `Subscribers` | `change_subscriptions`, `admit_subscribers`, `flush`, `delivery` | `flush`, `presence`, `notification` |

use crate::chat::Submission;
use crate::delivery::Settled;
use crate::hot_log;
use crate::ingest::{From, ReadAnswered, ask_store};
use crate::outbox::Outbox;
use crate::rules::visible_until;
use crate::schedule::{Feature, In, Stage, Tick};
use bevy_app::{App, Plugin};
use bevy_ecs::message::Messages;
use bevy_ecs::prelude::*;
use client_protocol::limits::{
    FIRST_MEMBERS_MAX, REPLAY_EVENTS_MAX, REQUEST_TIMEOUT_MS, ROOM_NAME_BYTES_MAX, ROOM_TOPIC_BYTES_MAX, SUBSCRIPTIONS_MAX,
};
use client_protocol::room::{
    CommandHead, CreateRoom, LIVE, MemberChanged, Reset, RoleChanged, RoomCreated, SettingsChanged, SettingsTail, Subscribe,
    kind, reset_reason, role,
};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, EventBody, RoomId, ServerFrame, UserId};
use components::edge::{Found, Origin, Read, Reads, Record, RoomSnapshot};
use components::limits::ROOM_RETRY_US;
use components::notification::{NotifyQueue, Unbumped};
use components::presence::PresenceWatch;
use components::room::{
    AppendState, HotLog, Hydration, OpenReads, ReadFor, Room, RoomIndex, RoomState, SubscribeAsked, Subscriber, Subscribers,
    Waiting,
};
use components::rows::{RoomRow, membership};
use components::session::{Subscriptions, Watches};
use components::time::{Node, Now};
use std::collections::BTreeMap;

/// A session asked to read a room, or to stop.
#[derive(Message, Debug, Clone)]
pub enum SubscriptionChanged {
    /// To read.
    Subscribe(From, Subscribe),
    /// To stop.
    Unsubscribe(From, RoomId),
}

/// Rooms in memory and their readers.
#[derive(Debug)]
pub struct RoomPlugin;

impl Plugin for RoomPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<RoomIndex>()
            .add_message::<SubscriptionChanged>()
            .add_systems(
                Tick,
                (hydrate_rooms, change_subscriptions, admit_subscribers).chain().in_set(In(Stage::Hydrate, Feature::Room)),
            )
            .add_systems(Tick, evict_rooms.in_set(In(Stage::Retire, Feature::Room)));
    }
}

fn check_settings(settings: &SettingsTail) -> Result<(), Reply> {
    let too_long = |text: &Option<String>, max: usize| text.as_ref().is_some_and(|text| text.len() > max);
    if too_long(&settings.name, ROOM_NAME_BYTES_MAX) {
        return Err(Reply::refused(Code::TooLarge, format!("name: at most {ROOM_NAME_BYTES_MAX} bytes")));
    }
    if too_long(&settings.topic, ROOM_TOPIC_BYTES_MAX) {
        return Err(Reply::refused(Code::TooLarge, format!("topic: at most {ROOM_TOPIC_BYTES_MAX} bytes")));
    }
    if settings.name.as_ref().is_some_and(|name| name.chars().any(char::is_control)) {
        return Err(Reply::refused(Code::InvalidField, "name: no control characters"));
    }
    if settings.post_role.is_some_and(|post_role| !(role::MEMBER..=role::OWNER).contains(&post_role)) {
        return Err(Reply::refused(Code::InvalidField, "post_role: 1 to 4"));
    }
    Ok(())
}

/// Makes a submission of a room command; gives other commands back.
///
/// # Errors
///
/// The command, where it is no room command.
pub fn draft(actor: UserId, command: Command) -> Result<Result<Submission, Reply>, Command> {
    let submission = |head: CommandHead, body| {
        Ok(Submission { room: head.room, key: head.key, retry: head.retry, body, deadline_us: None })
    };
    let changed = |user| MemberChanged { user, tail: EmptyTail::default() };
    Ok(match command {
        Command::CreateRoom(create) => draft_room(actor, create),
        Command::JoinRoom(join) => submission(join.head, EventBody::MemberJoined(changed(actor))),
        Command::LeaveRoom(leave) => submission(leave.head, EventBody::MemberLeft(changed(actor))),
        Command::AddMember(add) => submission(add.head, EventBody::MemberAdded(changed(add.user))),
        Command::KickMember(kick) => submission(kick.head, EventBody::MemberKicked(changed(kick.user))),
        Command::BanMember(ban) => submission(ban.head, EventBody::MemberBanned(changed(ban.user))),
        Command::UnbanMember(unban) => submission(unban.head, EventBody::MemberUnbanned(changed(unban.user))),
        Command::SetRole(set) if !(role::MEMBER..=role::OWNER).contains(&set.role) => {
            Err(Reply::refused(Code::InvalidField, "role: 1 to 4"))
        }
        Command::SetRole(set) => {
            let changed = RoleChanged { user: set.user, role: set.role, tail: EmptyTail::default() };
            submission(set.head, EventBody::RoleChanged(changed))
        }
        Command::UpdateRoom(update) => check_settings(&update.settings).and_then(|()| {
            submission(update.head, EventBody::SettingsChanged(SettingsChanged { settings: update.settings }))
        }),
        other => return Err(other),
    })
}

fn draft_room(actor: UserId, create: CreateRoom) -> Result<Submission, Reply> {
    check_settings(&create.settings)?;
    let mut members = create.members;
    members.sort_unstable();
    members.dedup();
    members.retain(|member| *member != actor);
    if members.len() > FIRST_MEMBERS_MAX {
        return Err(Reply::refused(Code::TooLarge, format!("members: at most {FIRST_MEMBERS_MAX}; add the others later")));
    }
    let room = match (create.kind, members.as_slice()) {
        (kind::DIRECT, [peer]) => RoomId::direct(actor, *peer),
        (kind::DIRECT, _) => return Err(Reply::refused(Code::InvalidField, "members: a direct room has one other member")),
        (kind::GROUP | kind::PUBLIC, _) => RoomId::created(actor, create.key),
        _ => return Err(Reply::refused(Code::InvalidField, "kind: 1 (direct), 2 (group) or 3 (public)")),
    };
    let settings = if create.kind == kind::DIRECT { SettingsTail::default() } else { create.settings };
    let body = EventBody::RoomCreated(RoomCreated { kind: create.kind, members, settings });
    Ok(Submission { room, key: create.key, retry: true, body, deadline_us: None })
}

/// The entity of a room, spawned if need be; the store is then asked for it.
pub fn ensure_room(world: &mut World, id: RoomId) -> Entity {
    let now_us = world.resource::<Now>().mono_us;
    if let Some(&entity) = world.resource::<RoomIndex>().by_id.get(&id) {
        let mut ask = false;
        if let Some(mut room) = world.get_mut::<Room>(entity) {
            room.used_us = now_us;
            ask = matches!(room.hydration, Hydration::Failed { retry_us } if retry_us <= now_us);
            if ask {
                room.hydration = Hydration::Loading;
            }
        }
        if ask {
            ask_for_room(world, entity, id);
        }
        return entity;
    }
    let idle_us = world.resource::<Node>().tuning.idle_us;
    let entity = world.spawn(Room { id, used_us: now_us, hydration: Hydration::Loading }).id();
    let mut index = world.resource_mut::<RoomIndex>();
    index.by_id.insert(id, entity);
    index.idle_checks.insert((now_us + idle_us, entity));
    ask_for_room(world, entity, id);
    entity
}

/// Brings in a room whose followers may not have finished before the last stop, until the store can be read.
pub(crate) fn sweep(world: &mut World, id: RoomId) {
    let room = ensure_room(world, id);
    if let Some(mut unbumped) = world.get_mut::<Unbumped>(room) {
        unbumped.swept = true;
    }
}

fn ask_for_room(world: &mut World, entity: Entity, room: RoomId) {
    world.resource_scope(|world, mut open: Mut<OpenReads>| {
        let mut reads = world.resource_mut::<Reads>();
        ask_store(&mut open, &mut reads, ReadFor::Room(entity), Read::Room { room });
    });
}

/// Whether the store's answer makes sense; the state and the last events if so.
fn rebuild(id: RoomId, snapshot: &RoomSnapshot) -> Result<(RoomState, Vec<Record>), &'static str> {
    let row = snapshot.row.clone().unwrap_or_else(|| RoomRow::empty(id));
    if snapshot.tail.iter().any(|record| record.event.body.stops_old_nodes()) {
        return Err("an event that this version must understand and does not");
    }
    let first = row.head + 1 - snapshot.tail.len() as u64;
    if snapshot.tail.iter().zip(first..).any(|(record, seq)| record.event.head.seq != seq) {
        return Err("the last events are not dense up to the head");
    }
    let members = snapshot.members.iter().map(|member| (member.user, member.clone())).collect();
    Ok((RoomState { row, members }, snapshot.tail.clone()))
}

fn hydrate_rooms(
    mut commands: Commands,
    mut answers: MessageReader<ReadAnswered>,
    now: Res<Now>,
    mut rooms: Query<(&mut Room, &mut HotLog, &mut Unbumped, &mut Waiting)>,
    mut index: ResMut<RoomIndex>,
    mut settled: MessageWriter<Settled>,
    mut notify: ResMut<NotifyQueue>,
) {
    for answer in answers.read() {
        let ReadFor::Room(entity) = answer.purpose else { continue };
        let Ok((mut room, mut hot, mut unbumped, mut waiting)) = rooms.get_mut(entity) else { continue };
        index.to_sequence.insert(entity);
        let rebuilt = match &answer.found {
            Found::Room(snapshot) => rebuild(room.id, snapshot),
            _ => Err("the store is unavailable"),
        };
        match rebuilt {
            Ok((state, tail)) => {
                room.hydration = Hydration::Ready;
                unbumped.level_seq = state.row.notified_seq;
                unbumped.failed_from = None;
                unbumped.swept = false;
                waiting.conflicts = 0;
                index.hot_bytes -= hot.bytes;
                *hot = HotLog::default();
                let missed: Vec<_> = tail.iter().filter(|r| r.event.head.seq > state.row.notified_seq).cloned().collect();
                for record in hot_log::newest(tail) {
                    hot_log::push(&mut hot, record);
                }
                index.hot_bytes += hot.bytes;
                commands.entity(entity).insert(state);
                // Followers that had not finished before the last stop finish now.
                if !missed.is_empty() {
                    settled.write(Settled { room: entity, records: missed, replayed: true });
                }
            }
            Err(why) => {
                if matches!(answer.found, Found::Room(_)) {
                    tracing::error!(room = %room.id, why, "a room is quarantined");
                }
                let retry_us = now.mono_us + ROOM_RETRY_US;
                room.hydration = Hydration::Failed { retry_us };
                unbumped.swept &= matches!(answer.found, Found::Unavailable);
                if unbumped.swept && !unbumped.level_queued {
                    unbumped.level_queued = true;
                    notify.levels.insert((retry_us, entity));
                }
            }
        }
    }
}

/// Subscriptions asked for and given up. Exclusive: it brings in rooms.
fn change_subscriptions(world: &mut World) {
    let changes: Vec<_> = world.resource_mut::<Messages<SubscriptionChanged>>().drain().collect();
    for change in changes {
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
        subscribers.list.retain(|subscriber| subscriber.session != session);
        subscribers.asked.retain(|asked| asked.session != session);
        subscribers.resume_at = 0;
    }
    if let Some(mut room) = world.get_mut::<Room>(room) {
        room.used_us = now_us;
    }
}

/// Lets those in who asked to read a room that is ready.
fn admit_subscribers(
    now: Res<Now>,
    node: Res<Node>,
    mut rooms: Query<(&Room, Option<&RoomState>, &mut Subscribers)>,
    mut sessions: Query<(&mut Subscriptions, &Watches)>,
    mut index: ResMut<RoomIndex>,
    mut watch: ResMut<PresenceWatch>,
    mut outbox: ResMut<Outbox>,
) {
    let asked = std::mem::take(&mut index.asked);
    for entity in asked {
        let Ok((room, state, mut subscribers)) = rooms.get_mut(entity) else { continue };
        let state = match (room.hydration, state) {
            (Hydration::Loading, _) => {
                let late = |asked: &mut SubscribeAsked| asked.asked_us + REQUEST_TIMEOUT_MS * 1_000 <= now.mono_us;
                for asked in subscribers.asked.extract_if(.., late) {
                    let origin = Origin::Session { session: asked.handle, request: asked.request };
                    outbox.reply(origin, Reply::retry_after(Code::Unavailable, 1_000));
                    if let Ok((mut subscriptions, _)) = sessions.get_mut(asked.session) {
                        subscriptions.0.remove(&entity);
                    }
                }
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
            match start(&asked, state, node.epoch) {
                Ok((subscriber, reset)) => {
                    let head = state.map_or(0, |state| state.row.head);
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
    let head = row.head;
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

type Evictable<'a> = (&'a Room, &'a Subscribers, &'a AppendState, &'a Waiting, &'a Unbumped, &'a HotLog);

/// Rooms that nobody uses leave memory: idle, nothing waiting or being read, no subscriber, followers level.
fn evict_rooms(
    mut commands: Commands,
    now: Res<Now>,
    node: Res<Node>,
    mut index: ResMut<RoomIndex>,
    rooms: Query<Evictable>,
) {
    while let Some(&(at_us, entity)) = index.idle_checks.first() {
        if at_us > now.mono_us {
            break;
        }
        index.idle_checks.pop_first();
        let Ok((room, subscribers, append, waiting, unbumped, hot)) = rooms.get(entity) else { continue };
        let quiet = matches!(append, AppendState::Idle)
            && waiting.queue.is_empty()
            && subscribers.list.is_empty()
            && subscribers.asked.is_empty()
            && room.hydration != Hydration::Loading
            && unbumped.open.is_empty()
            && !unbumped.queued
            && !unbumped.level_queued;
        if !quiet || room.used_us + node.tuning.idle_us > now.mono_us {
            index.idle_checks.insert((now.mono_us + node.tuning.idle_us, entity));
            continue;
        }
        index.by_id.remove(&room.id);
        index.hot_bytes -= hot.bytes;
        index.to_sequence.remove(&entity);
        index.awaiting_users.remove(&entity);
        if let Some(due_us) = subscribers.due_us {
            index.flushes.remove(&(due_us, entity));
        }
        commands.entity(entity).try_despawn();
    }
}

/// The members of a room at this time, by id.
#[must_use]
pub fn members_now(state: &RoomState) -> BTreeMap<UserId, u8> {
    state.members.values().filter(|member| member.is_member()).map(|member| (member.user, member.role)).collect()
}
