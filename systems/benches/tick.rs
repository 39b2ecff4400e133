//! What a tick of the world costs, without stores and sockets: `cargo bench -p starling-systems`. Time is that of the core's step only;
//! what stands in for stores and clients is not counted.
#![allow(missing_docs, clippy::unwrap_used)]

use client_protocol::room::{LIVE, kind};
use client_protocol::{Code, RoomId, UserId};
use components::time::Tuning;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::{Duration, Instant};
use systems::testing::{ClientId, EPOCH, Scenario, commands};

/// Sessions of the large world, in rooms of [`ROOM_READERS`].
const SESSIONS: usize = 10_000;
const ROOM_READERS: usize = 100;
/// Longer than any flush interval, in milliseconds: the next event leaves at once.
const CALM_MS: u64 = 2_000;
/// Longer than an unused room stays in memory, in milliseconds.
const IDLE_MS: u64 = 120_000;

/// How long a login lasts, in milliseconds: many rounds of [`CALM_MS`].
const LOGIN_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;
/// Ticks within which everything is handed out.
const TICKS_MAX: usize = 10_000;

/// A connection that stays.
fn connect(s: &mut Scenario, user: UserId) -> ClientId {
    let device = s.clients.len() as u32;
    let expires_ms = s.now.wall_ms + LOGIN_MS;
    s.connect_with(user, device, expires_ms)
}

/// A room with its sender, who reads too, and more sessions that read it.
struct Room {
    id: RoomId,
    sender: ClientId,
}

fn room(s: &mut Scenario, number: u8, readers: usize) -> Room {
    let user = s.user(number);
    let sender = connect(s, user);
    let id = s.create(sender, kind::GROUP, &[]);
    s.send(sender, commands::subscribe(id, EPOCH, LIVE));
    for _ in 1..readers {
        let reader = connect(s, user);
        s.send(reader, commands::subscribe(id, EPOCH, LIVE));
    }
    s.advance(CALM_MS);
    Room { id, sender }
}

/// One step of the core, timed, and whatever else belongs to a tick.
fn timed_tick(s: &mut Scenario) -> (Duration, usize) {
    s.run_store();
    let from = Instant::now();
    let sent = s.step_only();
    let took = from.elapsed();
    s.take_outputs();
    (took, sent)
}

/// Ticks until so many events were handed out.
fn deliver(s: &mut Scenario, deliveries: usize) -> Duration {
    let (mut total, mut delivered) = (Duration::ZERO, 0);
    for _ in 0..TICKS_MAX {
        let (took, sent) = timed_tick(s);
        total += took;
        delivered += sent;
        if delivered >= deliveries {
            break;
        }
    }
    assert_eq!(delivered, deliveries);
    total
}

/// A group of benches of which only a part of each round is timed: the times are those of that part, so that a whole run takes much
/// longer than they say.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(100));
    group
}

/// Repeats `round` and adds up what it says.
fn rounds(count: u64, mut round: impl FnMut() -> Duration) -> Duration {
    (0..count).map(|_| round()).sum()
}

fn large_world(criterion: &mut Criterion) {
    let mut s = Scenario::new();
    let rooms: Vec<Room> = (0..SESSIONS / ROOM_READERS).map(|n| room(&mut s, n as u8, ROOM_READERS)).collect();
    assert_eq!(s.population().sessions, SESSIONS);
    let mut group = group(criterion, "tick with 10,000 sessions");
    group.bench_function("nothing to do", |bench| {
        bench.iter_custom(|count| {
            rounds(count, || {
                let from = Instant::now();
                s.step_only();
                let took = from.elapsed();
                s.take_outputs();
                took
            })
        });
    });
    // From the commands to the last hand-over.
    group.throughput(Throughput::Elements(rooms.len() as u64));
    group.bench_function("a post in one room", |bench| {
        bench.iter_custom(|count| {
            rounds(count, || {
                s.advance(CALM_MS);
                s.post(rooms[0].sender, rooms[0].id, "a message");
                deliver(&mut s, ROOM_READERS)
            })
        });
    });
    group.bench_function("a post in each of 100 rooms", |bench| {
        bench.iter_custom(|count| {
            rounds(count, || {
                s.advance(CALM_MS);
                for room in &rooms {
                    s.post(room.sender, room.id, "a message");
                }
                deliver(&mut s, SESSIONS)
            })
        });
    });
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = group(criterion, "fan-out");
    for readers in [10, 200, 1_000] {
        let mut s = Scenario::new();
        let room = room(&mut s, 1, readers);
        group.throughput(Throughput::Elements(readers as u64));
        group.bench_function(BenchmarkId::from_parameter(readers), |bench| {
            bench.iter_custom(|count| {
                rounds(count, || {
                    s.advance(CALM_MS);
                    s.post(room.sender, room.id, "a message");
                    // The tick that gives the seq; then those that hand the event out.
                    timed_tick(&mut s);
                    deliver(&mut s, readers)
                })
            });
        });
    }
    group.finish();
}

/// A room is used that is not in memory: from Subscribe to its reply, with a log of so many messages.
fn hydrate(criterion: &mut Criterion) {
    let mut group = group(criterion, "hydrate");
    for messages in [10_u64, 1_000] {
        // Its log is written as fast as it can be.
        let tuning = Tuning { user_rate: 1e6, user_burst: 1e6, room_rate: 1e6, room_burst: 1e6, ..Tuning::default() };
        let mut s = Scenario::with(tuning, |_| {});
        let (owner, other) = (s.user(1), s.user(2));
        let (a, b) = (connect(&mut s, owner), connect(&mut s, other));
        let room = s.create(a, kind::GROUP, &[other]);
        for n in 0..messages {
            s.posted(a, room, &format!("message {n}"));
        }
        group.bench_function(format!("{messages} messages"), |bench| {
            bench.iter_custom(|count| {
                rounds(count, || {
                    s.done(b, commands::unsubscribe(room));
                    s.advance(IDLE_MS);
                    assert_eq!(s.population().hot_log_bytes, 0, "it is still in memory");
                    let request = s.send(b, commands::subscribe(room, EPOCH, LIVE));
                    let mut total = Duration::ZERO;
                    while s.answer(request).is_none() {
                        total += timed_tick(&mut s).0;
                    }
                    assert_eq!(s.code(request), Code::Ok);
                    total
                })
            });
        });
    }
    group.finish();
}

criterion_group!(tick, large_world, fan_out, hydrate);
criterion_main!(tick);
