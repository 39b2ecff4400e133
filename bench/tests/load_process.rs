//! The load process against a small server that is made here: it sees what arrives, and what a bad server does wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::{Bytes, BytesMut};
use client_protocol::chat::MessagePosted;
use client_protocol::frame::{Frame, events_frame};
use client_protocol::presence::Presence;
use client_protocol::room::{LIVE, Rooms};
use client_protocol::session::{Reply, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{
    ClientFrame, Code, Command, Event, EventBody, EventHead, Key, NodeId, RoomId, ServerFrame, SessionId, UserId,
};
use quinn::crypto::rustls::QuicServerConfig;
use starling_bench::control::{LoadResult, Plan, Protocol, Said, SessionPlan};
use starling_bench::load;
use starling_bench::scenario::{Activity, Beside, Scenario};
use std::collections::HashMap;
use std::io::{BufReader, Cursor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use uuid::Uuid;

/// What the server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Leaves out the frame of each room's event 5.
    SkipsAnEvent,
    /// Refuses each room's send after event 5.
    RefusesASend,
    /// Sends no events after event 5.
    GoesSilent,
}

#[derive(Default)]
struct Room {
    head: u64,
    refused: bool,
    /// The frame of each event.
    frames: Vec<Bytes>,
    readers: Vec<mpsc::UnboundedSender<Bytes>>,
}

type World = Arc<Mutex<HashMap<RoomId, Room>>>;

/// Starts the server in a thread of its own; says where it listens and its certificate.
fn serve(fault: Fault) -> (SocketAddr, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![client_protocol::ALPN.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let (said, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            said.send(endpoint.local_addr().unwrap()).unwrap();
            let world = World::default();
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(session(incoming, Arc::clone(&world), fault));
            }
        });
    });
    (address.recv().unwrap(), cert.pem())
}

async fn session(incoming: quinn::Incoming, world: World, fault: Fault) -> Option<()> {
    let connection = incoming.await.ok()?;
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let (out, mut outs) = mpsc::unbounded_channel::<Bytes>();
    tokio::spawn(async move {
        while let Some(frame) = outs.recv().await {
            if send.write_chunk(frame).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = Frame::split(&mut buffer, 65_536).ok()? {
            answer(ClientFrame::decode(&frame).ok()?, &out, &world, fault);
        }
        buffer.extend_from_slice(&receive.read_chunk(65_536, true).await.ok()??.bytes);
    }
}

fn answer(frame: ClientFrame, out: &mpsc::UnboundedSender<Bytes>, world: &World, fault: Fault) {
    let say = |frame: ServerFrame| out.send(frame.encode()).unwrap();
    let mut world = world.lock().unwrap();
    match frame {
        ClientFrame::Hello(hello) => {
            assert_eq!(hello.token, "token");
            say(ServerFrame::Welcome(Welcome {
                minor: 0,
                features: 0,
                epoch: 1,
                user: UserId(Uuid::nil()),
                session: SessionId(Uuid::nil()),
                expires_ms: 0,
                now_ms: 0,
                subscriptions_max: 200,
                open_requests_max: 32,
                body_bytes_max: 8_192,
                reconnect_after_ms: (1, 2),
                tail: EmptyTail {},
            }));
            say(ServerFrame::Rooms(Rooms { rooms: Vec::new(), next: 0, tail: EmptyTail {} }));
        }
        ClientFrame::Request(id, Command::Subscribe(subscribe)) => {
            let room = world.entry(subscribe.room).or_default();
            room.readers.push(out.clone());
            say(ServerFrame::Reply(id, Reply::done(room.head)));
            if subscribe.after_seq != LIVE {
                assert_eq!(subscribe.epoch, 1);
                room.frames[subscribe.after_seq as usize..].iter().for_each(|frame| out.send(frame.clone()).unwrap());
            }
        }
        ClientFrame::Request(id, Command::PostMessage(post)) => {
            let room = world.get_mut(&post.head.room).unwrap();
            if fault == Fault::RefusesASend && room.head == 5 && !room.refused {
                room.refused = true;
                return say(ServerFrame::Reply(id, Reply::retry_after(Code::Overloaded, 10)));
            }
            room.head += 1;
            say(ServerFrame::Reply(id, Reply::done(room.head)));
            let silent = match fault {
                Fault::SkipsAnEvent => room.head == 5,
                Fault::GoesSilent => room.head > 5,
                Fault::None | Fault::RefusesASend => false,
            };
            if !silent {
                let record = record(room.head, post.head.key, post.body);
                let frame = events_frame(post.head.room, room.head, 1, &record);
                room.frames.push(frame.clone());
                for reader in &room.readers {
                    let _gone = reader.send(frame.clone());
                }
            }
        }
        ClientFrame::Request(id, Command::MarkRead(_) | Command::SetPresence(_)) => {
            say(ServerFrame::Reply(id, Reply::done(0)));
        }
        ClientFrame::Request(id, Command::WatchPresence(watch)) => {
            say(ServerFrame::Reply(id, Reply::done(0)));
            let users = watch.users.into_iter().map(|user| (user, 1)).collect();
            say(ServerFrame::Presence(Presence { users, tail: EmptyTail {} }));
        }
        other => panic!("{other:?} was not expected"),
    }
}

fn record(seq: u64, key: Key, body: client_protocol::chat::Body) -> Vec<u8> {
    let head = EventHead { seq, time_ms: 1, actor: UserId(Uuid::nil()), key, node: NodeId(1), message_no: seq };
    let posted = MessagePosted { body, mentions: Vec::new(), tail: Default::default() };
    Event { head, body: EventBody::MessagePosted(posted) }.record()
}

/// 3 rooms of 2, 60 sends/s, a second of which half is measured: 30 of 60 sends.
fn run(fault: Fault, workers: u32) -> LoadResult {
    let scenario = Scenario { rooms: 3, members: 2, sends_per_s: 60.0, ..Scenario::many_rooms(0.0) }.timed(0.5, 0.5);
    run_scenario(scenario, fault, workers)
}

fn run_scenario(scenario: Scenario, fault: Fault, workers: u32) -> LoadResult {
    let (address, ca_pem) = serve(fault);
    let sessions = (0..scenario.sessions()).map(|index| SessionPlan {
        token: "token".to_owned(),
        room: Uuid::from_u128(u128::from(scenario.room_of(index)) + 1),
        watched: vec![Uuid::from_u128(9)],
    });
    let sessions = sessions.collect();
    let protocol = Protocol::Native { address, server_name: "localhost".to_owned(), ca_pem };
    let plan = serde_json::to_string(&Plan { scenario, protocol, sessions, workers }).unwrap();
    let mut output = Vec::new();
    load::run(&mut BufReader::new(Cursor::new(format!("{plan}\ngo\n"))), &mut output).unwrap();
    let mut said: Vec<Said> =
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let Some(Said::Done(result)) = said.pop() else { panic!("not done: {said:?}") };
    assert!(matches!(said[..], [Said::Connected { .. }, Said::Measuring, Said::Measured]), "{said:?}");
    *result
}

#[test]
fn a_good_server_delivers_everything() {
    let result = run(Fault::None, 2);
    assert_eq!((result.sent, result.acked, result.unanswered, result.held), (60, Some(60), 0, 0));
    assert_eq!((result.gaps, result.lost), (0, 0));
    assert!(result.faults.is_empty() && result.refused.is_empty(), "{:?} {:?}", result.faults, result.refused);
    // By the time they were due, exactly; by the time they came, but for the edges of the window.
    assert_eq!((result.latency.count(), result.ack.unwrap().count(), result.lag.count()), (60, 30, 30));
    assert_eq!(result.due, 60);
    assert!((50..=70).contains(&result.deliveries), "{}", result.deliveries);
    assert!(result.server_packets > 0 && result.client_packets > 0 && result.server_bytes > 60 * 128);
    assert!(result.measured_ns >= 490_000_000);
}

#[test]
fn a_missing_event_is_a_gap_for_every_reader() {
    let result = run(Fault::SkipsAnEvent, 1);
    assert_eq!((result.gaps, result.lost), (6, 0));
    assert!(result.faults.iter().any(|fault| fault.contains("seq 6 after 4")), "{:?}", result.faults);
}

#[test]
fn a_refused_send_is_counted_by_its_code() {
    let result = run(Fault::RefusesASend, 1);
    assert_eq!(result.refused.get("overloaded"), Some(&3));
    assert_eq!((result.sent, result.acked, result.unanswered, result.gaps, result.lost), (60, Some(57), 0, 0, 0));
}

#[test]
fn events_that_never_come_are_lost() {
    let result = run(Fault::GoesSilent, 1);
    // 20 sends a room, 15 of them not pushed, to two readers in each of three rooms.
    assert_eq!((result.lost, result.gaps), (90, 0));
    // And they were due, those of the first half of the time not counted.
    assert_eq!((result.due, result.latency.count()), (60, 0));
}

#[test]
fn sessions_join_and_leave_as_fast_as_they_can() {
    let scenario = Scenario { rooms: 2, members: 3, ..Scenario::joins(false) }.timed(0.3, 0.7);
    let result = run_scenario(scenario, Fault::None, 2);
    assert!(result.done > 6 && result.latency.count() >= result.done, "{} joins", result.done);
    assert!(result.faults.is_empty(), "{:?}", result.faults);
}

#[test]
fn a_closed_loop_keeps_its_sends_in_flight() {
    let scenario = Scenario { rooms: 2, members: 2, ..Scenario::durable_sends(4, 4) }.timed(0.2, 0.5);
    let result = run_scenario(scenario, Fault::None, 1);
    assert!(result.done > 16, "{} sends", result.done);
    assert_eq!((result.acked, result.unanswered, result.lost, result.held), (Some(result.sent), 0, 0, 0));
}

#[test]
fn after_a_storm_all_are_level_and_nothing_is_lost() {
    let scenario = Scenario { rooms: 3, members: 4, sends_per_s: 90.0, ..Scenario::storm(0.0) }.timed(2.0, 2.0);
    let result = run_scenario(scenario, Fault::None, 2);
    assert_eq!((result.level.count(), result.gaps, result.lost, result.unanswered), (12, 0, 0, 0));
    assert_eq!(result.acked, Some(result.sent));
    assert!(result.faults.is_empty(), "{:?}", result.faults);
}

#[test]
fn visitors_of_a_mixed_day_come_back_and_miss_nothing() {
    let scenario = Scenario { rooms: 10, members: 10, sends_per_s: 20.0, ..Scenario::mixed_day(0.0) }.timed(0.2, 12.5);
    let result = run_scenario(scenario, Fault::None, 2);
    assert!(result.faults.is_empty(), "{:?}", result.faults);
    assert_eq!((result.gaps, result.lost, result.unanswered), (0, 0, 0));
    let count = |name: &str| result.asides.get(name).map_or(0, |aside| aside.count);
    // A visitor stays for 4 to 12 s and is gone for 2 s. Whoever is there watches one user, who is told to be there.
    assert!(count("back after a break") > 0 && count("presence set") > 0, "{:?}", result.asides);
    assert_eq!(count("presence watched"), count("presence seen by others"));
}

#[test]
fn rooms_beside_talk_and_are_not_timed() {
    let beside = Some(Beside { rooms: 1, members: 3, devices: 1, sends_per_s: 20.0 });
    let scenario = Scenario { rooms: 2, members: 2, sends_per_s: 40.0, beside, ..Scenario::many_rooms(0.0) };
    let result = run_scenario(scenario.timed(0.2, 0.8), Fault::None, 2);
    // 40 sends to two readers each, 32 of them measured; 20 sends to three readers.
    assert_eq!((result.sent, result.acked, result.lost, result.held), (60, Some(60), 0, 0));
    assert_eq!(result.latency.count(), 64);
    assert!(result.faults.is_empty(), "{:?}", result.faults);
}

#[test]
fn who_never_reads_is_neither_counted_nor_missed() {
    let activity = Activity::Slow { percent: 50 };
    let scenario = Scenario { rooms: 1, members: 4, sends_per_s: 60.0, activity, ..Scenario::slow_readers(0.0) };
    let result = run_scenario(scenario.timed(0.2, 0.8), Fault::None, 1);
    assert_eq!((result.sent, result.lost, result.latency.count(), result.due), (60, 0, 96, 96));
    assert!(result.faults.is_empty(), "{:?}", result.faults);
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let scenario = Scenario { rooms: 1, members: 2, sends_per_s: 1.0, ..Scenario::many_rooms(0.0) };
    let protocol = Protocol::Native {
        address: "127.0.0.1:9".parse().unwrap(),
        server_name: "localhost".to_owned(),
        ca_pem: String::new(),
    };
    let plan = serde_json::to_string(&Plan { scenario, protocol, sessions: Vec::new(), workers: 1 }).unwrap();
    let mut output = Vec::new();
    let error = load::run(&mut BufReader::new(Cursor::new(format!("{plan}\n"))), &mut output).unwrap_err();
    assert!(error.to_string().contains("0 sessions instead of 2"), "{error}");
    assert!(String::from_utf8(output).unwrap().contains("\"said\":\"failed\""));
}
