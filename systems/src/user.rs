//! User: accounts come into memory when someone needs them and leave when nobody does.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `User` | `ensure_user`, `set_account`, `hydrate_users`, `count_rooms` | `sequence`, `ingest` |
//! | `UserIndex` | `ensure_user`, `evict_users` | everyone who has an id and wants the entity |

use crate::delivery::Settled;
use crate::ingest::{ReadAnswered, ask_store};
use crate::rules::enters;
use crate::schedule::{Feature, In, Stage, Tick};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use client_protocol::{EventBody, UserId};
use components::edge::{Found, Read};
use components::notification::ReadMarks;
use components::room::{ReadFor, RoomIndex};
use components::rows::AccountRow;
use components::session::Sessions;
use components::time::{Node, Now};
use components::user::{RateBudget, User, UserIndex};

/// Users in memory.
#[derive(Debug)]
pub struct UserPlugin;

impl Plugin for UserPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<UserIndex>()
            .add_systems(Tick, hydrate_users.in_set(In(Stage::Hydrate, Feature::User)))
            .add_systems(Tick, count_rooms.in_set(In(Stage::Notify, Feature::User)))
            .add_systems(Tick, evict_users.in_set(In(Stage::Retire, Feature::User)));
    }
}

/// The entity of a user, spawned if need be; its account is then asked of the store.
pub fn ensure_user(world: &mut World, user: UserId) -> Entity {
    let now_us = world.resource::<Now>().mono_us;
    if let Some(&entity) = world.resource::<UserIndex>().by_id.get(&user) {
        if let Some(mut found) = world.get_mut::<User>(entity) {
            found.used_us = now_us;
        }
        return entity;
    }
    let entity = world.spawn(User { user, account: None, rooms: 0, used_us: now_us }).id();
    world.resource_mut::<UserIndex>().by_id.insert(user, entity);
    look_again(world, entity);
    ask_store(world, ReadFor::User(entity), Read::Account { user });
    entity
}

/// Tells the world what an account is now.
pub(crate) fn set_account(world: &mut World, row: AccountRow) {
    let entity = ensure_user(world, row.user);
    if let Some(mut user) = world.get_mut::<User>(entity) {
        user.account = Some(Some(row));
    }
}

/// Has a user looked at after the idle time.
pub(crate) fn look_again(world: &mut World, entity: Entity) {
    let at_us = world.resource::<Now>().mono_us + world.resource::<Node>().tuning.idle_us;
    let Some(user) = world.get::<User>(entity).map(|user| user.user) else { return };
    world.resource_mut::<UserIndex>().idle_checks.insert((at_us, user));
}

/// Takes a token from a bucket.
/// # Errors
///
/// The time until there is one, in milliseconds.
pub fn take_token(budget: &mut RateBudget, now_us: u64, rate: f64, burst: f64) -> Result<(), u64> {
    if budget.at_us == 0 {
        budget.tokens = burst;
    } else {
        let elapsed_s = now_us.saturating_sub(budget.at_us) as f64 / 1e6;
        budget.tokens = (budget.tokens + elapsed_s * rate).min(burst);
    }
    budget.at_us = now_us.max(1);
    if budget.tokens >= 1.0 {
        budget.tokens -= 1.0;
        return Ok(());
    }
    Err(((1.0 - budget.tokens) / rate * 1e3).ceil() as u64)
}

fn hydrate_users(
    mut commands: Commands,
    mut answers: MessageReader<ReadAnswered>,
    mut users: Query<&mut User>,
    mut index: ResMut<UserIndex>,
    mut rooms: ResMut<RoomIndex>,
) {
    let mut any = false;
    for answer in answers.read() {
        let ReadFor::User(entity) = answer.purpose else { continue };
        let Ok(mut user) = users.get_mut(entity) else { continue };
        any = true;
        if let Found::Account(row, rooms) = &answer.found {
            user.rooms = *rooms;
            // What an edge said meanwhile is newer.
            user.account = user.account.or(Some(*row));
        } else if user.account.is_none() {
            // Whoever waits for it finds nobody and is told that the store is unavailable.
            index.by_id.remove(&user.user);
            commands.entity(entity).try_despawn();
        }
    }
    if any {
        let waiting = std::mem::take(&mut rooms.awaiting_users);
        rooms.to_sequence.extend(waiting);
    }
}

/// Keeps count of the rooms of users in memory.
fn count_rooms(mut settled: MessageReader<Settled>, index: Res<UserIndex>, mut users: Query<&mut User>) {
    for record in settled.read().filter(|settled| !settled.replayed).flat_map(|settled| &settled.records) {
        let head = &record.event.head;
        let gone = match &record.event.body {
            // One who was no member may be banned too: the count is then one too low until the user is hydrated again.
            EventBody::MemberLeft(changed) | EventBody::MemberKicked(changed) | EventBody::MemberBanned(changed) => {
                Some(changed.user)
            }
            EventBody::UserErased(erased) => Some(erased.user),
            _ => None,
        };
        let user_of = |user: &UserId| index.by_id.get(user).copied();
        for entity in enters(&record.event.body, head.actor).filter_map(|user| user_of(&user)) {
            if let Ok(mut user) = users.get_mut(entity) {
                user.rooms += 1;
            }
        }
        if let Some(entity) = gone.as_ref().and_then(user_of)
            && let Ok(mut user) = users.get_mut(entity)
        {
            user.rooms = user.rooms.saturating_sub(1);
        }
    }
}

/// Users whom nobody has needed for the idle time leave memory.
fn evict_users(
    mut commands: Commands,
    now: Res<Now>,
    node: Res<Node>,
    mut index: ResMut<UserIndex>,
    users: Query<(&User, Option<&Sessions>, &ReadMarks)>,
) {
    while let Some(&(at_us, id)) = index.idle_checks.first() {
        if at_us > now.mono_us {
            break;
        }
        index.idle_checks.pop_first();
        let Some(&entity) = index.by_id.get(&id) else { continue };
        let Ok((user, sessions, marks)) = users.get(entity) else { continue };
        if sessions.is_some_and(|sessions| !sessions.entities().is_empty()) {
            // `session::close` has it looked at again.
            continue;
        }
        let idle_us = node.tuning.idle_us;
        if user.used_us + idle_us > now.mono_us || !marks.pending.is_empty() {
            index.idle_checks.insert((now.mono_us + idle_us, id));
            continue;
        }
        index.by_id.remove(&id);
        commands.entity(entity).try_despawn();
    }
}
