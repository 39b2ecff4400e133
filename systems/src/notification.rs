//! Notification: followers of room logs. Read marks, own logs (rooms listed, notified of), bumps for those who do not read a room.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `Unbumped` | `follow_rooms`, `send_bumps`, `count_followed`, `level_rooms` | `room::evict_rooms` |
//! | `PendingMark` | `accept_marks`, `attach_mark_reads` | `decide_marks` |
//! | `ReadMarks` | `decide_marks`, `store_marks` | `user::evict_users` |
//!
//! What follows from a room's event is a command to the own log of a user, with a key derived from (room, seq, what): doing it twice does
//! nothing, so after a crash the followers of every dirty room simply go on from `notified_seq`.

use crate::chat::{Submission, Submitted};
use crate::delivery::Settled;
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
use client_protocol::notification::{Notified, ReadMarked, RoomListed, RoomUnlisted, notified};
use client_protocol::room::{Bump, kind};
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, EventBody, Key, RoomId, ServerFrame, UserId};
use components::edge::{Found, Levels, Origin, Read, Reads, Record};
use components::limits::{LEVEL_AFTER_US, NET_CHANGE_INTERVAL_US, READ_MARK_INTERVAL_US};
use components::notification::{NotifyQueue, PendingMark, ReadMarks, Unbumped};
use components::room::{Hydration, OpenReads, ReadFor, Room, RoomIndex, RoomState, Subscribers};
use components::session::{Session, Sessions, Subscriptions};
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

/// Followers of rooms.
#[derive(Debug)]
pub struct NotificationPlugin;

impl Plugin for NotificationPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<NotifyQueue>()
            .init_resource::<Levels>()
            .add_message::<MarkAsked>()
            .add_systems(
                Tick,
                (attach_mark_reads, accept_marks, decide_marks).chain().in_set(In(Stage::Hydrate, Feature::Notification)),
            )
            .add_systems(
                Tick,
                (follow_rooms, count_followed, store_marks, send_bumps, level_rooms)
                    .chain()
                    .in_set(In(Stage::Notify, Feature::Notification)),
            );
    }
}

// Read marks.

/// Marks wait as entities of their own: for their room, and for the message number at their seq.
fn accept_marks(world: &mut World) {
    let asked: Vec<_> = world.resource_mut::<Messages<MarkAsked>>().drain().collect();
    let deadline_us = world.resource::<Now>().mono_us + REQUEST_TIMEOUT_MS * 1_000;
    for MarkAsked { from, room, seq } in asked {
        ensure_room(world, room);
        ensure_user(world, from.user);
        let (origin, user) = (from.origin, from.user);
        world.spawn(PendingMark { origin, user, room, seq, asked: false, message_no: None, deadline_us });
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
    Ask,
    Refuse(Reply),
    Set { seq: u64, message_no: u64 },
}

fn mark_step(mark: &PendingMark, now_us: u64, room: Option<(&Room, Option<&RoomState>)>) -> MarkStep {
    if mark.deadline_us <= now_us {
        return MarkStep::Refuse(Reply::retry_after(Code::Unavailable, 1_000));
    }
    let state = match room {
        Some((Room { hydration: Hydration::Ready, .. }, Some(state))) => state,
        Some((Room { hydration: Hydration::Loading, .. }, _)) => return MarkStep::Wait,
        _ => return MarkStep::Refuse(Reply::retry_after(Code::Unavailable, 1_000)),
    };
    let Some(last) = visible_until(state.members.get(&mark.user)) else {
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
        None => MarkStep::Ask,
    }
}

fn decide_marks(world: &mut World) {
    let now_us = world.resource::<Now>().mono_us;
    let mut marks = world.query::<(Entity, &PendingMark)>();
    let waiting: Vec<Entity> = marks.iter(world).map(|(entity, _)| entity).collect();
    for entity in waiting {
        let Some(mark) = world.get::<PendingMark>(entity) else { continue };
        let room = world.resource::<RoomIndex>().by_id.get(&mark.room).copied();
        let room = room.and_then(|room| Some((world.get::<Room>(room)?, world.get::<RoomState>(room))));
        let (origin, user, id) = (mark.origin, mark.user, mark.room);
        match mark_step(mark, now_us, room) {
            MarkStep::Wait => continue,
            MarkStep::Ask => {
                ask_for_mark(world, entity);
                continue;
            }
            MarkStep::Refuse(reply) => world.resource_mut::<Outbox>().reply(origin, reply),
            MarkStep::Set { seq, message_no } => set_mark(world, origin, user, id, (seq, message_no)),
        }
        world.despawn(entity);
    }
}

fn ask_for_mark(world: &mut World, entity: Entity) {
    let Some(mut mark) = world.get_mut::<PendingMark>(entity) else { return };
    mark.asked = true;
    let read = Read::Target { room: mark.room, seq: mark.seq };
    world.resource_scope(|world, mut open: Mut<OpenReads>| {
        ask_store(&mut open, &mut world.resource_mut::<Reads>(), ReadFor::Mark(entity), read);
    });
}

/// The first mark is stored at once and answered when it is durable; those that follow within the interval are merged, answered at once
/// and stored when it is over: a mark is worth less than the writes that each of them would cost.
fn set_mark(world: &mut World, origin: Origin, user: UserId, room: RoomId, mark: (u64, u64)) {
    let now_us = world.resource::<Now>().mono_us;
    let entity = ensure_user(world, user);
    let Some(mut marks) = world.get_mut::<ReadMarks>(entity) else { return };
    let due_us = marks.stored_us.map(|stored_us| stored_us + READ_MARK_INTERVAL_US);
    match due_us {
        Some(due_us) if due_us > now_us => {
            let pending = marks.pending.entry(room).or_default();
            *pending = (*pending).max(mark);
            world.resource_mut::<NotifyQueue>().marks.insert((due_us, user));
            world.resource_mut::<Outbox>().reply(origin, Reply::done(mark.0));
        }
        _ => {
            marks.stored_us = Some(now_us);
            let submitted = mark_submission(world, origin, user, room, mark);
            world.resource_mut::<Messages<Submitted>>().write(submitted);
        }
    }
}

fn mark_submission(world: &World, origin: Origin, user: UserId, room: RoomId, (seq, message_no): (u64, u64)) -> Submitted {
    let epoch = world.resource::<Node>().epoch;
    let body = EventBody::ReadMarked(ReadMarked { room, epoch, seq, message_no, tail: EmptyTail::default() });
    own_log(origin, user, Key::derived(b'm', room, seq), body)
}

/// A command to the own log of a user.
fn own_log(origin: Origin, user: UserId, key: Key, body: EventBody) -> Submitted {
    Submitted {
        from: From { origin, user, session: None },
        submission: Submission { room: RoomId::self_log(user), key, retry: false, body },
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
            let submitted = mark_submission(world, Origin::World { follows: None }, user, room, mark);
            world.resource_mut::<Messages<Submitted>>().write(submitted);
        }
    }
}

// What follows from a room's events.

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
        EventBody::MessagePosted(posted) => {
            let is_member = |user: &UserId| state.members.get(user).is_some_and(components::rows::MemberRow::is_member);
            let addressed = |user: &UserId| *user != head.actor && is_member(user) && !reading(*user);
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

fn follow_rooms(
    mut settled: MessageReader<Settled>,
    now: Res<Now>,
    mut rooms: Query<(&Room, &RoomState, &Subscribers, &mut Unbumped)>,
    mut queue: ResMut<NotifyQueue>,
    mut submit: MessageWriter<Submitted>,
) {
    for Settled { room: entity, records, replayed } in settled.read() {
        let Ok((room, state, subscribers, mut unbumped)) = rooms.get_mut(*entity) else { continue };
        if !unbumped.level_queued {
            unbumped.level_queued = true;
            queue.levels.insert((now.mono_us + LEVEL_AFTER_US, *entity));
        }
        if state.row.kind == kind::SELF {
            continue;
        }
        let reading = |user| subscribers.list.iter().any(|subscriber| subscriber.user == user);
        for record in records {
            for (user, key, body) in follow_ups(room.id, state, reading, record) {
                unbumped.open += 1;
                submit.write(own_log(Origin::World { follows: Some(room.id) }, user, key, body));
            }
            if let EventBody::MessagePosted(posted) = &record.event.body {
                unbumped.mentioned.extend(posted.mentions.iter().copied());
            }
        }
        if !unbumped.queued && !replayed {
            unbumped.queued = true;
            queue.bumps.insert((now.mono_us.max(unbumped.bumped_us + NET_CHANGE_INTERVAL_US), *entity));
        }
    }
}

/// Counts the follow-ups that ended.
fn count_followed(mut outbox: ResMut<Outbox>, index: Res<RoomIndex>, mut rooms: Query<&mut Unbumped>) {
    for (room, well) in std::mem::take(&mut outbox.followed) {
        let Some(mut unbumped) = index.by_id.get(&room).and_then(|entity| rooms.get_mut(*entity).ok()) else { continue };
        unbumped.open = unbumped.open.saturating_sub(1);
        unbumped.missed |= !well;
    }
}

/// Tells members who are here but do not read the room that there is something new, at most once a second and room.
#[allow(clippy::too_many_arguments)] // One query for each entity between a room and its members' sessions.
fn send_bumps(
    now: Res<Now>,
    mut queue: ResMut<NotifyQueue>,
    mut rooms: Query<(&Room, &RoomState, &mut Unbumped)>,
    index: Res<UserIndex>,
    users: Query<&Sessions>,
    sessions: Query<(&Session, &Subscriptions)>,
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
                let Ok((session, subscriptions)) = sessions.get(session) else { continue };
                if session.blocked || subscriptions.0.contains(&entity) {
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

/// Tells the store which rooms' followers have done everything.
fn level_rooms(
    now: Res<Now>,
    mut queue: ResMut<NotifyQueue>,
    mut rooms: Query<(&Room, &RoomState, &mut Unbumped)>,
    mut levels: ResMut<Levels>,
) {
    while let Some(&(due_us, entity)) = queue.levels.first() {
        if due_us > now.mono_us {
            break;
        }
        queue.levels.pop_first();
        let Ok((room, state, mut unbumped)) = rooms.get_mut(entity) else { continue };
        if unbumped.open > 0 {
            queue.levels.insert((now.mono_us + LEVEL_AFTER_US, entity));
            continue;
        }
        unbumped.level_queued = false;
        if !unbumped.missed && unbumped.level_seq < state.row.head {
            unbumped.level_seq = state.row.head;
            levels.0.push((room.id, state.row.head));
        }
    }
}
