//! Nodes: other nodes append to the same logs. What they did is looked for, and taken as the log of a conflict is.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `Freshness` | `settle_appends`, `take_missed`, `ask_what_is_missed`, `hydrate_rooms`, `sequence` | `sequence`, `subscription`, `notification` |
//!
//! An append says by itself whether its room is as this node knows it, a refusal does not: so what would be refused, told that it is so
//! already, or reset, waits until the store was asked for what follows the head. All else is found by asking for heads, in turns
//! ([`crate::heads`]). What is not here: which node is which, and any agreement between them; the store decides who was first.

use crate::chat::Submitted;
use crate::delivery::{SettledRoom, SettledRoomItem, Settling};
use crate::ingest::{Asks, ReadAnswered};
use crate::notification::own_log;
use crate::outbox::Outbox;
use crate::schedule::{Feature, In, Stage, Tick};
use crate::{heads, listing};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use client_protocol::Code;
use client_protocol::session::Reply;
use components::chat::Actor;
use components::edge::{AppendThen, Found, Origin, Read};
use components::limits::{APPEND_BUSY_US, APPEND_LONG_REST, APPEND_YIELD_US, CONTENDED_US, LOOKUPS_MAX, PAGE_EVENTS};
use components::nodes::{FollowUp, Freshness, Others};
use components::room::{AppendState, Hydration, ReadFor, Room, RoomIndex, RoomState};
use components::time::{Node, Now};

/// Other nodes on the same store. Does nothing where there are none.
#[derive(Debug)]
pub struct NodesPlugin;

impl Plugin for NodesPlugin {
    fn build(&self, app: &mut App) {
        // `take_missed` runs with `delivery::settle_appends`: both take what is new in a room's log.
        app.init_resource::<Others>()
            .add_systems(
                Tick,
                (heads::take_heads, heads::take_accounts)
                    .chain()
                    .run_if(shares_store)
                    .in_set(In(Stage::Ingest, Feature::Nodes)),
            )
            .add_systems(
                Tick,
                (attach_lookups, heads::greet_rooms, listing::list_rooms)
                    .chain()
                    .run_if(shares_store)
                    .in_set(In(Stage::Hydrate, Feature::Nodes)),
            )
            .add_systems(Tick, ask_what_is_missed.run_if(shares_store).in_set(In(Stage::Persist, Feature::Nodes)))
            .add_systems(Tick, listing::follow_lists.run_if(shares_store).in_set(In(Stage::Notify, Feature::Nodes)))
            .add_systems(
                Tick,
                (heads::ask_loaded_heads, heads::ask_listed_heads, heads::ask_accounts)
                    .chain()
                    .run_if(shares_store)
                    .in_set(In(Stage::Retire, Feature::Nodes)),
            );
    }
}

fn shares_store(node: Res<Node>) -> bool {
    node.shared_store
}

/// An append of a room was settled: what that says of how well the room is known, and whether others have a turn now.
pub(crate) fn after_append(then: &AppendThen, now_us: u64, room: &mut SettledRoomItem<'_, '_>, index: &mut RoomIndex) {
    let freshness = &mut *room.freshness;
    freshness.settled_us = now_us;
    if *then != AppendThen::Done {
        return;
    }
    // The log ended where this node thought, at some time after it was asked.
    freshness.as_of_us = freshness.as_of_us.max(freshness.appended_us);
    // Who wins with a fast store, and always has more to append, would win for ever.
    let contended = freshness.others_us.is_some_and(|at_us| at_us + CONTENDED_US > now_us);
    let busy_us = if contended { APPEND_BUSY_US.0 } else { APPEND_BUSY_US.1 };
    if freshness.busy_since_us + busy_us <= now_us {
        let (least, most) = APPEND_YIELD_US;
        let turn_us = match contended {
            // Whoever could not use a short turn may be able to use a longer one.
            true => most.min(least << freshness.unused_turns.min(8)),
            false if freshness.unused_turns % APPEND_LONG_REST == APPEND_LONG_REST - 1 => most,
            false => least,
        };
        freshness.unused_turns = freshness.unused_turns.wrapping_add(1);
        freshness.held_until_us = now_us + turn_us;
        index.held.insert((freshness.held_until_us, room.entity));
    }
}

/// Asks for what follows the heads of rooms that may have gone on.
fn ask_what_is_missed(
    now: Res<Now>,
    mut index: ResMut<RoomIndex>,
    mut rooms: Query<(&Room, &RoomState, &AppendState, &mut Freshness)>,
    mut asks: Asks,
) {
    for entity in std::mem::take(&mut index.to_look) {
        let Ok((room, state, append, mut freshness)) = rooms.get_mut(entity) else { continue };
        // The answer to an open append says the same, and that to an open question comes first.
        if room.hydration != Hydration::Ready || !matches!(append, AppendState::Idle) || freshness.asked_us.is_some() {
            continue;
        }
        freshness.asked_us = Some(now.mono_us);
        let first_seq = state.row.head + 1;
        let read = Read::Page { room: room.id, first_seq, last_seq: state.row.head + PAGE_EVENTS };
        asks.ask(ReadFor::Missed(entity), read);
    }
}

/// Takes what other nodes appended.
pub(crate) fn take_missed(
    mut answers: MessageReader<ReadAnswered>,
    mut settling: Settling,
    mut rooms: Query<SettledRoom>,
    actors: Query<&Actor>,
    others: Res<Others>,
    mut index: ResMut<RoomIndex>,
) {
    for answer in answers.read() {
        let ReadFor::Missed(entity) = answer.purpose else { continue };
        let Ok(mut room) = rooms.get_mut(entity) else { continue };
        let asked_us = room.freshness.asked_us.take().unwrap_or_default();
        if room.room.hydration != Hydration::Ready {
            continue;
        }
        let Found::Page(records) = &answer.found else {
            refuse_aside(&mut room, &actors, &mut settling);
            continue;
        };
        // These events may be those of the open append; its answer says whose they are, and brings back what was set aside.
        if !matches!(*room.append, AppendState::Idle) {
            continue;
        }
        let head = room.state.row.head;
        let missed: Vec<_> = records.iter().filter(|record| record.event.head.seq > head).cloned().collect();
        if !missed.is_empty() && others.listed.contains_key(&room.room.id) {
            // It is of use to those who have it in their lists.
            room.room.used_us = settling.now.mono_us;
        }
        settling.take(missed, &mut room);
        if (records.len() as u64) < PAGE_EVENTS {
            room.freshness.as_of_us = room.freshness.as_of_us.max(asked_us);
            room.waiting.bring_back();
            index.to_sequence.insert(entity);
        } else {
            index.to_look.insert(entity);
        }
    }
}

/// Nobody can say whether these would be refused.
fn refuse_aside(room: &mut SettledRoomItem<'_, '_>, actors: &Query<&Actor>, settling: &mut Settling<'_, '_>) {
    room.waiting.aside_users.clear();
    for message in room.waiting.aside.drain(..) {
        let retry = actors.get(message).is_ok_and(|actor| actor.retry);
        let reply = match retry {
            true => Reply::refused(Code::OutcomeUnknown, "the store is unavailable"),
            false => Reply::retry_after(Code::Unavailable, 1_000),
        };
        settling.finish(message, reply);
    }
}

/// Does what follows from an event, unless it is found to be done: another node may have been first.
pub(crate) fn follow_up_once(others: &mut Others, asks: &mut Asks, follow_up: FollowUp) -> Option<Submitted> {
    if others.lookups.len() >= LOOKUPS_MAX {
        // The store finds its key instead.
        return Some(submitted(follow_up));
    }
    let room = client_protocol::RoomId::self_log(follow_up.user);
    let read = Read::Key { room, actor: follow_up.user, key: follow_up.key };
    let token = asks.ask(ReadFor::FollowUp, read);
    others.lookups.insert(token, follow_up);
    None
}

fn submitted(follow_up: FollowUp) -> Submitted {
    let origin = Origin::World { follows: Some(follow_up.from) };
    own_log(origin, follow_up.user, follow_up.key, follow_up.body, None)
}

fn attach_lookups(
    mut answers: MessageReader<ReadAnswered>,
    mut others: ResMut<Others>,
    mut outbox: ResMut<Outbox>,
    mut submit: MessageWriter<Submitted>,
) {
    for answer in answers.read().filter(|answer| answer.purpose == ReadFor::FollowUp) {
        let Some(follow_up) = others.lookups.remove(&answer.token) else { continue };
        let (room, seq) = follow_up.from;
        match &answer.found {
            Found::Key(Some(_)) => outbox.followed.push((room, seq, true)),
            Found::Key(None) => {
                submit.write(submitted(follow_up));
            }
            _ => outbox.followed.push((room, seq, false)),
        }
    }
}
