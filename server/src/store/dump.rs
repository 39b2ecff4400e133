//! Dump: everything that a store holds and that cannot be made anew, in pieces that any store can take. Backups are made of these, and copies
//! from one store to another.
//!
//! The order is part of it: rooms, then own logs, then logins, then accounts, so that what is dumped from a store at work is consistent:
//! what follows from a room's event is in an own log that is dumped later, and nobody who is named has no account. Each log stands
//! in its order. Projections are made anew where they are taken.

use super::{Account, Login};
use client_protocol::{Decode, Encode, RoomId};

/// A piece.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub enum Item {
    /// A room or own log; its events follow.
    Room {
        /// Which.
        room: RoomId,
        /// Followers are done up to this event.
        notified_seq: u64,
    },
    /// The next event of a room.
    Event {
        /// The room.
        room: RoomId,
        /// The record.
        record: Vec<u8>,
    },
    /// A login and the hashes of its refresh tokens, the newest one last.
    Login {
        /// The login.
        login: Login,
        /// The hashes.
        tokens: Vec<[u8; 32]>,
    },
    /// An account.
    Account(Account),
}

/// A place in a dump, known to the store that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpCursor(pub Vec<u8>);

/// Some pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpPage {
    /// The pieces, in their order.
    pub items: Vec<Item>,
    /// Where to go on; `None` at the end.
    pub next: Option<DumpCursor>,
}

/// How many of each there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub struct Counts {
    /// Rooms and own logs.
    pub rooms: u64,
    /// Events.
    pub events: u64,
    /// Logins.
    pub logins: u64,
    /// Accounts.
    pub accounts: u64,
}

impl Counts {
    /// Counts a piece.
    pub const fn add(&mut self, item: &Item) {
        match item {
            Item::Room { .. } => self.rooms += 1,
            Item::Event { .. } => self.events += 1,
            Item::Login { .. } => self.logins += 1,
            Item::Account(_) => self.accounts += 1,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.rooms + self.events + self.logins + self.accounts
    }
}
