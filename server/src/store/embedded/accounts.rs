//! Accounts. Changes are taken one at a time, each synced before it is answered; a password hash costs far more than that.

use super::tables::{Overlay, Table, View, row_of};
use super::{Shared, disk::Durable, erase, index, keys, logins};
use crate::store::words::{self, names_of};
use crate::store::{Account, ProfilePatch, StoreError};
use client_protocol::{Decode, Encode, UserId};
use components::rows::{AccountRow, account};
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// An account as it is stored.
#[derive(Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub(super) struct UserRow {
    user: UserId,
    username: String,
    email: String,
    display_name: String,
    bio: String,
    avatar_url: String,
    password_hash: String,
    status: u8,
    created_ms: u64,
    updated_ms: u64,
}

impl From<Account> for UserRow {
    fn from(account: Account) -> Self {
        let Account { user, username, email, display_name, bio, avatar_url, password_hash, status, created_ms, updated_ms } =
            account;
        Self { user, username, email, display_name, bio, avatar_url, password_hash, status, created_ms, updated_ms }
    }
}

impl From<UserRow> for Account {
    fn from(row: UserRow) -> Self {
        let UserRow { user, username, email, display_name, bio, avatar_url, password_hash, status, created_ms, updated_ms } =
            row;
        Self { user, username, email, display_name, bio, avatar_url, password_hash, status, created_ms, updated_ms }
    }
}

/// The account of a row.
pub(super) fn decode(row: UserRow) -> Account {
    row.into()
}

/// What the world knows of an account.
pub(super) fn account_row(view: &View<'_>, user: UserId) -> Result<Option<AccountRow>, StoreError> {
    Ok(by_id(view, user)?.map(|account| AccountRow { user, status: account.status }))
}

/// An account by id.
pub(super) fn by_id(view: &View<'_>, user: UserId) -> Result<Option<Account>, StoreError> {
    Ok(view.row::<UserRow>(Table::Users, user.bytes())?.map(Account::from))
}

/// An account by username or e-mail address.
pub(super) fn by_name(view: &View<'_>, name: &str) -> Result<Option<Account>, StoreError> {
    for table in [Table::Usernames, Table::Emails] {
        if let Some(user) = view.value(table, name.as_bytes())?.and_then(|user| keys::last_id(&user)) {
            return by_id(view, UserId::from_bytes(user));
        }
    }
    Ok(None)
}

/// Adds an account.
pub(super) fn create(shared: &Shared, account: Account) -> Result<(), StoreError> {
    let _one_at_a_time = shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut overlay = Overlay::new(&shared.tables);
    if overlay.value(Table::Usernames, account.username.as_bytes())?.is_some() {
        return Err(StoreError::UsernameTaken);
    }
    if overlay.value(Table::Emails, account.email.as_bytes())?.is_some() {
        return Err(StoreError::EmailTaken);
    }
    if overlay.value(Table::Users, account.user.bytes())?.is_some() {
        return Err(StoreError::Unavailable(format!("there is an account {} already", account.user)));
    }
    put(&mut overlay, account)?;
    overlay.commit(&shared.disk, Durable::Synced)
}

/// Writes an account that is not there yet, and what finds it. One that was erased has no names, and is erased again.
pub(super) fn put(overlay: &mut Overlay<'_>, account: Account) -> Result<(), StoreError> {
    let user = account.user;
    if account.status == account::ERASED {
        erase::begin(overlay, user)?;
    } else {
        overlay.put(Table::Usernames, account.username.as_bytes(), user.bytes());
        overlay.put(Table::Emails, account.email.as_bytes(), user.bytes());
    }
    index::names_changed(overlay, user, &BTreeSet::new(), &names_of(&account));
    overlay.put_row(Table::Users, user.bytes(), &UserRow::from(account));
    Ok(())
}

/// Accounts with ids above `after`.
pub(super) fn list(view: &View<'_>, after: Option<UserId>, limit: usize) -> Result<Vec<Account>, StoreError> {
    let rows = view.range(Table::Users, after.unwrap_or_default().bytes(), &[0xff; 16]);
    let accounts = rows.map(|item| Ok(decode(row_of(Table::Users, item)?)));
    accounts.filter(|account| !matches!(account, Ok(account) if Some(account.user) == after)).take(limit).collect()
}

/// Sets the hash of a password.
pub(super) fn set_password(shared: &Shared, user: UserId, hash: String, now_ms: u64) -> Result<Option<Account>, StoreError> {
    change(shared, user, |row, _| {
        row.password_hash = hash;
        row.updated_ms = now_ms;
        Ok(())
    })
}

/// Changes a profile.
pub(super) fn update_profile(
    shared: &Shared,
    user: UserId,
    patch: ProfilePatch,
    now_ms: u64,
) -> Result<Option<Account>, StoreError> {
    change(shared, user, |row, _| {
        row.display_name = patch.display_name.unwrap_or_else(|| std::mem::take(&mut row.display_name));
        row.bio = patch.bio.unwrap_or_else(|| std::mem::take(&mut row.bio));
        row.avatar_url = patch.avatar_url.unwrap_or_else(|| std::mem::take(&mut row.avatar_url));
        row.updated_ms = now_ms;
        Ok(())
    })
}

/// Sets the status. Of an erased account only the id remains: its names are free again, its logins are ended.
pub(super) fn set_status(shared: &Shared, user: UserId, status: u8, now_ms: u64) -> Result<Option<Account>, StoreError> {
    change(shared, user, |row, overlay| {
        row.status = status;
        row.updated_ms = now_ms;
        if status == account::ERASED {
            erase::begin(overlay, user)?;
            for (table, name) in [(Table::Usernames, &mut row.username), (Table::Emails, &mut row.email)] {
                if !name.is_empty() {
                    overlay.remove(table, name.as_bytes());
                }
                name.clear();
            }
            for text in [&mut row.display_name, &mut row.bio, &mut row.avatar_url, &mut row.password_hash] {
                text.clear();
            }
            logins::end_all(&shared.tables.view(), overlay, user)?;
        }
        Ok(())
    })
}

fn change(
    shared: &Shared,
    user: UserId,
    change: impl FnOnce(&mut UserRow, &mut Overlay<'_>) -> Result<(), StoreError>,
) -> Result<Option<Account>, StoreError> {
    let _one_at_a_time = shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut overlay = Overlay::new(&shared.tables);
    let Some(mut row) = overlay.row::<UserRow>(Table::Users, user.bytes())? else { return Ok(None) };
    let before = words::names(&row.username, &row.display_name);
    change(&mut row, &mut overlay)?;
    index::names_changed(&mut overlay, user, &before, &words::names(&row.username, &row.display_name));
    overlay.put_row(Table::Users, user.bytes(), &row);
    overlay.commit(&shared.disk, Durable::Synced)?;
    Ok(Some(row.into()))
}
