//! Logins: families of refresh tokens, of which only the newest is good. Tokens are known by their hash only.
//!
//! Used tokens are kept while their login lasts, the last [`LOGIN_USED_TOKENS_MAX`] of them, so that a copy gives itself away.

use super::tables::{Overlay, Table, View, last_id_of};
use super::{Shared, disk::Durable, keys};
use crate::limits::{LOGIN_SWEEP_EVERY, LOGIN_SWEEP_ROWS, LOGIN_USED_TOKENS_MAX, LOGINS_LISTED_MAX};
use crate::store::{Login, Rotation, StoreError};
use client_protocol::{Decode, Encode, SessionId, UserId};
use std::sync::PoisonError;

/// A login as it is stored.
#[derive(Clone, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
pub(super) struct LoginRow {
    user: UserId,
    label: String,
    created_ms: u64,
    used_ms: u64,
    expires_ms: u64,
    /// Of the newest token.
    generation: u32,
}

impl LoginRow {
    /// The login of a row.
    pub(super) fn into_login(self, login: SessionId) -> Login {
        let Self { user, label, created_ms, used_ms, expires_ms, .. } = self;
        Login { login, user, label, created_ms, used_ms, expires_ms }
    }
}

/// A refresh token.
#[derive(Clone, Copy, Encode, Decode)]
#[bincode(crate = "client_protocol::codec::encoding")]
struct TokenRow {
    login: SessionId,
    generation: u32,
}

/// How far the sweep of expired logins has come.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    changes: u32,
    after: [u8; 16],
}

/// Adds a login.
pub(super) fn create(shared: &Shared, login: Login, token_hash: [u8; 32]) -> Result<(), StoreError> {
    let mut sweep = shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut overlay = Overlay::new(&shared.tables);
    sweep_expired(&mut sweep, &shared.tables.view(), &mut overlay, login.created_ms)?;
    let Login { login: id, user, label, created_ms, used_ms, expires_ms } = login;
    let row = LoginRow { user, label, created_ms, used_ms, expires_ms, generation: 0 };
    overlay.put(Table::LoginsOf, &keys::user_login(user, id), &[]);
    put_token(&mut overlay, id, &row, &token_hash);
    overlay.commit(&shared.disk, Durable::Synced)
}

/// Shows a refresh token, for the next one.
pub(super) fn rotate(
    shared: &Shared,
    shown: [u8; 32],
    next: [u8; 32],
    now_ms: u64,
    expires_ms: u64,
) -> Result<Rotation, StoreError> {
    let mut sweep = shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let view = shared.tables.view();
    let Some(token) = view.row::<TokenRow>(Table::Tokens, &shown)? else { return Ok(Rotation::Refused) };
    let Some(mut row) = view.row::<LoginRow>(Table::Logins, token.login.bytes())? else { return Ok(Rotation::Refused) };
    let mut overlay = Overlay::new(&shared.tables);
    let rotation = if row.expires_ms <= now_ms {
        end(&view, &mut overlay, token.login, row.user)?;
        Rotation::Refused
    } else if token.generation != row.generation {
        end(&view, &mut overlay, token.login, row.user)?;
        Rotation::Reused(row.into_login(token.login))
    } else {
        sweep_expired(&mut sweep, &view, &mut overlay, now_ms)?;
        row.generation += 1;
        row.used_ms = now_ms;
        row.expires_ms = expires_ms;
        put_token(&mut overlay, token.login, &row, &next);
        forget_token(&mut overlay, token.login, row.generation)?;
        Rotation::Rotated(row.into_login(token.login))
    };
    overlay.commit(&shared.disk, Durable::Synced)?;
    Ok(rotation)
}

/// The logins of a user, newest first, at most [`LOGINS_LISTED_MAX`].
pub(super) fn list(view: &View<'_>, user: UserId) -> Result<Vec<Login>, StoreError> {
    let mut logins = Vec::new();
    // Ids grow with time: from the back, the newest come first.
    for item in view.prefix(Table::LoginsOf, user.bytes()).rev().take(LOGINS_LISTED_MAX) {
        let login = SessionId::from_bytes(last_id_of(item)?);
        logins.extend(view.row::<LoginRow>(Table::Logins, login.bytes())?.map(|row| row.into_login(login)));
    }
    logins.sort_by_key(|login| std::cmp::Reverse((login.created_ms, login.login)));
    Ok(logins)
}

/// Ends a login of a user; says whether there was one.
pub(super) fn end_one(shared: &Shared, user: UserId, login: SessionId) -> Result<bool, StoreError> {
    let _one_at_a_time = shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let view = shared.tables.view();
    if !view.has(Table::LoginsOf, &keys::user_login(user, login))? {
        return Ok(false);
    }
    let mut overlay = Overlay::new(&shared.tables);
    end(&view, &mut overlay, login, user)?;
    overlay.commit(&shared.disk, Durable::Synced)?;
    Ok(true)
}

/// Ends all logins of a user.
pub(super) fn end_all(view: &View<'_>, overlay: &mut Overlay<'_>, user: UserId) -> Result<(), StoreError> {
    for item in view.prefix(Table::LoginsOf, user.bytes()) {
        end(view, overlay, SessionId::from_bytes(last_id_of(item)?), user)?;
    }
    Ok(())
}

/// The hashes of a login's refresh tokens, the newest one last.
pub(super) fn tokens(view: &View<'_>, login: SessionId) -> Result<Vec<[u8; 32]>, StoreError> {
    let hashes = view.prefix(Table::TokensOf, login.bytes()).map(|item| {
        let hash = item.value()?;
        (&*hash).try_into().map_err(|_| StoreError::Corrupt("the hash of a token".to_owned()))
    });
    hashes.collect()
}

/// Writes a login that is not there yet.
pub(super) fn load(overlay: &mut Overlay<'_>, login: Login, tokens: &[[u8; 32]]) {
    let Login { login: id, user, label, created_ms, used_ms, expires_ms } = login;
    overlay.put(Table::LoginsOf, &keys::user_login(user, id), &[]);
    let mut row = LoginRow { user, label, created_ms, used_ms, expires_ms, generation: 0 };
    for (generation, hash) in (0..).zip(tokens) {
        row.generation = generation;
        put_token(overlay, id, &row, hash);
    }
}

/// Whether a login has not ended.
pub(super) fn is_live(view: &View<'_>, login: SessionId) -> Result<bool, StoreError> {
    view.has(Table::Logins, login.bytes())
}

fn put_token(overlay: &mut Overlay<'_>, login: SessionId, row: &LoginRow, hash: &[u8; 32]) {
    overlay.put_row(Table::Logins, login.bytes(), row);
    overlay.put_row(Table::Tokens, hash, &TokenRow { login, generation: row.generation });
    overlay.put(Table::TokensOf, &keys::login_generation(login, row.generation), hash);
}

/// Forgets the token that is one too old.
fn forget_token(overlay: &mut Overlay<'_>, login: SessionId, generation: u32) -> Result<(), StoreError> {
    let Some(old) = generation.checked_sub(LOGIN_USED_TOKENS_MAX + 1) else { return Ok(()) };
    let key = keys::login_generation(login, old);
    if let Some(hash) = overlay.value(Table::TokensOf, &key)? {
        overlay.remove(Table::Tokens, &hash);
        overlay.remove(Table::TokensOf, &key);
    }
    Ok(())
}

fn end(view: &View<'_>, overlay: &mut Overlay<'_>, login: SessionId, user: UserId) -> Result<(), StoreError> {
    for item in view.prefix(Table::TokensOf, login.bytes()) {
        let (key, hash) = item.into_inner()?;
        overlay.remove(Table::Tokens, &hash);
        overlay.remove(Table::TokensOf, &key);
    }
    overlay.remove(Table::LoginsOf, &keys::user_login(user, login));
    overlay.remove(Table::Logins, login.bytes());
    Ok(())
}

/// Removes logins whose newest token has ended: a few of them, every few changes, going round.
fn sweep_expired(sweep: &mut Sweep, view: &View<'_>, overlay: &mut Overlay<'_>, now_ms: u64) -> Result<(), StoreError> {
    sweep.changes = sweep.changes.wrapping_add(1);
    if !sweep.changes.is_multiple_of(LOGIN_SWEEP_EVERY) {
        return Ok(());
    }
    let mut seen = 0;
    for item in view.range(Table::Logins, &sweep.after, &[0xff; 16]).take(LOGIN_SWEEP_ROWS) {
        let (key, row) = item.into_inner()?;
        let row: LoginRow = client_protocol::codec::decode(&row).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let Some(login) = keys::last_id(&key) else { continue };
        seen += 1;
        sweep.after = login;
        if row.expires_ms <= now_ms {
            end(view, overlay, SessionId::from_bytes(login), row.user)?;
        }
    }
    if seen < LOGIN_SWEEP_ROWS {
        sweep.after = [0; 16];
    }
    Ok(())
}
