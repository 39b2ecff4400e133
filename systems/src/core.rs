//! The core: a world and its tick as a function of inputs. Owns no thread, no clock and no socket.

use crate::StarlingPlugin;
use crate::chat::Submitted;
use bevy_app::App;
use bevy_ecs::message::Messages;
use bevy_ecs::prelude::*;
use client_protocol::RoomId;
use client_protocol::limits::REQUEST_TIMEOUT_MS;
use components::chat::{Deadlines, MessageState};
use components::edge::{
    AppendRequest, Appends, Control, Inbox, Input, Levels, Notices, ReadRequest, Reads, Record, Slot, StoreReply,
};
use components::notification::{NotifyQueue, PendingMark};
use components::presence::PresenceWatch;
use components::room::{RoomIndex, Subscribers};
use components::session::SessionIndex;
use components::time::{Node, Now, QueueWait};
use components::user::UserIndex;
use std::collections::VecDeque;

/// What comes in for one tick.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Commands.
    pub commands: VecDeque<Input>,
    /// Sessions and accounts.
    pub control: VecDeque<Control>,
    /// Store replies.
    pub store: VecDeque<StoreReply>,
    /// How long the oldest of them has waited, in microseconds.
    pub queue_wait_us: u64,
}

/// What goes out after one tick.
#[derive(Debug, Default)]
pub struct Outputs {
    /// For the edge.
    pub slot: Slot,
    /// For the store.
    pub appends: Vec<AppendRequest>,
    /// For the store.
    pub reads: Vec<ReadRequest>,
    /// For the store.
    pub levels: Vec<(RoomId, u64)>,
    /// For other services.
    pub notices: Vec<(RoomId, Record)>,
}

/// How many things are in memory, for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Population {
    /// Rooms.
    pub rooms: usize,
    /// Users.
    pub users: usize,
    /// Sessions.
    pub sessions: usize,
    /// Bytes of hot logs.
    pub hot_log_bytes: usize,
    /// Reads that the store has not answered.
    pub open_reads: usize,
    /// Pages of logs, for sessions that catch up.
    pub pages: usize,
}

/// The world and its tick.
pub struct Core {
    app: App,
    marks: QueryState<&'static PendingMark>,
    messages: QueryState<&'static MessageState>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Core({:?})", self.population())
    }
}

impl Core {
    /// A world of this node; `setup` adds plugins beside those of Starling.
    pub fn new(node: Node, setup: impl FnOnce(&mut App)) -> Self {
        let mut app = App::empty();
        app.insert_resource(node);
        app.init_resource::<Now>();
        app.add_plugins(StarlingPlugin);
        setup(&mut app);
        let (marks, messages) = (app.world_mut().query(), app.world_mut().query());
        Self { app, marks, messages }
    }

    /// Runs one tick. `inputs` is emptied; `outputs` is filled (it must have been emptied by its takers). Answers when the next tick is
    /// due if nothing comes in before, monotonic microseconds; `None`: not before something comes in.
    pub fn step(&mut self, now: Now, inputs: &mut Inputs, outputs: &mut Outputs) -> Option<u64> {
        let world = self.app.world_mut();
        world.insert_resource(now);
        world.insert_resource(QueueWait(inputs.queue_wait_us));
        let mut inbox = world.resource_mut::<Inbox>();
        inbox.commands.append(&mut inputs.commands);
        inbox.control.append(&mut inputs.control);
        inbox.store.append(&mut inputs.store);
        self.app.update();
        let world = self.app.world_mut();
        // Buffers change hands, so that both sides keep their capacity.
        std::mem::swap(&mut *world.resource_mut::<Slot>(), &mut outputs.slot);
        std::mem::swap(&mut world.resource_mut::<Appends>().0, &mut outputs.appends);
        std::mem::swap(&mut world.resource_mut::<Reads>().0, &mut outputs.reads);
        std::mem::swap(&mut world.resource_mut::<Levels>().0, &mut outputs.levels);
        std::mem::swap(&mut world.resource_mut::<Notices>().0, &mut outputs.notices);
        self.next_deadline_us(now)
    }

    /// What is in memory.
    #[must_use]
    pub fn population(&self) -> Population {
        let world = self.app.world();
        let rooms = world.resource::<RoomIndex>();
        Population {
            rooms: rooms.by_id.len(),
            users: world.resource::<UserIndex>().by_id.len(),
            sessions: world.resource::<SessionIndex>().by_handle.len(),
            hot_log_bytes: rooms.hot_bytes,
            open_reads: world.resource::<components::room::OpenReads>().by_token.len(),
            pages: world.resource::<components::catch_up::Pages>().by_room.len(),
        }
    }

    /// How much has been asked of the world that is not decided or durable yet: commands on their way into logs, and read marks.
    pub fn unfinished(&mut self) -> usize {
        let world = self.app.world_mut();
        let (messages, marks) = (self.messages.iter(world).count(), self.marks.iter(world).count());
        messages + marks + world.resource::<NotifyQueue>().marks.len() + world.resource::<Messages<Submitted>>().len()
    }

    /// The world, for plugins' tests and tools.
    pub fn world_mut(&mut self) -> &mut World {
        self.app.world_mut()
    }

    fn next_deadline_us(&mut self, now: Now) -> Option<u64> {
        let world = self.app.world_mut();
        let rooms = world.resource::<RoomIndex>();
        if !rooms.to_sequence.is_empty() || !world.resource::<Messages<Submitted>>().is_empty() {
            return Some(now.mono_us);
        }
        let notify = world.resource::<NotifyQueue>();
        let session = world.resource::<SessionIndex>();
        let expiry = session.by_expiry.first().map(|(at_ms, _)| now.mono_us + at_ms.saturating_sub(now.wall_ms) * 1_000);
        let watch = world.resource::<PresenceWatch>();
        let told = (!watch.changed.is_empty()).then_some(watch.due_us.unwrap_or(now.mono_us));
        let marks = self.marks.iter(world).map(|mark| mark.deadline_us).min();
        // Only rooms that are being loaded, or looked at for what other nodes did, are left in `asked`.
        let asked = rooms.asked.iter().filter_map(|room| world.get::<Subscribers>(*room)?.asked.first());
        let asked = asked.map(|asked| asked.asked_us + REQUEST_TIMEOUT_MS * 1_000).min();
        [
            rooms.flushes.first().map(|due| due.0),
            rooms.idle_checks.first().map(|due| due.0),
            world.resource::<UserIndex>().idle_checks.first().map(|due| due.0),
            world.resource::<Deadlines>().0.first().map(|due| due.0),
            notify.bumps.first().map(|due| due.0),
            notify.marks.first().map(|due| due.0),
            notify.levels.first().map(|due| due.0),
            expiry,
            told,
            marks,
            asked,
            rooms.held.first().map(|due| due.0),
            crate::heads::next_look_us(world),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
