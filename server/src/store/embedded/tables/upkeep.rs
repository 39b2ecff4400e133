//! Upkeep of the database: what it holds in figures, and having it forget what is void.

use super::{Table, Tables};
use crate::limits::{STORE_FILLER_BYTES, STORE_JOURNAL_ROTATES_AT, STORE_PURGE_ROUNDS};
use crate::store::StoreError;

impl Tables {
    /// Has what was overwritten or removed leave the disk: everything goes from memory to files, the journal begins anew, and all
    /// files are written again without what is void. Costs a copy of the whole store; views that are open keep what they see.
    pub(in crate::store::embedded) fn purge(&self) -> Result<(), StoreError> {
        // The database starts a new journal only when the one in use is long, so it is made long.
        let mut filler = vec![0; STORE_FILLER_BYTES];
        for _ in 0..STORE_JOURNAL_ROTATES_AT.div_ceil(STORE_FILLER_BYTES) + 1 {
            getrandom::fill(&mut filler).map_err(|error| StoreError::Unavailable(format!("no randomness: {error}")))?;
            self.space(Table::Meta).insert("filler", filler.as_slice())?;
        }
        // Several rounds: old journals and files are given up in the round after the one that made them void.
        for round in 0..STORE_PURGE_ROUNDS {
            for space in &self.spaces {
                space.rotate_memtable_and_wait()?;
            }
            for space in &self.spaces {
                space.major_compact()?;
            }
            self.space(Table::Meta).insert("filler", [round])?;
        }
        self.space(Table::Meta).remove("filler")?;
        self.space(Table::Meta).rotate_memtable_and_wait()?;
        self.sync()
    }

    /// How much there is of everything.
    pub(in crate::store::embedded) fn stats(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut stats = Vec::new();
        for (table, name) in [
            (Table::Users, "accounts"),
            (Table::Logins, "logins"),
            (Table::Rooms, "rooms_and_own_logs"),
            (Table::Dirty, "rooms_with_open_followers"),
            (Table::Erasing, "erases_under_way"),
        ] {
            stats.push((name.to_owned(), self.space(table).len()? as u64));
        }
        stats.push(("events_estimate".to_owned(), self.space(Table::Events).approximate_len() as u64));
        stats.push(("blocks_to_index".to_owned(), self.space(Table::Unindexed).len()? as u64));
        stats.push(("disk_bytes".to_owned(), self.db.disk_space()?));
        stats.push(("journal_bytes".to_owned(), self.db.journal_disk_space()?));
        Ok(stats)
    }
}
