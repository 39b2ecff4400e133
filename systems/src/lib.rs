//! The verbs of the Starling world: systems by feature, in the order of the tick.
//!
//! Start with [`schedule`]: the whole tick is on its screen. A feature has one file ([`session`], [`user`], [`room`], [`chat`],
//! [`presence`], [`notification`]); what all features pass through has one too ([`ingest`], [`sequence`], [`delivery`], [`flush`], [`outbox`]); [`subscription`] and
//! [`catch_up`] are about who reads a room, [`follow`] about those who do not; [`nodes`], [`heads`] and [`listing`] about other nodes on the same store.
//! Rules of the domain are plain functions on plain data: [`fold`] (what a log means) and [`rules`] (who may do what).
//!
//! Nothing here does I/O, reads a clock or draws a random number: the same inputs in the same ticks give the same bytes out.

pub mod catch_up;
pub mod chat;
pub mod core;
pub mod delivery;
pub mod flush;
pub mod fold;
pub mod follow;
mod heads;
pub mod hot_log;
pub mod ingest;
mod listing;
pub mod nodes;
pub mod notification;
pub mod outbox;
pub mod presence;
pub mod room;
pub mod rules;
pub mod schedule;
pub mod sequence;
pub mod session;
pub mod subscription;
pub mod user;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use bevy_app::{App, Plugin};

/// Everything that Starling is made of.
#[derive(Debug, Default)]
pub struct StarlingPlugin;

impl Plugin for StarlingPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins((
            schedule::SchedulePlugin,
            ingest::IngestPlugin,
            session::SessionPlugin,
            user::UserPlugin,
            room::RoomPlugin,
            chat::ChatPlugin,
            presence::PresencePlugin,
            notification::NotificationPlugin,
            nodes::NodesPlugin,
            sequence::SequencePlugin,
            delivery::DeliveryPlugin,
            flush::FlushPlugin,
        ));
    }
}
