//! Appends: the one write. A batch of them, of many rooms, goes in with as few inserts as can be; whatever does not go as planned is
//! left to [`super::resolve`].

use super::Shared;
use super::documents::{DirtyDoc, EventDoc, RoomDoc};
use super::fault::Fault;
use super::ids::{dirty_id, id};
use super::insert::{Inserted, insert};
use super::late;
use super::link::Link;
use super::projection::{Cached, Logged, advance};
use super::queries::{Collection, DIRTY, ROOM};
use super::update::Statement;
use super::writes::Writes;
use crate::limits::MONGO_CALL_TIMEOUT;
use client_protocol::RoomId;
use components::edge::{AppendReply, AppendRequest, AppendThen, StoreReply};
use components::rows::RoomRow;
use futures_util::future::join_all;
use mongodb::bson::Bson;

/// An append that is under way.
#[derive(Debug)]
pub(super) struct Open {
    /// What was asked.
    pub(super) request: AppendRequest,
    /// The room right before the append, if it is known.
    pub(super) cached: Option<Cached>,
    /// Whether this node has marked the room as dirty.
    pub(super) is_marked: bool,
    /// So many of its events may go in: the others do not follow from the log.
    pub(super) usable: usize,
    /// So many are in.
    pub(super) appended: usize,
    /// An attempt was made, or will not be.
    pub(super) is_tried: bool,
    /// An attempt was made whose outcome is not known.
    pub(super) is_doubted: bool,
    /// The last attempt found a place or a key taken.
    pub(super) is_taken: bool,
    /// The world was told that the outcome is in doubt.
    pub(super) is_said: bool,
}

impl Open {
    /// An append that was not begun.
    pub(super) const fn new(request: AppendRequest, cached: Option<Cached>, is_marked: bool) -> Self {
        let usable = request.records.len();
        Self {
            request,
            cached,
            is_marked,
            usable,
            appended: 0,
            is_tried: false,
            is_doubted: false,
            is_taken: false,
            is_said: false,
        }
    }

    pub(super) const fn room(&self) -> RoomId {
        self.request.room
    }

    /// The seq of the next event that is not known to be in.
    pub(super) const fn next_seq(&self) -> u64 {
        self.request.expected_seq + self.appended as u64
    }

    pub(super) const fn is_in(&self) -> bool {
        self.appended == self.usable
    }

    /// What to say once all that is usable is in.
    pub(super) const fn done(&self) -> AppendThen {
        if self.usable == self.request.records.len() { AppendThen::Done } else { AppendThen::Unavailable }
    }

    pub(super) fn reply(&self, appended: usize, then: AppendThen) -> StoreReply {
        StoreReply::Append(AppendReply { room: self.room(), token: self.request.token, appended, then })
    }

    /// The documents of the events that are not in.
    pub(super) fn documents(&self) -> impl Iterator<Item = EventDoc> {
        self.request.records[self.appended..self.usable].iter().map(|record| EventDoc::new(self.room(), record))
    }

    /// The events that are in.
    fn logged(&self) -> Vec<Logged> {
        self.request.records[..self.appended].iter().map(|record| (record.clone(), None)).collect()
    }

    /// Whether the room is where the append expects it.
    pub(super) fn is_expected(&self) -> bool {
        self.cached.as_ref().is_some_and(|cached| cached.row.head + 1 == self.request.expected_seq)
    }

    /// Finds out how many of the events follow from the log.
    pub(super) fn check(&mut self, row: &RoomRow) {
        let (mut seq, mut message_no) = (row.head, row.message_no);
        let follows = |record: &&components::edge::Record| {
            let head = &record.event.head;
            seq += 1;
            message_no += u64::from(record.event.body.is_message());
            head.seq == seq && head.message_no == message_no && !record.event.body.stops_old_nodes()
        };
        self.usable = self.request.records.iter().take_while(follows).count();
        if self.usable < self.request.records.len() {
            tracing::error!(room = %self.room(), expected_seq = self.request.expected_seq, "an event does not follow from the log");
        }
    }

    /// Keeps how an insert ended.
    pub(super) fn took(&mut self, inserted: Inserted) {
        (self.is_tried, self.is_taken) = (true, false);
        match inserted {
            Inserted::Taken(count) => {
                self.appended += count;
                self.is_taken = true;
            }
            Inserted::In(count) | Inserted::Refused(count) => self.appended += count,
            Inserted::Unknown => self.is_doubted = true,
        }
    }
}

/// What became of a batch: those that are answered, and those that are to be resolved by themselves.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) answered: Vec<Open>,
    pub(super) unresolved: Vec<Open>,
}

/// Appends a batch: one append of each room.
pub(super) async fn append(shared: &Shared, mut batch: Vec<Open>) -> Ended {
    if let Err(fault) = prepare(&shared.link, shared.meta.node, &mut batch).await {
        tracing::debug!(%fault, "a batch of appends was not begun");
        return refuse(shared, batch);
    }
    let mut ended = Ended::default();
    let mut usable = Vec::new();
    for open in batch {
        match (open.is_expected(), open.usable) {
            (false, _) => ended.unresolved.push(open),
            (true, 0) => {
                shared.answer(vec![open.reply(0, open.done())]);
                ended.answered.push(open);
            }
            (true, _) => usable.push(open),
        }
    }
    let (whole, rest): (Vec<Open>, Vec<Open>) = insert(shared, usable).await.into_iter().partition(Open::is_in);
    let (unresolved, refused) =
        rest.into_iter().partition(|open: &Open| open.appended > 0 || open.is_taken || open.is_doubted);
    ended.unresolved.extend::<Vec<_>>(unresolved);
    ended.answered.extend(refuse(shared, refused).answered);
    match project(&shared.link, whole).await {
        Ok(whole) => {
            shared.answer(whole.iter().map(|open| open.reply(open.appended, open.done())).collect());
            ended.answered.extend(whole);
        }
        Err(whole) => ended.unresolved.extend(whole),
    }
    ended
}

/// Answers that nothing of a batch is in, nor will be.
pub(super) fn refuse(shared: &Shared, batch: Vec<Open>) -> Ended {
    shared.answer(batch.iter().map(|open| open.reply(0, AppendThen::Unavailable)).collect());
    Ended { answered: batch, unresolved: Vec::new() }
}

/// What an insert needs: rooms that are not known are read, those that are not marked as dirty are marked.
async fn prepare(link: &Link, node: client_protocol::NodeId, batch: &mut [Open]) -> Result<(), Fault> {
    let unknown: Vec<Bson> =
        batch.iter().filter(|open| open.cached.is_none()).map(|open| id(open.room().bytes()).into()).collect();
    if !unknown.is_empty() {
        let limit = unknown.len();
        let found: Vec<RoomDoc> = link.many(ROOM.one_of(unknown), false, limit).await?;
        let rows = found.into_iter().map(|doc| link.late.row(doc)).collect::<Result<Vec<_>, _>>()?;
        for open in batch.iter_mut().filter(|open| open.cached.is_none()) {
            let row = rows.iter().find(|row| row.room == open.request.room).cloned();
            open.cached = Some(row.map_or_else(|| Cached::empty(open.request.room), Cached::of_row));
        }
    }
    for open in batch.iter_mut() {
        if let Some(cached) = open.cached.take() {
            if cached.row.head + 1 == open.request.expected_seq {
                open.check(&cached.row);
            }
            open.cached = Some(cached);
        }
    }
    mark(link, node, batch.iter_mut().filter(|open| open.is_expected() && open.usable > 0)).await
}

/// Marks rooms as dirty, before anything is appended to them.
pub(super) async fn mark<'a>(
    link: &Link,
    node: client_protocol::NodeId,
    batch: impl Iterator<Item = &'a mut Open>,
) -> Result<(), Fault> {
    let mut unmarked: Vec<&mut Open> = batch.filter(|open| !open.is_marked).collect();
    let statement = |open: &&mut Open| {
        let filter = DIRTY.equal([dirty_id(open.room(), node).into()]);
        Ok::<_, Fault>(Statement::replace(filter, &DirtyDoc::new(open.room(), node))?.or_insert(true))
    };
    let statements = unmarked.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
    link.update(Collection::Dirty, &statements).await?;
    unmarked.iter_mut().for_each(|open| open.is_marked = true);
    Ok(())
}

/// Writes what follows from appends that are in, but for rows that may wait. Gives them back as they came where it could not.
async fn project(link: &Link, whole: Vec<Open>) -> Result<Vec<Open>, Vec<Open>> {
    let mut folds = Vec::new();
    for mut open in whole {
        folds.push(async move {
            let cached = open.cached.take().unwrap_or_else(|| Cached::empty(open.room()));
            let before = cached.row.clone();
            // Those that are ready do not wait for a large room.
            let late = |_| Err(Fault::NotDone("what the events are folded onto takes long to read".to_owned()));
            let logged = open.logged();
            let folded = tokio::time::timeout(MONGO_CALL_TIMEOUT, advance(link, cached, &logged)).await.unwrap_or_else(late);
            (open, before, folded)
        });
    }
    let mut writes = Writes::default();
    let (mut folded, mut late, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (mut open, before, result) in join_all(folds).await {
        match result {
            Ok((cached, mut some)) => {
                if let Some(reach) = late::may_wait(before, &cached.row) {
                    some.rooms.clear();
                    late.push((open.room(), reach));
                }
                open.cached = Some(cached);
                writes.append(some);
                folded.push(open);
            }
            Err(fault) => {
                tracing::debug!(room = %open.room(), %fault, "what follows from an append cannot be written yet");
                failed.push(open);
            }
        }
    }
    if !failed.is_empty() {
        failed.extend(folded);
    } else {
        match writes.send(link).await {
            Ok(true) => {
                late.into_iter().for_each(|(room, reach)| link.late.put(room, reach));
                return Ok(folded);
            }
            Ok(false) => failed = folded,
            Err(fault) => {
                tracing::debug!(%fault, "what follows from a batch of appends cannot be written yet");
                failed = folded;
            }
        }
    }
    // What is stored is not known: it is read again.
    failed.iter_mut().for_each(|open| open.cached = None);
    Err(failed)
}
