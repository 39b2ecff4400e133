//! Notification: read marks. What follows from a room's events is in [`crate::follow`].
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `PendingMark` | `accept_marks`, `attach_mark_reads` | `decide_marks` |
//! | `ReadMarks` | `decide_marks`, `store_marks` | `user::evict_users` |

use crate::chat::{Submission, Submitted};
use crate::follow;
use crate::ingest::{From, ReadAnswered, ask_store};
use crate::outbox::Outbox;
use crate::room::ensure_room;
use crate::rules::visible_until;
use crate::schedule::{Feature, In, Stage, Tick};
use crate::user::ensure_user;
use bevy_app::{App, Plugin};
use bevy_ecs::message::Messages;
use bevy_ecs::prelude::*;
use client_protocol::limits::REQUEST_TIMEOUT_MS;
use client_protocol::notification::ReadMarked;
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, EventBody, Key, RoomId, UserId};
use components::edge::{Found, Levels, Origin, Read};
use components::limits::READ_MARK_INTERVAL_US;
use components::nodes::Freshness;
use components::notification::{NotifyQueue, PendingMark, ReadMarks};
use components::room::{Hydration, ReadFor, Room, RoomIndex, RoomState};
use components::time::{Node, Now};
use components::user::UserIndex;

/// A read mark came.
#[derive(Message, Debug, Clone, Copy)]
pub struct MarkAsked {
    /// Who.
    pub from: From,
    /// The room.
    pub room: RoomId,
    /// Read up to here.
    pub seq: u64,
}

/// Read marks, and followers of rooms.
#[derive(Debug)]
pub struct NotificationPlugin;

impl Plugin for NotificationPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<NotifyQueue>()
            .init_resource::<Levels>()
            .add_message::<MarkAsked>()
            .add_systems(
                Tick,
                (attach_mark_reads, accept_marks, decide_marks, follow::attach_followed)
                    .chain()
                    .in_set(In(Stage::Hydrate, Feature::Notification)),
            )
            .add_systems(
                Tick,
                (follow::follow_rooms, follow::count_followed, store_marks, follow::send_bumps, follow::level_rooms)
                    .chain()
                    .in_set(In(Stage::Notify, Feature::Notification)),
            );
    }
}

/// Marks wait as entities of their own: for their room, and for the message number at their seq.
fn accept_marks(world: &mut World) {
    let asked: Vec<_> = world.resource_mut::<Messages<MarkAsked>>().drain().collect();
    let came_us = world.resource::<Now>().mono_us;
    let deadline_us = came_us + REQUEST_TIMEOUT_MS * 1_000;
    for MarkAsked { from, room, seq } in asked {
        if let Err(refusal) = crate::chat::charge(world, from) {
            world.resource_mut::<Outbox>().reply(from.origin, refusal);
            continue;
        }
        ensure_room(world, room);
        let (origin, user) = (from.origin, from.user);
        world.spawn(PendingMark { origin, user, room, seq, asked: false, message_no: None, came_us, deadline_us });
    }
}

fn attach_mark_reads(mut answers: MessageReader<ReadAnswered>, mut marks: Query<&mut PendingMark>) {
    for answer in answers.read() {
        let ReadFor::Mark(entity) = answer.purpose else { continue };
        let Ok(mut mark) = marks.get_mut(entity) else { continue };
        match &answer.found {
            Found::Target(Some(target)) => mark.message_no = Some(target.event.head.message_no),
            // Nothing there, or nobody can say: the deadline ends it.
            _ => mark.deadline_us = 0,
        }
    }
}

/// What becomes of a waiting mark.
enum MarkStep {
    Wait,
    /// For what other nodes may have appended to the room.
    Look(Entity),
    Ask(u64),
    Refuse(Reply),
    Set {
        seq: u64,
        message_no: u64,
    },
}

/// A room as a mark sees it: whether it may be older than the mark, for one.
struct Marked<'a> {
    entity: Entity,
    room: &'a Room,
    state: Option<&'a RoomState>,
    stale: bool,
}

fn mark_step(mark: &PendingMark, now_us: u64, marked: Option<Marked<'_>>) -> MarkStep {
    if mark.deadline_us <= now_us {
        return MarkStep::Refuse(Reply::retry_after(Code::Unavailable, 1_000));
    }
    let unavailable = MarkStep::Refuse(Reply::retry_after(Code::Unavailable, 1_000));
    let Some(Marked { entity, room, state, stale }) = marked else { return unavailable };
    let state = match (room.hydration, state) {
        (Hydration::Ready, Some(state)) => state,
        (Hydration::Loading, _) => return MarkStep::Wait,
        _ => return unavailable,
    };
    let last = visible_until(state.members.get(&mark.user));
    if stale && last.is_none_or(|last| mark.seq > last.min(state.row.head)) {
        return MarkStep::Look(entity);
    }
    let Some(last) = last else {
        return MarkStep::Refuse(Reply::refused(Code::NotFound, ""));
    };
    let seq = mark.seq.min(last);
    if seq >= state.row.head {
        return MarkStep::Set { seq: state.row.head, message_no: state.row.message_no };
    }
    match mark.message_no {
        Some(message_no) => MarkStep::Set { seq, message_no },
        None if seq == 0 => MarkStep::Set { seq: 0, message_no: 0 },
        None if mark.asked => MarkStep::Wait,
        None => MarkStep::Ask(seq),
    }
}

fn decide_marks(world: &mut World, marks: &mut QueryState<(Entity, &PendingMark)>) {
    let now_us = world.resource::<Now>().mono_us;
    let shared = world.resource::<Node>().shared_store;
    let waiting: Vec<Entity> = marks.iter(world).map(|(entity, _)| entity).collect();
    for entity in waiting {
        let Some(mark) = world.get::<PendingMark>(entity) else { continue };
        let room = world.resource::<RoomIndex>().by_id.get(&mark.room).copied();
        let marked = room.and_then(|entity| {
            let stale = shared && world.get::<Freshness>(entity)?.as_of_us < mark.came_us;
            Some(Marked { entity, room: world.get(entity)?, state: world.get(entity), stale })
        });
        let (origin, user, id, deadline_us) = (mark.origin, mark.user, mark.room, mark.deadline_us);
        match mark_step(mark, now_us, marked) {
            MarkStep::Wait => continue,
            MarkStep::Look(room) => {
                world.resource_mut::<RoomIndex>().to_look.insert(room);
                continue;
            }
            MarkStep::Ask(seq) => {
                ask_for_mark(world, entity, seq);
                continue;
            }
            MarkStep::Refuse(reply) => world.resource_mut::<Outbox>().reply(origin, reply),
            MarkStep::Set { seq, message_no } => set_mark(world, origin, user, id, (seq, message_no), deadline_us),
        }
        world.despawn(entity);
    }
}

fn ask_for_mark(world: &mut World, entity: Entity, seq: u64) {
    let Some(mut mark) = world.get_mut::<PendingMark>(entity) else { return };
    mark.asked = true;
    let read = Read::Target { room: mark.room, seq };
    ask_store(world, ReadFor::Mark(entity), read);
}

/// The first mark is stored at once and answered when it is durable; those that follow within the interval are merged, answered at once
/// and stored when it is over: a mark is worth less than the writes that each of them would cost.
fn set_mark(world: &mut World, origin: Origin, user: UserId, room: RoomId, mark: (u64, u64), deadline_us: u64) {
    let now_us = world.resource::<Now>().mono_us;
    let entity = ensure_user(world, user);
    let Some(mut marks) = world.get_mut::<ReadMarks>(entity) else { return };
    let due_us = marks.stored_us.map(|stored_us| stored_us + READ_MARK_INTERVAL_US);
    match due_us {
        // REST answers with what is durable, always.
        Some(due_us) if due_us > now_us && !matches!(origin, Origin::Rest { .. }) => {
            let pending = marks.pending.entry(room).or_default();
            *pending = (*pending).max(mark);
            let merged = *pending;
            world.resource_mut::<NotifyQueue>().marks.insert((due_us, user));
            world.resource_mut::<Outbox>().reply(origin, Reply::done(merged.0));
        }
        _ => {
            marks.stored_us = Some(now_us);
            let mark = marks.pending.remove(&room).map_or(mark, |pending| pending.max(mark));
            let submitted = mark_submission(world, origin, user, room, mark, Some(deadline_us));
            world.resource_mut::<Messages<Submitted>>().write(submitted);
        }
    }
}

fn mark_submission(
    world: &World,
    origin: Origin,
    user: UserId,
    room: RoomId,
    (seq, message_no): (u64, u64),
    deadline_us: Option<u64>,
) -> Submitted {
    let epoch = world.resource::<Node>().epoch;
    let body = EventBody::ReadMarked(ReadMarked { room, epoch, seq, message_no, tail: EmptyTail::default() });
    own_log(origin, user, Key::derived(b'm', room, seq), body, deadline_us)
}

/// A command to the own log of a user.
pub(crate) fn own_log(origin: Origin, user: UserId, key: Key, body: EventBody, deadline_us: Option<u64>) -> Submitted {
    Submitted {
        from: From { origin, user, session: None },
        submission: Submission { room: RoomId::self_log(user), key, retry: false, body, deadline_us },
    }
}

/// Stores the marks whose interval is over.
fn store_marks(world: &mut World) {
    let now_us = world.resource::<Now>().mono_us;
    while let Some(&(due_us, user)) = world.resource::<NotifyQueue>().marks.first() {
        if due_us > now_us {
            break;
        }
        world.resource_mut::<NotifyQueue>().marks.pop_first();
        let Some(entity) = world.resource::<UserIndex>().by_id.get(&user).copied() else { continue };
        let Some(mut marks) = world.get_mut::<ReadMarks>(entity) else { continue };
        marks.stored_us = Some(now_us);
        for (room, mark) in std::mem::take(&mut marks.pending) {
            let submitted = mark_submission(world, Origin::World { follows: None }, user, room, mark, None);
            world.resource_mut::<Messages<Submitted>>().write(submitted);
        }
    }
}
