//! Catching up: pages of the log for sessions behind the hot log. Aligned, so that sessions share them; few at a time for a room.

use crate::flush::{Flushing, queue_flush};
use crate::hot_log;
use crate::ingest::{ReadAnswered, ask_store};
use bevy_ecs::prelude::*;
use client_protocol::RoomId;
use components::edge::{Found, Read};
use components::limits::{PAGE_EVENTS, PAGE_RETRY_US, ROOM_PAGES_MAX};
use components::room::{Page, ReadFor, Room, RoomIndex, Subscribers};
use components::time::Now;
use std::collections::BTreeSet;

/// The page that an event is on, named by its first seq.
pub(crate) const fn page_of(seq: u64) -> u64 {
    (seq - 1) / PAGE_EVENTS * PAGE_EVENTS + 1
}

/// Pages that were read for sessions behind the hot log.
pub(crate) fn attach_pages(
    mut answers: MessageReader<ReadAnswered>,
    now: Res<Now>,
    mut rooms: Query<(&Room, &mut Subscribers)>,
    mut index: ResMut<RoomIndex>,
) {
    for answer in answers.read() {
        let ReadFor::Page { room: entity, first_seq } = answer.purpose else { continue };
        let Ok((room, mut subscribers)) = rooms.get_mut(entity) else { continue };
        // Dropped meanwhile: nobody needs it, or a message on it was deleted.
        let Some(page) = subscribers.pages.get_mut(&first_seq) else { continue };
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
                subscribers.pages.remove(&first_seq);
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
    subscribers: &mut Subscribers,
    needed: &BTreeSet<u64>,
    head: u64,
) {
    let behind: BTreeSet<u64> = subscribers
        .list
        .iter()
        .filter(|subscriber| subscriber.next_seq <= head)
        // A slow reader costs its cursor only: its page goes, and is read again when it can take it.
        .filter(|subscriber| desk.sessions.get(subscriber.session).is_ok_and(|(session, _)| !session.blocked))
        .map(|subscriber| page_of(subscriber.next_seq))
        .collect();
    let pages = &mut subscribers.pages;
    // A page that is needed and was read does not reach far enough: it is read again.
    pages.retain(|first_seq, page| {
        behind.contains(first_seq) && !(needed.contains(first_seq) && matches!(page, Page::Ready(_)))
    });
    for &first_seq in needed {
        if pages.len() >= ROOM_PAGES_MAX {
            break;
        }
        if pages.contains_key(&first_seq) {
            continue;
        }
        let read = Read::Page { room, first_seq, last_seq: first_seq + PAGE_EVENTS - 1 };
        let purpose = ReadFor::Page { room: entity, first_seq };
        let token = ask_store(&mut desk.open, &mut desk.reads, purpose, read);
        pages.insert(first_seq, Page::Loading(token));
    }
}
