//! Room: rooms come into memory when someone needs them and leave when nobody does; who reads them.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `Room` | `ensure_room`, `hydrate_rooms`, `evict_rooms` | everyone |
//! | `RoomState` | `hydrate_rooms`, `delivery` | `sequence`, `notification`, `presence` |
//! | `Subscribers` | `change_subscriptions`, `admit_subscribers`, `flush`, `delivery` | `flush`, `presence`, `notification` |

use crate::catch_up::drop_pages;
use crate::chat::Submission;
use crate::delivery::Settled;
use crate::hot_log;
use crate::ingest::{ReadAnswered, ask_store};
use crate::schedule::{Feature, In, Stage, Tick};
use crate::subscription::{SubscriptionChanged, admit_subscribers, change_subscriptions};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use client_protocol::limits::{FIRST_MEMBERS_MAX, ROOM_NAME_BYTES_MAX, ROOM_TOPIC_BYTES_MAX};
use client_protocol::room::{
    CommandHead, CreateRoom, MemberChanged, RoleChanged, RoomCreated, SettingsChanged, SettingsTail, kind, role,
};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, EventBody, RoomId, UserId};
use components::catch_up::Pages;
use components::edge::{Found, Read, Record, RoomSnapshot};
use components::limits::{EMPTY_ROOM_IDLE_US, HOT_LOG_BYTES_MAX, OTHERS_FOLLOW_US, ROOM_RETRY_US};
use components::nodes::{Freshness, Others};
use components::notification::{NotifyQueue, Unbumped};
use components::room::{AppendState, HotLog, Hydration, ReadFor, Room, RoomIndex, RoomState, Subscribers, Waiting};
use components::rows::RoomRow;
use components::time::{Node, Now};
use std::collections::BTreeMap;

/// Rooms in memory and their readers.
#[derive(Debug)]
pub struct RoomPlugin;

impl Plugin for RoomPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<RoomIndex>()
            .add_message::<SubscriptionChanged>()
            .add_message::<Hydrated>()
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
                room.asked_us = now_us;
                room.hydration = Hydration::Loading;
            }
        }
        if ask {
            ask_for_room(world, entity, id);
        }
        return entity;
    }
    // The first look comes early: somebody may have asked for what is not there, and that must not stay for long.
    let idle_us = EMPTY_ROOM_IDLE_US.min(world.resource::<Node>().tuning.idle_us);
    let entity = world.spawn(Room { id, used_us: now_us, asked_us: now_us, hydration: Hydration::Loading }).id();
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
    ask_store(world, ReadFor::Room(entity), Read::Room { room });
}

/// A room came into memory, on a store that other nodes write to as well.
#[derive(Message, Debug)]
pub(crate) struct Hydrated {
    /// The room.
    pub(crate) room: Entity,
    /// Its last events.
    pub(crate) tail: Vec<Record>,
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
    Ok((RoomState { row, members }, hot_log::without_erased(snapshot.tail.clone())))
}

/// The first event that followers have not seen, if the store did not bring it: they read from there on in pages.
fn not_brought(state: &RoomState, tail: &[Record]) -> Option<u64> {
    let next = state.row.notified_seq + 1;
    let first = tail.first().map_or(state.row.head + 1, |record| record.event.head.seq);
    (next < first && state.row.kind != kind::SELF).then_some(next)
}

type Hydratable =
    (&'static mut Room, &'static mut HotLog, &'static mut Unbumped, &'static mut Waiting, &'static mut Freshness);

#[allow(clippy::too_many_arguments)] // A system: its arguments are what it reads and writes.
fn hydrate_rooms(
    mut commands: Commands,
    mut answers: MessageReader<ReadAnswered>,
    now: Res<Now>,
    node: Res<Node>,
    mut rooms: Query<Hydratable>,
    mut index: ResMut<RoomIndex>,
    mut settled: MessageWriter<Settled>,
    mut hydrated: MessageWriter<Hydrated>,
    mut notify: ResMut<NotifyQueue>,
) {
    for answer in answers.read() {
        let ReadFor::Room(entity) = answer.purpose else { continue };
        let Ok((mut room, mut hot, mut unbumped, mut waiting, mut freshness)) = rooms.get_mut(entity) else { continue };
        index.to_sequence.insert(entity);
        let rebuilt = match &answer.found {
            Found::Room(snapshot) => rebuild(room.id, snapshot),
            _ => Err("the store is unavailable"),
        };
        match rebuilt {
            Ok((state, tail)) => {
                room.hydration = Hydration::Ready;
                unbumped.level_seq = state.row.notified_seq;
                unbumped.failed_from = not_brought(&state, &tail);
                let swept = std::mem::take(&mut unbumped.swept);
                waiting.conflicts = 0;
                waiting.bring_back();
                freshness.as_of_us = room.asked_us;
                hot_log::forget(&hot, entity, &mut index);
                *hot = HotLog::default();
                let leave = node.shared_store && !swept && unbumped.failed_from.is_none() && state.row.kind != kind::SELF;
                let missed: Vec<_> = tail.iter().filter(|r| r.event.head.seq > state.row.notified_seq).cloned().collect();
                if node.shared_store {
                    hydrated.write(Hydrated { room: entity, tail: tail.clone() });
                }
                // Where all hot logs together are at their bound, readers of this one read pages of the store.
                let newest = hot_log::newest(tail);
                let bytes: usize = newest.iter().map(|record| record.bytes.len()).sum();
                if index.hot_bytes + bytes <= HOT_LOG_BYTES_MAX {
                    newest.into_iter().for_each(|record| hot_log::push(&mut hot, record));
                    hot_log::note_growth(&mut hot, entity, &mut index);
                }
                index.hot_bytes += hot.bytes;
                commands.entity(entity).insert(state);
                if missed.is_empty() {
                    continue;
                }
                if leave {
                    // Another node may be at it.
                    unbumped.failed_from = missed.first().map(|record| record.event.head.seq);
                    unbumped.left_until_us = now.mono_us + OTHERS_FOLLOW_US;
                    if !unbumped.level_queued {
                        unbumped.level_queued = true;
                        notify.levels.insert((unbumped.left_until_us, entity));
                    }
                } else {
                    // Followers that had not finished before the last stop finish now.
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

type Evictable<'a> =
    (&'a Room, Option<&'a RoomState>, &'a Subscribers, &'a AppendState, &'a Waiting, &'a Unbumped, &'a HotLog);

/// Rooms that nobody uses leave memory: idle, nothing waiting or being read, no subscriber, followers level.
fn evict_rooms(
    mut commands: Commands,
    now: Res<Now>,
    node: Res<Node>,
    mut index: ResMut<RoomIndex>,
    mut pages: ResMut<Pages>,
    mut others: ResMut<Others>,
    rooms: Query<Evictable>,
) {
    while let Some(&(at_us, entity)) = index.idle_checks.first() {
        if at_us > now.mono_us {
            break;
        }
        index.idle_checks.pop_first();
        let Ok((room, state, subscribers, append, waiting, unbumped, hot)) = rooms.get(entity) else { continue };
        let empty = state.is_some_and(|state| state.row.head == 0);
        let idle_us = if empty { EMPTY_ROOM_IDLE_US.min(node.tuning.idle_us) } else { node.tuning.idle_us };
        let quiet = matches!(append, AppendState::Idle)
            && waiting.queue.is_empty()
            && waiting.aside.is_empty()
            && subscribers.list.is_empty()
            && subscribers.asked.is_empty()
            && room.hydration != Hydration::Loading
            && unbumped.open.is_empty()
            && !unbumped.queued
            && !unbumped.level_queued;
        if !quiet || room.used_us + idle_us > now.mono_us {
            index.idle_checks.insert((now.mono_us + idle_us, entity));
            continue;
        }
        index.by_id.remove(&room.id);
        if let (Some(listed), Some(state)) = (others.listed.get_mut(&room.id), state) {
            listed.head = state.row.head;
        }
        hot_log::forget(hot, entity, &mut index);
        index.to_sequence.remove(&entity);
        index.awaiting_users.remove(&entity);
        if let Some(due_us) = subscribers.due_us {
            index.flushes.remove(&(due_us, entity));
        }
        drop_pages(&mut pages, entity);
        commands.entity(entity).try_despawn();
    }
}

/// The members of a room at this time, by id.
#[must_use]
pub fn members_now(state: &RoomState) -> BTreeMap<UserId, u8> {
    state.members.values().filter(|member| member.is_member()).map(|member| (member.user, member.role)).collect()
}
