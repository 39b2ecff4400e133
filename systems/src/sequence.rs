//! Sequence: per room with no append open, in order: authorize on the durable state, give the seq, or refuse.
//!
//! State changes only by durable events, so nothing is ever rolled back: after an event that takes rights away nothing more joins
//! the batch, after one that gives rights nothing more of that user does, and the rest waits for the next batch.

use crate::flush::next_flush_us;
use crate::hot_log;
use crate::ingest::Asks;
use crate::outbox::Outbox;
use crate::rules::{Accounts, Ask, Verdict, about, complete, decide, enters, gives_rights_to, subject, takes_rights};
use crate::schedule::{Feature, In, Stage, Tick};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use client_protocol::limits::USER_ROOMS_MAX;
use client_protocol::session::Reply;
use client_protocol::{Code, Event, EventBody, EventHead, UserId};
use components::chat::{Actor, Draft, InRoom, MessageState, TargetFound};
use components::edge::{AppendRequest, Appends, Origin, Read, Record};
use components::limits::{APPEND_AHEAD_US, APPEND_BYTES_MAX, APPEND_EVENTS_MAX, APPEND_GATHER_US_MAX, APPEND_YIELD_US};
use components::nodes::Freshness;
use components::room::{AppendState, Hydration, ReadFor, Room, RoomIndex, RoomState, Subscribers, Waiting};
use components::rows::account;
use components::time::{Node, Now};
use components::user::{User, UserIndex};

/// Gives seqs.
#[derive(Debug)]
pub struct SequencePlugin;

impl Plugin for SequencePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Appends>()
            .add_systems(Tick, (end_holds, sequence_rooms).chain().in_set(In(Stage::Sequence, Feature::Room)));
    }
}

/// What sequencing looks at and writes beside the room.
#[derive(SystemParam)]
struct Desk<'w, 's> {
    commands: Commands<'w, 's>,
    now: Res<'w, Now>,
    node: Res<'w, Node>,
    users: Query<'w, 's, &'static User>,
    user_index: Res<'w, UserIndex>,
    messages: Query<'w, 's, Queued>,
    asks: Asks<'w>,
    outbox: ResMut<'w, Outbox>,
}

type Sequenced = (
    &'static Room,
    Option<&'static RoomState>,
    &'static Subscribers,
    &'static mut Waiting,
    &'static mut AppendState,
    &'static mut Freshness,
);

type Queued = (&'static InRoom, &'static Actor, &'static mut Draft, &'static mut MessageState, &'static TargetFound);

/// A batch as it grows.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<Record>,
    messages: Vec<Entity>,
    bytes: usize,
    entered: Vec<UserId>,
    closed: bool,
    /// Everything that was durable at this time is in the state.
    as_of_us: u64,
}

/// What becomes of the message at the front of the queue.
enum Step {
    /// It has a seq, or was answered: on to the next one.
    Next,
    /// It must wait, and everything behind it.
    Wait,
    /// It waits for an account.
    WaitForUser,
}

/// Rooms that were to wait have waited.
fn end_holds(now: Res<Now>, mut index: ResMut<RoomIndex>) {
    while let Some(&(until_us, room)) = index.held.first() {
        if until_us > now.mono_us {
            break;
        }
        index.held.pop_first();
        index.to_sequence.insert(room);
    }
}

fn sequence_rooms(mut desk: Desk, mut rooms: Query<Sequenced>, mut index: ResMut<RoomIndex>, mut appends: ResMut<Appends>) {
    let now_us = desk.now.mono_us;
    let work = std::mem::take(&mut index.to_sequence);
    for entity in work {
        let Ok((room, state, subscribers, mut waiting, mut append, mut freshness)) = rooms.get_mut(entity) else { continue };
        let state = match (room.hydration, state) {
            // `hydrate_rooms` has it looked at again.
            (Hydration::Loading, _) => continue,
            (Hydration::Ready, Some(state)) => state,
            _ => {
                desk.refuse_all(&mut waiting);
                continue;
            }
        };
        // `settle_appends` or `end_holds` has it looked at again.
        if !matches!(*append, AppendState::Idle) || freshness.held_until_us > now_us {
            continue;
        }
        let gather_until_us = desk.gather_until_us(&waiting, subscribers);
        // A flush that comes in between, for a new reader say, does not make them wait longer.
        let gather_until_us = waiting.gather_until_us.map_or(gather_until_us, |until_us| until_us.min(gather_until_us));
        if gather_until_us > now_us {
            waiting.gather_until_us = Some(gather_until_us);
            index.held.insert((gather_until_us, entity));
            continue;
        }
        waiting.gather_until_us = None;
        let mut batch = Batch { as_of_us: freshness.as_of_us, ..Batch::default() };
        while let Some(&message) = waiting.queue.front() {
            if batch.closed || batch.records.len() >= APPEND_EVENTS_MAX || batch.bytes >= APPEND_BYTES_MAX {
                break;
            }
            match desk.step(message, state, &mut waiting, &mut batch) {
                Step::Next => {
                    waiting.queue.pop_front();
                }
                Step::Wait => break,
                Step::WaitForUser => {
                    index.awaiting_users.insert(entity);
                    break;
                }
            }
        }
        if batch.records.is_empty() {
            // An append would say the same.
            if !waiting.aside.is_empty() {
                index.to_look.insert(entity);
            }
        } else {
            // Others had time for an append of theirs.
            if freshness.settled_us + APPEND_YIELD_US.0 <= now_us {
                freshness.busy_since_us = now_us;
            }
            freshness.appended_us = now_us;
            let request = AppendRequest {
                room: room.id,
                token: desk.asks.next_token(),
                expected_seq: state.row.head + 1,
                records: batch.records,
            };
            appends.0.push(request.clone());
            *append = AppendState::InFlight { request, messages: batch.messages };
        }
    }
}

impl Desk<'_, '_> {
    /// Until when what waits in a room can wait for more to share its append, and with it the sync of the store: readers are shown no event
    /// before the room's next flush, and a room with many of them is not flushed before its interval has passed. A room that is handed out
    /// in pieces is flushed all the time: nothing waits in it.
    fn gather_until_us(&self, waiting: &Waiting, subscribers: &Subscribers) -> u64 {
        let first = waiting.queue.front().and_then(|&message| self.messages.get(message).ok());
        let Some((_, first, ..)) = first.filter(|_| waiting.queue.len() < APPEND_EVENTS_MAX) else { return 0 };
        let flush_us = next_flush_us(subscribers, &self.node.tuning);
        flush_us.saturating_sub(APPEND_AHEAD_US).min(first.came_us + APPEND_GATHER_US_MAX)
    }

    /// The room cannot be served: everything that waits is told so.
    fn refuse_all(&mut self, waiting: &mut Waiting) {
        waiting.bring_back();
        for message in waiting.queue.drain(..) {
            let Ok((_, actor, ..)) = self.messages.get(message) else { continue };
            let reply = if actor.retry {
                Reply::refused(Code::OutcomeUnknown, "the store is unavailable")
            } else {
                Reply::retry_after(Code::Unavailable, 1_000)
            };
            self.outbox.reply(actor.origin, reply);
            self.commands.entity(message).try_despawn();
        }
    }

    fn step(&mut self, message: Entity, state: &RoomState, waiting: &mut Waiting, batch: &mut Batch) -> Step {
        // Its time may have run out.
        let Ok((_, actor, draft, message_state, target)) = self.messages.get(message) else { return Step::Next };
        let actor = *actor;
        match message_state {
            MessageState::Ready => {}
            MessageState::NeedsTarget | MessageState::NeedsKey(_) => return Step::Wait,
            MessageState::Appending => return Step::Next,
        }
        let Some(body) = &draft.0 else { return Step::Next };
        if waiting.aside_users.contains(&actor.user) {
            return set_aside(message, &actor, waiting);
        }
        // What an event of this batch gives to someone holds for commands by them and about them, once it is durable.
        if batch.entered.contains(&actor.user) || subject(body).is_some_and(|user| batch.entered.contains(&user)) {
            return Step::Wait;
        }
        // Whether the last owner may leave depends on who is there by then.
        if matches!(body, EventBody::MemberLeft(_)) && !batch.entered.is_empty() {
            return Step::Wait;
        }
        let accounts = match self.accounts(&actor, body) {
            Known::Yes(accounts) => accounts,
            Known::NotYet => return Step::WaitForUser,
            Known::ActorInactive => {
                return self.answer(message, &actor, state, (waiting, batch), Reply::refused(Code::AccountDisabled, ""));
            }
            Known::Unavailable => {
                return self.answer(message, &actor, state, (waiting, batch), Reply::retry_after(Code::Unavailable, 1_000));
            }
        };
        let before_ms = batch.records.last().map_or(state.row.time_ms, |last| last.event.head.time_ms);
        let time_ms = self.now.wall_ms.max(before_ms);
        let ask = Ask {
            actor: actor.user,
            body,
            target: target.0.as_ref().and_then(|found| found.as_deref()),
            accounts,
            time_ms,
            entering: batch.entered.len(),
            crowded: enters(body, actor.user).any(|user| self.is_crowded(&user)),
            operator: matches!(actor.origin, Origin::Server { .. }),
        };
        match decide(state, &ask) {
            Verdict::Append => {
                self.append(message, &actor, state, time_ms, batch);
                Step::Next
            }
            Verdict::Already { seq } => {
                let mut reply = Reply::done(seq);
                reply.tail.room = Some(state.row.room);
                // A room has one first event. Of anything else, the key says which event it was the first time.
                if matches!(body, EventBody::RoomCreated(_)) {
                    self.finish(message, &actor, reply)
                } else {
                    self.answer(message, &actor, state, (waiting, batch), reply)
                }
            }
            Verdict::Refuse(reply) => self.answer(message, &actor, state, (waiting, batch), reply),
        }
    }

    fn append(&mut self, message: Entity, actor: &Actor, state: &RoomState, time_ms: u64, batch: &mut Batch) {
        let Ok((.., mut draft, mut message_state, _)) = self.messages.get_mut(message) else { return };
        // The body comes back from the append if it must be tried again.
        let Some(mut body) = draft.0.take() else { return };
        complete(state, &mut body);
        *message_state = MessageState::Appending;
        let last = batch.records.last().map(|last| &last.event.head);
        let (seq, message_no) = last.map_or((state.row.head, state.row.message_no), |last| (last.seq, last.message_no));
        batch.closed = takes_rights(&body);
        batch.entered.extend(gives_rights_to(&body));
        let head = EventHead {
            seq: seq + 1,
            time_ms,
            actor: actor.user,
            key: actor.key,
            node: self.node.node,
            message_no: message_no + u64::from(body.is_message()),
        };
        let record = hot_log::record(Event { head, body });
        batch.bytes += record.bytes.len();
        batch.records.push(record);
        batch.messages.push(message);
    }

    /// A refusal, or that it is so already. Where other nodes may have changed that since the command came, it is decided again when this
    /// one knows; and a known key has its first answer for ever, so a command that may have been sent before is looked up first.
    fn answer(
        &mut self,
        message: Entity,
        actor: &Actor,
        state: &RoomState,
        (waiting, batch): (&mut Waiting, &Batch),
        reply: Reply,
    ) -> Step {
        if self.node.shared_store && batch.as_of_us < actor.came_us {
            return set_aside(message, actor, waiting);
        }
        if !actor.retry {
            return self.finish(message, actor, reply);
        }
        if let Ok((.., mut message_state, _)) = self.messages.get_mut(message) {
            *message_state = MessageState::NeedsKey(reply);
        }
        let read = Read::Key { room: state.row.room, actor: actor.user, key: actor.key };
        self.asks.ask(ReadFor::Key(message), read);
        // It will not be appended, whatever the store says: nobody has to wait for it.
        Step::Next
    }

    fn finish(&mut self, message: Entity, actor: &Actor, reply: Reply) -> Step {
        self.outbox.reply(actor.origin, reply);
        self.commands.entity(message).try_despawn();
        Step::Next
    }

    fn is_crowded(&self, user: &UserId) -> bool {
        let user = self.user_index.by_id.get(user).and_then(|entity| self.users.get(*entity).ok());
        user.is_some_and(|user| user.rooms as usize >= USER_ROOMS_MAX)
    }

    /// What is known of the accounts of the actor and of those whom a command is about.
    fn accounts(&self, actor: &Actor, body: &EventBody) -> Known {
        let status = |user: &UserId| {
            let user = self.user_index.by_id.get(user).and_then(|entity| self.users.get(*entity).ok())?;
            Some(user.account.map(|row| row.map(|row| row.status)))
        };
        if matches!(actor.origin, Origin::World { .. } | Origin::Server { .. }) {
            return Known::Yes(Accounts::Active);
        }
        match status(&actor.user) {
            None => return Known::Unavailable,
            Some(None) => return Known::NotYet,
            Some(Some(Some(account::ACTIVE))) => {}
            Some(Some(_)) => return Known::ActorInactive,
        }
        let mut worst = Accounts::Active;
        for user in about(body) {
            match status(user) {
                None => return Known::Unavailable,
                Some(None) => return Known::NotYet,
                Some(Some(Some(account::ACTIVE))) => {}
                Some(Some(Some(_))) => {
                    if worst == Accounts::Active {
                        worst = Accounts::Inactive;
                    }
                }
                Some(Some(None)) => worst = Accounts::Missing,
            }
        }
        Known::Yes(worst)
    }
}

/// Nobody waits behind it but those who sent it: their commands keep their order.
fn set_aside(message: Entity, actor: &Actor, waiting: &mut Waiting) -> Step {
    waiting.aside.push_back(message);
    waiting.aside_users.insert(actor.user);
    Step::Next
}

enum Known {
    Yes(Accounts),
    NotYet,
    ActorInactive,
    Unavailable,
}
