//! Heads: what other servers did, for [`components::edge::Read::Heads`] and [`components::edge::Read::Accounts`]. Each question
//! is a bounded number of look-ups in an index.
//!
//! The log is asked, not the rooms: who stands behind the known head? So an event that is on a majority is found, even if whoever
//! appended it died before what follows from it was written. It is delivered then; the rows follow when the room is appended to
//! or brought into memory somewhere, or with the next start of any server, since its mark as dirty was there before the event.

use super::documents::IdDoc;
use super::fault::Fault;
use super::ids::{event_id, id, id_bytes, parse_event_id};
use super::link::Link;
use super::queries::{EVENT_IDS, LOGIN_IDS, ROOM, USER_STATUS};
use client_protocol::{RoomId, SessionId, UserId};
use components::rows::AccountRow;
use mongodb::bson::Bson;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Deserialize)]
struct HeadDoc {
    #[serde(rename = "_id")]
    id: String,
    head: u64,
}

#[derive(Debug, Deserialize)]
struct StatusDoc {
    #[serde(rename = "_id")]
    id: String,
    status: u8,
}

/// Those of the rooms whose logs go on after the seq that is known, and how far: as far as rows say, and at least by the one
/// event that was found. Whoever reads on finds the rest.
pub(super) async fn heads(link: &Link, rooms: &[(RoomId, u64)]) -> Result<Vec<(RoomId, u64)>, Fault> {
    let next: Vec<Bson> = rooms.iter().map(|(room, known)| event_id(*room, known.saturating_add(1)).into()).collect();
    if next.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<IdDoc> = link.many(EVENT_IDS.one_of(next), false, rooms.len()).await?;
    let mut ahead = found.iter().map(|found| parse_event_id(&found.id)).collect::<Result<BTreeMap<RoomId, u64>, _>>()?;
    if ahead.is_empty() {
        return Ok(Vec::new());
    }
    let ids = ahead.keys().map(|room| Bson::String(id(room.bytes()))).collect();
    let found: Vec<HeadDoc> = link.many(ROOM.one_of(ids), false, ahead.len()).await?;
    for HeadDoc { id, head } in found {
        let room = RoomId::from_bytes(id_bytes(&id)?);
        let head = link.late.head(room).max(head);
        ahead.entry(room).and_modify(|seq| *seq = head.max(*seq));
    }
    Ok(ahead.into_iter().collect())
}

/// Those of the accounts that are different, as they are now.
pub(super) async fn changed_accounts(link: &Link, known: &[AccountRow]) -> Result<Vec<AccountRow>, Fault> {
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let ids = known.iter().map(|row| Bson::String(id(row.user.bytes()))).collect();
    let found: Vec<StatusDoc> = link.many(USER_STATUS.one_of(ids), false, known.len()).await?;
    let mut changed = Vec::new();
    for StatusDoc { id, status } in found {
        let row = AccountRow { user: UserId::from_bytes(id_bytes(&id)?), status };
        if !known.contains(&row) {
            changed.push(row);
        }
    }
    Ok(changed)
}

/// Those of the logins that have ended, or that nobody knows.
pub(super) async fn ended_logins(link: &Link, logins: &[SessionId]) -> Result<Vec<SessionId>, Fault> {
    if logins.is_empty() {
        return Ok(Vec::new());
    }
    let ids = logins.iter().map(|login| Bson::String(id(login.bytes()))).collect();
    let found: Vec<IdDoc> = link.many(LOGIN_IDS.one_of(ids), false, logins.len()).await?;
    let live: BTreeSet<String> = found.into_iter().map(|found| found.id).collect();
    Ok(logins.iter().copied().filter(|login| !live.contains(&id(login.bytes()))).collect())
}
