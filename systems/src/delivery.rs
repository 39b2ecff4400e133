//! Delivery: what the store says of appends; durable events go into the fold, the hot log and back to their senders.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `AppendState` | `sequence`, `settle_appends` | `sequence`, `room` |
//! | `RoomState` | `settle_appends` | `sequence` |
//! | `HotLog` | `deliver_events`, `flush` | `flush` |

use crate::catch_up;
use crate::chat::done;
use crate::fold::{self, Rows};
use crate::hot_log;
use crate::ingest::AppendReplied;
use crate::nodes;
use crate::outbox::Outbox;
use crate::schedule::{Feature, In, Stage, Tick};
use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;
use bevy_ecs::system::SystemParam;
use client_protocol::room::SubscriptionEnded;
use client_protocol::session::Reply;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, EventBody, RoomId, ServerFrame, UserId};
use components::catch_up::{CatchUp, Pages};
use components::chat::{Actor, Draft, InRoom, MessageState};
use components::edge::{AppendReply, AppendRequest, AppendThen, Notices, Origin, Record};
use components::limits::{APPEND_CONFLICTS_MAX, ROOM_RETRY_US};
use components::nodes::Freshness;
use components::room::{AppendState, HotLog, Hydration, Room, RoomIndex, RoomState, Subscribers, Waiting};
use components::rows::{MarkRow, MemberRow, NowRow};
use components::session::Subscriptions;
use components::time::{Node, Now};
use std::collections::BTreeMap;

/// Events of a room are durable and folded.
#[derive(Message, Debug)]
pub struct Settled {
    /// The room.
    pub room: Entity,
    /// The events, dense, up to the head.
    pub records: Vec<Record>,
    /// They were in the log before the room came into memory: followers look at them, nobody else.
    pub replayed: bool,
}

/// Appends and deliveries.
#[derive(Debug)]
pub struct DeliveryPlugin;

impl Plugin for DeliveryPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Notices>()
            .add_message::<Settled>()
            .add_systems(Tick, (settle_appends, nodes::take_missed).chain().in_set(In(Stage::Ingest, Feature::Room)))
            .add_systems(Tick, deliver_events.in_set(In(Stage::Deliver, Feature::Room)));
    }
}

/// The world's rows: members only. What messages are now, stores know.
struct WorldRows<'a>(&'a mut BTreeMap<UserId, MemberRow>);

impl Rows for WorldRows<'_> {
    fn member(&self, user: UserId) -> Option<MemberRow> {
        self.0.get(&user).cloned()
    }
    fn put_member(&mut self, row: MemberRow) {
        self.0.insert(row.user, row);
    }
    fn message(&self, _seq: u64) -> Option<NowRow> {
        None
    }
    fn put_message(&mut self, _seq: u64, _now: NowRow) {}
    fn blank(&mut self, _seq: u64) {}
    fn mark(&self, _room: RoomId) -> Option<MarkRow> {
        None
    }
    fn put_mark(&mut self, _room: RoomId, _mark: MarkRow) {}
}

/// What settling writes beside the room.
#[derive(SystemParam)]
pub(crate) struct Settling<'w, 's> {
    commands: Commands<'w, 's>,
    pub(crate) now: Res<'w, Now>,
    node: Res<'w, Node>,
    messages: Query<'w, 's, (&'static InRoom, &'static Actor, &'static mut Draft, &'static mut MessageState)>,
    pub(crate) outbox: ResMut<'w, Outbox>,
    settled: MessageWriter<'w, Settled>,
    readers: Query<'w, 's, (&'static mut Subscriptions, &'static mut CatchUp)>,
    pages: ResMut<'w, Pages>,
}

/// A room as settling changes it.
#[derive(QueryData)]
#[query_data(mutable)]
pub(crate) struct SettledRoom {
    pub(crate) entity: Entity,
    pub(crate) room: &'static mut Room,
    pub(crate) state: &'static mut RoomState,
    pub(crate) append: &'static mut AppendState,
    pub(crate) waiting: &'static mut Waiting,
    pub(crate) subscribers: &'static mut Subscribers,
    pub(crate) freshness: &'static mut Freshness,
}

fn settle_appends(
    mut replies: MessageReader<AppendReplied>,
    mut settling: Settling,
    mut rooms: Query<SettledRoom>,
    mut index: ResMut<RoomIndex>,
) {
    for AppendReplied(reply) in replies.read() {
        let Some(&entity) = index.by_id.get(&reply.room) else { continue };
        let Ok(mut room) = rooms.get_mut(entity) else { continue };
        let (request, messages) = match std::mem::take(&mut *room.append) {
            AppendState::InFlight { request, messages } | AppendState::InDoubt { request, messages }
                if request.token == reply.token =>
            {
                (request, messages)
            }
            other => {
                // A late reply to a request that is over.
                *room.append = other;
                continue;
            }
        };
        if reply.then == AppendThen::InDoubt {
            *room.append = AppendState::InDoubt { request, messages };
            continue;
        }
        index.to_sequence.insert(entity);
        room.room.used_us = settling.now.mono_us;
        // What was set aside came before what waits, and after what is tried again.
        room.waiting.bring_back();
        settling.settle(reply, request, &messages, &mut room);
        if settling.node.shared_store {
            nodes::after_append(&reply.then, settling.now.mono_us, &mut room, &mut index);
        }
    }
}

impl Settling<'_, '_> {
    fn settle(
        &mut self,
        reply: &AppendReply,
        request: AppendRequest,
        messages: &[Entity],
        room: &mut SettledRoomItem<'_, '_>,
    ) {
        let id = room.room.id;
        let waiting = &mut *room.waiting;
        let mut records = request.records;
        let rest = records.split_off(reply.appended.min(records.len()));
        let (sent, unsent) = messages.split_at(records.len());
        self.acknowledge(&records, sent, id);
        if let AppendThen::Conflict { log } = &reply.then {
            records.extend(log.iter().cloned());
            waiting.conflicts += 1;
            if waiting.conflicts == APPEND_CONFLICTS_MAX {
                tracing::warn!(room = %id, "other nodes keep winning the appends to this room");
            }
        } else {
            waiting.conflicts = 0;
        }
        let mut skip = 0;
        match &reply.then {
            AppendThen::Duplicate { seq, time_ms } => {
                if let Some(&first) = unsent.first() {
                    self.finish(first, done(*seq, *time_ms, id));
                    skip = 1;
                }
            }
            AppendThen::Unavailable => {
                for &message in unsent {
                    self.finish(message, Reply::retry_after(Code::Unavailable, 1_000));
                }
                skip = unsent.len();
            }
            _ => {}
        }
        self.requeue(&rest[skip..], &unsent[skip..], waiting);
        self.take(records, room);
    }

    /// The next events of a room: folded, and handed on. A log that does not fold is quarantined, and its readers are told.
    pub(crate) fn take(&mut self, records: Vec<Record>, room: &mut SettledRoomItem<'_, '_>) {
        let RoomState { row, members } = &mut *room.state;
        for record in &records {
            if self.node.shared_store && record.event.head.node != self.node.node {
                room.freshness.others_us = Some(self.now.mono_us);
                room.freshness.unused_turns = 0;
            }
            if let Err(error) = fold::apply(&record.event, row, &mut WorldRows(members)) {
                tracing::error!(room = %room.room.id, %error, "the log does not fold: the room is quarantined");
                room.room.hydration = Hydration::Failed { retry_us: self.now.mono_us + ROOM_RETRY_US };
                self.end_subscriptions(room.entity, room.room.id, &mut room.subscribers);
                return;
            }
        }
        if !records.is_empty() {
            self.settled.write(Settled { room: room.entity, records, replayed: false });
        }
    }

    /// The room can no longer be served: its readers are told, and come back when it can.
    fn end_subscriptions(&mut self, entity: Entity, room: RoomId, subscribers: &mut Subscribers) {
        let code = Code::Unavailable.number();
        for reader in subscribers.list.drain(..) {
            let ended = SubscriptionEnded { room, last_seq: reader.next_seq - 1, code, tail: EmptyTail::default() };
            self.outbox.frame(reader.handle, &ServerFrame::SubscriptionEnded(ended));
            if let Ok((mut subscriptions, mut catch_up)) = self.readers.get_mut(reader.session) {
                subscriptions.0.remove(&entity);
                self.pages.woken.extend(catch_up::leave(&mut catch_up, entity));
            }
        }
        (subscribers.resume_at, subscribers.again) = (0, false);
        catch_up::drop_pages(&mut self.pages, entity);
    }

    /// Durable: the senders are told. This reaches them with the flush of this very tick, as the events do.
    fn acknowledge(&mut self, records: &[Record], messages: &[Entity], room: RoomId) {
        for (record, &message) in records.iter().zip(messages) {
            self.finish(message, done(record.event.head.seq, record.event.head.time_ms, room));
        }
    }

    pub(crate) fn finish(&mut self, message: Entity, reply: Reply) {
        if let Ok((_, actor, ..)) = self.messages.get(message) {
            self.outbox.reply(actor.origin, reply);
        }
        self.commands.entity(message).try_despawn();
    }

    /// Back to the front of the queue, in order: they are decided anew on the state that there is now.
    fn requeue(&mut self, rest: &[Record], messages: &[Entity], waiting: &mut Waiting) {
        for (record, &message) in rest.iter().zip(messages).rev() {
            let Ok((_, actor, mut draft, mut state)) = self.messages.get_mut(message) else { continue };
            if actor.origin == Origin::Nobody {
                // Its request was told that the outcome is unknown, and what was not appended must not surprise anyone later.
                self.commands.entity(message).try_despawn();
                continue;
            }
            draft.0 = Some(record.event.body.clone());
            *state = MessageState::Ready;
            waiting.queue.push_front(message);
        }
    }
}

/// Durable events go into the hot log, and the room's next flush is set.
fn deliver_events(
    mut settled: MessageReader<Settled>,
    now: Res<Now>,
    mut rooms: Query<(&Room, &RoomState, &mut HotLog, &mut Subscribers)>,
    mut index: ResMut<RoomIndex>,
    mut pages: ResMut<Pages>,
    mut notices: ResMut<Notices>,
    node: Res<Node>,
) {
    for Settled { room: entity, records, replayed } in settled.read() {
        if *replayed {
            continue;
        }
        let Ok((room, state, mut hot, mut subscribers)) = rooms.get_mut(*entity) else { continue };
        let before = hot.bytes;
        for record in records {
            let record = hot_log::without_late_body(&hot, record);
            // Other nodes publish what they appended themselves.
            if !node.shared_store || record.event.head.node == node.node {
                notices.0.push((room.id, record.clone()));
            }
            hot_log::push(&mut hot, record.clone());
            let record = &record;
            if let EventBody::MessageDeleted(deleted) = &record.event.body {
                hot_log::blank_message(&mut hot, room.id, deleted.target);
                // A page that is still being read may hold the body too: dropped, it is asked for again.
                catch_up::drop_pages(&mut pages, *entity);
            }
            if let EventBody::UserErased(erased) = &record.event.body {
                hot_log::blank_user(&mut hot, room.id, erased.user);
                catch_up::drop_pages(&mut pages, *entity);
            }
            end_reading(&mut subscribers, record, state);
        }
        if hot.pending_bytes >= client_protocol::limits::CHUNK_BYTES_MAX {
            hot_log::cut(&mut hot, room.id);
        }
        hot_log::trim(&mut hot);
        index.hot_bytes = index.hot_bytes - before + hot.bytes;
        hot_log::note_growth(&mut hot, *entity, &mut index);
        crate::flush::queue_next_flush(&mut index, *entity, &mut subscribers, now.mono_us, &node.tuning);
        while let Some(oldest) = hot_log::above_bound(&mut index) {
            if let Ok((_, _, mut hot, _)) = rooms.get_mut(oldest) {
                hot_log::clear(&mut hot, &mut index);
            }
        }
    }
}

/// Whoever went may read up to that event; whoever came back reads on.
fn end_reading(subscribers: &mut Subscribers, record: &Record, state: &RoomState) {
    let user = match &record.event.body {
        EventBody::MemberLeft(changed)
        | EventBody::MemberKicked(changed)
        | EventBody::MemberBanned(changed)
        | EventBody::MemberJoined(changed)
        | EventBody::MemberAdded(changed) => changed.user,
        EventBody::UserErased(erased) => erased.user,
        _ => return,
    };
    let gone = state.members.get(&user).is_some_and(|member| !member.is_member());
    for subscriber in subscribers.list.iter_mut().filter(|subscriber| subscriber.user == user) {
        let own_end = gone.then_some(record.event.head.seq);
        subscriber.end_seq = if gone { subscriber.end_seq.or(own_end) } else { None };
    }
}
