//! Messages as a program writes them that knows nothing of batches: one insert each, answered when a majority has it in its journal.

use super::meter::Clock;
use crate::control::{LoadResult, Plan, Protocol, Said};
use crate::error::BenchError;
use crate::histogram::Latencies;
use crate::limits::{DATABASE_TIMEOUT, FAULTS_MAX, START_DELAY};
use crate::scenario::Activity;
use mongodb::bson::{Bson, Document};
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};
use mongodb::{Client, Collection};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use uuid::Uuid;

/// What all writers share.
struct Writers {
    collection: Collection<Document>,
    pattern: Document,
    batch: u32,
    clock: Clock,
    rooms: Vec<Room>,
    done: AtomicU64,
    ack: Mutex<Latencies>,
    faults: Mutex<Vec<String>>,
}

struct Room {
    id: String,
    head: AtomicU64,
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Load(error.to_string())
}

impl Writers {
    async fn connect(plan: &Plan) -> Result<Self, BenchError> {
        let Protocol::Inserts { uri, connections, batch, document, .. } = &plan.protocol else {
            return Err(failed("this protocol inserts nothing"));
        };
        let mut options = ClientOptions::parse(uri).await.map_err(failed)?;
        options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
        options.retry_writes = Some(true);
        options.max_pool_size = Some(*connections);
        options.server_selection_timeout = Some(DATABASE_TIMEOUT);
        let database = options.default_database.clone().ok_or_else(|| failed("a URI without a database"))?;
        let collection = Client::with_options(options).map_err(failed)?.database(&database).collection("events");
        let room = |index: u32| Room {
            id: plan.sessions[index as usize].room.simple().to_string(),
            // The next event of a room whose members have joined.
            head: AtomicU64::new(u64::from(plan.scenario.members)),
        };
        Ok(Self {
            collection,
            pattern: Document::from_reader(&document[..]).map_err(failed)?,
            batch: *batch,
            clock: Clock::default(),
            rooms: (0..plan.scenario.rooms).map(room).collect(),
            done: AtomicU64::new(0),
            ack: Mutex::default(),
            faults: Mutex::default(),
        })
    }

    /// The next message of a room, by this sender.
    fn message(&self, room: usize, sender: &str) -> Document {
        let room = &self.rooms[room];
        let seq = room.head.fetch_add(1, Relaxed) + 1;
        let mut document = self.pattern.clone();
        document.insert("_id", format!("{}:{seq:020}", room.id));
        document.insert("room_id", room.id.as_str());
        document.insert("actor_id", sender);
        document.insert("key", Uuid::new_v4().simple().to_string());
        document.insert("seq", Bson::Int64(seq as i64));
        document
    }

    /// Keeps one insert in flight until the measurement is over.
    async fn write(&self, room: usize, sender: String) {
        loop {
            let begun_ns = self.clock.now_ns();
            if self.clock.is_over(begun_ns) {
                return;
            }
            let inserted = if self.batch == 1 {
                self.collection.insert_one(self.message(room, &sender)).await.map(drop)
            } else {
                let messages = (0..self.batch).map(|_| self.message(room, &sender));
                self.collection.insert_many(messages).ordered(false).await.map(drop)
            };
            match inserted {
                Ok(()) => {
                    self.done.fetch_add(u64::from(self.batch), Relaxed);
                    if self.clock.measures(begun_ns) {
                        let ns = self.clock.now_ns().saturating_sub(begun_ns);
                        self.ack.lock().unwrap_or_else(PoisonError::into_inner).record_ns(ns);
                    }
                }
                Err(error) => {
                    let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
                    if faults.len() < FAULTS_MAX {
                        faults.push(format!("an insert: {error}"));
                    }
                    return;
                }
            }
        }
    }
}

/// Inserts with as many writers as the scenario has sends in flight, and says when the measurement begins and ends.
///
/// # Errors
///
/// [`BenchError`] where the database cannot be used, or the orchestrator is gone.
pub fn work(plan: &Plan, mut say: impl FnMut(Said) -> Result<(), BenchError>) -> Result<LoadResult, BenchError> {
    let scenario = &plan.scenario;
    let Activity::Closed { in_flight } = scenario.activity else {
        return Err(failed("inserts are a closed loop"));
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(plan.workers as usize).enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let writers = Arc::new(Writers::connect(plan).await?);
        let start_ns = writers.clock.now_ns() + START_DELAY.as_nanos() as u64;
        let from_ns = start_ns + (scenario.warmup_s * 1e9) as u64;
        let to_ns = from_ns + (scenario.measure_s * 1e9) as u64;
        writers.clock.measure(from_ns..to_ns);
        let mut writing = JoinSet::new();
        for session in 0..scenario.sender_count() {
            let sender = Uuid::new_v4().simple().to_string();
            for _ in 0..in_flight {
                let (writers, sender) = (Arc::clone(&writers), sender.clone());
                let room = scenario.room_of(session) as usize;
                writing.spawn(async move { writers.write(room, sender).await });
            }
        }
        let mut counts = Vec::new();
        for (at_ns, said) in [(from_ns, Said::Measuring), (to_ns, Said::Measured)] {
            if let Some(wait) = writers.clock.until(at_ns) {
                tokio::time::sleep(wait).await;
            }
            say(said)?;
            counts.push((writers.clock.now_ns(), writers.done.load(Relaxed)));
        }
        while writing.join_next().await.is_some() {}
        let acked = writers.done.load(Relaxed);
        let ack = std::mem::take(&mut *writers.ack.lock().unwrap_or_else(PoisonError::into_inner));
        let faults = writers.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (first, last) = (counts[0], counts[1]);
        Ok(LoadResult {
            measured_ns: last.0 - first.0,
            done: last.1 - first.1,
            sent: acked,
            acked: Some(acked),
            ack: Some(ack),
            faults,
            ..LoadResult::default()
        })
    })
}
