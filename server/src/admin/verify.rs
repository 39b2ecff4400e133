//! Verify and rebuild: every log is folded anew and compared with what the store made of it (seqs, message numbers, keys, projections, words),
//! and everybody who is named must have an account.
//!
//! The server works on meanwhile. An erase that is under way shows as differences, since its event comes before its blanking.

use super::Admin;
use super::handle::{HandleError, Out};
use super::request::progress;
use crate::limits::{CHECK_DIFFERENCES_MAX, LIST_LOT};
use crate::store::check::RoomCheck;
use crate::store::lots::Lots;
use client_protocol::room::kind;
use client_protocol::{RoomId, UserId};
use components::rows::RoomRow;
use serde_json::{Value, json};
use std::collections::HashMap;

/// What was found so far.
#[derive(Default)]
struct Sum {
    rooms: u64,
    events: u64,
    messages: u64,
    differences: u64,
    told: usize,
    /// Whether a user has an account.
    known: HashMap<UserId, bool>,
}

/// Checks all rooms and own logs; answers the last line.
pub(super) async fn everything(admin: &Admin, mend: bool, out: &mut Out) -> Result<Value, HandleError> {
    let total = admin.store.stats().await?.into_iter().find(|(name, _)| name == "rooms_and_own_logs");
    let total = total.map_or(0, |(_, total)| total);
    let mut sum = Sum::default();
    let mut rooms = Lots::new(|after| admin.store.rooms(after, LIST_LOT), |row: &RoomRow| row.room);
    while let Some(lot) = rooms.next().await? {
        for row in lot {
            sum.room(admin, row.room, mend, out).await?;
            sum.references(admin, &row, out).await?;
        }
        out.line(&progress(sum.rooms, total.max(sum.rooms))).await?;
    }
    Ok(sum.last_line(mend))
}

/// Makes the projections of one room anew.
pub(super) async fn one_room(admin: &Admin, room: RoomId, out: &mut Out) -> Result<Value, HandleError> {
    if admin.store.room(room).await?.is_none() {
        return Err(HandleError::NotFound(format!("room {room}")));
    }
    let mut sum = Sum::default();
    sum.room(admin, room, true, out).await?;
    Ok(sum.last_line(true))
}

impl Sum {
    async fn room(&mut self, admin: &Admin, room: RoomId, mend: bool, out: &mut Out) -> Result<(), HandleError> {
        let mut check = admin.store.check(room, mend).await?;
        let own = |room: RoomId| UserId(room.0);
        if check.events == 0 {
            check.differs(|| format!("the room has no event (or is the own log of {})", own(room)));
        }
        self.rooms += 1;
        self.events += check.events;
        self.messages += check.messages;
        self.tell(room, check, out).await
    }

    /// Everybody who is a member has an account, or is erased and has one that says so; own logs belong to somebody.
    async fn references(&mut self, admin: &Admin, row: &RoomRow, out: &mut Out) -> Result<(), HandleError> {
        let mut check = RoomCheck::default();
        if row.kind == kind::SELF {
            let owner = UserId(row.room.0);
            if !self.has_account(admin, owner).await? {
                check.differs(|| format!("the own log of {owner}, who has no account"));
            }
        }
        let mut after = UserId::default();
        loop {
            let (members, more) = admin.store.members(row.room, after, LIST_LOT as u32).await?;
            for member in &members {
                if !self.has_account(admin, member.user).await? {
                    check.differs(|| format!("member {} has no account", member.user));
                }
            }
            match members.last() {
                Some(last) if more => after = last.user,
                _ => break,
            }
        }
        self.tell(row.room, check, out).await
    }

    async fn has_account(&mut self, admin: &Admin, user: UserId) -> Result<bool, HandleError> {
        if let Some(known) = self.known.get(&user) {
            return Ok(*known);
        }
        let known = admin.store.account(user).await?.is_some();
        self.known.insert(user, known);
        Ok(known)
    }

    async fn tell(&mut self, room: RoomId, check: RoomCheck, out: &mut Out) -> Result<(), HandleError> {
        self.differences += check.count;
        for difference in check.differences {
            // More of them say no more.
            if self.told < CHECK_DIFFERENCES_MAX {
                self.told += 1;
                out.line(&json!({ "type": "difference", "room": room.0, "what": difference })).await?;
            }
        }
        Ok(())
    }

    fn last_line(&self, mended: bool) -> Value {
        json!({
            "type": "done", "rooms": self.rooms, "events": self.events, "messages": self.messages,
            "differences": self.differences, "mended": mended,
        })
    }
}
