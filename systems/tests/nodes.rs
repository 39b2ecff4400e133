//! Nodes: several worlds on one store. What one did is true on the others at once, and seen there soon. Who wins when all want the same
//! room is in `contention.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::room::{Bump, LIVE, SettingsTail, kind, role};
use client_protocol::{CloseCode, Code, RoomId, ServerFrame, UserId};
use components::edge::Read;
use components::limits::{ACCOUNTS_INTERVAL_US, LISTED_HEADS_INTERVAL_US, LOADED_HEADS_INTERVAL_US, PAGE_EVENTS};
use components::rows::account;
use components::time::Tuning;
use systems::testing::{AppendFault, ClientId, Cluster, EPOCH, On, ReadFault, Scenario, commands};

const SOON_MS: u64 = LOADED_HEADS_INTERVAL_US * 3 / 2_000 + 20;
const BUMP_MS: u64 = LISTED_HEADS_INTERVAL_US / 1_000 + 20;

fn cluster(count: usize) -> Cluster {
    Cluster::new(count, Tuning::default())
}

fn done(c: &mut Cluster, client: On<ClientId>, command: client_protocol::Command) -> u64 {
    let reply = c.ask(client, command);
    assert_eq!(reply.code(), Code::Ok, "{reply:?}");
    reply.seq
}

fn create(c: &mut Cluster, client: On<ClientId>, kind: u8, members: &[UserId]) -> RoomId {
    let key = c.key();
    c.ask(client, commands::create(key, kind, members)).tail.room.expect("a room")
}

fn post(c: &mut Cluster, client: On<ClientId>, room: RoomId, text: &str) -> u64 {
    let key = c.key();
    done(c, client, commands::post(room, key, text))
}

fn bumps(c: &Cluster, client: On<ClientId>) -> Vec<Bump> {
    c.client(client).picked(|frame| match frame {
        ServerFrame::Bump(bump) => Some(bump.clone()),
        _ => None,
    })
}

/// Alice is on the first node, Bob on the second; both read a room of theirs.
fn two_readers(c: &mut Cluster) -> (On<ClientId>, On<ClientId>, RoomId) {
    let (alice, bob) = (c.user(1), c.user(2));
    let (a, b) = (c.connect(0, alice), c.connect(1, bob));
    let room = create(c, a, kind::GROUP, &[bob]);
    done(c, a, commands::subscribe(room, EPOCH, LIVE));
    done(c, b, commands::subscribe(room, EPOCH, LIVE));
    (a, b, room)
}

/// A room of three.
struct Three {
    a: On<ClientId>,
    b: On<ClientId>,
    carol: UserId,
    room: RoomId,
}

/// Alice is on the first node, Bob on the second, Carol on none.
fn three(c: &mut Cluster) -> Three {
    let (alice, bob, carol) = (c.user(1), c.user(2), c.user(3));
    let (a, b) = (c.connect(0, alice), c.connect(1, bob));
    let room = create(c, a, kind::GROUP, &[bob, carol]);
    Three { a, b, carol, room }
}

#[test]
fn what_a_node_appends_is_soon_seen_on_the_others() {
    let mut c = cluster(2);
    let (a, b, room) = two_readers(&mut c);
    post(&mut c, a, room, "one");
    c.advance(SOON_MS);
    assert_eq!(c.client(b).texts(room), ["one"]);
    // More than a page at once, and both ways.
    for n in 0..3 * PAGE_EVENTS {
        let key = c.key();
        c.send(a, commands::post(room, key, &n.to_string()));
        if n % 20 == 0 {
            c.advance(500);
        }
    }
    post(&mut c, b, room, "back");
    c.advance(SOON_MS);
    assert_eq!(c.client(a).texts(room).len() as u64, 2 + 3 * PAGE_EVENTS);
    assert_eq!(c.client(b).texts(room).len() as u64, 2 + 3 * PAGE_EVENTS);
    assert_eq!(c.client(a).texts(room), c.client(b).texts(room));
}

#[test]
fn rights_given_elsewhere_hold_at_once() {
    let mut c = cluster(2);
    let (a, b, room) = two_readers(&mut c);
    let carol = c.user(3);
    let elsewhere = c.connect(1, carol);
    let key = c.key();
    done(&mut c, a, commands::add(room, key, carol));
    post(&mut c, elsewhere, room, "here I am");
    let (key, bob) = (c.key(), c.client(b).user);
    done(&mut c, a, commands::set_role(room, key, bob, role::ADMIN));
    let key = c.key();
    let settings = SettingsTail { name: Some("ours".into()), ..SettingsTail::default() };
    done(&mut c, b, commands::update(room, key, settings));
}

#[test]
fn a_subscription_that_another_node_made_possible_begins() {
    let mut c = cluster(2);
    let (a, _, room) = two_readers(&mut c);
    let carol = c.user(3);
    let elsewhere = c.connect(1, carol);
    let key = c.key();
    let seq = done(&mut c, a, commands::add(room, key, carol));
    done(&mut c, elsewhere, commands::subscribe(room, EPOCH, 0));
    c.advance(SOON_MS);
    assert_eq!(c.client(elsewhere).seqs(room), (1..=seq).collect::<Vec<_>>());
}

#[test]
fn rights_taken_elsewhere_are_gone_at_once() {
    let mut c = cluster(2);
    let (a, b, room) = two_readers(&mut c);
    let bob = c.client(b).user;
    let key = c.key();
    let kicked = done(&mut c, a, commands::kick(room, key, bob));
    let key = c.key();
    assert_eq!(c.ask(b, commands::post(room, key, "still there?")).code(), Code::NotFound);
    c.advance(SOON_MS);
    assert_eq!(c.client(b).seqs(room), [kicked], "up to the going, and no further");
    assert!(!c.client(b).next.contains_key(&room));
}

#[test]
fn what_was_undone_elsewhere_is_not_so_already() {
    let mut c = cluster(2);
    let (alice, bob) = (c.user(1), c.user(2));
    let (a, b, elsewhere) = (c.connect(0, alice), c.connect(0, bob), c.connect(1, bob));
    let room = create(&mut c, a, kind::PUBLIC, &[bob]);
    done(&mut c, elsewhere, commands::subscribe(room, EPOCH, LIVE));
    let key = c.key();
    let left = done(&mut c, b, commands::leave(room, key));
    let key = c.key();
    assert_eq!(
        done(&mut c, elsewhere, commands::join(room, key)),
        left + 1,
        "a new event, not the one by which they came first"
    );
}

#[test]
fn a_cursor_ahead_of_this_node_is_no_reset() {
    let mut c = cluster(2);
    let (a, b, room) = two_readers(&mut c);
    let head = post(&mut c, a, room, "one");
    // Alice's connection moves to the second node, which does not know of the message.
    let alice = c.client(a).user;
    let moved = c.connect(1, alice);
    done(&mut c, moved, commands::subscribe(room, EPOCH, head));
    post(&mut c, b, room, "two");
    assert_eq!(c.client(moved).texts(room), ["two"]);
    done(&mut c, moved, commands::subscribe(room, EPOCH, head + 9));
    let reset = |frame: &ServerFrame| matches!(frame, ServerFrame::Reset(_)).then_some(());
    assert_eq!(c.client(moved).picked(reset).len(), 1, "only what the store has not either");
}

#[test]
fn a_retry_on_another_node_has_the_first_seq() {
    let mut c = cluster(3);
    let (a, b, room) = two_readers(&mut c);
    let bob = c.client(b).user;
    let key = c.key();
    let command = commands::post(room, key, "once");
    let seq = done(&mut c, b, command.clone());
    let third = c.connect(2, bob);
    assert_eq!(done(&mut c, third, command.clone()), seq);
    let first = c.connect(0, bob);
    assert_eq!(done(&mut c, first, commands::retry(command.clone())), seq);
    let key = c.key();
    done(&mut c, a, commands::kick(room, key, bob));
    assert_eq!(done(&mut c, third, commands::retry(command)), seq, "even by one who may not post any more");
}

#[test]
fn a_mark_reaches_what_was_read_elsewhere() {
    let mut c = cluster(2);
    let (a, b, room) = two_readers(&mut c);
    let bob = c.client(b).user;
    let elsewhere = c.connect(0, bob);
    let head = post(&mut c, a, room, "one");
    done(&mut c, elsewhere, commands::mark(room, head));
    let head = post(&mut c, a, room, "two");
    // The other node does not know of it yet.
    done(&mut c, b, commands::mark(room, head));
    c.advance(6_000);
    let entry = c.model().entries_of(bob).into_iter().find(|entry| entry.room == room).unwrap();
    assert_eq!((entry.read_seq, entry.unread()), (head, 0));
}

#[test]
fn members_hear_of_rooms_that_their_node_has_not_in_memory() {
    let mut c = cluster(2);
    let (alice, bob) = (c.user(1), c.user(2));
    let a = c.connect(0, alice);
    let room = create(&mut c, a, kind::GROUP, &[bob]);
    c.advance(60_000);
    let b = c.connect(1, bob);
    c.advance(40_000);
    assert_eq!((c.nodes()[1].population().rooms, bumps(&c, b).len()), (0, 0));
    let key = c.key();
    let seq = done(&mut c, a, commands::mention(room, key, "you", &[bob]));
    c.advance(BUMP_MS);
    let bump = &bumps(&c, b)[..];
    assert_eq!(
        bump.iter().map(|bump| (bump.room, bump.head, bump.message_no, bump.mentioned)).collect::<Vec<_>>(),
        [(room, seq, 1, true)]
    );
    // While it is in memory there, and after it has left again.
    for (count, pause_ms) in [(2, 1_500), (3, 60_000)] {
        post(&mut c, a, room, "more");
        c.advance(BUMP_MS + pause_ms);
        assert_eq!(bumps(&c, b).len(), count);
    }
}

#[test]
fn members_hear_of_rooms_that_were_made_while_they_are_here() {
    let mut c = cluster(2);
    let (alice, bob) = (c.user(1), c.user(2));
    let (a, b) = (c.connect(0, alice), c.connect(1, bob));
    c.advance(40_000);
    let room = create(&mut c, a, kind::GROUP, &[bob]);
    c.advance(2 * BUMP_MS);
    let seq = post(&mut c, a, room, "hello");
    c.advance(2 * BUMP_MS);
    assert_eq!(bumps(&c, b).last().map(|bump| (bump.room, bump.head)), Some((room, seq)));
    // Those who went are told no more.
    let key = c.key();
    done(&mut c, a, commands::kick(room, key, bob));
    let told = bumps(&c, b).len();
    post(&mut c, a, room, "they are gone");
    c.advance(40_000);
    post(&mut c, a, room, "still gone");
    c.advance(2 * BUMP_MS);
    assert_eq!(bumps(&c, b).len(), told);
}

#[test]
fn accounts_and_logins_that_another_node_ended_end_here() {
    let mut c = cluster(2);
    let (alice, bob) = (c.user(1), c.user(2));
    let (a, b) = (On(1, c.at(1).connect_device(alice, 7)), On(1, c.at(1).connect_device(bob, 8)));
    let room = create(&mut c, b, kind::GROUP, &[alice]);
    c.advance(3_000);
    c.model_mut().ended.insert(Scenario::login(7));
    c.model_mut().accounts.get_mut(&bob).unwrap().status = account::DISABLED;
    c.advance(ACCOUNTS_INTERVAL_US / 1_000 + 20);
    assert_eq!(c.client(a).closed, Some(CloseCode::SessionRevoked));
    assert_eq!(c.client(b).closed, Some(CloseCode::AccountDisabled));
    let key = c.key();
    let token = c.at(1).send_rest(bob, commands::post(room, key, "over REST"));
    c.run();
    assert_eq!(c.nodes()[1].rest[&token].code(), Code::AccountDisabled);
}

#[test]
fn followers_do_their_work_once() {
    let mut c = cluster(2);
    let Three { a, b, carol, room } = three(&mut c);
    done(&mut c, b, commands::subscribe(room, EPOCH, LIVE));
    c.advance(10_000);
    let before = c.nodes()[1].store.appends;
    let key = c.key();
    done(&mut c, a, commands::mention(room, key, "you", &[carol]));
    c.advance(10_000);
    assert_eq!(c.nodes()[1].store.appends, before, "the node that did not append looked, and found it done");
    assert_eq!(c.model().log(RoomId::self_log(carol)).events.len(), 2, "listed and notified");
    assert_eq!(c.model().dirty_rooms(), []);
}

#[test]
fn a_room_that_is_brought_in_is_left_to_who_is_at_it() {
    let mut c = cluster(2);
    let Three { a, b, carol, room } = three(&mut c);
    c.advance(90_000);
    let (before, key) = (c.nodes()[1].store.appends, c.key());
    done(&mut c, a, commands::mention(room, key, "you", &[carol]));
    c.advance(20_000);
    assert_eq!(bumps(&c, b).last().map(|bump| bump.message_no), Some(1));
    assert_eq!(c.nodes()[1].store.appends, before);
    assert_eq!(c.model().dirty_rooms(), []);
}

#[test]
fn followers_of_a_node_that_died_are_replaced() {
    let mut c = cluster(2);
    let Three { a, b, carol, room } = three(&mut c);
    done(&mut c, b, commands::subscribe(room, EPOCH, LIVE));
    c.advance(10_000);
    let key = c.key();
    c.send(a, commands::mention(room, key, "you", &[carol]));
    c.tick();
    // The append is in, nothing that follows from it.
    c.at(0).restart(true);
    c.advance(20_000);
    assert_eq!(c.client(b).texts(room), ["you"]);
    assert_eq!(c.model().log(RoomId::self_log(carol)).events.len(), 2);
}

#[test]
fn who_cannot_look_does_not_refuse() {
    let mut c = cluster(2);
    let (_, b, room) = two_readers(&mut c);
    let carol = c.user(3);
    let client = c.connect(1, carol);
    c.advance(SOON_MS);
    c.at(1).store.fail_read(|request| matches!(request.read, Read::Page { .. }), ReadFault::unavailable());
    let key = c.key();
    assert_eq!(c.ask(client, commands::post(room, key, "may I?")).code(), Code::Unavailable);
    // Nobody waits behind one whose refusal takes long.
    c.at(1).store.fail_read(|request| matches!(request.read, Read::Page { .. }), ReadFault::stale(1_900_000));
    let key = c.key();
    let refused = c.send(client, commands::post(room, key, "may I?"));
    c.advance(5);
    let key = c.key();
    let posted = c.send(b, commands::post(room, key, "I may"));
    c.advance(20);
    assert_eq!(c.answer(posted).map(client_protocol::session::Reply::code), Some(Code::Ok));
    c.advance(2_000);
    assert_eq!(c.answer(refused).map(client_protocol::session::Reply::code), Some(Code::NotFound));
}

#[test]
fn what_is_read_while_an_append_is_open_is_not_taken_twice() {
    let mut c = cluster(2);
    let (_, b, room) = two_readers(&mut c);
    let carol = c.user(3);
    let client = c.connect(1, carol);
    c.advance(SOON_MS);
    // Carol's refusal makes the node look; the page has Bob's event before its append is answered.
    c.at(1).store.fail_read(
        |request| matches!(request.read, Read::Page { .. }),
        ReadFault { read_us: 10_000, ..ReadFault::default() },
    );
    c.at(1).store.fail_append(room, AppendFault::delayed(50_000));
    let key = c.key();
    let refused = c.send(client, commands::post(room, key, "may I?"));
    c.advance(3);
    let key = c.key();
    let posted = c.send(b, commands::post(room, key, "I may"));
    c.advance(100);
    let code = |request| c.answer(request).map(client_protocol::session::Reply::code);
    assert_eq!((code(refused), code(posted)), (Some(Code::NotFound), Some(Code::Ok)));
    assert_eq!(c.client(b).texts(room), ["I may"]);
    assert!(c.client(b).next.contains_key(&room), "the room is not quarantined");
}

#[test]
fn nothing_is_asked_for_nobody() {
    let mut c = cluster(2);
    let (a, b, room) = two_readers(&mut c);
    post(&mut c, a, room, "one");
    c.disconnect(a);
    c.disconnect(b);
    c.advance(120_000);
    let reads = c.model().reads;
    c.advance(3_600_000);
    assert_eq!(c.model().reads, reads, "an empty node is quiet");
    // A node that has its store to itself never looks.
    let mut alone = cluster(1);
    let alice = alone.user(1);
    let a = alone.connect(0, alice);
    let room = create(&mut alone, a, kind::GROUP, &[]);
    done(&mut alone, a, commands::subscribe(room, EPOCH, LIVE));
    alone.advance(10_000);
    let reads = alone.model().reads;
    alone.advance(60_000);
    assert_eq!(alone.model().reads, reads);
}

#[test]
fn heads_are_asked_for_a_bounded_number_at_a_time() {
    let mut c = cluster(2);
    let (alice, bob) = (c.user(1), c.user(2));
    let a = c.connect(0, alice);
    let mut rooms: Vec<_> = Vec::new();
    for n in 0..100 {
        rooms.push(create(&mut c, a, kind::GROUP, &[bob]));
        if n % 50 == 0 {
            c.advance(5_000);
        }
    }
    let b = c.connect(1, bob);
    c.advance(90_000);
    let reads = c.model().reads;
    c.advance(10_000);
    let looks = c.model().reads - reads;
    assert!(looks <= 40, "heads of all rooms go together: {looks} reads in ten seconds of two nodes");
    for room in &rooms {
        post(&mut c, a, *room, "hello");
        c.advance(50);
    }
    c.advance(2 * BUMP_MS);
    let mut told: Vec<_> = bumps(&c, b).iter().map(|bump| bump.room).collect();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), rooms.len(), "every room has its turn");
}
