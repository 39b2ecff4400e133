//! The tick: one schedule, eight stages, and in each stage the features in one order.
//!
//! | stage | what it does |
//! |---|---|
//! | Ingest | decode each command once; apply store replies; sessions opened and closed |
//! | Hydrate | bring in what commands need: room, user, the event they refer to |
//! | Sequence | per room with no append open, in order: authorize on the durable state, give the seq, or refuse |
//! | Persist | hand appends to the store edge |
//! | Deliver | durable events only: into the hot log, ack the sender |
//! | Notify | members who do not read the room; read marks |
//! | Flush | fill the slot of the edge |
//! | Retire | what has ended or is not needed any more |

use bevy_app::{App, Plugin};
use bevy_ecs::error::{BevyError, ErrorContext, FallbackErrorHandler};
use bevy_ecs::message::message_update_system;
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, ScheduleLabel, SingleThreadedExecutor};

/// The one schedule.
#[derive(ScheduleLabel, Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tick;

/// Stages of the tick, in order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Writes: typed messages of every feature, settled appends. Nobody before it reads this tick's inputs.
    Ingest,
    /// Writes: rooms, users and what messages refer to. After it, what is still missing waits.
    Hydrate,
    /// Reads the durable state; writes drafts into appends.
    Sequence,
    /// Writes `Appends`.
    Persist,
    /// Reads settled events; writes hot logs and acks.
    Deliver,
    /// Reads settled events; writes commands for own logs, bumps.
    Notify,
    /// Reads hot logs and the outbox; writes the slot.
    Flush,
    /// Despawns. After it the world is as the next tick finds it.
    Retire,
}

/// Features, in the order in which they run within a stage.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Connections.
    Session,
    /// Accounts in memory.
    User,
    /// Rooms, their logs and subscriptions.
    Room,
    /// Messages.
    Chat,
    /// Presence and typing.
    Presence,
    /// Read marks, bumps, own logs.
    Notification,
    /// Other nodes on the same store.
    Nodes,
    /// What other plugins add: runs last in each stage.
    Extension,
}

/// Where a system stands: `.in_set(In(Stage::Deliver, Feature::Chat))`.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct In(pub Stage, pub Feature);

/// The stages, first to last.
pub const STAGES: [Stage; 8] = [
    Stage::Ingest,
    Stage::Hydrate,
    Stage::Sequence,
    Stage::Persist,
    Stage::Deliver,
    Stage::Notify,
    Stage::Flush,
    Stage::Retire,
];

const FEATURES: [Feature; 8] = [
    Feature::Session,
    Feature::User,
    Feature::Room,
    Feature::Chat,
    Feature::Presence,
    Feature::Notification,
    Feature::Nodes,
    Feature::Extension,
];

/// Makes the schedule.
#[derive(Debug)]
pub struct SchedulePlugin;

impl Plugin for SchedulePlugin {
    fn build(&self, app: &mut App) {
        let mut tick = Schedule::new(Tick);
        // 1 us a tick instead of 50 to 90 with the multi-threaded one.
        tick.set_executor(SingleThreadedExecutor::new());
        tick.set_build_settings(ScheduleBuildSettings { ambiguity_detection: LogLevel::Error, ..Default::default() });
        let mut before: Option<In> = None;
        for stage in STAGES {
            for feature in FEATURES {
                let here = In(stage, feature);
                tick.configure_sets(here.in_set(stage));
                if let Some(before) = before {
                    tick.configure_sets(here.after(before));
                }
                before = Some(here);
            }
        }
        // Without this, messages between systems would never be dropped.
        tick.add_systems(message_update_system.before(In(Stage::Ingest, Feature::Session)));
        app.add_schedule(tick);
        app.main_mut().update_schedule = Some(Tick.intern());
        app.insert_resource(FallbackErrorHandler(report));
    }
}

/// A system that fails is a bug of ours: loud, and the world goes on. One that panicked may have left the world half changed, and what is
/// half changed must not be served: the panic goes on to whoever runs the core.
fn report(mut error: BevyError, context: ErrorContext) {
    tracing::error!(%error, %context, "a system failed");
    if let Some(payload) = error.take_payload() {
        std::panic::resume_unwind(payload);
    }
}
