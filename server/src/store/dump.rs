//! Dump: everything that a store holds and that cannot be made anew, in pieces that any store can take. Backups are made of these, and copies
//! from one store to another.
//!
//! The order is part of it: rooms, then own logs, then logins, then accounts, so that what is dumped from a store at work is consistent:
//! what follows from a room's event is in an own log that is dumped later, and nobody who is named has no account. Each log stands
//! in its order. Projections are made anew where they are taken.

use super::{Account, Login, StoreError};
use crate::limits::{DUMP_PAGE_BYTES, DUMP_PAGE_ITEMS};
use client_protocol::room::kind;
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

/// Parts of a dump, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Logs of rooms.
    Rooms,
    /// Own logs of users.
    OwnLogs,
    /// Logins.
    Logins,
    /// Accounts.
    Accounts,
}

impl Part {
    const ALL: [Self; 4] = [Self::Rooms, Self::OwnLogs, Self::Logins, Self::Accounts];

    /// Whether logs of this kind ([`kind`]) are in it.
    pub(super) fn holds(self, kind: u8) -> bool {
        self == if kind == kind::SELF { Self::OwnLogs } else { Self::Rooms }
    }
}

impl DumpCursor {
    /// A place in a part: what it means is known to the store.
    pub(super) fn new(part: Part, place: &[u8]) -> Self {
        Self([&[part as u8], place].concat())
    }

    /// The parts from a place on, each with the place at which it starts; an empty place is the start of the part.
    pub(super) fn parts(after: Option<&Self>) -> Result<impl Iterator<Item = (Part, &[u8])>, StoreError> {
        let cursor = after.map_or(&[Part::Rooms as u8][..], |cursor| &cursor.0);
        let strange = || StoreError::Corrupt("this is no cursor of a dump".to_owned());
        let (&first, place) = cursor.split_first().ok_or_else(strange)?;
        let parts = Part::ALL.get(usize::from(first)..).filter(|parts| !parts.is_empty()).ok_or_else(strange)?;
        Ok(parts.iter().copied().zip(std::iter::once(place).chain(std::iter::repeat(&[][..]))))
    }
}

/// Pieces that are collected until they are enough for one page or one load.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    items: Vec<Item>,
    bytes: usize,
}

impl Filling {
    /// Adds a piece.
    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += match &item {
            Item::Room { .. } => 0,
            Item::Event { record, .. } => record.len(),
            Item::Login { tokens, .. } => tokens.len() * 32,
            Item::Account(account) => account.bio.len() + account.avatar_url.len(),
        };
        self.items.push(item);
    }

    /// Whether it should end here: [`DUMP_PAGE_ITEMS`], [`DUMP_PAGE_BYTES`].
    pub(crate) const fn is_full(&self) -> bool {
        self.items.len() >= DUMP_PAGE_ITEMS || self.bytes >= DUMP_PAGE_BYTES
    }

    /// The pieces.
    pub(crate) fn into_items(self) -> Vec<Item> {
        self.items
    }

    /// The page, which goes on at `next`.
    pub(crate) fn page(self, next: Option<DumpCursor>) -> DumpPage {
        DumpPage { items: self.items, next }
    }
}

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
