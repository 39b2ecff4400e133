//! Appends that did not go as planned, one room at a time and for as long as it takes; and rooms whose rows are behind their log.
//!
//! - The index on the events' ids decides who stands at (room, seq), the one on (room, actor, key) that nobody stands there twice.
//! - Presence proves, absence proves nothing: where the outcome of an insert is not known, the same events are sent again until they
//!   are acknowledged by a majority, or a majority read shows who stands there. A write that lands late finds its place taken, by
//!   itself or by another, and changes nothing.
//! - `Unavailable` is said only where no attempt was made whose outcome is not known.

use super::Shared;
use super::append::{Open, mark};
use super::documents::EventDoc;
use super::fault::Fault;
use super::ids::{id, key_of};
use super::insert::insert_in_order;
use super::link::Link;
use super::projection::{Cached, advance};
use super::queries::EVENT_OF_KEY;
use super::query;
use super::read::read_log;
use super::retry::Pauses;
use crate::limits::{MONGO_FOLD_EVENTS_MAX, MONGO_HEAL_AT_START, MONGO_RESOLVES_MAX, STORE_CONFLICT_EVENTS_MAX};
use client_protocol::RoomId;
use components::edge::AppendThen;
use components::rows::RoomRow;
use futures_util::future::join_all;
use std::collections::HashSet;

/// Goes on with one append until its outcome is known and what follows from it is written; then answers it.
pub(super) async fn resolve(shared: &Shared, mut open: Open) -> Open {
    if open.is_doubted || open.appended > 0 {
        say_in_doubt(shared, &mut open);
    }
    let mut pauses = Pauses::new();
    let then = loop {
        let turn = shared.resolves.acquire().await;
        let step = step(shared, &mut open).await;
        drop(turn);
        match step {
            Ok(Some(then)) => break then,
            Ok(None) => {}
            Err(fault) => {
                tracing::debug!(room = %open.room(), %fault, "an append cannot be resolved yet");
                if !open.is_doubted && open.appended == 0 {
                    break AppendThen::Unavailable;
                }
            }
        }
        say_in_doubt(shared, &mut open);
        pauses.pause().await;
    };
    if open.appended > 0 {
        finish(shared, &mut open).await;
    } else if !matches!(then, AppendThen::Duplicate { .. }) {
        open.cached = None;
    }
    shared.answer(vec![open.reply(open.appended, then)]);
    open
}

/// Writes what follows from an append that is in, for as long as it takes.
async fn finish(shared: &Shared, open: &mut Open) {
    let mut pauses = Pauses::new();
    loop {
        let turn = shared.resolves.acquire().await;
        let healed = heal(&shared.link, open.room()).await;
        drop(turn);
        open.cached = None;
        match healed {
            Ok(cached) => {
                open.cached = Some(cached);
                return;
            }
            Err(Fault::Corrupt(why)) => {
                tracing::error!(room = %open.room(), why, "what follows from the log of a room cannot be written");
                return;
            }
            Err(fault) => tracing::debug!(room = %open.room(), %fault, "what follows from an append cannot be written yet"),
        }
        say_in_doubt(shared, open);
        pauses.pause().await;
    }
}

fn say_in_doubt(shared: &Shared, open: &mut Open) {
    if !std::mem::replace(&mut open.is_said, true) {
        shared.answer(vec![open.reply(0, AppendThen::InDoubt)]);
    }
}

/// Looks who stands where the next event should, and sends what is not in if nobody does. Answers what became of the append, once
/// that is known.
async fn step(shared: &Shared, open: &mut Open) -> Result<Option<AppendThen>, Fault> {
    let link = &shared.link;
    if open.is_in() && open.appended > 0 {
        return Ok(Some(open.done()));
    }
    let log = read_log(link, open.room(), open.next_seq(), STORE_CONFLICT_EVENTS_MAX).await?;
    let ours = open.request.records[open.appended..].iter().zip(&log);
    let ours = ours.take_while(|(mine, (stored, _))| mine.event.head == stored.event.head).count();
    open.appended += ours;
    if log.len() > ours {
        let log = log.into_iter().skip(ours).map(|(record, _)| record).collect();
        return Ok(Some(AppendThen::Conflict { log }));
    }
    if open.is_in() && open.is_expected() {
        return Ok(Some(open.done()));
    }
    if open.is_taken
        && let Some(next) = open.request.records.get(open.appended)
    {
        let (actor, key) = key_of(next.event.head.actor, next.event.head.key);
        let filter = EVENT_OF_KEY.equal([id(open.room().bytes()).into(), actor.into(), key.into()]);
        if let Some(found) = link.one::<EventDoc>(filter).await?
            && found.seq != open.next_seq()
        {
            return Ok(Some(AppendThen::Duplicate { seq: found.seq, time_ms: found.time_ms }));
        }
        // Not visible yet: the same is sent again.
    }
    if !open.is_expected() {
        if !catch_up(link, open).await? {
            return Ok(Some(AppendThen::Unavailable));
        }
        if !open.is_expected() {
            // Further than expected: the next look at the log shows who was faster, or that these events are in.
            return Ok(None);
        }
    }
    if open.is_in() {
        return Ok(Some(open.done()));
    }
    mark(link, shared.meta.node, std::iter::once(&mut *open)).await?;
    let before = open.appended;
    insert_in_order(link, std::slice::from_mut(open)).await;
    if open.is_in() {
        return Ok(Some(open.done()));
    }
    let is_refused = !open.is_taken && !open.is_doubted;
    if is_refused {
        return Ok(Some(AppendThen::Unavailable));
    }
    if open.appended > before {
        tracing::debug!(room = %open.room(), appended = open.appended, "a part of an append is in");
    }
    Ok(None)
}

/// Brings what is known of a room up to where the append expects it. Answers whether the log goes that far.
async fn catch_up(link: &Link, open: &mut Open) -> Result<bool, Fault> {
    let cached = heal(link, open.room()).await?;
    let head = cached.row.head;
    let expected = open.request.expected_seq;
    if head + 1 == expected {
        open.check(&cached.row);
    }
    open.cached = Some(cached);
    if head + 1 < expected && !open.is_doubted {
        tracing::error!(room = %open.room(), head, expected, "the log ends before what an append is to follow");
        return Ok(false);
    }
    Ok(true)
}

/// Heals the rooms that this node was at when it last ended, for a bounded time: lists show them right from the start. What is left
/// heals when it is read.
pub(super) async fn heal_at_start(link: &Link, rooms: &HashSet<RoomId>) {
    let rooms: Vec<RoomId> = rooms.iter().copied().collect();
    let all = async {
        for lot in rooms.chunks(MONGO_RESOLVES_MAX) {
            let heals: Vec<_> = lot.iter().map(|room| heal(link, *room)).collect();
            for (room, healed) in lot.iter().zip(join_all(heals).await) {
                if let Err(fault) = healed {
                    tracing::warn!(%room, %fault, "what follows from the log of a room cannot be written yet");
                }
            }
        }
    };
    if tokio::time::timeout(MONGO_HEAL_AT_START, all).await.is_err() {
        tracing::warn!(rooms = rooms.len(), "not all rooms could be healed at the start: the others are when they are read");
    }
}

/// Writes what follows from a log and is not written yet.
pub(super) async fn heal(link: &Link, room: RoomId) -> Result<Cached, Fault> {
    let mut pauses = Pauses::new();
    loop {
        let row = query::room(link, room).await?.unwrap_or_else(|| RoomRow::empty(room));
        let cached = Cached::of_row(row);
        let events = read_log(link, room, cached.row.head + 1, MONGO_FOLD_EVENTS_MAX).await?;
        if events.is_empty() {
            return Ok(cached);
        }
        let (cached, writes) = advance(link, cached, &events).await?;
        if !writes.send(link).await? {
            // Somebody else is at it, or what was read was not the newest.
            pauses.pause().await;
        } else if events.len() < MONGO_FOLD_EVENTS_MAX {
            return Ok(cached);
        }
    }
}
