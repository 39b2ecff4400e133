//! Queries: rooms, room lists, members.

use super::keys;
use super::tables::{Table, View, last_id_of, row_of};
use crate::limits::{PUBLIC_ROOMS_SCAN_MAX, ROOMS_PAGE_BYTES_MAX};
use crate::store::StoreError;
use crate::store::shown::FrameList;
use client_protocol::limits::{MEMBERS_PAGE_MAX, ROOMS_PAGE_MAX, USER_ROOMS_MAX};
use client_protocol::room::{MemberEntry, RoomEntry, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{RoomId, UserId};
use components::rows::{MarkRow, MemberRow, RoomRow};
use std::cmp::Reverse;

/// A room.
pub(super) fn room(view: &View<'_>, room: RoomId) -> Result<Option<RoomRow>, StoreError> {
    view.row(Table::Rooms, room.bytes())
}

/// Rooms and own logs with ids above `after`.
pub(super) fn rooms(view: &View<'_>, after: Option<RoomId>, limit: usize) -> Result<Vec<RoomRow>, StoreError> {
    let rows = view.range(Table::Rooms, after.unwrap_or_default().bytes(), &[0xff; 16]);
    let rows = rows.map(|item| row_of::<RoomRow>(Table::Rooms, item));
    rows.filter(|row| !matches!(row, Ok(row) if Some(row.room) == after)).take(limit).collect()
}

/// A membership.
pub(super) fn member(view: &View<'_>, room: RoomId, user: UserId) -> Result<Option<MemberRow>, StoreError> {
    view.row(Table::Members, &keys::room_user(room, user))
}

/// Rooms of a user, newest event first, as many as fit in one frame; and where the next page starts (0: nowhere). Looks at all rooms of
/// the user, at most [`USER_ROOMS_MAX`], since the order is that of their last events.
pub(super) fn rooms_of(
    view: &View<'_>,
    epoch: u64,
    user: UserId,
    offset: u32,
    limit: u32,
) -> Result<(Vec<RoomEntry>, u32), StoreError> {
    let mut newest = Vec::new();
    for item in view.prefix(Table::RoomsOf, user.bytes()).take(USER_ROOMS_MAX) {
        let id = RoomId::from_bytes(last_id_of(item)?);
        if let Some(row) = room(view, id)? {
            newest.push((Reverse(row.time_ms), id));
        }
    }
    newest.sort_unstable();
    let mut entries = FrameList::new(ROOMS_PAGE_BYTES_MAX);
    let mut next = offset as usize;
    for &(_, id) in newest.iter().skip(offset as usize).take((limit as usize).clamp(1, ROOMS_PAGE_MAX)) {
        if let Some(entry) = room_entry(view, epoch, user, id)?
            && !entries.push(entry)
        {
            break;
        }
        next += 1;
    }
    let next = if next < newest.len() { next as u32 } else { 0 };
    Ok((entries.into_items(), next))
}

/// In how many rooms a user is, at most [`USER_ROOMS_MAX`].
pub(super) fn room_count(view: &View<'_>, user: UserId) -> u32 {
    view.prefix(Table::RoomsOf, user.bytes()).take(USER_ROOMS_MAX).count() as u32
}

/// A room as the list of one who is or was a member of it shows it.
pub(super) fn room_entry(view: &View<'_>, epoch: u64, user: UserId, id: RoomId) -> Result<Option<RoomEntry>, StoreError> {
    let (Some(row), Some(member)) = (room(view, id)?, member(view, id, user)?) else { return Ok(None) };
    let mark: MarkRow = view.row(Table::Marks, &keys::user_room(user, id))?.unwrap_or_default();
    let peer = if row.kind == kind::DIRECT { peer(view, id, user)? } else { None };
    Ok(Some(row.entry(&member, mark, epoch, peer)))
}

/// The other user of a direct room.
fn peer(view: &View<'_>, id: RoomId, user: UserId) -> Result<Option<UserId>, StoreError> {
    for item in view.prefix(Table::Members, id.bytes()).take(3) {
        let other = UserId::from_bytes(last_id_of(item)?);
        if other != user {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// Public rooms by id above `after` whose name has `name` in it; and whether there are more. Looks at most at
/// [`PUBLIC_ROOMS_SCAN_MAX`] names.
pub(super) fn public_rooms(
    view: &View<'_>,
    name: &str,
    after: RoomId,
    limit: u32,
) -> Result<(Vec<RoomRow>, bool), StoreError> {
    let limit = (limit as usize).clamp(1, ROOMS_PAGE_MAX);
    let name = name.to_lowercase();
    let mut rooms = Vec::new();
    for item in view.range(Table::Public, after.bytes(), &[0xff; 16]).take(PUBLIC_ROOMS_SCAN_MAX) {
        let (key, found) = item.into_inner()?;
        let matches = std::str::from_utf8(&found).is_ok_and(|found| found.contains(&name));
        let Some(id) = keys::last_id(&key).map(RoomId::from_bytes).filter(|&id| matches && id > after) else { continue };
        if rooms.len() == limit {
            return Ok((rooms, true));
        }
        rooms.extend(room(view, id)?);
    }
    Ok((rooms, false))
}

/// Members by id above `after`; and whether there are more.
pub(super) fn members(
    view: &View<'_>,
    room: RoomId,
    after: UserId,
    limit: u32,
) -> Result<(Vec<MemberEntry>, bool), StoreError> {
    let limit = (limit as usize).clamp(1, MEMBERS_PAGE_MAX);
    let last = UserId::from_bytes([0xff; 16]);
    let mut members = Vec::new();
    for item in view.range(Table::Members, &keys::room_user(room, after), &keys::room_user(room, last)) {
        let row: MemberRow = row_of(Table::Members, item)?;
        if !row.is_member() || row.user <= after {
            continue;
        }
        if members.len() == limit {
            return Ok((members, true));
        }
        members.push(MemberEntry { user: row.user, role: row.role, joined_seq: row.joined_seq, tail: EmptyTail {} });
    }
    Ok((members, false))
}
