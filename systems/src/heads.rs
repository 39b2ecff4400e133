//! Heads: asks the store, in turns, which rooms other nodes appended to, and which accounts they changed.
//!
//! Three turns: rooms in memory that someone here reads or has in their list; listed rooms that are not in memory (a bump is due to
//! members who are here); accounts in memory and the logins of sessions. Each asks for a bounded number of things at a time, and for the
//! next ones when it has the answer. What is ahead is read ([`crate::nodes`]) or brought into memory.

use crate::ingest::{Asks, ReadAnswered};
use crate::room::{Hydrated, ensure_room};
use crate::session;
use bevy_ecs::prelude::*;
use bevy_ecs::system::{SystemParam, SystemState};
use client_protocol::room::kind;
use client_protocol::{EventBody, RoomId, UserId};
use components::edge::{Found, Read};
use components::limits::{
    ACCOUNTS_INTERVAL_US, CHECKED_LOGINS_MAX, CHECKED_USERS_MAX, HEADS_ROOMS_MAX, LISTED_HEADS_INTERVAL_US,
    LOADED_HEADS_INTERVAL_US,
};
use components::nodes::{Freshness, Others};
use components::notification::{NotifyQueue, Unbumped};
use components::room::{AppendState, Hydration, ReadFor, Room, RoomIndex, RoomState, Subscribers};
use components::session::{Session, Sessions};
use components::time::{Node, Now};
use components::user::{User, UserIndex};
use std::ops::Bound::{Excluded, Unbounded};

/// When the next look for what other nodes did is due, monotonic microseconds; `None` if nobody here needs one.
pub(crate) fn next_look_us(world: &World) -> Option<u64> {
    if !world.resource::<Node>().shared_store {
        return None;
    }
    let others = world.resource::<Others>();
    let rooms = &world.resource::<RoomIndex>().by_id;
    let users = &world.resource::<UserIndex>().by_id;
    [
        others.loaded_turn.next_us(!rooms.is_empty()),
        others.listed_turn.next_us(!others.listed.is_empty()),
        others.accounts_turn.next_us(!users.is_empty()),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// What asking writes.
#[derive(SystemParam)]
pub(crate) struct Asking<'w> {
    now: Res<'w, Now>,
    others: ResMut<'w, Others>,
    asks: Asks<'w>,
}

type Looked<'a> = (&'a Room, Option<&'a RoomState>, &'a AppendState, &'a Subscribers, &'a Freshness);

pub(crate) fn ask_loaded_heads(mut asking: Asking, index: Res<RoomIndex>, rooms: Query<Looked>) {
    let now_us = asking.now.mono_us;
    let turn = asking.others.loaded_turn;
    if turn.open || turn.due_us > now_us || index.by_id.is_empty() {
        return;
    }
    let mut wanted = Vec::new();
    let mut looked = 0;
    let mut last = None;
    for (&id, &entity) in index.by_id.range((turn.after.map_or(Unbounded, Excluded), Unbounded)) {
        // Rooms that need no question are many where this node writes most: they are passed over, a bounded number at a time.
        if wanted.len() >= HEADS_ROOMS_MAX || looked >= 4 * HEADS_ROOMS_MAX {
            break;
        }
        looked += 1;
        last = Some(id);
        let Ok((room, Some(state), append, subscribers, freshness)) = rooms.get(entity) else { continue };
        let needed = !subscribers.list.is_empty() || asking.others.listed.contains_key(&id);
        let idle = room.hydration == Hydration::Ready && matches!(append, AppendState::Idle) && freshness.asked_us.is_none();
        if needed && idle && freshness.as_of_us + LOADED_HEADS_INTERVAL_US / 2 <= now_us {
            wanted.push((id, state.row.head));
        }
    }
    let whole = looked < 4 * HEADS_ROOMS_MAX && wanted.len() < HEADS_ROOMS_MAX;
    asking.others.loaded_turn.move_on(last.filter(|_| !whole), now_us, LOADED_HEADS_INTERVAL_US);
    if !wanted.is_empty() {
        asking.others.loaded_turn.open = true;
        asking.asks.ask(ReadFor::LoadedHeads, Read::Heads { rooms: wanted });
    }
}

pub(crate) fn ask_listed_heads(mut asking: Asking, index: Res<RoomIndex>, rooms: Query<&Room>) {
    let now_us = asking.now.mono_us;
    let turn = asking.others.listed_turn;
    if turn.open || turn.due_us > now_us || asking.others.listed.is_empty() {
        return;
    }
    // Those in memory have their own turn; one that could not be brought in is tried again.
    let is_here = |id: &RoomId| {
        let room = index.by_id.get(id).and_then(|entity| rooms.get(*entity).ok());
        room.is_some_and(|room| !matches!(room.hydration, Hydration::Failed { .. }))
    };
    let after = asking.others.listed.range((turn.after.map_or(Unbounded, Excluded), Unbounded));
    let some: Vec<_> = after.take(HEADS_ROOMS_MAX).map(|(id, listed)| (*id, listed.head)).collect();
    let last = some.last().map(|(id, _)| *id).filter(|_| some.len() >= HEADS_ROOMS_MAX);
    asking.others.listed_turn.move_on(last, now_us, LISTED_HEADS_INTERVAL_US);
    let wanted: Vec<_> = some.into_iter().filter(|(id, _)| !is_here(id)).collect();
    if !wanted.is_empty() {
        asking.others.listed_turn.open = true;
        asking.asks.ask(ReadFor::ListedHeads, Read::Heads { rooms: wanted });
    }
}

pub(crate) fn ask_accounts(
    mut asking: Asking,
    index: Res<UserIndex>,
    users: Query<(&User, Option<&Sessions>)>,
    sessions: Query<&Session>,
) {
    let now_us = asking.now.mono_us;
    let turn = asking.others.accounts_turn;
    if turn.open || turn.due_us > now_us || index.by_id.is_empty() {
        return;
    }
    let (mut accounts, mut logins) = (Vec::new(), Vec::new());
    let mut last: Option<UserId> = None;
    let mut whole = true;
    for (&id, &entity) in index.by_id.range((turn.after.map_or(Unbounded, Excluded), Unbounded)) {
        let Ok((user, here)) = users.get(entity) else { continue };
        let here = here.map_or(&[][..], Sessions::entities);
        if accounts.len() >= CHECKED_USERS_MAX || logins.len() + here.len() > CHECKED_LOGINS_MAX {
            whole = false;
            break;
        }
        last = Some(id);
        accounts.extend(user.account.flatten());
        logins.extend(here.iter().filter_map(|session| sessions.get(*session).ok()).map(|session| session.login));
    }
    logins.sort_unstable();
    logins.dedup();
    asking.others.accounts_turn.move_on(last.filter(|_| !whole), now_us, ACCOUNTS_INTERVAL_US);
    if !accounts.is_empty() {
        asking.others.accounts_turn.open = true;
        asking.asks.ask(ReadFor::Accounts, Read::Accounts { accounts, logins });
    }
}

/// Rooms that go on: those in memory are read, others are brought in. A question that failed is asked again in the next turn.
pub(crate) fn take_heads(world: &mut World, answers: &mut SystemState<MessageReader<ReadAnswered>>) {
    let mut ahead = Vec::new();
    let (mut loaded, mut listed) = (false, false);
    let Ok(mut answered) = answers.get_mut(world) else { return };
    for answer in answered.read() {
        match answer.purpose {
            ReadFor::LoadedHeads => loaded = true,
            ReadFor::ListedHeads => listed = true,
            _ => continue,
        }
        if let Found::Heads(heads) = &answer.found {
            ahead.extend(heads);
        }
    }
    let mut others = world.resource_mut::<Others>();
    others.loaded_turn.open &= !loaded;
    others.listed_turn.open &= !listed;
    for (id, head) in ahead {
        let here = world.resource::<RoomIndex>().by_id.get(&id).copied();
        let known = here.and_then(|entity| world.get::<RoomState>(entity)).map(|state| state.row.head);
        match (here, known) {
            (Some(entity), Some(known)) if known < head => {
                world.resource_mut::<RoomIndex>().to_look.insert(entity);
            }
            (Some(_), Some(_)) => {}
            // Nobody may have it in their list any more.
            _ if world.resource::<Others>().listed.contains_key(&id) => {
                ensure_room(world, id);
            }
            _ => {}
        }
    }
}

/// Accounts that other nodes changed, and logins that they ended.
pub(crate) fn take_accounts(world: &mut World, answers: &mut SystemState<MessageReader<ReadAnswered>>) {
    let mut changed = Vec::new();
    let mut ended = Vec::new();
    let mut answer_came = false;
    let Ok(mut answered) = answers.get_mut(world) else { return };
    for answer in answered.read().filter(|answer| answer.purpose == ReadFor::Accounts) {
        answer_came = true;
        if let Found::Accounts(rows, logins) = &answer.found {
            changed.extend(rows);
            ended.extend(logins);
        }
    }
    if answer_came {
        world.resource_mut::<Others>().accounts_turn.open = false;
    }
    for row in changed {
        session::change_account(world, row);
    }
    for login in ended {
        session::end_login(world, login);
    }
}

/// Rooms that came into memory: members who are here hear of what is new to them.
pub(crate) fn greet_rooms(
    mut hydrated: MessageReader<Hydrated>,
    now: Res<Now>,
    mut others: ResMut<Others>,
    mut rooms: Query<(&Room, &RoomState, &mut Unbumped)>,
    mut queue: ResMut<NotifyQueue>,
) {
    for Hydrated { room: entity, tail } in hydrated.read() {
        let Ok((room, state, mut unbumped)) = rooms.get_mut(*entity) else { continue };
        if state.row.kind == kind::SELF {
            continue;
        }
        let Some(listed) = others.listed.get_mut(&room.id) else { continue };
        let known = std::mem::replace(&mut listed.head, state.row.head);
        if known >= state.row.head {
            continue;
        }
        for record in tail.iter().filter(|record| record.event.head.seq > known) {
            if let EventBody::MessagePosted(posted) = &record.event.body {
                unbumped.mentioned.extend(posted.mentions.iter().copied());
            }
        }
        if !unbumped.queued {
            unbumped.queued = true;
            queue.bumps.insert((now.mono_us, *entity));
        }
    }
}
