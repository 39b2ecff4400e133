//! The bot: a plugin beside Starling's own, on the same surface.
//!
//! | message | |
//! |---|---|
//! | `Settled` | read: events of a room that are durable |
//! | `Submitted` | written: a command that is to become an event, as if a session had sent it |

use server::plugin::bevy_app::{App, Plugin};
use server::plugin::bevy_ecs::prelude::*;
use server::plugin::client_protocol::chat::{Body, MessagePosted, MessageTail, Relation, relation};
use server::plugin::client_protocol::{EventBody, Key, RoomId, UserId};
use server::plugin::components::edge::Origin;
use server::plugin::components::room::Room;
use server::plugin::systems::chat::{Submission, Submitted};
use server::plugin::systems::delivery::Settled;
use server::plugin::systems::ingest::From;
use server::plugin::systems::schedule::{Feature, In, Stage, Tick};
use std::sync::{Arc, OnceLock};

/// What it answers to.
pub(crate) const PING: &[u8] = b"!ping";
/// What it answers.
pub(crate) const PONG: &str = "pong";

/// Answers `!ping` in every room that its user is a member of. Says nothing before it knows its user.
#[derive(Debug, Clone, Default)]
pub(crate) struct PingBot {
    user: Arc<OnceLock<UserId>>,
}

impl PingBot {
    /// Says whose name it speaks in; the first word counts.
    pub(crate) fn speak_as(&self, user: UserId) {
        self.user.get_or_init(|| user);
    }
}

#[derive(Resource)]
struct Speaker(PingBot);

impl Plugin for PingBot {
    fn build(&self, app: &mut App) {
        app.insert_resource(Speaker(self.clone()));
        // Extensions run last in each stage. What is submitted here is taken in the next tick, which starts at once.
        app.add_systems(Tick, answer_pings.in_set(In(Stage::Notify, Feature::Extension)));
    }
}

fn answer_pings(
    mut settled: MessageReader<Settled>,
    mut submitted: MessageWriter<Submitted>,
    rooms: Query<&Room>,
    speaker: Res<Speaker>,
) {
    for Settled { room, records, .. } in settled.read() {
        let (Some(&user), Ok(room)) = (speaker.0.user.get(), rooms.get(*room)) else { continue };
        for record in records {
            if let EventBody::MessagePosted(posted) = &record.event.body
                && posted.body.bytes == PING
            {
                submitted.write(answer(user, room.id, record.event.head.seq));
            }
        }
    }
}

/// The answer to the message `seq`. Its key follows from the message: after a crash events may be seen again, and are not answered twice.
fn answer(user: UserId, room: RoomId, seq: u64) -> Submitted {
    let reply_to = Relation { kind: relation::REPLY, seq };
    let posted = MessagePosted {
        body: Body::text(PONG),
        mentions: Vec::new(),
        tail: MessageTail { relation: Some(reply_to), ..MessageTail::default() },
    };
    Submitted {
        from: From { origin: Origin::World { follows: None }, user, session: None },
        submission: Submission {
            room,
            key: Key::derived(b'p', room, seq),
            retry: false,
            body: EventBody::MessagePosted(posted),
            deadline_us: None,
        },
    }
}
