//! The tables of the embedded store, and the two ways to read them: a [`View`] of one instant, and the [`Overlay`] of a writer, which
//! sees its own writes before they are committed.

mod upkeep;

use super::disk::{Disk, Durable};
use super::torn;
use crate::limits::{STORE_CONFLICT_EVENTS_MAX, STORE_JOURNAL_BYTES_MAX, STORE_WORKERS};
use crate::store::StoreError;
use client_protocol::codec::{self, Decode, Encode};
use client_protocol::{Event, RoomId};
use components::edge::Record;
use fjall::{Database, Iter, Keyspace, KeyspaceCreateOptions, Readable, Slice, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;

macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident = $name:literal, $memory:literal MiB;)*) => {
        /// A table: keys and values.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Table { $($(#[$doc])* $table,)* }

        impl Table {
            /// Table, its name on disk, and the bytes of it that are kept in memory before they go to a file of their own.
            const ALL: &'static [(Self, &'static str, u64)] = &[$((Self::$table, $name, $memory * 1024 * 1024),)*];
        }
    };
}

tables! {
    /// What the store knows of itself: name -> number.
    Meta = "meta", 1 MiB;
    /// (room, seq) -> record.
    Events = "events", 16 MiB;
    /// (room, actor, key) -> [`super::append::SentRow`].
    Keys = "keys", 8 MiB;
    /// room -> [`components::rows::RoomRow`].
    Rooms = "rooms", 8 MiB;
    /// (room, user) -> [`components::rows::MemberRow`]. Never removed.
    Members = "members", 8 MiB;
    /// (user, room), where the user is a member now.
    RoomsOf = "rooms_of", 4 MiB;
    /// (room, seq of a message) -> [`components::rows::NowRow`].
    Nows = "nows", 8 MiB;
    /// (room, number of the next message) -> the seq that it has if it comes next: one for each event that is no message. Messages that
    /// follow each other need nothing.
    Messages = "messages", 4 MiB;
    /// (user, room) -> [`components::rows::MarkRow`].
    Marks = "marks", 4 MiB;
    /// Rooms whose followers may not be level with the log.
    Dirty = "dirty", 2 MiB;
    /// Public room -> its name in lower case.
    Public = "public", 2 MiB;
    /// user -> account.
    Users = "users", 4 MiB;
    /// username -> user.
    Usernames = "usernames", 2 MiB;
    /// e-mail address -> user.
    Emails = "emails", 2 MiB;
    /// login -> its row.
    Logins = "logins", 4 MiB;
    /// (user, login).
    LoginsOf = "logins_of", 2 MiB;
    /// Hash of a refresh token -> login and generation.
    Tokens = "tokens", 4 MiB;
    /// (login, generation) -> hash of the refresh token.
    TokensOf = "tokens_of", 4 MiB;
    /// (user, room), where there is or was a membership. Never removed.
    RoomsEver = "rooms_ever", 4 MiB;
    /// Accounts that were erased, and whose rooms may not know it yet: user -> the key of the events that erase them.
    Erasing = "erasing", 1 MiB;
    /// (room, number of a block of messages) -> their words: [`crate::store::blocks`].
    Words = "word_blocks", 8 MiB;
    /// (room, number of a block that is complete and not indexed yet).
    Unindexed = "unindexed", 1 MiB;
    /// (name, user), see [`crate::store::words::names_of`].
    Names = "names", 2 MiB;
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::Unavailable("another process has the data folder open".to_owned()),
            fjall::Error::Io(error) => Self::Unavailable(error.to_string()),
            fjall::Error::Poisoned => Self::Unavailable("the database has stopped".to_owned()),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// A row of a table.
pub(super) fn decode_row<T: Decode<()>>(table: Table, bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(bytes).map_err(|error| StoreError::Corrupt(format!("a row of {table:?}: {error}")))
}

/// The event of a stored record.
pub(super) fn decode_event(bytes: &[u8]) -> Result<Event, StoreError> {
    match Event::decode_record(bytes) {
        Ok((event, used)) if used == bytes.len() => Ok(event),
        Ok((event, _)) => Err(StoreError::Corrupt(format!("bytes after the record of event {}", event.head.seq))),
        Err(error) => Err(StoreError::Corrupt(format!("the record of an event: {error}"))),
    }
}

fn open_database(folder: &Path, cache_bytes: u64) -> Result<Database, StoreError> {
    let open = || {
        Database::builder(folder)
            .cache_size(cache_bytes)
            .worker_threads(STORE_WORKERS)
            .max_journaling_size(STORE_JOURNAL_BYTES_MAX)
            .open()
    };
    let error = match open() {
        Err(fjall::Error::JournalRecovery(error)) => error,
        opened => return Ok(opened?),
    };
    let Some(torn) = torn::cut_off(folder)? else { return Err(fjall::Error::JournalRecovery(error).into()) };
    match open() {
        Ok(db) => Ok(db),
        Err(error) => {
            torn.put_back()?;
            Err(error.into())
        }
    }
}

/// The open database.
pub(super) struct Tables {
    db: Database,
    spaces: Vec<Keyspace>,
}

impl Tables {
    /// Opens or creates the database in `folder`, and tables that are missing. `accept` sees the table of meta first and may refuse.
    pub(super) fn open(
        folder: &Path,
        cache_bytes: u64,
        accept: impl FnOnce(&Database, &Keyspace) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let db = open_database(folder, cache_bytes)?;
        let open = |&(_, name, memory): &(Table, &str, u64)| {
            db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(memory))
        };
        let mut spaces = vec![open(&Table::ALL[0])?];
        accept(&db, &spaces[0])?;
        for table in &Table::ALL[1..] {
            spaces.push(open(table)?);
        }
        Ok(Self { db, spaces })
    }

    fn space(&self, table: Table) -> &Keyspace {
        &self.spaces[table as usize]
    }

    /// Everything that is durable now, as of this instant.
    pub(super) fn view(&self) -> View<'_> {
        View { tables: self, snapshot: self.db.snapshot() }
    }

    /// Removes a table of an older version, files and all.
    pub(super) fn drop_old(&self, name: &str) -> Result<(), StoreError> {
        if self.db.keyspace_exists(name) {
            let old = self.db.keyspace(name, KeyspaceCreateOptions::default)?;
            self.db.delete_keyspace(old)?;
        }
        Ok(())
    }

    /// Makes what was written without a sync durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(self.db.persist(fjall::PersistMode::SyncAll)?)
    }

    /// Every table, for tests that look at files.
    #[cfg(test)]
    pub(super) fn spaces(&self) -> &[Keyspace] {
        &self.spaces
    }
}

/// The database as of one instant.
pub(super) struct View<'a> {
    tables: &'a Tables,
    snapshot: Snapshot,
}

impl View<'_> {
    /// A value.
    pub(super) fn value(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        Ok(self.snapshot.get(self.tables.space(table), key)?)
    }

    /// Whether a key is there.
    pub(super) fn has(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.snapshot.contains_key(self.tables.space(table), key)?)
    }

    /// A row.
    pub(super) fn row<T: Decode<()>>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.value(table, key)?.map(|bytes| decode_row(table, &bytes)).transpose()
    }

    /// An event.
    pub(super) fn event(&self, room: RoomId, seq: u64) -> Result<Option<Event>, StoreError> {
        self.value(Table::Events, &super::keys::room_number(room, seq))?.map(|bytes| decode_event(&bytes)).transpose()
    }

    /// Keys from `first` to `last`, both included.
    pub(super) fn range(&self, table: Table, first: &[u8], last: &[u8]) -> Iter {
        self.snapshot.range(self.tables.space(table), first..=last)
    }

    /// Keys that start with `prefix`.
    pub(super) fn prefix(&self, table: Table, prefix: &[u8]) -> Iter {
        self.snapshot.prefix(self.tables.space(table), prefix)
    }

    /// A whole table.
    pub(super) fn all(&self, table: Table) -> Iter {
        self.snapshot.iter(self.tables.space(table))
    }
}

/// A decoded value of an iterator's item.
pub(super) fn row_of<T: Decode<()>>(table: Table, item: fjall::Guard) -> Result<T, StoreError> {
    decode_row(table, &item.value()?)
}

/// The id that ends the key of an iterator's item.
pub(super) fn last_id_of(item: fjall::Guard) -> Result<[u8; 16], StoreError> {
    let key = item.key()?;
    super::keys::last_id(&key).ok_or_else(|| StoreError::Corrupt(format!("a key of {} bytes", key.len())))
}

/// A value that is put; `None` removes.
type Write = Option<Slice>;

/// Writes by table and key.
type Writes = Vec<BTreeMap<Vec<u8>, Write>>;

/// The database with writes on top that are not committed yet. Writes come in steps: [`Overlay::keep`] ends a step,
/// [`Overlay::forget`] takes it back. Each key is written once, however often it was put.
///
/// Reads take the newest value rather than that of an instant: right for the only writer of a table.
pub(super) struct Overlay<'a> {
    tables: &'a Tables,
    writes: Writes,
    /// What the step wrote over, oldest first: table, key, and what was there.
    step: Vec<(Table, Vec<u8>, Option<Write>)>,
}

impl<'a> Overlay<'a> {
    /// Nothing on top.
    pub(super) fn new(tables: &'a Tables) -> Self {
        Self { tables, writes: vec![BTreeMap::new(); Table::ALL.len()], step: Vec::new() }
    }

    /// A value.
    pub(super) fn value(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        match self.writes[table as usize].get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.tables.space(table).get(key)?),
        }
    }

    /// A row.
    pub(super) fn row<T: Decode<()>>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.value(table, key)?.map(|bytes| decode_row(table, &bytes)).transpose()
    }

    /// An event.
    pub(super) fn event(&self, room: RoomId, seq: u64) -> Result<Option<Event>, StoreError> {
        self.value(Table::Events, &super::keys::room_number(room, seq))?.map(|bytes| decode_event(&bytes)).transpose()
    }

    /// Events from `first` to `last`, as many as one answer may hold.
    pub(super) fn records(&self, room: RoomId, first: u64, last: u64) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for seq in (first..=last).take(STORE_CONFLICT_EVENTS_MAX) {
            let Some(bytes) = self.value(Table::Events, &super::keys::room_number(room, seq))? else { break };
            records.push(Record { event: decode_event(&bytes)?, bytes: bytes.into() });
        }
        Ok(records)
    }

    fn write(&mut self, table: Table, key: &[u8], value: Write) {
        let before = self.writes[table as usize].insert(key.to_vec(), value);
        self.step.push((table, key.to_vec(), before));
    }

    /// Writes bytes.
    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        // Copied: the bytes may be part of a much larger buffer, which the database would then keep.
        self.write(table, key, Some(Slice::new(value)));
    }

    /// Writes a row.
    pub(super) fn put_row<T: Encode>(&mut self, table: Table, key: &[u8], row: &T) {
        self.write(table, key, Some(Slice::from(codec::encode(row))));
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        self.write(table, key, None);
    }

    /// The keys of a table that are written.
    pub(super) fn keys_put(&self, table: Table) -> impl Iterator<Item = &[u8]> {
        self.writes[table as usize].iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.as_slice())
    }

    /// Ends a step: its writes stay.
    pub(super) fn keep(&mut self) {
        self.step.clear();
    }

    /// Takes the writes of the step back.
    pub(super) fn forget(&mut self) {
        for (table, key, before) in self.step.drain(..).rev() {
            let writes = &mut self.writes[table as usize];
            match before {
                Some(before) => writes.insert(key, before),
                None => writes.remove(&key),
            };
        }
    }

    /// Commits everything that was kept, and the step, as one atomic write. Nothing was written if it fails.
    pub(super) fn commit(self, disk: &Disk, durable: Durable) -> Result<(), StoreError> {
        let mut batch = self.tables.db.batch();
        for (&(table, _, _), writes) in Table::ALL.iter().zip(self.writes) {
            let space = self.tables.space(table);
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(space, key, value),
                    None => batch.remove(space, key),
                }
            }
        }
        disk.commit_or_stop(batch, durable)
    }
}
