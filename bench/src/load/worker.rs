//! A worker: a thread with a runtime, its sockets, and its share of the sessions.

use super::dialer::{Dialer, Opened};
use super::meter::{Clock, Meter, SessionState};
use super::tally::Tally;
use super::wire::Wire;
use super::{broker, floor, session, websocket};
use crate::control::Plan;
use crate::limits::{CONNECTING_MAX, JOINING_MAX, NICE_BESIDE, SEND_QUEUE_MAX};
use crate::scenario::Activity;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// A session that is ready, as the rest of the process sees it.
pub struct Ready {
    /// Its index in the plan.
    pub index: usize,
    /// What it counts.
    pub state: Arc<SessionState>,
    /// Its connection, for statistics.
    pub wire: Wire,
    /// Takes the due times of its sends.
    pub due: mpsc::Sender<u64>,
}

/// What a worker is given.
pub struct Share {
    /// The whole plan.
    pub plan: Arc<Plan>,
    /// Indices of the sessions that are this worker's.
    pub sessions: Vec<usize>,
    /// The clock.
    pub clock: Arc<Clock>,
    /// Counters of this worker.
    pub meter: Arc<Meter>,
    /// Says `true` when all connections drop.
    pub storm: watch::Receiver<bool>,
}

impl Share {
    fn tally(&self, state: &Arc<SessionState>) -> Tally {
        Tally { state: Arc::clone(state), meter: Arc::clone(&self.meter), clock: Arc::clone(&self.clock) }
    }
}

/// Runs a worker until `finish` is sent or dropped. `ready` gets its sessions once all are subscribed, or why they are not.
pub fn run(share: &Share, ready: &std::sync::mpsc::Sender<Result<Vec<Ready>, String>>, finish: oneshot::Receiver<()>) {
    let scenario = &share.plan.scenario;
    if scenario.beside.is_some() && share.sessions.iter().all(|index| *index >= scenario.measured_sessions() as usize) {
        // In the world they are on machines of their own; here they must not take the processor from those that are measured.
        let _as_before = rustix::process::nice(NICE_BESIDE);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _gone = ready.send(Err(format!("no runtime: {error}")));
            return;
        }
    };
    runtime.block_on(async {
        let dialer = match Dialer::new(&share.plan.protocol, share.plan.scenario.tickets()) {
            Ok(dialer) => dialer,
            Err(why) => {
                let _gone = ready.send(Err(why));
                return;
            }
        };
        if let Activity::Join { .. } = share.plan.scenario.activity {
            if ready.send(Ok(Vec::new())).is_ok() {
                join(share, &dialer).await;
                let _dropped = finish.await;
            }
            return dialer.close().await;
        }
        let connected = connect(share, &dialer).await;
        let failed = connected.is_err();
        if ready.send(connected).is_ok() && !failed {
            let _dropped = finish.await;
        }
        dialer.close().await;
    });
}

/// Opens the worker's sessions, some at a time.
async fn connect(share: &Share, dialer: &Dialer) -> Result<Vec<Ready>, String> {
    let mut opening: JoinSet<(usize, Result<Opened, String>)> = JoinSet::new();
    let mut ready = Vec::with_capacity(share.sessions.len());
    let mut waiting = share.sessions.iter().enumerate();
    loop {
        while opening.len() < CONNECTING_MAX
            && let Some((n, index)) = waiting.next()
        {
            let (dialer, plan, index) = (dialer.clone(), Arc::clone(&share.plan), *index);
            let is_slow = plan.scenario.is_slow(index as u32);
            opening.spawn(async move { (index, dialer.open(n, &plan.sessions[index], is_slow).await) });
        }
        let Some(opened) = opening.join_next().await else { return Ok(ready) };
        let (index, live) = opened.map_err(|error| error.to_string())?;
        let live = live.map_err(|why| format!("session {index}: {why}"))?;
        ready.push(begin(share, index, live));
    }
}

fn begin(share: &Share, index: usize, opened: Opened) -> Ready {
    let scenario = &share.plan.scenario;
    let state = Arc::new(SessionState::new(scenario.takes_latency(index as u32)));
    let (due, dues) = mpsc::channel(SEND_QUEUE_MAX);
    if let Activity::Closed { .. } = scenario.activity {
        let _set_before = state.again.set(due.clone());
    }
    let wire = opened.wire();
    if scenario.is_slow(index as u32) {
        tokio::spawn(hold(opened, dues));
        return Ready { index, state, wire, due };
    }
    let tally = share.tally(&state);
    match opened {
        Opened::Native(live, way) => {
            let (mixed, visits) = (scenario.activity == Activity::Mixed, scenario.is_visitor(index as u32));
            let (body_bytes, storm) = (scenario.body_bytes, share.storm.clone());
            session::start(live, session::Task { way: *way, body_bytes, mixed, visits, due: dues, storm, tally });
        }
        Opened::Floor(live) => floor::start(live, scenario.body_bytes, dues, &tally),
        Opened::WebSocket(live) => websocket::start(*live, scenario.body_bytes, dues, tally),
        Opened::Broker(live) => broker::start(*live, scenario.body_bytes, dues, tally),
    }
    Ready { index, state, wire, due }
}

/// A session that never reads: it is there until the end, and its stream or socket fills up.
async fn hold(opened: Opened, mut dues: mpsc::Receiver<u64>) {
    while dues.recv().await.is_some() {}
    drop(opened);
}

/// Sessions come and go until the measurement is over, [`JOINING_MAX`] at a time.
async fn join(share: &Share, dialer: &Dialer) {
    let mut joining: JoinSet<()> = JoinSet::new();
    for lane in 0..JOINING_MAX.min(share.sessions.len()) {
        let mine: Vec<usize> = share.sessions.iter().copied().skip(lane).step_by(JOINING_MAX).collect();
        let tally = share.tally(&Arc::default());
        // A client of its own, which finds no ticket but its own.
        match dialer.of_another(share.plan.scenario.tickets()) {
            Ok(dialer) => drop(joining.spawn(come_and_go(Arc::clone(&share.plan), mine, dialer, tally))),
            Err(why) => tally.fault(why),
        }
    }
    while joining.join_next().await.is_some() {}
}

async fn come_and_go(plan: Arc<Plan>, mine: Vec<usize>, dialer: Dialer, tally: Tally) {
    for index in mine.into_iter().cycle() {
        let from_ns = tally.clock.now_ns();
        if tally.clock.is_over(from_ns) {
            return;
        }
        match dialer.open(index, &plan.sessions[index], false).await {
            Ok(opened) => {
                tally.joined(from_ns);
                opened.leave().await;
            }
            Err(why) => return tally.fault(format!("session {index}: {why}")),
        }
    }
}
