//! What must hold after a life, whatever it was.

use crate::life::{Life, Sent};
use crate::ops::{Act, Flavour};
use crate::reference::Reference;
use bevy_ecs::prelude::*;
use client_protocol::limits::REQUEST_TIMEOUT_MS;
use client_protocol::{Code, Command, EventBody, Key, RoomId, ServerFrame, UserId};
use components::chat::Deadlines;
use components::nodes::Others;
use components::notification::NotifyQueue;
use components::presence::PresenceWatch;
use components::room::{OpenReads, RoomIndex, RoomState};
use components::session::SessionIndex;
use components::user::UserIndex;
use std::collections::BTreeSet;
use systems::testing::{On, Scenario, commands};

/// A little more than a request may take: the time-out, and the tick that notices it.
const REPLY_US_MAX: u64 = REQUEST_TIMEOUT_MS * 1_000 + 5_000;

/// Lets everything come to its end, and checks every promise.
pub(crate) fn settle(life: &mut Life) {
    for On(node, client) in life.s.clients() {
        if life.s.client(On(node, client)).connected && life.s.client(On(node, client)).blocked {
            life.s.at(node).block(client, false);
        }
    }
    // A room whose read failed is left alone for five seconds after that.
    life.s.advance(9_000);
    every_request_has_one_answer(life);
    no_room_was_quarantined(life);
    everyone_is_level(life);
    logs_allow_what_is_in_them(life);
    keys_have_one_seq(life);
    leave_memory(life);
    unread_follows_from_the_log(life);
    followers_did_their_work(life);
}

/// P7.
fn every_request_has_one_answer(life: &Life) {
    for client in life.s.clients().map(|client| life.s.client(client)) {
        if client.connected {
            assert!(client.open.is_empty(), "P7: no answer: {:?}", client.open);
        }
        for (id, (reply, took_us)) in &client.replies {
            assert!(*took_us <= REPLY_US_MAX, "P7: {id} took {took_us} us: {reply:?}");
        }
    }
}

/// Whatever the store says and when, it folds.
fn no_room_was_quarantined(life: &Life) {
    for client in life.s.clients().map(|client| life.s.client(client)) {
        let quarantined = client.picked(|frame| match frame {
            ServerFrame::SubscriptionEnded(ended) if ended.code == Code::Unavailable.number() => Some(ended.room),
            _ => None,
        });
        assert_eq!(quarantined, [], "a log that does not fold");
    }
}

/// P4: whoever reads a room has everything, once the node knows everything: nodes that share a store find out by themselves, and a post
/// makes one that has its store to itself read what was written behind its back.
fn everyone_is_level(life: &mut Life) {
    let mut unknown = BTreeSet::new();
    if life.s.count() > 1 {
        soon_level(life, &unknown);
    }
    for room in life.rooms.clone() {
        let Some(log) = life.s.model().rooms.get(&room) else { continue };
        let Some(reference) = Reference::of_room(room, life, &log.events) else { continue };
        let Some((user, _)) = reference.roles.into_iter().max_by_key(|(_, role)| *role) else {
            // Everyone has left, maybe by way of the other node: nobody here can find out by posting.
            if life.s.count() == 1 {
                unknown.insert(room);
            }
            continue;
        };
        let device = life.users.iter().position(|known| *known == user).unwrap() as u8;
        let client = life.client(device);
        let command = life.command(room, Act::Post);
        let reply = life.s.ask(client, command);
        // A node that takes the store for its own refuses on what it knows, and a refusal goes through no append: nothing tells it that the
        // other one let them in.
        let other_writes = matches!(life.flavour, Flavour::OtherNode | Flavour::Restarts);
        if other_writes && reply.code() == Code::Forbidden && is_behind(life, room) {
            unknown.insert(room);
            continue;
        }
        assert_eq!(reply.code(), Code::Ok, "a member with the highest role may post: {reply:?}");
    }
    life.s.advance(200);
    soon_level(life, &unknown);
}

/// Whether the world knows less of a room than its log has.
fn is_behind(life: &mut Life, room: RoomId) -> bool {
    let head = life.s.model().head(room);
    let world = life.s.at(0).core_mut().world_mut();
    let state = world.resource::<RoomIndex>().by_id.get(&room).and_then(|entity| world.get::<RoomState>(*entity));
    state.is_some_and(|state| state.row.head < head)
}

/// Followers may be at work still, on another node: what they append is here with the next look at heads.
fn soon_level(life: &mut Life, unknown: &BTreeSet<RoomId>) {
    let looks = if life.s.count() == 1 { 0 } else { 4 };
    for _ in 0..looks {
        if who_lags(life, unknown).is_none() {
            return;
        }
        life.s.advance(300);
    }
    assert_eq!(who_lags(life, unknown), None, "P4: user, room, cursor and head of a reader who does not have all");
}

fn who_lags(life: &Life, unknown: &BTreeSet<RoomId>) -> Option<(UserId, RoomId, u64, u64)> {
    let here = life.s.clients().map(|client| life.s.client(client)).filter(|client| client.connected);
    here.flat_map(|client| client.next.iter().map(|(room, next)| (client.user, *room, next - 1)))
        .filter(|(_, room, _)| !unknown.contains(room))
        .map(|(user, room, cursor)| (user, room, cursor, life.s.model().head(room)))
        .find(|(.., cursor, head)| cursor != head)
}

impl Reference {
    /// The reference of a room, if it is not an own log.
    pub(crate) fn of_room(room: RoomId, life: &Life, log: &[client_protocol::Event]) -> Option<Self> {
        let own = life.users.iter().any(|user| RoomId::self_log(*user) == room);
        (!own).then(|| Self::of(log))
    }
}

/// P2 and P5.
fn logs_allow_what_is_in_them(life: &Life) {
    for (room, log) in &life.s.model().rooms {
        let Some(reference) = Reference::of_room(*room, life, &log.events) else { continue };
        let members = log.members.values().filter(|member| member.is_member());
        let members: Vec<_> = members.map(|member| (member.user, member.role)).collect();
        assert_eq!(members, reference.roles.clone().into_iter().collect::<Vec<_>>(), "the fold and the reference agree");
        for (seq, (_, deleted)) in &reference.messages {
            let now = log.nows.get(seq).cloned().unwrap_or_default();
            assert_eq!(now.deleted, *deleted);
        }
        // A deleted message has no body anywhere.
        for event in &log.events {
            let (target, body) = match &event.body {
                EventBody::MessagePosted(posted) => (event.head.seq, &posted.body),
                EventBody::MessageEdited(edited) => (edited.target, &edited.body),
                _ => continue,
            };
            assert!(!reference.messages[&target].1 || body.bytes.is_empty(), "{event:?} of a deleted message has a body");
        }
    }
}

/// The room and key that a command's event has, if it became one.
fn identity(sent: &Sent, user: UserId) -> Option<(RoomId, Key)> {
    match &sent.command {
        Command::CreateRoom(create) if create.kind != client_protocol::room::kind::DIRECT => {
            Some((RoomId::created(user, create.key), create.key))
        }
        command => commands::head_of(command).map(|head| (head.room, head.key)),
    }
}

/// P3: a key is in a log once, and a retry is answered with its seq.
fn keys_have_one_seq(life: &Life) {
    for log in life.s.model().rooms.values() {
        let keys: BTreeSet<_> = log.events.iter().map(|event| (event.head.actor, event.head.key)).collect();
        assert_eq!(keys.len(), log.events.len(), "P3: keys are unique");
    }
    for sent in &life.sent {
        let user = life.users[usize::from(sent.who)];
        let Some((room, key)) = identity(sent, user) else { continue };
        let first = life.s.model().rooms.get(&room).and_then(|log| log.keys.get(&(user, key)).copied());
        // It may be so already: then a command without an event of its own is answered with another one.
        let own = matches!(sent.command, Command::PostMessage(_) | Command::EditMessage(_) | Command::AddReaction(_));
        for (request, retry) in &sent.requests {
            let Some(reply) = life.s.answer(*request).filter(|reply| reply.code() == Code::Ok) else { continue };
            if own || (*retry && first.is_some_and(|first| first <= reply.seq)) {
                assert_eq!(Some(reply.seq), first, "P3: {:?} is answered with its first seq", sent.command);
            }
        }
        for reply in sent.rest.iter().filter_map(|token| life.s.nodes()[token.0].rest.get(&token.1)) {
            if own && reply.code() == Code::Ok {
                assert_eq!(Some(reply.seq), first);
            }
        }
    }
}

/// Nothing stays in memory that nobody uses; and what was left undone is done by the sweep.
fn leave_memory(life: &mut Life) {
    for client in life.s.clients() {
        life.s.disconnect(client);
    }
    life.s.advance(15_000);
    (0..life.s.count()).for_each(|node| life.s.at(node).sweep());
    life.s.advance(15_000);
    for node in 0..life.s.count() {
        let population = life.s.nodes()[node].population();
        assert_eq!(population, systems::core::Population::default(), "everything leaves memory");
        let left = leftovers(life.s.at(node).core_mut().world_mut());
        assert_eq!(left, leftovers(Scenario::new().core_mut().world_mut()), "nothing is left behind");
    }
    assert_eq!(life.s.model().dirty_rooms(), [], "followers finish");
}

/// Entities, and entries of every index and queue.
fn leftovers(world: &mut World) -> Vec<(&'static str, usize)> {
    let entities = world.query::<Entity>().iter(world).count();
    let rooms = world.resource::<RoomIndex>();
    let notify = world.resource::<NotifyQueue>();
    let sessions = world.resource::<SessionIndex>();
    vec![
        ("entities", entities),
        ("to_sequence", rooms.to_sequence.len()),
        ("to_look", rooms.to_look.len()),
        ("held", rooms.held.len()),
        ("listed", world.resource::<Others>().listed.len()),
        ("lookups", world.resource::<Others>().lookups.len()),
        ("asked", rooms.asked.len()),
        ("awaiting_users", rooms.awaiting_users.len()),
        ("flushes", rooms.flushes.len()),
        ("room checks", rooms.idle_checks.len()),
        ("user checks", world.resource::<UserIndex>().idle_checks.len()),
        ("bumps", notify.bumps.len()),
        ("marks", notify.marks.len()),
        ("levels", notify.levels.len()),
        ("deadlines", world.resource::<Deadlines>().0.len()),
        ("expiry", sessions.by_expiry.len()),
        ("watchers", world.resource::<PresenceWatch>().watchers.len()),
        ("reads", world.resource::<OpenReads>().by_token.len()),
    ]
}

/// P8: unread counts.
fn unread_follows_from_the_log(life: &Life) {
    for user in &life.users {
        for entry in life.s.model().entries_of(*user) {
            let log = life.s.model().log(entry.room);
            let after = log.events.iter().filter(|event| event.head.seq > entry.read_seq && event.body.is_message());
            assert_eq!(entry.unread(), after.count() as u64, "P8: {entry:?}");
        }
    }
}

/// P8: own logs say what the rooms' logs say, once.
fn followers_did_their_work(life: &Life) {
    for user in &life.users {
        let own = life.s.model().rooms.get(&RoomId::self_log(*user));
        let mut said: Vec<(u8, RoomId, u64)> = Vec::new();
        for event in own.into_iter().flat_map(|own| &own.events) {
            match &event.body {
                EventBody::RoomListed(listed) => said.push((1, listed.room, listed.seq)),
                EventBody::RoomUnlisted(unlisted) => said.push((2, unlisted.room, unlisted.seq)),
                EventBody::Notified(notified) => said.push((3, notified.room, notified.seq)),
                _ => {}
            }
        }
        let all = said.len();
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), all, "P8: nothing is said twice");
        for (room, log) in &life.s.model().rooms {
            for event in &log.events {
                let what = match &event.body {
                    EventBody::RoomCreated(created) if created.members.contains(user) || event.head.actor == *user => 1,
                    EventBody::MemberJoined(changed) | EventBody::MemberAdded(changed) if changed.user == *user => 1,
                    EventBody::MemberLeft(changed) | EventBody::MemberKicked(changed) if changed.user == *user => 2,
                    _ => continue,
                };
                let wanted = (what, *room, event.head.seq);
                assert!(said.binary_search(&wanted).is_ok(), "P8: {wanted:?} is missing in the log of {user}");
            }
        }
    }
}
