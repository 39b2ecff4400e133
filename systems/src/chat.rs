//! Chat: commands become messages, messages wait in their room until they become events.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `InRoom`, `Actor` | `accept_messages` | `sequence`, `delivery` |
//! | `Draft` | `accept_messages`, `sequence` | `sequence` |
//! | `MessageState`, `TargetFound` | `accept_messages`, `attach_reads`, `sequence` | `sequence`, `expire_messages` |

use crate::ingest::{From, ReadAnswered, ask_store};
use crate::outbox::Outbox;
use crate::room::ensure_room;
use crate::rules::refers_to;
use crate::schedule::{Feature, In, Stage, Tick};
use crate::user::{ensure_user, take_token};
use bevy_app::{App, Plugin};
use bevy_ecs::message::Messages;
use bevy_ecs::prelude::*;
use client_protocol::chat::{
    Body, BodyEdited, MessageDeleted, MessagePosted, MessageTail, PinChanged, ReactionChanged, format,
};
use client_protocol::limits::{
    ATTACHMENT_FIELD_BYTES_MAX, ATTACHMENTS_MAX, BODY_BYTES_MAX, MENTIONS_MAX, REACTION_BYTES_MAX, REQUEST_TIMEOUT_MS,
};
use client_protocol::room::CommandHead;
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, EventBody, Key, RoomId};
use components::chat::{Actor, Deadlines, Draft, InRoom, MessageState, TargetFound};
use components::edge::{Found, Origin, Read};
use components::limits::ROOM_QUEUE_MAX;
use components::room::{Hydration, ReadFor, Room, RoomIndex, RoomState, Waiting};
use components::time::{Node, Now, QueueWait};
use components::user::RateBudget;

/// A command that is to become an event, checked in itself.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The room.
    pub room: RoomId,
    /// Its idempotency key.
    pub key: Key,
    /// It may have been sent before.
    pub retry: bool,
    /// The event that it is to become.
    pub body: EventBody,
    /// When its request ends, monotonic microseconds, if that began to run before; else it begins now.
    pub deadline_us: Option<u64>,
}

/// A command came that is to become an event.
#[derive(Message, Debug)]
pub struct Submitted {
    /// Who sent it.
    pub from: From,
    /// What.
    pub submission: Submission,
}

/// Messages on their way into logs.
#[derive(Debug)]
pub struct ChatPlugin;

impl Plugin for ChatPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Deadlines>()
            .init_resource::<QueueWait>()
            .add_message::<Submitted>()
            .add_systems(Tick, (attach_reads, accept_messages).chain().in_set(In(Stage::Hydrate, Feature::Chat)))
            .add_systems(Tick, expire_messages.in_set(In(Stage::Retire, Feature::Chat)));
    }
}

fn invalid(detail: &str) -> Reply {
    Reply::refused(Code::InvalidField, detail)
}

fn check_body(body: &Body) -> Result<(), Reply> {
    if body.bytes.len() > BODY_BYTES_MAX {
        return Err(Reply::refused(Code::TooLarge, format!("body: {} bytes, at most {BODY_BYTES_MAX}", body.bytes.len())));
    }
    if body.bytes.is_empty() {
        return Err(invalid("body: empty"));
    }
    match body.format {
        format::TEXT | format::MARKDOWN if std::str::from_utf8(&body.bytes).is_err() => Err(invalid("body: not UTF-8")),
        format::TEXT | format::MARKDOWN | format::OPAQUE => Ok(()),
        other => Err(invalid(&format!("body: format {other} is not known"))),
    }
}

fn check_tail(tail: &MessageTail) -> Result<(), Reply> {
    let attachments = tail.attachments.as_deref().unwrap_or_default();
    if attachments.len() > ATTACHMENTS_MAX {
        return Err(Reply::refused(Code::TooLarge, format!("attachments: at most {ATTACHMENTS_MAX}")));
    }
    let long = |text: &String| text.len() > ATTACHMENT_FIELD_BYTES_MAX;
    if attachments.iter().any(|file| long(&file.id) || long(&file.name) || long(&file.mime)) {
        return Err(Reply::refused(
            Code::TooLarge,
            format!("attachments: fields of at most {ATTACHMENT_FIELD_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

fn check_reaction(reaction: &str) -> Result<(), Reply> {
    if reaction.is_empty() || reaction.len() > REACTION_BYTES_MAX || reaction.chars().any(char::is_control) {
        return Err(invalid(&format!("reaction: 1 to {REACTION_BYTES_MAX} bytes, no control characters")));
    }
    Ok(())
}

/// Makes a submission of a chat command, or says what is wrong with it in itself.
///
/// # Errors
///
/// The refusal to send.
pub fn draft(command: Command) -> Result<Submission, Reply> {
    let submission =
        |head: CommandHead, body| Submission { room: head.room, key: head.key, retry: head.retry, body, deadline_us: None };
    let tail = EmptyTail::default();
    Ok(match command {
        Command::PostMessage(post) => {
            check_body(&post.body)?;
            check_tail(&post.tail)?;
            if post.mentions.len() > MENTIONS_MAX {
                return Err(Reply::refused(Code::TooLarge, format!("mentions: at most {MENTIONS_MAX}")));
            }
            let posted = MessagePosted { body: post.body, mentions: post.mentions, tail: post.tail };
            submission(post.head, EventBody::MessagePosted(posted))
        }
        Command::EditMessage(edit) => {
            check_body(&edit.body)?;
            submission(edit.head, EventBody::MessageEdited(BodyEdited { target: edit.target, body: edit.body, tail }))
        }
        Command::DeleteMessage(delete) => {
            submission(delete.head, EventBody::MessageDeleted(MessageDeleted { target: delete.target, tail }))
        }
        Command::AddReaction(react) => {
            check_reaction(&react.reaction)?;
            let changed = ReactionChanged { target: react.target, reaction: react.reaction, tail };
            submission(react.head, EventBody::ReactionAdded(changed))
        }
        Command::RemoveReaction(react) => {
            check_reaction(&react.reaction)?;
            let changed = ReactionChanged { target: react.target, reaction: react.reaction, tail };
            submission(react.head, EventBody::ReactionRemoved(changed))
        }
        Command::PinMessage(pin) => submission(pin.head, EventBody::MessagePinned(PinChanged { target: pin.target, tail })),
        Command::UnpinMessage(pin) => {
            submission(pin.head, EventBody::MessageUnpinned(PinChanged { target: pin.target, tail }))
        }
        other => return Err(Reply::refused(Code::UnknownKind, format!("kind {:#06x}", other.kind()))),
    })
}

/// Submissions become messages in their rooms' queues, or are refused before any work is done.
fn accept_messages(world: &mut World) {
    let submitted: Vec<Submitted> = world.resource_mut::<Messages<Submitted>>().drain().collect();
    for Submitted { from, submission } in submitted {
        match admit(world, from, submission.room) {
            Ok(room) => queue_message(world, room, from, submission),
            Err(reply) => world.resource_mut::<Outbox>().reply(from.origin, reply),
        }
    }
}

/// Takes what a command costs from its user's budget, if the server has room for it at all.
pub(crate) fn charge(world: &mut World, from: From) -> Result<(), Reply> {
    let now_us = world.resource::<Now>().mono_us;
    let tuning = world.resource::<Node>().tuning;
    if world.resource::<QueueWait>().0 > tuning.overload_wait_us {
        return Err(Reply::retry_after(Code::Overloaded, tuning.overload_wait_us / 1_000));
    }
    let user = ensure_user(world, from.user);
    match world.get_mut::<RateBudget>(user) {
        Some(mut budget) => take_token(&mut budget, now_us, tuning.user_rate, tuning.user_burst)
            .map_err(|wait_ms| Reply::retry_after(Code::RateLimited, wait_ms)),
        None => Ok(()),
    }
}

/// Rates, load and the room: whether there is a place for one more.
fn admit(world: &mut World, from: From, room: RoomId) -> Result<Entity, Reply> {
    let now = *world.resource::<Now>();
    let tuning = world.resource::<Node>().tuning;
    if !from.is_world() {
        charge(world, from)?;
    }
    let entity = ensure_room(world, room);
    if let Some(Room { hydration: Hydration::Failed { retry_us }, .. }) = world.get::<Room>(entity) {
        return Err(Reply::retry_after(Code::Unavailable, retry_us.saturating_sub(now.mono_us) / 1_000));
    }
    if world.get::<Waiting>(entity).is_none_or(|waiting| waiting.queue.len() + waiting.aside.len() >= ROOM_QUEUE_MAX) {
        return Err(Reply::retry_after(Code::Overloaded, 1_000));
    }
    // Whoever does not belong to a room does not use up what it takes.
    let belongs = world.get::<RoomState>(entity).is_none_or(|state| state.row.head == 0 || state.has_member(from.user));
    if !from.is_world()
        && belongs
        && let Some(mut budget) = world.get_mut::<RateBudget>(entity)
    {
        take_token(&mut budget, now.mono_us, tuning.room_rate, tuning.room_burst)
            .map_err(|wait_ms| Reply::retry_after(Code::RateLimited, wait_ms))?;
    }
    Ok(entity)
}

fn queue_message(world: &mut World, room: Entity, from: From, submission: Submission) {
    let target = refers_to(&submission.body);
    let came_us = world.resource::<Now>().mono_us;
    for user in crate::rules::about(&submission.body).to_vec() {
        ensure_user(world, user);
    }
    let message = world
        .spawn((
            InRoom { room, id: submission.room },
            Actor { user: from.user, origin: from.origin, key: submission.key, retry: submission.retry, came_us },
            Draft(Some(submission.body)),
            if target.is_some() { MessageState::NeedsTarget } else { MessageState::Ready },
            TargetFound(None),
        ))
        .id();
    let deadline_us = submission.deadline_us.unwrap_or(came_us + REQUEST_TIMEOUT_MS * 1_000);
    world.resource_mut::<Deadlines>().0.insert((deadline_us, message));
    if let Some(mut waiting) = world.get_mut::<Waiting>(room) {
        waiting.queue.push_back(message);
    }
    world.resource_mut::<RoomIndex>().to_sequence.insert(room);
    if let Some(seq) = target {
        ask_store(world, ReadFor::Target(message), Read::Target { room: submission.room, seq });
    }
}

/// Gives messages the events and keys that they waited for.
fn attach_reads(
    mut commands: Commands,
    mut answers: MessageReader<ReadAnswered>,
    mut messages: Query<(&InRoom, &Actor, &mut MessageState, &mut TargetFound)>,
    mut rooms: ResMut<RoomIndex>,
    mut outbox: ResMut<Outbox>,
) {
    for answer in answers.read() {
        let (ReadFor::Target(entity) | ReadFor::Key(entity)) = answer.purpose else { continue };
        // Its request may have ended meanwhile.
        let Ok((place, actor, mut state, mut target)) = messages.get_mut(entity) else { continue };
        rooms.to_sequence.insert(place.room);
        let reply = match (&answer.found, &*state) {
            (Found::Target(found), _) => {
                target.0 = Some(found.clone());
                *state = MessageState::Ready;
                continue;
            }
            (Found::Key(Some((seq, time_ms))), _) => done(*seq, *time_ms, place.id),
            (Found::Key(None), MessageState::NeedsKey(refusal)) => refusal.clone(),
            // The store could not say; neither can we.
            _ if actor.retry => Reply::refused(Code::OutcomeUnknown, "the store is unavailable"),
            _ => Reply::retry_after(Code::Unavailable, 1_000),
        };
        outbox.reply(actor.origin, reply);
        commands.entity(entity).try_despawn();
    }
}

/// The answer to a command that became event `seq`.
#[must_use]
pub fn done(seq: u64, time_ms: u64, room: RoomId) -> Reply {
    let mut reply = Reply::done(seq);
    reply.tail.time_ms = Some(time_ms);
    reply.tail.room = Some(room);
    reply
}

/// Every request ends: what has waited too long is answered, and forgotten unless its append is open.
fn expire_messages(
    mut commands: Commands,
    now: Res<Now>,
    mut deadlines: ResMut<Deadlines>,
    mut messages: Query<(&InRoom, &mut Actor, &MessageState)>,
    mut rooms: ResMut<RoomIndex>,
    mut outbox: ResMut<Outbox>,
) {
    while let Some(&(deadline_us, entity)) = deadlines.0.first() {
        if deadline_us > now.mono_us {
            break;
        }
        deadlines.0.pop_first();
        let Ok((place, mut actor, state)) = messages.get_mut(entity) else { continue };
        let appending = *state == MessageState::Appending;
        let reply = if appending || actor.retry {
            Reply::refused(Code::OutcomeUnknown, "no answer in time; send the same key again")
        } else {
            Reply::retry_after(Code::Unavailable, 1_000)
        };
        outbox.reply(actor.origin, reply);
        if appending {
            actor.origin = Origin::Nobody;
        } else {
            commands.entity(entity).try_despawn();
            rooms.to_sequence.insert(place.room);
        }
    }
}
