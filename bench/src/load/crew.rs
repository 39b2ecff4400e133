//! The workers of a load process and what they do together: the beginning and end of the measurement, the drain, the sums.

use super::meter::{Clock, Meter};
use super::pacer;
use super::worker::{self, Ready, Share};
use crate::control::{LoadResult, Plan, Said};
use crate::error::BenchError;
use crate::histogram::Latencies;
use crate::limits::{CALM, DRAIN_TIMEOUT, START_DELAY, WORKERS_MAX};
use crate::scenario::{Activity, Scenario};
use crate::schedule::{Due, Schedule};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Time between two looks at whether everything has arrived.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

struct Hired {
    meter: Arc<Meter>,
    finish: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// All workers and their sessions.
pub(super) struct Crew {
    plan: Arc<Plan>,
    clock: Arc<Clock>,
    workers: Vec<Hired>,
    /// In the order of the plan; none where sessions come and go.
    sessions: Vec<Ready>,
    /// Drops all connections.
    storm: watch::Sender<bool>,
}

/// Counters at one time.
#[derive(Clone, Copy, Default)]
struct Snapshot {
    at_ns: u64,
    deliveries: u64,
    done: u64,
    server_packets: u64,
    server_bytes: u64,
    client_packets: u64,
}

impl Crew {
    /// Starts the workers and waits until all sessions are subscribed.
    pub(super) fn hire(plan: Arc<Plan>) -> Result<Self, BenchError> {
        let count = plan.workers.clamp(1, WORKERS_MAX) as usize;
        let clock = Arc::new(Clock::default());
        let (storm, storms) = watch::channel(false);
        let mut crew = Self { plan, clock, workers: Vec::new(), sessions: Vec::new(), storm };
        let (ready, readies) = std::sync::mpsc::channel();
        let shares = shares(&crew.plan.scenario, count);
        let hired = shares.len();
        for (n, sessions) in shares.into_iter().enumerate() {
            let share = Share {
                plan: Arc::clone(&crew.plan),
                sessions,
                clock: Arc::clone(&crew.clock),
                meter: Arc::default(),
                storm: storms.clone(),
            };
            let (meter, ready) = (Arc::clone(&share.meter), ready.clone());
            let (finish, finished) = oneshot::channel();
            let thread = std::thread::Builder::new()
                .name(format!("load-{n}"))
                .spawn(move || worker::run(&share, &ready, finished))
                .map_err(BenchError::io("starting a worker"))?;
            crew.workers.push(Hired { meter, finish: Some(finish), thread: Some(thread) });
        }
        drop(ready);
        for _ in 0..hired {
            let sessions = readies.recv().map_err(|_| BenchError::Load("a worker ended".to_owned()))?;
            crew.sessions.extend(sessions.map_err(BenchError::Load)?);
        }
        crew.sessions.sort_by_key(|session| session.index);
        Ok(crew)
    }

    /// Runs the load and says when the measurement begins and ends.
    pub(super) fn work(mut self, mut say: impl FnMut(Said) -> Result<(), BenchError>) -> Result<LoadResult, BenchError> {
        let scenario = self.plan.scenario.clone();
        let start_ns = self.clock.now_ns() + START_DELAY.as_nanos() as u64;
        let from_ns = start_ns + (scenario.warmup_s * 1e9) as u64;
        let to_ns = from_ns + (scenario.measure_s * 1e9) as u64;
        self.clock.measure(from_ns..to_ns);
        let sends = schedules(&scenario, start_ns);
        let clock = Arc::clone(&self.clock);
        let senders: Vec<mpsc::Sender<u64>> = self.sessions.iter().map(|session| session.due.clone()).collect();
        let beside = scenario.beside.as_ref().map(|beside| {
            let sessions = senders[scenario.measured_sessions() as usize..].to_vec();
            let seconds = scenario.warmup_s + scenario.measure_s;
            (vec![Schedule::new(start_ns, beside.sends_per_s, seconds, sessions.len() as u32)], sessions)
        });
        let pacers = std::iter::once((sends, senders)).chain(beside).map(|(schedules, senders)| {
            let clock = Arc::clone(&clock);
            let pace = move || schedules.into_iter().map(|schedule| pacer::pace(schedule, &clock, &senders)).sum();
            let pacer = std::thread::Builder::new().name("pacer".to_owned()).spawn(pace);
            pacer.map_err(BenchError::io("starting the pacer"))
        });
        let pacers: Vec<JoinHandle<u64>> = pacers.collect::<Result<_, _>>()?;
        self.prime(&scenario);
        self.sleep_until(from_ns);
        say(Said::Measuring)?;
        let from = self.snapshot();
        if scenario.activity == Activity::Storm {
            // Who is there to hear it does not matter: sessions that are lost were reported.
            let _nobody = self.storm.send(true);
        }
        self.sleep_until(to_ns);
        say(Said::Measured)?;
        let to = self.snapshot();
        let mut held = 0;
        for pacer in pacers {
            held += pacer.join().map_err(|_| BenchError::Load("a pacer failed".to_owned()))?;
        }
        self.drain();
        self.clock.stopping.store(true, Relaxed);
        let due = due(&scenario, schedules(&scenario, start_ns).into_iter().flatten(), &self.clock);
        let result = LoadResult { due, ..self.result(from, to, held) };
        self.dismiss();
        Ok(result)
    }

    /// Gives each sender of a closed loop its first sends.
    fn prime(&self, scenario: &Scenario) {
        if let Activity::Closed { in_flight } = scenario.activity {
            for session in &self.sessions {
                for _ in 0..in_flight {
                    let _room = session.due.try_send(self.clock.now_ns());
                }
            }
        }
    }

    fn sleep_until(&self, at_ns: u64) {
        if let Some(wait) = self.clock.until(at_ns) {
            std::thread::sleep(wait);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot { at_ns: self.clock.now_ns(), ..Snapshot::default() };
        snapshot.deliveries = self.workers.iter().map(|worker| worker.meter.deliveries.load(Relaxed)).sum();
        snapshot.done = self.workers.iter().map(|worker| worker.meter.done.load(Relaxed)).sum();
        for session in &self.sessions {
            let carried = session.wire.carried().plus(session.state.carried_later());
            snapshot.server_packets += carried.server_packets;
            snapshot.server_bytes += carried.server_bytes;
            snapshot.client_packets += carried.client_packets;
        }
        snapshot
    }

    /// Highest acknowledged seq of each room.
    fn acked_seqs(&self) -> Vec<u64> {
        let mut acked = vec![0; self.plan.scenario.all_rooms() as usize];
        for session in &self.sessions {
            let room = self.plan.scenario.room_of(session.index as u32) as usize;
            acked[room] = acked[room].max(session.state.acked_seq.load(Relaxed));
        }
        acked
    }

    /// How many messages were sent to each room.
    fn sent_to_rooms(&self) -> Vec<u64> {
        let mut sent = vec![0; self.plan.scenario.all_rooms() as usize];
        for session in &self.sessions {
            sent[self.plan.scenario.room_of(session.index as u32) as usize] += session.state.sent.load(Relaxed);
        }
        sent
    }

    /// Acknowledged events, or all where nothing is acknowledged, that did not arrive, summed over the sessions.
    fn missing(&self) -> u64 {
        let acked = if self.plan.protocol.acknowledges() { self.acked_seqs() } else { self.sent_to_rooms() };
        let missing = |session: &Ready| {
            let room = self.plan.scenario.room_of(session.index as u32) as usize;
            acked[room].saturating_sub(session.state.cursor.load(Relaxed))
        };
        let reading = |session: &&Ready| !self.plan.scenario.is_slow(session.index as u32);
        self.sessions.iter().filter(reading).map(missing).sum()
    }

    fn unanswered(&self) -> u64 {
        if !self.plan.protocol.acknowledges() {
            return 0;
        }
        let open = |session: &Ready| session.state.sent.load(Relaxed).saturating_sub(session.state.answered.load(Relaxed));
        self.sessions.iter().map(open).sum()
    }

    fn drain(&self) {
        let until = Instant::now() + DRAIN_TIMEOUT;
        while Instant::now() < until && (self.unanswered() > 0 || self.missing() > 0) {
            std::thread::sleep(DRAIN_LOOK);
        }
    }

    fn result(&self, from: Snapshot, to: Snapshot, held: u64) -> LoadResult {
        let mut result = LoadResult {
            measured_ns: to.at_ns - from.at_ns,
            deliveries: to.deliveries - from.deliveries,
            done: to.done - from.done,
            server_packets: to.server_packets - from.server_packets,
            server_bytes: to.server_bytes - from.server_bytes,
            client_packets: to.client_packets - from.client_packets,
            held,
            lost: self.missing(),
            unanswered: self.unanswered(),
            ..LoadResult::default()
        };
        let mut refused: BTreeMap<String, u64> = BTreeMap::new();
        let (mut ack, mut acked) = (Latencies::default(), 0);
        for worker in &self.workers {
            let histograms = worker.meter.histograms();
            result.latency.merge(&histograms.latency);
            ack.merge(&histograms.ack);
            result.lag.merge(&histograms.lag);
            result.level.merge(&histograms.level);
            for (name, aside) in &histograms.asides {
                let all = result.asides.entry((*name).to_owned()).or_default();
                all.count += aside.count;
                all.latency.merge(&aside.latency);
            }
            for (code, count) in worker.meter.refused() {
                *refused.entry(code).or_default() += count;
            }
            result.faults.extend(worker.meter.faults());
        }
        result.refused = refused;
        for session in &self.sessions {
            result.sent += session.state.sent.load(Relaxed);
            acked += session.state.acked.load(Relaxed);
            result.gaps += session.state.gaps.load(Relaxed);
        }
        (result.ack, result.acked) = self.plan.protocol.acknowledges().then_some((ack, acked)).unzip();
        result
    }

    /// Closes all connections and waits for the workers.
    fn dismiss(&mut self) {
        self.sessions.clear();
        for worker in &mut self.workers {
            drop(worker.finish.take());
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _panicked = thread.join();
            }
        }
    }
}

/// Deliveries that were due while measured, to sessions whose latency is taken.
fn due(scenario: &Scenario, sends: impl Iterator<Item = Due>, clock: &Clock) -> u64 {
    let mut each = vec![0; scenario.rooms as usize];
    for session in (0..scenario.measured_sessions()).filter(|session| scenario.takes_latency(*session)) {
        each[scenario.room_of(session) as usize] += 1;
    }
    let timed = |due: Due| each[scenario.room_of(due.sender) as usize];
    sends.filter(|due| clock.measures(due.at_ns)).map(timed).sum()
}

/// The sessions of each worker. Those of rooms beside have a worker and sockets of their own: what comes to them must not stand in
/// front of what is measured.
fn shares(scenario: &Scenario, count: usize) -> Vec<Vec<usize>> {
    let measured = scenario.measured_sessions() as usize;
    let mut shares: Vec<Vec<usize>> = (0..count).map(|n| (n..measured).step_by(count).collect()).collect();
    if scenario.beside.is_some() {
        shares.push((measured..scenario.sessions() as usize).collect());
    }
    shares
}

/// When the sends are due. Around a storm there are two times: nothing is under way when all connections drop, and from then on sends
/// are due again, though nobody is there to send them.
fn schedules(scenario: &Scenario, start_ns: u64) -> Vec<Schedule> {
    let of = |start_ns, seconds| Schedule::new(start_ns, scenario.sends_per_s, seconds, scenario.sender_count());
    if scenario.activity != Activity::Storm {
        return vec![of(start_ns, scenario.warmup_s + scenario.measure_s)];
    }
    let storm_ns = start_ns + (scenario.warmup_s * 1e9) as u64 + START_DELAY.as_nanos() as u64;
    let before_s = (scenario.warmup_s - CALM.as_secs_f64()).max(0.0);
    vec![of(start_ns, before_s), of(storm_ns, (scenario.measure_s - START_DELAY.as_secs_f64()).max(0.0))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_calm_before_the_storm() {
        let scenario = Scenario { sends_per_s: 100.0, ..Scenario::storm(0.0) }.timed(3.0, 2.0);
        let dues: Vec<u64> = schedules(&scenario, 0).into_iter().flatten().map(|due| due.at_ns).collect();
        let near = |seconds: f64| dues.iter().any(|ns| (*ns as f64 / 1e9 - seconds).abs() < 0.06);
        assert!(near(1.9) && !near(2.5) && !near(3.0) && near(3.2) && near(4.9) && !near(5.1));
        assert_eq!(schedules(&Scenario::one_room(2e4), 0).len(), 1);
    }

    #[test]
    fn what_is_due_is_what_the_sends_of_the_window_should_bring() {
        let clock = Clock::default();
        clock.measure(1_000_000_000..3_000_000_000);
        let due = |scenario: Scenario| super::due(&scenario, schedules(&scenario, 0).into_iter().flatten(), &clock);
        assert_eq!(due(Scenario::many_rooms(20_000.0).timed(1.0, 2.0)), 40_000);
        assert_eq!(due(Scenario::slow_readers(20_000.0).timed(1.0, 2.0)), 36_000);
        // Half of the sends, each timed by the one who did not send it.
        assert_eq!(due(Scenario { measure_s: 2.0, ..Scenario::latency(200, 20.0) }), 100);
        assert_eq!(due(Scenario::idle(100).timed(1.0, 2.0)), 0);
    }

    #[test]
    fn every_session_has_one_worker() {
        let beside = crate::scenario::Beside { rooms: 1, members: 4, devices: 1, sends_per_s: 0.0 };
        let scenario = Scenario { rooms: 1, members: 5, beside: Some(beside), ..Scenario::one_room(1.0) };
        assert_eq!(shares(&scenario, 2), [vec![0, 2, 4], vec![1, 3], vec![5, 6, 7, 8]]);
        assert_eq!(shares(&Scenario { beside: None, ..scenario }, 1), [vec![0, 1, 2, 3, 4]]);
    }
}
