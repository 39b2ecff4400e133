//! Reads of the world, and pieces of logs. A read sees everything that was answered as durable before it was asked, on whatever server.

use super::Shared;
use super::documents::EventDoc;
use super::fault::Fault;
use super::ids::{event_id, id, key_of};
use super::link::Link;
use super::projection::{Logged, fold_members, read_events, read_members};
use super::queries::{EVENT_OF_KEY, Filter, LOG, Shape};
use super::{accounts, heads, query};
use crate::limits::STORE_PAGE_EVENTS_MAX;
use crate::store::StoreError;
use client_protocol::RoomId;
use client_protocol::limits::{REPLAY_EVENTS_MAX, ROOMS_PAGE_MAX};
use components::edge::{Found, Read, RoomSnapshot, Target};
use components::limits::HYDRATE_TAIL_EVENTS;
use components::rows::RoomRow;

/// Events that are read for a snapshot: those that it may hold, and as many by which its row may be behind.
const SNAPSHOT_EVENTS_MAX: usize = 2 * REPLAY_EVENTS_MAX as usize;

/// Events of a room above the seq `after`, up to `last`: [`LOG`] or a shape like it.
pub(super) fn log_piece(shape: &Shape, room: RoomId, after: u64, last: u64) -> Filter<'_> {
    shape.equal([]).within(Some(event_id(room, after).into()), Some(event_id(room, last).into()))
}

/// Events from `first` on, dense, at most `limit`.
pub(super) async fn read_log(link: &Link, room: RoomId, first: u64, limit: usize) -> Result<Vec<Logged>, Fault> {
    read_piece(link, room, first, u64::MAX, limit).await
}

async fn read_piece(link: &Link, room: RoomId, first: u64, last: u64, limit: usize) -> Result<Vec<Logged>, Fault> {
    let first = first.max(1);
    if last < first {
        return Ok(Vec::new());
    }
    let found: Vec<EventDoc> = link.many(log_piece(&LOG, room, first - 1, last), false, limit).await?;
    let mut dense = Vec::with_capacity(found.len());
    for (expected, doc) in (first..).zip(found) {
        if doc.seq != expected {
            return Err(Fault::Corrupt(format!("event {expected} of room {room} is missing")));
        }
        dense.push(doc.into_parts()?);
    }
    Ok(dense)
}

/// What became of a read, and whether its room has events that nobody has projected.
pub(super) async fn serve(shared: &Shared, read: &Read) -> Result<(Found, Option<RoomId>), Fault> {
    let link = &shared.link;
    let found = match *read {
        Read::Room { room } => {
            let (snapshot, is_behind) = room_snapshot(link, room).await?;
            return Ok((Found::Room(Box::new(snapshot)), is_behind.then_some(room)));
        }
        Read::Account { user } => {
            let rooms = query::memberships(link, user).await?.len();
            Found::Account(accounts::account_row(link, user).await?, u32::try_from(rooms).unwrap_or(u32::MAX))
        }
        Read::Target { room, seq } => {
            let found = read_events(link, room, &[seq]).await?.pop();
            Found::Target(found.map(|(record, now)| Box::new(Target { event: record.event, now: now.unwrap_or_default() })))
        }
        Read::Key { room, actor, key } => {
            let (actor, key) = key_of(actor, key);
            let filter = EVENT_OF_KEY.equal([id(room.bytes()).into(), actor.into(), key.into()]);
            Found::Key(link.one::<EventDoc>(filter).await?.map(|found| (found.seq, found.time_ms)))
        }
        Read::Page { room, first_seq, last_seq } => {
            let last = last_seq.min(first_seq.max(1).saturating_add(STORE_PAGE_EVENTS_MAX - 1));
            let log = read_piece(link, room, first_seq, last, STORE_PAGE_EVENTS_MAX as usize).await?;
            Found::Page(log.into_iter().map(|(record, _)| record).collect())
        }
        Read::Rooms { user } => {
            let (rooms, next) = query::rooms_of(link, shared.meta.epoch, user, 0, ROOMS_PAGE_MAX as u32).await?;
            Found::Rooms(rooms, next)
        }
        Read::Heads { ref rooms } => Found::Heads(heads::heads(link, rooms).await?),
        Read::Accounts { ref accounts, ref logins } => {
            Found::Accounts(heads::changed_accounts(link, accounts).await?, heads::ended_logins(link, logins).await?)
        }
    };
    Ok((found, None))
}

/// The room as of the end of its log, and whether the stored rows are behind that. Room, rows and log are read in this order: then the
/// log is at least as far as any row.
async fn room_snapshot(link: &Link, room: RoomId) -> Result<(RoomSnapshot, bool), Fault> {
    let mut row = query::room(link, room).await?.unwrap_or_else(|| RoomRow::empty(room));
    let mut members = read_members(link, room).await?;
    let wanted = (row.head - row.notified_seq.min(row.head)).clamp(HYDRATE_TAIL_EVENTS, REPLAY_EVENTS_MAX);
    let first = row.head.saturating_sub(wanted) + 1;
    let mut tail: Vec<_> =
        read_log(link, room, first, SNAPSHOT_EVENTS_MAX).await?.into_iter().map(|(record, _)| record).collect();
    if tail.len() == SNAPSHOT_EVENTS_MAX {
        // Too far behind to be looked at: each attempt writes a part of what is missing.
        super::resolve::heal(link, room).await?;
        return Box::pin(room_snapshot(link, room)).await;
    }
    let applied = tail.partition_point(|record| record.event.head.seq <= row.head);
    if applied as u64 != row.head + 1 - first {
        return Err(StoreError::Corrupt(format!("the log of room {room} has a gap before event {}", row.head)).into());
    }
    let is_behind = tail.len() > applied;
    if is_behind || members.values().any(|member| member.seq > row.head) {
        fold_members(&mut row, &mut members, &tail[applied..])?;
    }
    // What came meanwhile may have made it longer than was asked for.
    let wanted = (row.head - row.notified_seq.min(row.head)).clamp(HYDRATE_TAIL_EVENTS, REPLAY_EVENTS_MAX);
    tail.drain(..tail.len().saturating_sub(wanted as usize));
    let row = (row.head > 0).then_some(row);
    Ok((RoomSnapshot { row, members: members.into_values().collect(), tail }, is_behind))
}
