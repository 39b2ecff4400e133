//! Queries: rooms, room lists, members. Each shows at least what was acknowledged before it was asked.

use super::documents::{EventDoc, MarkDoc, MemberDoc, RoomDoc};
use super::fault::Fault;
use super::ids::{event_id, id, mark_id, member_id, pairs_of};
use super::link::Link;
use super::queries::{EVENT, MARK, MEMBER, MEMBERS, MEMBERSHIPS, ROOM, ROOM_PAGES, ROOMS_OF_KIND};
use crate::limits::{PUBLIC_ROOMS_SCAN_MAX, ROOMS_PAGE_BYTES_MAX};
use crate::store::StoreError;
use crate::store::shown::FrameList;
use client_protocol::limits::{MEMBERS_PAGE_MAX, ROOMS_PAGE_MAX, USER_ROOMS_MAX};
use client_protocol::room::{MemberEntry, RoomEntry, kind};
use client_protocol::tail::EmptyTail;
use client_protocol::{EventBody, RoomId, UserId};
use components::rows::{MarkRow, MemberRow, RoomRow, membership};
use mongodb::bson::Bson;
use std::cmp::Reverse;
use std::collections::HashMap;

/// A room.
pub(super) async fn room(link: &Link, room: RoomId) -> Result<Option<RoomRow>, Fault> {
    let found: Option<RoomDoc> = link.one(ROOM.equal([id(room.bytes()).into()])).await?;
    Ok(found.map(|doc| link.late.row(doc)).transpose()?)
}

/// Rooms and own logs by id above `after`.
pub(super) async fn rooms(link: &Link, after: Option<RoomId>, limit: usize) -> Result<Vec<RoomRow>, Fault> {
    let filter = ROOM_PAGES.equal([]).within(after.map(|room| id(room.bytes()).into()), None);
    let found: Vec<RoomDoc> = link.many(filter, false, limit).await?;
    Ok(found.into_iter().map(|doc| link.late.row(doc)).collect::<Result<_, StoreError>>()?)
}

/// A membership.
pub(super) async fn member(link: &Link, room: RoomId, user: UserId) -> Result<Option<MemberRow>, Fault> {
    let found: Option<MemberDoc> = link.one(MEMBER.equal([member_id(room, user).into()])).await?;
    Ok(found.map(MemberRow::try_from).transpose()?)
}

/// Where a user is a member now, at most [`USER_ROOMS_MAX`] rooms.
pub(super) async fn memberships(link: &Link, user: UserId) -> Result<Vec<MemberRow>, Fault> {
    let filter = MEMBERSHIPS.equal([id(user.bytes()).into(), i32::from(membership::MEMBER).into()]);
    let found: Vec<MemberDoc> = link.many(filter, false, USER_ROOMS_MAX).await?;
    Ok(found.into_iter().map(MemberRow::try_from).collect::<Result<_, StoreError>>()?)
}

/// Rooms of a user, newest event first, as many as fit in one frame; and where the next page starts (0: nowhere).
pub(super) async fn rooms_of(
    link: &Link,
    epoch: u64,
    user: UserId,
    offset: u32,
    limit: u32,
) -> Result<(Vec<RoomEntry>, u32), Fault> {
    let members: HashMap<RoomId, MemberRow> =
        memberships(link, user).await?.into_iter().map(|member| (member.room, member)).collect();
    if members.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let ids = members.keys().map(|room| Bson::String(id(room.bytes()))).collect();
    let found: Vec<RoomDoc> = link.many(ROOM.one_of(ids), false, members.len()).await?;
    let mut newest = found.into_iter().map(|doc| link.late.row(doc)).collect::<Result<Vec<_>, _>>()?;
    newest.sort_unstable_by_key(|row| (Reverse(row.time_ms), row.room));
    let count = newest.len();
    let limit = (limit as usize).clamp(1, ROOMS_PAGE_MAX);
    let page: Vec<_> = newest
        .into_iter()
        .skip(offset as usize)
        .take(limit)
        .filter_map(|row| members.get(&row.room).map(|member| (member.clone(), row)))
        .collect();
    let entries = entries(link, epoch, user, page).await?;
    let mut fitting = FrameList::new(ROOMS_PAGE_BYTES_MAX);
    entries.into_iter().all(|entry| fitting.push(entry));
    let next = offset as usize + fitting.len();
    let next = if next < count { u32::try_from(next).unwrap_or(0) } else { 0 };
    Ok((fitting.into_items(), next))
}

/// A room as the list of one who is or was a member of it shows it.
pub(super) async fn room_entry(link: &Link, epoch: u64, user: UserId, id: RoomId) -> Result<Option<RoomEntry>, Fault> {
    let (Some(row), Some(member)) = (room(link, id).await?, member(link, id, user).await?) else { return Ok(None) };
    Ok(entries(link, epoch, user, vec![(member, row)]).await?.pop())
}

async fn entries(link: &Link, epoch: u64, user: UserId, rooms: Vec<(MemberRow, RoomRow)>) -> Result<Vec<RoomEntry>, Fault> {
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let ids = rooms.iter().map(|(_, row)| Bson::String(mark_id(user, row.room))).collect();
    let marks: Vec<MarkDoc> = link.many(MARK.one_of(ids), false, rooms.len()).await?;
    let marks: HashMap<RoomId, MarkRow> = marks.iter().map(MarkDoc::row).collect::<Result<_, _>>()?;
    let peers = peers(link, user, &rooms).await?;
    let entry = |(member, row): (MemberRow, RoomRow)| {
        let mark = marks.get(&row.room).copied().unwrap_or_default();
        let peer = peers.get(&row.room).copied();
        row.entry(&member, mark, epoch, peer)
    };
    Ok(rooms.into_iter().map(entry).collect())
}

/// The other users of direct rooms: who made the room, or whom they made it with.
async fn peers(link: &Link, user: UserId, rooms: &[(MemberRow, RoomRow)]) -> Result<HashMap<RoomId, UserId>, Fault> {
    let direct = || rooms.iter().map(|(_, row)| row).filter(|row| row.kind == kind::DIRECT);
    let mut peers: HashMap<RoomId, UserId> =
        direct().filter(|row| row.creator != user).map(|row| (row.room, row.creator)).collect();
    let mine: Vec<RoomId> = direct().filter(|row| row.creator == user).map(|row| row.room).collect();
    if mine.is_empty() {
        return Ok(peers);
    }
    let ids = mine.iter().map(|room| Bson::String(event_id(*room, 1))).collect();
    let found: Vec<EventDoc> = link.many(EVENT.one_of(ids), false, mine.len()).await?;
    for doc in found {
        let room = doc.room()?;
        let (record, _) = doc.into_parts()?;
        if let EventBody::RoomCreated(created) = record.event.body
            && let Some(peer) = created.members.iter().find(|member| **member != user)
        {
            peers.insert(room, *peer);
        }
    }
    Ok(peers)
}

/// Public rooms by id above `after` whose name has `name` in it; and whether there are more. Looks at most at
/// [`PUBLIC_ROOMS_SCAN_MAX`] rooms.
pub(super) async fn public_rooms(link: &Link, name: &str, after: RoomId, limit: u32) -> Result<(Vec<RoomRow>, bool), Fault> {
    let limit = (limit as usize).clamp(1, ROOMS_PAGE_MAX);
    let name = name.to_lowercase();
    let filter = ROOMS_OF_KIND.equal([i32::from(kind::PUBLIC).into()]).within(Some(id(after.bytes()).into()), None);
    let matches = |doc: &RoomDoc| doc.fold.name.to_lowercase().contains(&name);
    let found = link.many_that(filter, false, limit + 1, PUBLIC_ROOMS_SCAN_MAX, matches).await?;
    let more = found.len() > limit;
    let rooms = found.into_iter().take(limit).map(|doc| link.late.row(doc)).collect::<Result<_, _>>()?;
    Ok((rooms, more))
}

/// Members by id above `after`; and whether there are more.
pub(super) async fn members(
    link: &Link,
    room: RoomId,
    after: UserId,
    limit: u32,
) -> Result<(Vec<MemberEntry>, bool), Fault> {
    let limit = (limit as usize).clamp(1, MEMBERS_PAGE_MAX);
    let (_, last) = pairs_of(room.bytes());
    let filter = MEMBERS.equal([]).within(Some(member_id(room, after).into()), Some(last.into()));
    let filter = filter.and("state", i32::from(membership::MEMBER));
    let found: Vec<MemberDoc> = link.many(filter, false, limit + 1).await?;
    let more = found.len() > limit;
    let rows = found.into_iter().take(limit).map(MemberRow::try_from);
    let entry =
        |row: MemberRow| MemberEntry { user: row.user, role: row.role, joined_seq: row.joined_seq, tail: EmptyTail {} };
    Ok((rows.map(|row| row.map(entry)).collect::<Result<_, _>>()?, more))
}
