//! A plugin beside Starling's own: a bot that answers `!ping` with `pong`, in every room that it is a member of.
//!
//! The bot is an account like any other. Make one, take its id, start the server with the bot in it, and invite it:
//!
//! ```text
//! starling-chat --profile bot register pingbot --email pingbot@example.org
//! starling-chat --profile bot whoami
//! PING_BOT=<its id> cargo run -p starling-server --example ping
//! ```

use bevy_app::{App as Bevy, Plugin};
use bevy_ecs::prelude::*;
use client_protocol::chat::{Body, MessageTail, PostMessage};
use client_protocol::room::CommandHead;
use client_protocol::{Command, EventBody, Key, RoomId, UserId};
use components::edge::Origin;
use components::room::Room;
use server::App;
use server::config::{Config, Loaded};
use systems::chat::{Submitted, draft};
use systems::delivery::Settled;
use systems::ingest::From;
use systems::schedule::{Feature, In, Stage, Tick};
use uuid::Uuid;

/// Sort of the keys of the answers: one question has one answer, whatever happens in between.
const ANSWER: u8 = b'P';

/// Who answers.
#[derive(Resource, Debug, Clone, Copy)]
struct Bot(UserId);

/// Answers pings.
struct PingPlugin(Bot);

impl Plugin for PingPlugin {
    fn build(&self, app: &mut Bevy) {
        // After Starling's own features have seen what is durable; what is written here is decided in the next tick.
        app.insert_resource(self.0).add_systems(Tick, answer.in_set(In(Stage::Notify, Feature::Extension)));
    }
}

fn answer(bot: Res<Bot>, rooms: Query<&Room>, mut settled: MessageReader<Settled>, mut submit: MessageWriter<Submitted>) {
    for Settled { room, records, replayed } in settled.read() {
        // Events that were there before the room came into memory were answered then.
        let (false, Ok(room)) = (*replayed, rooms.get(*room)) else { continue };
        for record in records {
            let EventBody::MessagePosted(posted) = &record.event.body else { continue };
            if posted.body.bytes == *b"!ping" && record.event.head.actor != bot.0 {
                // In a room where the bot is no member, the rules refuse it: they hold for the world's own commands too.
                submit.write_batch(pong(bot.0, room.id, record.event.head.seq));
            }
        }
    }
}

/// The answer to the message at this seq.
fn pong(bot: UserId, room: RoomId, seq: u64) -> Option<Submitted> {
    let head = CommandHead { room, key: Key::derived(ANSWER, room, seq), retry: false };
    let post = PostMessage { head, body: Body::text("pong"), mentions: Vec::new(), tail: MessageTail::default() };
    let submission = draft(Command::PostMessage(post)).ok()?;
    Some(Submitted { from: From { origin: Origin::World { follows: None }, user: bot, session: None }, submission })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bot = std::env::var("PING_BOT").map_err(|_| "set PING_BOT to the id of the bot's account")?;
    let bot = Bot(UserId(Uuid::parse_str(&bot)?));
    match Config::load(std::env::args_os(), |name| std::env::var(name).ok())? {
        Loaded::Print(text) => println!("{text}"),
        Loaded::Run(config) => {
            let running = App::new(*config).add_plugins(PingPlugin(bot)).start()?;
            println!("REST  http://{}", running.rest_address());
            running.wait_for_signal();
        }
    }
    Ok(())
}
