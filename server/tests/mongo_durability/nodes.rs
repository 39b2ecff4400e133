//! Several nodes on one database, and faults at random: every answer is true.

use crate::proxy::{Fault, Proxy};
use crate::store_suite::log::{Log, created, posted, room, user};
use crate::{Node, assert_log};
use client_protocol::room::kind::GROUP;
use client_protocol::{Key, UserId};
use components::edge::{AppendThen, Record};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What nodes were told: the event at each place.
type Ledger = Arc<Mutex<BTreeMap<u64, Record>>>;

/// Events of which nodes were told that they are not in, nor will be.
type Refused = Arc<Mutex<Vec<Record>>>;

/// Small, seeded, the same everywhere.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// Writes down that an event stands at its place; whoever says so must say the same.
fn witness(ledger: &Ledger, record: &Record) {
    let mut ledger = ledger.lock().unwrap();
    let stands = ledger.entry(record.event.head.seq).or_insert_with(|| record.clone());
    assert_eq!(stands, record, "two events at one place");
}

/// Follows what stands in the log.
fn follow(log: &mut Log, records: &[Record]) {
    for record in records {
        let head = &record.event.head;
        assert_eq!(head.seq, log.seq + 1);
        *log = Log { room: log.room, seq: head.seq, message_no: head.message_no, time_ms: head.time_ms };
    }
}

/// Appends `wanted` messages, in batches, in whatever order the nodes come to. Events that are refused for good are kept apart.
async fn write(mut node: Node, who: UserId, wanted: usize, mut random: Random, ledger: Ledger, refused: Refused) -> Node {
    let mut log = Log::new(room(1));
    log.seq = 1;
    let mut written = 0;
    let mut keys = 0_u64;
    while written < wanted {
        let before = log.clone();
        let records: Vec<Record> = (0..=random.below(6))
            .map(|_| {
                keys += 1;
                log.record_with_key(who, Key::derived(b'n', client_protocol::RoomId(who.0), keys), posted("text"))
            })
            .collect();
        let answered = node.append(log.room, before.seq + 1, records.clone()).await;
        records[..answered.appended].iter().for_each(|record| witness(&ledger, record));
        written += answered.appended;
        log = before;
        follow(&mut log, &records[..answered.appended]);
        match answered.then {
            AppendThen::Done => assert_eq!(answered.appended, records.len()),
            AppendThen::Conflict { log: theirs } => {
                assert!(!theirs.is_empty());
                theirs.iter().for_each(|record| witness(&ledger, record));
                follow(&mut log, &theirs);
            }
            AppendThen::Unavailable => {
                refused.lock().unwrap().extend(records[answered.appended..].iter().cloned());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?} for keys that are fresh"),
        }
    }
    node
}

/// The log as the ledger has it, held against the database.
async fn assert_ledger(uri: &str, ledger: &Ledger, refused: &Refused) {
    let records: Vec<Record> = ledger.lock().unwrap().values().cloned().collect();
    for (seq, record) in (1..).zip(&records) {
        assert_eq!(record.event.head.seq, seq, "nobody was told what stands at {seq}");
    }
    for gone in refused.lock().unwrap().iter() {
        assert!(!records.iter().any(|record| record.event.head.key == gone.event.head.key), "it was refused and is in");
    }
    assert_log(uri, &Log::new(room(1)), &records).await;
}

async fn found(uri: &str, ledger: &Ledger) {
    let mut node = Node::open(uri).await;
    let mut log = Log::new(room(1));
    let first = log.record(user(1), created(GROUP, "group", &[user(2), user(3)]));
    assert_eq!(node.append(log.room, 1, vec![first.clone()]).await.then, AppendThen::Done);
    witness(ledger, &first);
    node.close().await;
}

async fn nodes_write(
    count: u16,
    each: usize,
    through: impl AsyncFn(&mongo_server::Database, u64) -> (String, Option<Proxy>),
) {
    let database = mongo_server::database();
    let (ledger, refused) = (Ledger::default(), Refused::default());
    found(&database.uri, &ledger).await;
    let mut writers = tokio::task::JoinSet::new();
    let mut proxies = Vec::new();
    for n in 1..=count {
        let (uri, proxy) = through(&database, u64::from(n)).await;
        proxies.extend(proxy);
        let node = Node::open(&uri).await;
        writers.spawn(write(node, user(n), each, Random(0x9e37_79b9 + u64::from(n)), ledger.clone(), refused.clone()));
    }
    let nodes = writers.join_all().await;
    proxies.iter().for_each(Proxy::heal);
    for node in nodes {
        node.close().await;
    }
    assert_ledger(&database.uri, &ledger, &refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_write_to_one_room() {
    nodes_write(2, 60, async |database, _| (database.uri.clone(), None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_write_to_one_room() {
    nodes_write(3, 40, async |database, _| (database.uri.clone(), None)).await;
}

/// Each node behind a network that loses, delays and cuts at random.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_write_through_networks_with_faults() {
    nodes_write(3, 40, async |database, seed| {
        let proxy = Proxy::start(database.address()).await;
        let mut random = Random(0x2545_f491_4f6c_dd1d ^ (seed << 20));
        let mut quiet = 12;
        proxy.rule(move |_, _| {
            // The start is let through.
            if quiet > 0 {
                quiet -= 1;
                return None;
            }
            match random.below(60) {
                0 => Some(Fault::CutBefore),
                1 | 2 => Some(Fault::CutAfter),
                3 => Some(Fault::Late(Duration::from_millis(1_700))),
                4 => Some(Fault::LateReply(Duration::from_millis(1_700))),
                5..=9 => Some(Fault::Late(Duration::from_millis(20))),
                _ => None,
            }
        });
        (proxy.uri(database.name()), Some(proxy))
    })
    .await;
}
