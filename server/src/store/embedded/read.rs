//! Reads of the world: served by threads of their own, so that no read waits behind a commit. Each is of one instant, and sees
//! everything that was answered as durable before it was asked.

use super::append::SentRow;
use super::tables::{Table, View, decode_event, row_of};
use super::{Shared, accounts, keys, logins, query};
use crate::limits::STORE_PAGE_EVENTS_MAX;
use crate::store::StoreError;
use client_protocol::limits::{REPLAY_EVENTS_MAX, ROOMS_PAGE_MAX};
use client_protocol::{RoomId, SessionId};
use components::edge::{Found, Read, ReadRequest, Record, RoomSnapshot, StoreReply, Target};
use components::limits::HYDRATE_TAIL_EVENTS;
use components::rows::{AccountRow, MemberRow, RoomRow};
use crossbeam_channel::Receiver;

/// Reads to serve, answered together; `None` ends one thread.
pub(super) type ReadJob = Option<Vec<ReadRequest>>;

/// Serves reads until told to end.
pub(super) fn run(shared: &Shared, jobs: &Receiver<ReadJob>) {
    let _stop = crate::stop::StopOnPanic("a thread of the store");
    while let Ok(Some(requests)) = jobs.recv() {
        let replies = requests.into_iter().map(|request| {
            let found = serve(shared, &request.read).unwrap_or_else(|error| {
                tracing::error!(read = ?request.read, %error, "a read failed");
                Found::Unavailable
            });
            StoreReply::Read(request.token, found)
        });
        shared.answer(replies.collect());
    }
}

fn serve(shared: &Shared, read: &Read) -> Result<Found, StoreError> {
    let view = shared.tables.view();
    Ok(match *read {
        Read::Room { room } => Found::Room(Box::new(room_snapshot(&view, room)?)),
        Read::Account { user } => Found::Account(accounts::account_row(&view, user)?, query::room_count(&view, user)),
        Read::Target { room, seq } => Found::Target(target(&view, room, seq)?.map(Box::new)),
        Read::Key { room, actor, key } => {
            let sent: Option<SentRow> = view.row(Table::Keys, &keys::sent(room, actor, key))?;
            Found::Key(sent.map(|sent| (sent.seq, sent.time_ms)))
        }
        Read::Page { room, first_seq, last_seq } => Found::Page(records(&view, room, first_seq, last_seq)?),
        Read::Rooms { user } => {
            let (rooms, next) = query::rooms_of(&view, shared.meta.epoch, user, 0, ROOMS_PAGE_MAX as u32)?;
            Found::Rooms(rooms, next)
        }
        Read::Heads { ref rooms } => Found::Heads(heads(&view, rooms)?),
        Read::Accounts { accounts: ref known, ref logins } => {
            let (changed, ended) = accounts_and_logins(&view, known, logins)?;
            Found::Accounts(changed, ended)
        }
    })
}

/// Those of the rooms whose logs go on after the seq that is known.
fn heads(view: &View<'_>, rooms: &[(RoomId, u64)]) -> Result<Vec<(RoomId, u64)>, StoreError> {
    let mut ahead = Vec::new();
    for &(room, known) in rooms {
        let head = view.row::<RoomRow>(Table::Rooms, room.bytes())?.map_or(0, |row| row.head);
        if head > known {
            ahead.push((room, head));
        }
    }
    Ok(ahead)
}

/// Those of the accounts that are different, and those of the logins that are over.
fn accounts_and_logins(
    view: &View<'_>,
    known: &[AccountRow],
    logins: &[SessionId],
) -> Result<(Vec<AccountRow>, Vec<SessionId>), StoreError> {
    let (mut changed, mut ended) = (Vec::new(), Vec::new());
    for row in known {
        changed.extend(accounts::account_row(view, row.user)?.filter(|now| now != row));
    }
    for &login in logins {
        if !logins::is_live(view, login)? {
            ended.push(login);
        }
    }
    Ok((changed, ended))
}

/// Row, members and last events, all of one instant.
fn room_snapshot(view: &View<'_>, room: RoomId) -> Result<RoomSnapshot, StoreError> {
    let Some(row) = view.row::<RoomRow>(Table::Rooms, room.bytes())? else {
        return Ok(RoomSnapshot { row: None, members: Vec::new(), tail: Vec::new() });
    };
    let members = view
        .prefix(Table::Members, room.bytes())
        .map(|item| row_of::<MemberRow>(Table::Members, item))
        .collect::<Result<Vec<_>, _>>()?;
    let wanted = (row.head - row.notified_seq.min(row.head)).clamp(HYDRATE_TAIL_EVENTS, REPLAY_EVENTS_MAX);
    let first = row.head.saturating_sub(wanted) + 1;
    let tail = records(view, room, first, row.head)?;
    if tail.len() as u64 != row.head + 1 - first {
        return Err(StoreError::Corrupt(format!("the log of room {room} has a gap before event {}", row.head)));
    }
    Ok(RoomSnapshot { row: Some(row), members, tail })
}

fn target(view: &View<'_>, room: RoomId, seq: u64) -> Result<Option<Target>, StoreError> {
    let Some(event) = view.event(room, seq)? else { return Ok(None) };
    let now = view.row(Table::Nows, &keys::room_number(room, seq))?.unwrap_or_default();
    Ok(Some(Target { event, now }))
}

/// Records from `first` to `last`, dense, as far as there are any.
fn records(view: &View<'_>, room: RoomId, first: u64, last: u64) -> Result<Vec<Record>, StoreError> {
    let first = first.max(1);
    let last = last.min(first.saturating_add(STORE_PAGE_EVENTS_MAX - 1));
    let mut records = Vec::new();
    if last < first {
        return Ok(records);
    }
    for (expected, item) in
        (first..).zip(view.range(Table::Events, &keys::room_number(room, first), &keys::room_number(room, last)))
    {
        let bytes = item.value()?;
        let event = decode_event(&bytes)?;
        if event.head.seq != expected {
            return Err(StoreError::Corrupt(format!("event {expected} of room {room} is missing")));
        }
        records.push(Record { event, bytes: bytes.into() });
    }
    Ok(records)
}
