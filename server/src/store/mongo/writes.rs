//! Writes that follow from a fold, and the order in which they are sent.

use super::documents::{MarkDoc, MemberDoc, RoomFold};
use super::fault::Fault;
use super::ids::id;
use super::link::Link;
use super::queries::{Collection, Filter, ROOM};
use super::update::{Statement, document};
use components::rows::RoomRow;
use mongodb::bson::doc;
use serde::Serialize;

/// Rows that are made, and rows that are put in the place of those that were read.
#[derive(Debug)]
pub(super) struct Rewrites<T> {
    new: Vec<T>,
    replaced: Vec<Statement>,
}

impl<T> Default for Rewrites<T> {
    fn default() -> Self {
        Self { new: Vec::new(), replaced: Vec::new() }
    }
}

impl<T: Serialize + Send + Sync> Rewrites<T> {
    /// Puts a row in the place of that of the event `stored`; where there is none, it must not be there.
    pub(super) fn put(&mut self, filter: Filter<'_>, field: &str, stored: Option<u64>, row: T) -> Result<(), Fault> {
        match stored {
            None => self.new.push(row),
            Some(stored) => self.replaced.push(Statement::replace(filter.and(field, stored as i64), &row)?),
        }
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.new.append(&mut other.new);
        self.replaced.append(&mut other.replaced);
    }

    /// Answers whether all rows were as they had been read.
    async fn send(&self, link: &Link, collection: Collection) -> Result<bool, Fault> {
        let all_new = link.insert_new(collection, &self.new).await?;
        Ok(link.update(collection, &self.replaced).await? && all_new)
    }
}

/// What is to be written after a fold.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Events whose bodies are blanked.
    pub(super) blanks: Vec<Statement>,
    /// Messages as they are now.
    pub(super) nows: Vec<Statement>,
    /// Blocks whose words may be others now.
    pub(super) words: Vec<Statement>,
    pub(super) members: Rewrites<MemberDoc>,
    pub(super) marks: Rewrites<MarkDoc>,
    /// Rooms, with the last event applied.
    pub(super) rooms: Vec<Statement>,
}

impl Writes {
    /// Takes the writes of another room along.
    pub(super) fn append(&mut self, mut other: Self) {
        self.blanks.append(&mut other.blanks);
        self.nows.append(&mut other.nows);
        self.words.append(&mut other.words);
        self.members.append(other.members);
        self.marks.append(other.marks);
        self.rooms.append(&mut other.rooms);
    }

    /// Sends all of it, in order. Answers whether every row was as it had been read; if not, look again.
    pub(super) async fn send(self, link: &Link) -> Result<bool, Fault> {
        link.update(Collection::Events, &self.blanks).await?;
        let mut all = link.update(Collection::Events, &self.nows).await?;
        all &= self.members.send(link, Collection::Members).await?;
        all &= self.marks.send(link, Collection::Marks).await?;
        if !all {
            return Ok(false);
        }
        // After the messages: whoever indexes them anew sees what they are now.
        if !link.update(Collection::Words, &self.words).await? {
            return Ok(false);
        }
        link.update(Collection::Rooms, &self.rooms).await?;
        Ok(true)
    }
}

/// Writes a room before its first event, with what followers are to have done of its log.
pub(super) async fn put_empty(link: &Link, row: &RoomRow) -> Result<(), Fault> {
    link.update(Collection::Rooms, &[room_statement(row)?]).await.map(|_| ())
}

/// A statement that brings the stored room up to `row`, if it is not that far already.
pub(super) fn room_statement(row: &RoomRow) -> Result<Statement, Fault> {
    let fold = document(&RoomFold::from(row))?;
    Ok(Statement {
        filter: ROOM.equal([id(row.room.bytes()).into()]).and("head", doc! { "$lt": row.head as i64 }).document(),
        change: doc! { "$set": fold, "$setOnInsert": { "notified_seq": row.notified_seq as i64 } },
        upsert: true,
    })
}
