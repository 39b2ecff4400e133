//! The runner: gives the core its inputs and time, and hands out what it says. Runs on the edge's thread, in the edge's loop.
//!
//! The tick stretches with load: with little to do an input starts a tick at once, with much to do ticks come up to
//! [`TICK_MAX`] apart, so that fsyncs, packets and wake-ups are shared by more messages. With nothing to do it waits and costs nothing.

use crate::bus::Bus;
use crate::limits::{
    DRAIN_APPENDS_TIMEOUT, SWEEP_AGAIN_INTERVAL, SWEEP_INTERVAL, SWEEP_RETRY_INTERVAL, SWEEP_ROOMS, TICK_MAX,
};
use crate::quic::Edge;
use crate::store::{Store, StoreWork};
use crate::world::WorldHandle;
use client_protocol::RoomId;
use components::edge::Control;
use components::limits::SLOT_SENDS_MAX;
use components::time::Now;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use systems::core::{Core, Inputs, Outputs};
use tokio::sync::watch;

/// Inputs and sends in a millisecond, on average, and how far apart ticks are then.
const PACES: [(f64, Duration); 4] = [
    (1.0, Duration::ZERO),
    (4.0, Duration::from_millis(1)),
    (16.0, Duration::from_millis(2)),
    (64.0, Duration::from_millis(4)),
];

/// The average of the load forgets the past at this rate.
const LOAD_WINDOW: Duration = Duration::from_millis(16);

/// How often gauges are set, while there are ticks.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

/// How far apart ticks are at a load (inputs and sends in a millisecond).
#[must_use]
pub fn tick_interval(load: f64) -> Duration {
    PACES.iter().find(|(below, _)| load < *below).map_or(TICK_MAX, |(_, interval)| *interval)
}

/// What the runner works with.
pub struct Runner {
    /// The world.
    pub core: Core,
    /// Where inputs come from and REST answers go.
    pub world: WorldHandle,
    /// Durable things.
    pub store: Arc<dyn Store>,
    /// Other services.
    pub bus: Arc<dyn Bus>,
    /// Connections.
    pub edge: Rc<Edge>,
}

/// The runner's clocks.
struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_us: micros(self.start.elapsed()) + 1, wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    /// The moment `mono_us` of the core's time.
    fn at(&self, mono_us: u64) -> Instant {
        self.start + Duration::from_micros(mono_us)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Runner {
    /// Runs until `stop` says so.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        // A server without its world would answer health checks and nothing else.
        let _stop = crate::stop::StopOnPanic("the world");
        let clock = Clock { start: Instant::now() };
        let (mut inputs, mut outputs) = (Inputs::default(), Outputs::default());
        let mut load = 0.0;
        let mut last_tick = Instant::now();
        let mut gauged = None;
        let mut deadline: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.world.arrived() => {}
                () = sleep_until(deadline) => {}
            }
            // What comes in while we wait for the tick's turn belongs to it.
            let interval = tick_interval(load);
            let elapsed = last_tick.elapsed();
            if elapsed < interval {
                tokio::time::sleep(interval - elapsed).await;
            }
            loop {
                let since_last = last_tick.elapsed();
                last_tick = Instant::now();
                let work = self.tick(&clock, &mut inputs, &mut outputs, &mut deadline);
                load = average(load, work.amount, since_last);
                // Quinn, and everybody else on this thread, comes first; a slot that was full goes on at once after.
                tokio::task::yield_now().await;
                if !work.more || *stop.borrow() {
                    break;
                }
            }
            if gauged.is_none_or(|at: Instant| at.elapsed() >= GAUGE_INTERVAL) {
                gauged = Some(Instant::now());
                self.gauge();
            } else if let Some(due) = gauged.map(|at| at + GAUGE_INTERVAL) {
                // A world that comes to rest shows how it is at rest.
                deadline = Some(deadline.map_or(due, |deadline| deadline.min(due)));
            }
        }
        self.finish(&clock, &mut inputs, &mut outputs).await;
    }

    /// Goes on until everything that was taken in is decided and durable, for a bounded time.
    async fn finish(&mut self, clock: &Clock, inputs: &mut Inputs, outputs: &mut Outputs) {
        let end = Instant::now() + DRAIN_APPENDS_TIMEOUT;
        let mut deadline = None;
        self.tick(clock, inputs, outputs, &mut deadline);
        while self.core.unfinished() > 0 && Instant::now() < end {
            tokio::select! {
                () = self.world.arrived() => {}
                () = sleep_until(deadline) => {}
                () = tokio::time::sleep_until(end.into()) => {}
            }
            self.tick(clock, inputs, outputs, &mut deadline);
        }
        let unfinished = self.core.unfinished();
        if unfinished > 0 {
            tracing::warn!(unfinished, "the world ended with commands whose outcome is not known");
        }
    }

    fn tick(&mut self, clock: &Clock, inputs: &mut Inputs, outputs: &mut Outputs, deadline: &mut Option<Instant>) -> Work {
        let arrivals = self.world.take();
        inputs.commands = arrivals.commands;
        inputs.control = arrivals.control;
        inputs.store = arrivals.store;
        inputs.queue_wait_us = arrivals.since.map_or(0, |since| micros(since.elapsed()));
        let came = inputs.commands.len() + inputs.control.len() + inputs.store.len();
        let due_us = self.core.step(clock.now(), inputs, outputs);
        *deadline = due_us.map(|due_us| clock.at(due_us));
        let sent = outputs.slot.events_sent;
        if !(outputs.appends.is_empty() && outputs.reads.is_empty() && outputs.levels.is_empty()) {
            self.store.submit(StoreWork {
                appends: std::mem::take(&mut outputs.appends),
                reads: std::mem::take(&mut outputs.reads),
                levels: std::mem::take(&mut outputs.levels),
            });
        }
        for (token, reply) in outputs.slot.rest.drain(..) {
            self.world.answer(token, reply);
        }
        for code in outputs.slot.refused.drain(..) {
            metrics::counter!("starling_refusals_total", "code" => code.name()).increment(1);
        }
        self.edge.take(&mut outputs.slot);
        if !outputs.notices.is_empty() {
            metrics::counter!("starling_events_total").increment(outputs.notices.len() as u64);
            self.bus.publish(std::mem::take(&mut outputs.notices));
        }
        metrics::counter!("starling_ticks_total").increment(1);
        metrics::counter!("starling_commands_total").increment(came as u64);
        metrics::counter!("starling_frames_sent_total").increment(sent as u64);
        Work { amount: came + sent, more: sent >= SLOT_SENDS_MAX }
    }

    fn gauge(&self) {
        let population = self.core.population();
        metrics::gauge!("starling_rooms_in_memory").set(population.rooms as f64);
        metrics::gauge!("starling_users_in_memory").set(population.users as f64);
        metrics::gauge!("starling_sessions").set(population.sessions as f64);
        metrics::gauge!("starling_hot_log_bytes").set(population.hot_log_bytes as f64);
        metrics::gauge!("starling_open_reads").set(population.open_reads as f64);
        metrics::gauge!("starling_catch_up_pages").set(population.pages as f64);
    }
}

/// What a tick had to do.
struct Work {
    /// Inputs and sends.
    amount: usize,
    /// The slot was full: there is more to send.
    more: bool,
}

/// The load after a tick: what it had to do by the time since the one before, averaged over the recent past.
fn average(before: f64, amount: usize, since_last: Duration) -> f64 {
    let elapsed_ms = (since_last.as_secs_f64() * 1e3).max(0.05);
    let weight = 1.0 - (-elapsed_ms / (LOAD_WINDOW.as_secs_f64() * 1e3)).exp();
    before + (amount as f64 / elapsed_ms - before) * weight
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Brings in, a few at a time, the rooms whose followers may not have finished before the last stop; again and again where other servers
/// use the store as well, since one that is gone leaves rooms behind.
pub async fn sweep_dirty_rooms(store: Arc<dyn Store>, world: WorldHandle) {
    loop {
        let next = match store.dirty_rooms().await {
            Ok(rooms) => {
                sweep(&world, &rooms).await;
                if !store.is_shared() {
                    return;
                }
                SWEEP_AGAIN_INTERVAL
            }
            Err(error) => {
                tracing::warn!(%error, "dirty rooms cannot be read yet");
                SWEEP_RETRY_INTERVAL
            }
        };
        tokio::time::sleep(next).await;
    }
}

async fn sweep(world: &WorldHandle, rooms: &[RoomId]) {
    for some in rooms.chunks(SWEEP_ROOMS) {
        for room in some {
            world.control(Control::Sweep { room: *room });
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_stretches_with_load() {
        assert_eq!(tick_interval(0.0), Duration::ZERO);
        assert_eq!(tick_interval(3.9), Duration::from_millis(1));
        assert_eq!(tick_interval(1e6), TICK_MAX);
        let mut last = Duration::ZERO;
        for load in 0..200 {
            let now = tick_interval(f64::from(load));
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn the_load_follows_what_happens() {
        let mut load = 0.0;
        for _ in 0..100 {
            load = average(load, 10, Duration::from_millis(1));
        }
        assert!((load - 10.0).abs() < 0.5, "{load}");
        load = average(load, 0, Duration::from_secs(1));
        assert!(load < 0.1, "{load}");
    }
}
