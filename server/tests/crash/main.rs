//! SIGKILL under load: what was acknowledged is there, once, where it was said to be, and whoever follows a room has missed nothing.
//!
//! The server, or its database, is killed at random moments and started again on the same folder and ports, while clients send, follow and mark. Every
//! acknowledgement goes into a ledger outside of the server. In the end ledger, followers, history, room lists and own logs are held
//! against each other.
//!
//! It runs on either store. `STARLING_CRASH_KILLS` is the number of kills (25), `STARLING_CRASH_SEED` chooses the moments.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;

mod check;
mod clients;
mod load;

use clients::{library_follower, library_sender, raw_follower, raw_sender};
use common::raw::Place;
use common::{Random, Raw, Server, Stored, register};
use load::{Account, Load};
use mongo_server::MongoServer;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ROOMS: usize = 3;
const RATES: [&str; 8] =
    ["--user-rate", "1000000", "--user-burst", "1000000", "--room-rate", "1000000", "--room-burst", "1000000"];
/// Time from a start to the first acknowledgement after it.
const RECOVERY: Duration = Duration::from_secs(60);

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_sigkill() {
    survives_sigkill(Stored::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_sigkill_on_mongodb() {
    survives_sigkill(Stored::Mongo).await;
}

/// The other side: the server lives, its database is killed and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_sigkill_of_the_database() {
    let database = tokio::task::spawn_blocking(MongoServer::start).await.unwrap().unwrap();
    let server = Server::start_on_own_ports(&RATES, &[("MONGODB_URI", &database.uri("starling"))]);
    survives(server, Some(database)).await;
}

async fn survives_sigkill(stored: Stored) {
    survives(Server::start_for_restarts(stored, &RATES), None).await;
}

/// Kills the database, if there is one, else the server.
async fn survives(mut server: Server, mut database: Option<MongoServer>) {
    let kills = from_env("STARLING_CRASH_KILLS", 25);
    let seed = from_env("STARLING_CRASH_SEED", 1);
    let mut random = Random(seed);
    let mut accounts = Vec::new();
    for name in ["ann", "bob", "cat", "dan", "eve"] {
        accounts.push(Arc::new(Account::new(&server, register(&server, name).await)));
    }
    // Eve is a member and is never there: what mentions her must be in her own log.
    let eve = accounts.pop().unwrap();
    let members: Vec<_> = accounts.iter().map(|account| account.user()).chain([eve.user()]).collect();
    let mut rooms = Vec::new();
    let mut founder = Raw::connect(&server, &accounts[0].token().await).await;
    for _ in 0..ROOMS {
        rooms.push(founder.create_group(members[1..].to_vec()).await);
    }
    founder.close().await;

    // An own log is read whole in the end, which must be no more events than a replay may have.
    let mention_every = (kills / 4).max(8);
    let ledger = server.folder().join("ledger");
    let load = Arc::new(Load::new(Place::from(&server), rooms, (eve.user(), mention_every), &ledger));
    let mut senders = JoinSet::new();
    let mut followers = JoinSet::new();
    for (number, account) in accounts.iter().enumerate() {
        let stream = Random(random.next());
        if number < 2 {
            let client = account.library_client(&server).await;
            for &room in &load.rooms {
                followers.spawn(library_follower(client.clone(), room, Arc::clone(&load)));
            }
            for part in 0..2 {
                senders.spawn(library_sender(client.clone(), account.user(), Random(stream.0 + part), Arc::clone(&load)));
            }
        } else {
            senders.spawn(raw_sender(Arc::clone(account), stream.clone(), Arc::clone(&load)));
            followers.spawn(raw_follower(Arc::clone(account), Arc::clone(&load)));
        }
    }

    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for kill in 1..=kills {
        let recovered = load.until_acknowledged(RECOVERY).await;
        slowest =
            slowest.max(recovered.unwrap_or_else(|| panic!("no acknowledgement after start {kill}:\n{}", server.log())));
        tokio::time::sleep(Duration::from_millis(5 + random.below(396))).await;
        (server, database) = tokio::task::spawn_blocking(move || {
            if let Some(database) = &mut database {
                database.kill9();
                database.restart().unwrap();
            } else {
                server.kill9();
                server.restart();
            }
            (server, database)
        })
        .await
        .unwrap();
    }
    assert!(load.until_acknowledged(RECOVERY).await.is_some(), "no acknowledgement after the last start:\n{}", server.log());
    load.stop();
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    println!(
        "{kills} kills (seed {seed}) in {:?}: {} acknowledgements, at most {slowest:?} from a start to the next one",
        began.elapsed(),
        load.acknowledged()
    );
    check::everything(&server, &load, &accounts, &eve, followers).await;
    server.stop();
}
