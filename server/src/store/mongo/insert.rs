//! Inserts: the events of many rooms in as few commands as can be.
//!
//! Appends of one event each go together in no order. Of those with more, one follows the other in one ordered insert: the first event
//! that cannot go in ends it, so that a room never has a later event without the ones before. What stands behind it was not tried,
//! and goes in an insert for each room.

use super::Shared;
use super::append::Open;
use super::documents::EventDoc;
use super::fault::{DUPLICATE_KEY, Fault};
use super::link::Link;
use super::queries::Collection;
use crate::limits::MONGO_INSERT_EVENTS_MAX;
use mongodb::error::{ErrorKind, InsertManyError};
use std::sync::Arc;
use tokio::task::JoinSet;

/// How an insert ended for one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// So many more events are in.
    In(usize),
    /// So many more are in; the place or the key of the next one is taken.
    Taken(usize),
    /// So many more are in, and no more.
    Refused(usize),
    /// Nobody knows.
    Unknown,
}

/// Inserts appends, each of which has something that is to go in.
pub(super) async fn insert(shared: &Shared, batch: Vec<Open>) -> Vec<Open> {
    let mut done = Vec::new();
    let mut lots = lots(batch);
    while !lots.is_empty() {
        let mut inserts = JoinSet::new();
        for mut opens in lots {
            let (link, turns) = (Arc::clone(&shared.link), Arc::clone(&shared.inserts));
            inserts.spawn(async move {
                let _turn = turns.acquire_owned().await;
                if opens.iter().all(|open| open.usable == 1) {
                    insert_singles(&link, &mut opens).await;
                } else {
                    insert_in_order(&link, &mut opens).await;
                }
                opens
            });
        }
        let (tried, others): (Vec<Open>, Vec<Open>) =
            inserts.join_all().await.into_iter().flatten().partition(|open| open.is_tried);
        done.extend(tried);
        lots = others.into_iter().map(|open| vec![open]).collect();
    }
    done
}

/// Cuts a batch into what goes together.
fn lots(batch: Vec<Open>) -> Vec<Vec<Open>> {
    let (singles, others): (Vec<Open>, Vec<Open>) = batch.into_iter().partition(|open| open.usable == 1);
    let mut lots = Vec::new();
    for opens in [singles, others] {
        let (mut lot, mut events) = (Vec::new(), 0);
        for open in opens {
            if !lot.is_empty() && events + open.usable > MONGO_INSERT_EVENTS_MAX {
                lots.push(std::mem::take(&mut lot));
                events = 0;
            }
            events += open.usable;
            lot.push(open);
        }
        if !lot.is_empty() {
            lots.push(lot);
        }
    }
    lots
}

/// Inserts appends of one event each, in no order.
async fn insert_singles(link: &Link, opens: &mut [Open]) {
    let documents: Vec<EventDoc> = opens.iter().flat_map(Open::documents).collect();
    match send(link, &documents, false).await {
        Ok(errors) => {
            for (index, open) in opens.iter_mut().enumerate() {
                open.took(outcome(errors.as_ref(), index, 1));
            }
        }
        Err(fault) => fail(opens, &fault),
    }
}

/// Inserts appends, one after the other, until one cannot go in; those behind it were not tried then.
pub(super) async fn insert_in_order(link: &Link, opens: &mut [Open]) {
    let mut left = opens;
    while !left.is_empty() {
        let (mut documents, mut counts) = (Vec::new(), Vec::new());
        for open in left.iter() {
            let before = documents.len();
            documents.extend(open.documents().take(MONGO_INSERT_EVENTS_MAX - before));
            counts.push(documents.len() - before);
            if documents.len() == MONGO_INSERT_EVENTS_MAX {
                break;
            }
        }
        let errors = match send(link, &documents, true).await {
            Ok(errors) => errors,
            Err(fault) => {
                fail(&mut left[..counts.len()], &fault);
                // Nothing more is sent to a database that does not answer.
                left[counts.len()..].iter_mut().for_each(|open| open.took(Inserted::Refused(0)));
                return;
            }
        };
        let mut start = 0;
        for (open, &count) in left.iter_mut().zip(&counts) {
            let outcome = outcome(errors.as_ref(), start, count);
            open.took(outcome);
            if matches!(outcome, Inserted::Taken(_) | Inserted::Refused(_)) {
                return;
            }
            start += count;
        }
        if errors.is_some() {
            // On no majority yet. Those behind were not tried.
            return;
        }
        let ended = left.iter().take_while(|open| open.is_in()).count();
        left = &mut left[ended..];
    }
}

/// Sends one insert. Answers what could not go in.
async fn send(link: &Link, documents: &[EventDoc], is_ordered: bool) -> Result<Option<InsertManyError>, Fault> {
    let collection = link.collection::<EventDoc>(Collection::Events);
    let insert = async {
        match collection.insert_many(documents).ordered(is_ordered).await {
            Ok(_) => Ok(None),
            Err(error) => match *error.kind {
                ErrorKind::InsertMany(errors) => Ok(Some(errors)),
                _ => Err(error),
            },
        }
    };
    link.write(insert).await
}

/// What a call that failed says of all that was in it.
fn fail(opens: &mut [Open], fault: &Fault) {
    tracing::debug!(%fault, "an insert failed");
    let outcome = if matches!(fault, Fault::NotDone(_)) { Inserted::Refused(0) } else { Inserted::Unknown };
    opens.iter_mut().for_each(|open| open.took(outcome));
}

/// What errors say of the documents from `start` on, `count` of them.
fn outcome(errors: Option<&InsertManyError>, start: usize, count: usize) -> Inserted {
    let Some(errors) = errors else { return Inserted::In(count) };
    if errors.write_concern_error.is_some() {
        // What went in may not be on a majority yet.
        return Inserted::Unknown;
    }
    let write_errors = errors.write_errors.as_deref().unwrap_or_default();
    let mine = write_errors.iter().filter(|error| (start..start + count).contains(&error.index));
    match mine.min_by_key(|error| error.index) {
        Some(error) if error.code == DUPLICATE_KEY => Inserted::Taken(error.index - start),
        Some(error) => Inserted::Refused(error.index - start),
        None => Inserted::In(count),
    }
}
