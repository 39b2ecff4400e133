//! Accounts: one document each; names are unique through two indexes. By what else an account is found stands in [`names`].

use super::fault::Fault;
use super::ids::{self, id};
use super::link::Link;
use super::queries::{Collection, USER, USER_BY_EMAIL, USER_BY_USERNAME, USER_PAGES, USERS_ERASING};
use super::retry::until_known;
use super::update::Statement;
use super::{logins, names};
use crate::limits::ERASING_MAX;
use crate::store::words::{self, names_of};
use crate::store::{Account, ProfilePatch, StoreError};
use client_protocol::{Key, UserId};
use components::rows::{AccountRow, account};
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What stands in the names of an erased account, before its id: a character that no name may have, since a missing name would
/// count as equal to another missing one.
const ERASED: &str = "erased:";

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UserDoc {
    #[serde(rename = "_id")]
    id: String,
    username: String,
    email: String,
    display_name: String,
    bio: String,
    avatar_url: String,
    password_hash: String,
    status: u8,
    created_ms: u64,
    updated_ms: u64,
    /// Their erase is not finished in all rooms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    erasing: bool,
    /// The key of the events that erase them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erase_key: Option<String>,
}

impl From<Account> for UserDoc {
    fn from(account: Account) -> Self {
        let Account { user, username, email, display_name, bio, avatar_url, password_hash, status, created_ms, updated_ms } =
            account;
        let (id, erasing, erase_key) = (id(user.bytes()), false, None);
        Self {
            id,
            username,
            email,
            display_name,
            bio,
            avatar_url,
            password_hash,
            status,
            created_ms,
            updated_ms,
            erasing,
            erase_key,
        }
    }
}

impl TryFrom<UserDoc> for Account {
    type Error = StoreError;

    fn try_from(doc: UserDoc) -> Result<Self, StoreError> {
        let UserDoc { id, username, email, display_name, bio, avatar_url, password_hash, .. } = doc;
        let UserDoc { status, created_ms, updated_ms, .. } = doc;
        let user = ids::user(&id)?;
        let given = |name: String| if status == account::ERASED { String::new() } else { name };
        let (username, email) = (given(username), given(email));
        Ok(Self { user, username, email, display_name, bio, avatar_url, password_hash, status, created_ms, updated_ms })
    }
}

/// What the world knows of an account.
pub(super) async fn account_row(link: &Link, user: UserId) -> Result<Option<AccountRow>, Fault> {
    let found: Option<UserDoc> = link.one(USER.equal([id(user.bytes()).into()])).await?;
    Ok(found.map(|found| AccountRow { user, status: found.status }))
}

/// An account by id.
pub(super) async fn by_id(link: &Link, user: UserId) -> Result<Option<Account>, Fault> {
    let found: Option<UserDoc> = link.one(USER.equal([id(user.bytes()).into()])).await?;
    Ok(found.map(Account::try_from).transpose()?)
}

/// An account by username or e-mail address.
pub(super) async fn by_name(link: &Link, name: &str) -> Result<Option<Account>, Fault> {
    for shape in [USER_BY_USERNAME, USER_BY_EMAIL] {
        let found: Option<UserDoc> = link.one(shape.equal([name.into()])).await?;
        if let Some(found) = found.filter(|found| found.status != account::ERASED) {
            return Ok(Some(found.try_into()?));
        }
    }
    Ok(None)
}

/// Accounts by their ids; those that are not there are left out.
pub(super) async fn by_ids(link: &Link, users: &BTreeSet<UserId>) -> Result<BTreeMap<UserId, Account>, Fault> {
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids = users.iter().map(|user| Bson::String(id(user.bytes()))).collect();
    let found: Vec<UserDoc> = link.many(USER.one_of(ids), false, users.len()).await?;
    let accounts = found.into_iter().map(|doc| Account::try_from(doc).map(|account| (account.user, account)));
    Ok(accounts.collect::<Result<_, _>>()?)
}

/// Accounts with ids above `after`.
pub(super) async fn list(link: &Link, after: Option<UserId>, limit: usize) -> Result<Vec<Account>, Fault> {
    let filter = USER_PAGES.equal([]).within(after.map(|user| id(user.bytes()).into()), None);
    let found: Vec<UserDoc> = link.many(filter, false, limit).await?;
    Ok(found.into_iter().map(Account::try_from).collect::<Result<_, _>>()?)
}

/// Adds an account of a dump. The erase of one that was erased is looked at again by the next start.
pub(super) async fn load(link: &Link, account: Account) -> Result<(), StoreError> {
    if account.status != account::ERASED {
        return create(link, account).await;
    }
    let nobody = format!("{ERASED}{}", id(account.user.bytes()));
    let erase_key = Some(new_erase_key());
    let doc = UserDoc { username: nobody.clone(), email: nobody, erasing: true, erase_key, ..UserDoc::from(account) };
    Ok(link.insert(Collection::Users, &doc).await?)
}

/// Sets the hash of a password.
pub(super) async fn set_password(link: &Link, user: UserId, hash: String, now_ms: u64) -> Result<Option<Account>, Fault> {
    change(link, user, doc! { "password_hash": hash, "updated_ms": now_ms as i64 }).await
}

/// Accounts whose erase is not finished, and the keys of the events that erase them.
pub(super) async fn erasing(link: &Link) -> Result<Vec<(UserId, Key)>, Fault> {
    #[derive(Deserialize)]
    struct ErasingDoc {
        #[serde(rename = "_id")]
        id: String,
        erase_key: String,
    }
    let found: Vec<ErasingDoc> = link.many(USERS_ERASING.equal([true.into()]), false, ERASING_MAX).await?;
    let entry = |doc: &ErasingDoc| Ok((ids::user(&doc.id)?, ids::key(&doc.erase_key)?));
    Ok(found.iter().map(entry).collect::<Result<_, StoreError>>()?)
}

/// The key of the erase of an account, unless it is finished.
pub(super) async fn erase_key(link: &Link, user: UserId) -> Result<Option<Key>, Fault> {
    let found: Option<UserDoc> = link.one(USER.equal([id(user.bytes()).into()])).await?;
    let erasing = found.filter(|doc| doc.erasing).and_then(|doc| doc.erase_key);
    Ok(erasing.map(|key| ids::key(&key)).transpose()?)
}

fn new_erase_key() -> String {
    id(uuid::Uuid::new_v4().as_bytes())
}

/// The erase of an account is finished.
pub(super) async fn finish_erase(link: &Link, user: UserId) -> Result<(), Fault> {
    // An erase that was cut short after the account had changed left its names.
    names::follow(link, user).await?;
    change(link, user, doc! { "erasing": false }).await.map(|_| ())
}

/// Adds an account, and the names by which it is found.
pub(super) async fn create(link: &Link, account: Account) -> Result<(), StoreError> {
    let user = account.user;
    // Before it, since nobody would add them if we ended in between; a name without an account finds nothing.
    names::add(link, user, &names_of(&account)).await?;
    let created = create_document(link, account).await;
    if created.is_err() {
        names::follow(link, user).await?;
    }
    created
}

/// Tries again until it is known whether the account is in; [`super::MongoStore`] bounds the time.
async fn create_document(link: &Link, account: Account) -> Result<(), StoreError> {
    let doc = UserDoc::from(account);
    let attempt = async || {
        match link.insert(Collection::Users, &doc).await {
            Ok(()) => Ok(Some(Ok(()))),
            // An attempt of ours may have landed; if nothing is visible yet, the same is sent again.
            Err(Fault::Taken) => who_took(link, &doc).await,
            Err(fault) => Err(fault),
        }
    };
    until_known("an account was added", attempt).await?
}

/// Says what stands in the way of a new account; `None` if nothing is to be seen.
async fn who_took(link: &Link, doc: &UserDoc) -> Result<Option<Result<(), StoreError>>, Fault> {
    let same: Option<UserDoc> = link.one(USER.equal([doc.id.as_str().into()])).await?;
    match same {
        Some(same) if same == *doc => return Ok(Some(Ok(()))),
        Some(_) => {
            return Ok(Some(Err(StoreError::Unavailable(format!("there is an account {} already", doc.id)))));
        }
        None => {}
    }
    if link.one::<UserDoc>(USER_BY_USERNAME.equal([doc.username.as_str().into()])).await?.is_some() {
        return Ok(Some(Err(StoreError::UsernameTaken)));
    }
    let email = link.one::<UserDoc>(USER_BY_EMAIL.equal([doc.email.as_str().into()])).await?;
    Ok(email.map(|_| Err(StoreError::EmailTaken)))
}

/// Changes a profile.
pub(super) async fn update_profile(
    link: &Link,
    user: UserId,
    patch: ProfilePatch,
    now_ms: u64,
) -> Result<Option<Account>, Fault> {
    let renamed = patch.display_name.clone();
    if let Some(shown) = &renamed
        && let Some(account) = by_id(link, user).await?
    {
        // Before the change, as with a new account.
        names::add(link, user, &words::names(&account.username, shown)).await?;
    }
    let texts = [("display_name", patch.display_name), ("bio", patch.bio), ("avatar_url", patch.avatar_url)];
    let mut set: Document =
        texts.into_iter().filter_map(|(field, text)| Some((field.to_owned(), Bson::String(text?)))).collect();
    set.insert("updated_ms", now_ms as i64);
    let after = change(link, user, set).await?;
    if renamed.is_some() {
        names::follow(link, user).await?;
    }
    Ok(after)
}

/// Sets the status. Of an erased account only the id remains: its names are free again, its logins are ended.
pub(super) async fn set_status(link: &Link, user: UserId, status: u8, now_ms: u64) -> Result<Option<Account>, Fault> {
    let mut set = doc! { "status": i32::from(status), "updated_ms": now_ms as i64 };
    if status != account::ERASED {
        return change(link, user, set).await;
    }
    let nobody = format!("{ERASED}{}", id(user.bytes()));
    set.extend(doc! { "username": &nobody, "email": nobody, "erasing": true });
    for text in ["display_name", "bio", "avatar_url", "password_hash"] {
        set.insert(text, "");
    }
    // The first one stays: an erase that was begun is not begun again with another one.
    let without = USER.equal([id(user.bytes()).into()]).and("erase_key", doc! { "$exists": false });
    let key = Statement::set(without, doc! { "erase_key": new_erase_key() });
    until_known("a user has a key for their erase", async || {
        link.update(Collection::Users, std::slice::from_ref(&key)).await.map(Some)
    })
    .await?;
    // Before, so that none stays if this ends half-way; and after, for those that came meanwhile.
    logins::end_all(link, user).await?;
    let after = change(link, user, set).await?;
    logins::end_all(link, user).await?;
    names::follow(link, user).await?;
    Ok(after)
}

/// Sets fields; doing so twice changes nothing more, so what is not known is tried again.
async fn change(link: &Link, user: UserId, set: Document) -> Result<Option<Account>, Fault> {
    let collection = link.collection::<UserDoc>(Collection::Users);
    let attempt = async || {
        let filter = USER.equal([id(user.bytes()).into()]).document();
        let update = collection.find_one_and_update(filter, doc! { "$set": set.clone() });
        link.write(update.return_document(ReturnDocument::After).into_future()).await.map(Some)
    };
    let found = until_known("an account was changed", attempt).await?;
    Ok(found.map(Account::try_from).transpose()?)
}
