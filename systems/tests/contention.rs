//! Contention: several nodes want to append to one room. Nobody starves without an answer, and nobody is shut out for long.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::chat::{Body, MessagePosted, MessageTail};
use client_protocol::limits::REQUEST_TIMEOUT_MS;
use client_protocol::room::{LIVE, kind};
use client_protocol::{Code, EventBody, RoomId};
use components::time::Tuning;
use std::collections::BTreeSet;
use systems::testing::{AppendFault, ClientId, Cluster, EPOCH, Foreign, On, Request, commands};

fn posted(text: &str) -> EventBody {
    EventBody::MessagePosted(MessagePosted { body: Body::text(text), mentions: Vec::new(), tail: MessageTail::default() })
}

#[test]
fn who_loses_for_ever_is_answered_in_time() {
    let mut c = Cluster::new(2, Tuning::default());
    let (alice, bob) = (c.user(1), c.user(2));
    let a = c.connect(0, alice);
    let key = c.key();
    let room = c.ask(a, commands::create(key, kind::GROUP, &[bob])).tail.room.unwrap();
    // Every append of this node comes too late by one event of another one.
    for _ in 0..3_000 {
        let key = c.key();
        let foreign = Foreign { actor: bob, key, body: posted("first!") };
        c.at(0).store.fail_append(room, AppendFault { apply_us: 1_000, ..AppendFault::conflict(vec![foreign]) });
    }
    let (first, second) = (c.key(), c.key());
    let lost =
        [c.send(a, commands::post(room, first, "one")), c.send(a, commands::retry(commands::post(room, second, "two")))];
    c.advance(REQUEST_TIMEOUT_MS + 10);
    for request in lost {
        let code = c.answer(request).expect("an answer in time").code();
        assert!(matches!(code, Code::OutcomeUnknown | Code::Unavailable), "{code:?}");
    }
    assert!(c.model().head(room) > 100, "it went on trying");
    // A retry is safe, here and on another node.
    let elsewhere = c.connect(1, alice);
    let reply = c.ask(elsewhere, commands::retry(commands::post(room, first, "one")));
    assert_eq!(reply.code(), Code::Ok);
    let log = c.model().log(room);
    assert_eq!(log.keys[&(alice, first)], reply.seq);
}

/// Each node's clients post as fast as they are answered, several at a time; how many posts each node got in, in four seconds.
fn race(ways_us: &[(u64, u64)]) -> Vec<usize> {
    let mut c = Cluster::new(ways_us.len(), Tuning { user_rate: 1e6, user_burst: 1e6, ..Tuning::default() });
    let users: Vec<_> = (1..=ways_us.len() as u8).map(|n| c.user(n)).collect();
    let clients: Vec<_> = (0..).zip(&users).map(|(node, user)| c.connect(node, *user)).collect();
    let key = c.key();
    let room = c.ask(clients[0], commands::create(key, kind::GROUP, &users[1..])).tail.room.unwrap();
    for client in &clients {
        assert_eq!(c.ask(*client, commands::subscribe(room, EPOCH, LIVE)).code(), Code::Ok);
    }
    for (node, (apply_us, reply_us)) in ways_us.iter().enumerate() {
        let way = AppendFault { apply_us: *apply_us, reply_us: *reply_us, ..AppendFault::default() };
        for _ in 0..20_000 {
            c.at(node).store.fail_append(room, way.clone());
        }
    }
    let mut won = vec![0; clients.len()];
    let mut open: Vec<Vec<On<Request>>> = vec![Vec::new(); clients.len()];
    for _ in 0..4_000 {
        for (node, client) in clients.iter().enumerate() {
            let answered: Vec<_> = open[node].extract_if(.., |request| c.answer(*request).is_some()).collect();
            won[node] += answered.iter().filter(|request| c.answer(**request).unwrap().code() == Code::Ok).count();
            keep_busy(&mut c, *client, room, &mut open[node]);
        }
        c.tick();
    }
    c.advance(REQUEST_TIMEOUT_MS + 10);
    for (request, client) in open.iter().flatten().zip(clients.iter().cycle()) {
        assert!(c.answer(*request).is_some(), "{client:?}: every request ends");
    }
    all_have_the_same(&c, room, &clients);
    won
}

fn keep_busy(c: &mut Cluster, client: On<ClientId>, room: RoomId, open: &mut Vec<On<Request>>) {
    while open.len() < 8 {
        let key = c.key();
        open.push(c.send(client, commands::post(room, key, "more")));
    }
}

/// The log is dense, each key is in it once, and every reader has it.
fn all_have_the_same(c: &Cluster, room: RoomId, clients: &[On<ClientId>]) {
    let log = &c.model().log(room).events;
    let keys: BTreeSet<_> = log.iter().map(|event| (event.head.actor, event.head.key)).collect();
    assert_eq!(keys.len(), log.len());
    assert!(log.iter().zip(1..).all(|(event, seq)| event.head.seq == seq));
    for client in clients {
        assert_eq!(c.client(*client).cursor(room), log.len() as u64, "{client:?} has all");
    }
}

#[test]
fn nodes_with_the_same_way_to_the_store_share_a_room() {
    for count in [2, 3] {
        let won = race(&vec![(1_000, 1_000); count]);
        let (least, most) = (won.iter().min().unwrap(), won.iter().max().unwrap());
        assert!(least * 3 >= *most, "about the same for all: {won:?}");
    }
}

#[test]
fn a_node_with_a_slow_way_to_the_store_has_its_turns() {
    let won = race(&[(0, 1_000), (6_000, 3_000)]);
    assert!(won[1] >= 200, "8 at a time, at least six times a second: {won:?}");
    assert!(won[0] >= 1_000, "and the fast one goes on: {won:?}");
}
