//! Plugins of others: a system beside those of Starling, on the same surface.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bevy_app::App;
use bevy_ecs::prelude::*;
use client_protocol::EventBody;
use client_protocol::room::kind;
use components::time::Tuning;
use systems::delivery::Settled;
use systems::schedule::{Feature, In, Stage, Tick};
use systems::testing::Scenario;

#[derive(Resource, Default)]
struct Heard(Vec<String>);

fn hear(mut settled: MessageReader<Settled>, mut heard: ResMut<Heard>) {
    for Settled { records, .. } in settled.read() {
        for record in records {
            if let EventBody::MessagePosted(posted) = &record.event.body {
                heard.0.push(String::from_utf8_lossy(&posted.body.bytes).into_owned());
            }
        }
    }
}

fn bot(app: &mut App) {
    app.init_resource::<Heard>().add_systems(Tick, hear.in_set(In(Stage::Notify, Feature::Extension)));
}

#[test]
fn a_bot_hears_what_is_durable_once() {
    let mut s = Scenario::with(Tuning::default(), bot);
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    for text in ["one", "two", "three"] {
        s.posted(a, room, text);
    }
    assert_eq!(s.core_mut().world_mut().resource::<Heard>().0, ["one", "two", "three"]);
}

fn two_who_disagree(app: &mut App) {
    fn write(mut heard: ResMut<Heard>) {
        heard.0.clear();
    }
    app.init_resource::<Heard>().add_systems(Tick, (hear, write).in_set(In(Stage::Notify, Feature::Extension)));
}

#[test]
#[should_panic(expected = "mbigu")]
fn two_systems_whose_order_is_not_stated_are_an_error() {
    let mut s = Scenario::with(Tuning::default(), two_who_disagree);
    s.tick();
}

#[test]
fn messages_between_systems_are_dropped() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    for n in 0..100 {
        s.posted(a, room, &n.to_string());
    }
    let world = s.core_mut().world_mut();
    assert!(world.resource::<Messages<Settled>>().len() <= 2);
    assert!(world.resource::<Messages<systems::ingest::AppendReplied>>().len() <= 2);
    assert!(world.resource::<components::room::OpenReads>().by_token.is_empty());
}
