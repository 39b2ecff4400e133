//! Projections: what a log makes of rooms, members, messages and marks. The rules are the fold's; here is how its rows are read
//! and written so that several servers may do it at once, and a crash between any two writes heals.
//!
//! - Every row carries the event that it was made from. A row is replaced only if it is still the one that was read; events up to it
//!   are skipped for it when a log is folded again.
//! - Order: blanked bodies, then rows, then words, then the room with the last event applied. What was not finished is found by that number.
//! - The numbers of members and owners are counted anew whenever rows were read, since rows may be further than their room.

use super::documents::{EventDoc, MemberDoc};
use super::fault::Fault;
use super::gather::Gathering;
use super::ids::{event_id, pairs_of};
use super::link::Link;
use super::queries::{EVENT, MEMBERS};
use super::sheet::Sheet;
use super::writes::Writes;
use crate::limits::MONGO_MEMBERS_SERVER_TIME;
use crate::store::StoreError;
use client_protocol::room::role;
use client_protocol::{EventBody, RoomId, UserId};
use components::edge::Record;
use components::rows::{MemberRow, NowRow, RoomRow};
use mongodb::bson::Bson;
use std::collections::BTreeMap;

/// The members of a room; each with the event that its stored row was made from.
pub(super) type Members = BTreeMap<UserId, MemberRow>;

/// A room as of its event `row.head`. Whatever the database says: it follows from the log alone.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    /// The room.
    pub(super) row: RoomRow,
    /// All member rows, once they were needed.
    pub(super) members: Option<Members>,
    /// Its newest messages.
    pub(super) gathering: Gathering,
}

impl Cached {
    /// A log before its first event.
    pub(super) const fn empty(room: RoomId) -> Self {
        Self { row: RoomRow::empty(room), members: Some(BTreeMap::new()), gathering: Gathering::new() }
    }

    /// One of which the row alone is known.
    pub(super) const fn of_row(row: RoomRow) -> Self {
        Self { row, members: None, gathering: Gathering::new() }
    }
}

/// An event that is to be folded, and what the database says that its message is now.
pub(super) type Logged = (Record, Option<NowRow>);

/// Whether the fold of this event looks at members.
const fn is_about_members(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::RoomCreated(_)
            | EventBody::MemberJoined(_)
            | EventBody::MemberAdded(_)
            | EventBody::MemberLeft(_)
            | EventBody::MemberKicked(_)
            | EventBody::MemberBanned(_)
            | EventBody::MemberUnbanned(_)
            | EventBody::RoleChanged(_)
            | EventBody::UserErased(_)
    )
}

/// All member rows of a room.
pub(super) async fn read_members(link: &Link, room: RoomId) -> Result<Members, Fault> {
    let (first, last) = pairs_of(room.bytes());
    let filter = MEMBERS.equal([]).within(Some(first.into()), Some(last.into()));
    let found: Vec<MemberDoc> = link.all(filter, MONGO_MEMBERS_SERVER_TIME).await?;
    let rows = found.into_iter().map(|doc| MemberRow::try_from(doc).map(|row| (row.user, row)));
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Events by their seqs; those that are not there are left out.
pub(super) async fn read_events(link: &Link, room: RoomId, seqs: &[u64]) -> Result<Vec<Logged>, Fault> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let ids = seqs.iter().map(|seq| Bson::String(event_id(room, *seq))).collect();
    let found: Vec<EventDoc> = link.many(EVENT.one_of(ids), false, seqs.len()).await?;
    Ok(found.into_iter().map(EventDoc::into_parts).collect::<Result<_, StoreError>>()?)
}

/// Folds events that follow `cached` onto it, and says what is to be written.
pub(super) async fn advance(link: &Link, cached: Cached, events: &[Logged]) -> Result<(Cached, Writes), Fault> {
    let Cached { mut row, members, mut gathering } = cached;
    let room = row.room;
    let needs_members = events.iter().any(|(record, _)| is_about_members(&record.event.body));
    let counts_anew = members.is_none() && needs_members;
    let knows_members = members.is_some() || needs_members;
    let members = match members {
        Some(known) => known,
        None if needs_members => read_members(link, room).await?,
        None => Members::new(),
    };
    let mut sheet = Sheet::new(room, members);
    sheet.read_messages(link, events).await?;
    sheet.read_marks(link, events).await?;
    sheet.fold(&mut row, events.iter().map(|(record, _)| record), counts_anew)?;
    events.iter().for_each(|(record, _)| gathering.push(room, record));
    let writes = sheet.writes(link, &row).await?;
    let members = knows_members.then_some(sheet.members);
    Ok((Cached { row, members, gathering }, writes))
}

/// Counts members and owners.
pub(super) fn recount(row: &mut RoomRow, members: &Members) {
    let count = |what: &dyn Fn(&MemberRow) -> bool| u32::try_from(members.values().filter(|row| what(row)).count());
    row.members = count(&MemberRow::is_member).unwrap_or(u32::MAX);
    row.owners = count(&|member| member.is_member() && member.role == role::OWNER).unwrap_or(u32::MAX);
}

/// Folds events onto a room and all its members, for one who only looks: nothing is to be written.
pub(super) fn fold_members(row: &mut RoomRow, members: &mut Members, events: &[Record]) -> Result<(), Fault> {
    let mut sheet = Sheet::new(row.room, std::mem::take(members));
    sheet.fold(row, events, true)?;
    *members = sheet.members;
    Ok(())
}

/// What is to be written where a user's events are erased ([`fold::erase`]).
pub(super) async fn erase(link: &Link, room: RoomId, events: &[Logged], erased_seq: u64) -> Result<Writes, Fault> {
    let mut sheet = Sheet::new(room, Members::new());
    sheet.erase(events, erased_seq);
    sheet.message_writes(link).await
}
