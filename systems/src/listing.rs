//! Listing: which rooms are in the lists of users who are here, where several nodes share a store. Members who are here are to hear of what
//! other nodes append to rooms that this one has not in memory.
//!
//! | component | written by | read by |
//! |---|---|---|
//! | `ListedRooms` | `list_rooms`, `follow_lists`, `forget_lists` | the same |
//! | `Others::listed` | the same, `heads::greet_rooms`, `room::evict_rooms` | `heads::ask_listed_heads`, `nodes::take_missed` |
//!
//! What is not here: rooms beyond the first page of a list at the time at which its user came. They are the ones in which nothing happened
//! for longest; one that wakes up is listed when its user comes the next time.

use crate::delivery::Settled;
use crate::ingest::{Asks, ReadAnswered};
use crate::room::Hydrated;
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use client_protocol::room::{RoomEntry, kind};
use client_protocol::{EventBody, RoomId, UserId};
use components::edge::{Found, Read, Record};
use components::limits::LISTED_ROOMS_MAX;
use components::nodes::{Listed, ListedRooms, Others};
use components::room::{ReadFor, RoomState};
use components::session::{SessionOf, Sessions};
use components::user::{User, UserIndex};

/// What lists are kept in.
#[derive(SystemParam)]
pub(crate) struct Lists<'w, 's> {
    index: Res<'w, UserIndex>,
    others: ResMut<'w, Others>,
    users: Query<'w, 's, (&'static User, Option<&'static Sessions>, &'static mut ListedRooms)>,
}

impl Lists<'_, '_> {
    /// Adds a room that `user` knows up to `head`.
    fn add(&mut self, user: Entity, room: RoomId, head: u64) {
        let Ok((_, sessions, mut rooms)) = self.users.get_mut(user) else { return };
        let is_here = sessions.is_some_and(|sessions| !sessions.entities().is_empty());
        if is_here && rooms.0.len() < LISTED_ROOMS_MAX && rooms.0.insert(room) {
            let listed = self.others.listed.entry(room).or_insert(Listed { head, users: 0 });
            listed.users += 1;
        }
    }

    fn remove(&mut self, user: Entity, room: RoomId) {
        let Ok((.., mut rooms)) = self.users.get_mut(user) else { return };
        if rooms.0.remove(&room) {
            unlist(&mut self.others, room);
        }
    }

    fn add_all(&mut self, user: Entity, entries: &[RoomEntry]) {
        let Ok((id, ..)) = self.users.get(user) else { return };
        let own = RoomId::self_log(id.user);
        // Nothing says how far the list reaches in the own log: it is looked at once.
        self.add(user, own, 0);
        for entry in entries {
            self.add(user, entry.room, entry.head);
        }
    }

    /// Follows an own log: what is listed there is listed here.
    fn follow(&mut self, records: &[Record]) {
        for record in records {
            let Some(&user) = self.index.by_id.get(&record.event.head.actor) else { continue };
            match &record.event.body {
                EventBody::RoomListed(listed) => self.add(user, listed.room, listed.seq),
                EventBody::RoomUnlisted(unlisted) => self.remove(user, unlisted.room),
                _ => {}
            }
        }
    }
}

fn unlist(others: &mut Others, room: RoomId) {
    if let Some(listed) = others.listed.get_mut(&room) {
        listed.users -= 1;
        if listed.users == 0 {
            others.listed.remove(&room);
        }
    }
}

/// The user has no session here any more.
pub(crate) fn forget_lists(world: &mut World, user: Entity) {
    if world.get::<Sessions>(user).is_some_and(|sessions| !sessions.entities().is_empty()) {
        return;
    }
    let rooms = world.get_mut::<ListedRooms>(user).map(|mut rooms| std::mem::take(&mut rooms.0)).unwrap_or_default();
    let mut others = world.resource_mut::<Others>();
    for room in rooms {
        unlist(&mut others, room);
    }
}

/// Takes the lists that were read for sessions, and what the own logs that came into memory say.
pub(crate) fn list_rooms(
    mut answers: MessageReader<ReadAnswered>,
    mut hydrated: MessageReader<Hydrated>,
    mut lists: Lists,
    sessions: Query<&SessionOf>,
    states: Query<&RoomState>,
    mut asks: Asks,
) {
    for answer in answers.read() {
        let user = match answer.purpose {
            ReadFor::Rooms(session) => sessions.get(session).ok().map(|of| of.0),
            ReadFor::Listed(user) => Some(user),
            _ => None,
        };
        if let (Some(user), Found::Rooms(entries, _)) = (user, &answer.found) {
            lists.add_all(user, entries);
        }
    }
    for Hydrated { room, tail } in hydrated.read() {
        let Ok(state) = states.get(*room) else { continue };
        if state.row.kind != kind::SELF {
            continue;
        }
        let own = state.row.room;
        let Some(listed) = lists.others.listed.get_mut(&own) else { continue };
        let known = std::mem::replace(&mut listed.head, state.row.head);
        lists.follow(tail);
        let owner = UserId::from_bytes(*own.bytes());
        // More happened than it brought along: the list says it all. The first time, it was read just now.
        if known > 0
            && tail.first().is_some_and(|first| first.event.head.seq > known + 1)
            && let Some(&user) = lists.index.by_id.get(&owner)
        {
            asks.ask(ReadFor::Listed(user), Read::Rooms { user: owner });
        }
    }
}

/// Follows the own logs in memory.
pub(crate) fn follow_lists(mut settled: MessageReader<Settled>, mut lists: Lists, states: Query<&RoomState>) {
    for Settled { room, records, .. } in settled.read() {
        if states.get(*room).is_ok_and(|state| state.row.kind == kind::SELF) {
            lists.follow(records);
        }
    }
}
