//! Names: by what users are found. A document for each name of an account, in the order of the names.
//!
//! Names follow from the account, which is asked before anything is shown, so one too many finds nothing. They are added before
//! the account has them and removed after it has lost them; who changes an account looks again until the names are those that it
//! has.

use super::accounts;
use super::fault::Fault;
use super::ids::{above_start, id, id_bytes};
use super::link::Link;
use super::queries::{Collection, NAME, NAMES, NAMES_OF_USER};
use super::retry::until_known;
use crate::limits::{MONGO_NAMES_LOT, MONGO_SERVER_TIME, SEARCH_NAMES_MAX, USERS_PAGE_MAX};
use crate::store::words::names_of;
use crate::store::{NameCursor, StoreError, UserPage, UserSearch};
use client_protocol::UserId;
use mongodb::bson::Bson;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What stands between a name and its user: below everything that a name may have in it, so that order is that of (name, user).
const BETWEEN: char = '\u{1}';

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NameDoc {
    #[serde(rename = "_id")]
    id: String,
    user_id: String,
}

fn name_id(name: &str, user: UserId) -> String {
    format!("{name}{BETWEEN}{}", id(user.bytes()))
}

impl NameDoc {
    fn new(name: &str, user: UserId) -> Self {
        Self { id: name_id(name, user), user_id: id(user.bytes()) }
    }

    fn cursor(&self) -> Result<NameCursor, StoreError> {
        let corrupt = || StoreError::Corrupt("a name without a user".to_owned());
        let (name, user) = self.id.rsplit_once(BETWEEN).ok_or_else(corrupt)?;
        Ok(NameCursor { name: name.to_owned(), user: UserId::from_bytes(id_bytes(user)?) })
    }
}

/// Adds names of a user. Doing so twice changes nothing, so what is not known is tried again.
pub(super) async fn add(link: &Link, user: UserId, names: &BTreeSet<String>) -> Result<(), Fault> {
    let docs: Vec<NameDoc> = names.iter().map(|name| NameDoc::new(name, user)).collect();
    until_known("names were added", async || link.insert_new(Collection::Names, &docs).await.map(Some)).await.map(|_| ())
}

/// Makes the names of a user those of their account. Others may change it meanwhile, and do this too: whoever took away what the
/// account has now sees so at the end, and begins again.
pub(super) async fn follow(link: &Link, user: UserId) -> Result<(), Fault> {
    let mut wanted = names_now(link, user).await?;
    loop {
        add(link, user, &wanted).await?;
        remove_others(link, user, &wanted).await?;
        let now = names_now(link, user).await?;
        if now == wanted {
            return Ok(());
        }
        wanted = now;
    }
}

async fn names_now(link: &Link, user: UserId) -> Result<BTreeSet<String>, Fault> {
    Ok(accounts::by_id(link, user).await?.map(|account| names_of(&account)).unwrap_or_default())
}

async fn remove_others(link: &Link, user: UserId, names: &BTreeSet<String>) -> Result<(), Fault> {
    let wanted: BTreeSet<String> = names.iter().map(|name| name_id(name, user)).collect();
    let attempt = async || {
        let stored: Vec<NameDoc> = link.all(NAMES_OF_USER.equal([id(user.bytes()).into()]), MONGO_SERVER_TIME).await?;
        let old: Vec<Bson> =
            stored.into_iter().filter(|name| !wanted.contains(&name.id)).map(|name| name.id.into()).collect();
        if !old.is_empty() {
            link.delete(NAME.one_of(old)).await?;
        }
        Ok(Some(()))
    };
    until_known("names were removed", attempt).await
}

/// A page of users by the start of a name.
pub(super) async fn users(link: &Link, query: &UserSearch) -> Result<UserPage, Fault> {
    let limit = (query.limit as usize).clamp(1, USERS_PAGE_MAX);
    let last = above_start(&query.start);
    let after = query.after.as_ref().map(|after| name_id(&after.name, after.user)).unwrap_or_default();
    let mut after = after.max(query.start.clone());
    let mut page = UserPage { accounts: Vec::new(), next: None };
    let mut seen = 0;
    loop {
        let lot = MONGO_NAMES_LOT.min(SEARCH_NAMES_MAX - seen);
        let filter = NAMES.equal([]).within(Some(after.clone().into()), Some(last.clone().into()));
        // One more says whether there are any after this lot.
        let mut names: Vec<NameDoc> = link.many(filter, false, lot + 1).await?;
        let goes_on = names.len() > lot;
        names.truncate(lot);
        let cursors = names.iter().map(NameDoc::cursor).collect::<Result<Vec<_>, _>>()?;
        let accounts = accounts::by_ids(link, &cursors.iter().map(|cursor| cursor.user).collect()).await?;
        let count = cursors.len();
        for (index, cursor) in cursors.into_iter().enumerate() {
            let account = accounts.get(&cursor.user);
            let found = account.filter(|account| {
                let mut matching = names_of(account).into_iter().filter(|name| name.starts_with(&query.start));
                matching.next().as_ref() == Some(&cursor.name)
            });
            page.accounts.extend(found.cloned());
            if page.accounts.len() == limit && (goes_on || index + 1 < count) {
                page.next = Some(cursor);
                return Ok(page);
            }
            page.next = Some(cursor);
        }
        seen += count;
        if !goes_on {
            page.next = None;
            return Ok(page);
        }
        if seen >= SEARCH_NAMES_MAX {
            return Ok(page);
        }
        after = page.next.as_ref().map_or(after, |next| name_id(&next.name, next.user));
    }
}
