//! Catching up: pages of the log for sessions behind the hot log. Aligned, so that sessions share them.
//!
//! Few at a time: for a room, for all rooms together, and for a session, since each page costs it a whole read however little it takes.
//! Who does not get one waits its turn: sessions in [`CatchUp`], rooms in [`Pages`].

use crate::flush::{Flushing, queue_flush};
use crate::hot_log;
use crate::ingest::ReadAnswered;
use bevy_ecs::prelude::*;
use client_protocol::RoomId;
use components::catch_up::{CatchUp, Page, Pages};
use components::edge::{Found, Read};
use components::limits::{PAGE_EVENTS, PAGE_RETRY_US, PAGES_MAX, ROOM_PAGES_MAX, SESSION_PAGES_MAX};
use components::room::{ReadFor, Room, RoomIndex, Subscribers};
use components::time::Now;
use std::collections::BTreeSet;

/// The page that an event is on, named by its first seq.
pub(crate) const fn page_of(seq: u64) -> u64 {
    (seq - 1) / PAGE_EVENTS * PAGE_EVENTS + 1
}

/// Whether a room has pages.
pub(crate) fn has_pages(pages: &Pages, room: Entity) -> bool {
    pages.by_room.range((room, 0)..=(room, u64::MAX)).next().is_some()
}

/// Drops the pages of a room; those that are needed are asked for again.
pub(crate) fn drop_pages(pages: &mut Pages, room: Entity) {
    pages.granted.remove(&room);
    if has_pages(pages, room) {
        pages.by_room.retain(|(of, _), _| *of != room);
    }
}

/// Says whether a room may ask for one page more now. If not, its turn comes when there are fewer.
fn may_ask(pages: &mut Pages, room: Entity) -> bool {
    if pages.granted.remove(&room) {
        return true;
    }
    if pages.waiting.is_empty() && pages.by_room.len() + pages.granted.len() < PAGES_MAX {
        return true;
    }
    if pages.queued.insert(room) {
        pages.waiting.push_back(room);
    }
    false
}

/// Says whether a session may read pages in this room now. If not, its turn comes when it is through with another.
pub(crate) fn enter(catch_up: &mut CatchUp, room: Entity) -> bool {
    if catch_up.reading.contains(&room) {
        return true;
    }
    if catch_up.reading.len() >= SESSION_PAGES_MAX {
        catch_up.waiting.insert(room);
        return false;
    }
    catch_up.waiting.remove(&room);
    catch_up.reading.insert(room)
}

/// A session is through with a room, or gone from it. Returns the room whose turn it is now: also if this one had its turn and did not
/// need it.
pub(crate) fn leave(catch_up: &mut CatchUp, room: Entity) -> Option<Entity> {
    catch_up.waiting.remove(&room);
    catch_up.reading.remove(&room);
    if catch_up.reading.len() < SESSION_PAGES_MAX { catch_up.waiting.pop_first() } else { None }
}

/// The rooms to flush because they, or a session in them, may have a page now.
pub(crate) fn whose_turn(pages: &mut Pages) -> Vec<Entity> {
    let mut rooms = std::mem::take(&mut pages.woken);
    let free = PAGES_MAX.saturating_sub(pages.by_room.len() + pages.granted.len()).min(pages.waiting.len());
    for room in pages.waiting.drain(..free) {
        pages.queued.remove(&room);
        pages.granted.insert(room);
        rooms.push(room);
    }
    rooms
}

/// Pages that were read for sessions behind the hot log.
pub(crate) fn attach_pages(
    mut answers: MessageReader<ReadAnswered>,
    now: Res<Now>,
    mut rooms: Query<(&Room, &mut Subscribers)>,
    mut pages: ResMut<Pages>,
    mut index: ResMut<RoomIndex>,
) {
    for answer in answers.read() {
        let ReadFor::Page { room: entity, first_seq } = answer.purpose else { continue };
        let Ok((room, mut subscribers)) = rooms.get_mut(entity) else { continue };
        // Dropped meanwhile: nobody needs it, or a message on it was deleted.
        let Some(page) = pages.by_room.get_mut(&(entity, first_seq)) else { continue };
        if !matches!(page, Page::Loading(token) if *token == answer.token) {
            // It was dropped and asked for again: this answer may be from before the delete.
            continue;
        }
        let mut at_us = now.mono_us;
        match &answer.found {
            Found::Page(records)
                if !records.is_empty()
                    && records.iter().zip(first_seq..).all(|(record, seq)| record.event.head.seq == seq) =>
            {
                *page = Page::Ready(hot_log::chunks_of(room.id, records));
            }
            found => {
                if matches!(found, Found::Page(_)) {
                    tracing::error!(room = %room.id, first_seq, "a page of the log is empty or not dense");
                }
                pages.by_room.remove(&(entity, first_seq));
                at_us += PAGE_RETRY_US;
            }
        }
        queue_flush(&mut index, entity, &mut subscribers, at_us);
    }
}

/// Keeps the pages that someone waits for, asks for those that are missing.
pub(crate) fn ask_for_pages(
    desk: &mut Flushing<'_, '_>,
    (entity, room): (Entity, RoomId),
    subscribers: &Subscribers,
    needed: &BTreeSet<u64>,
    head: u64,
) {
    if needed.is_empty() {
        desk.pages.granted.remove(&entity);
        if !has_pages(&desk.pages, entity) {
            return;
        }
    }
    let behind: BTreeSet<u64> = subscribers
        .list
        .iter()
        .filter(|subscriber| subscriber.next_seq <= head)
        // A slow reader costs its cursor only: its page goes, and is read again when it can take it.
        .filter(|subscriber| desk.sessions.get(subscriber.session).is_ok_and(|(session, ..)| !session.blocked))
        .map(|subscriber| page_of(subscriber.next_seq))
        .collect();
    let pages = &mut *desk.pages;
    // A page that is needed and was read does not reach far enough: it is read again.
    pages.by_room.retain(|(of, first_seq), page| {
        *of != entity || behind.contains(first_seq) && !(needed.contains(first_seq) && matches!(page, Page::Ready(_)))
    });
    for &first_seq in needed {
        if pages.by_room.contains_key(&(entity, first_seq)) {
            continue;
        }
        if pages.by_room.range((entity, 0)..=(entity, u64::MAX)).count() >= ROOM_PAGES_MAX {
            break;
        }
        if !may_ask(pages, entity) {
            break;
        }
        let read = Read::Page { room, first_seq, last_seq: first_seq + PAGE_EVENTS - 1 };
        let purpose = ReadFor::Page { room: entity, first_seq };
        let token = desk.asks.ask(purpose, read);
        pages.by_room.insert((entity, first_seq), Page::Loading(token));
    }
}
