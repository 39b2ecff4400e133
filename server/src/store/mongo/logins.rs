//! Logins: families of refresh tokens, of which only the newest is good. Tokens are known by their hash only.
//!
//! A login holds the hash of its newest token; a rotation replaces it atomically, if it is still the one that was shown. Used tokens are
//! kept beside it while the login lasts, the last [`LOGIN_USED_TOKENS_MAX`] of them, so that a copy gives itself away: they are written
//! down before the rotation, since after it nobody could.

use super::fault::Fault;
use super::ids::{hash, hash_bytes, id, id_bytes};
use super::link::Link;
use super::queries::{Collection, EXPIRED_LOGINS, Filter, LOGIN, LOGIN_OF_TOKEN, LOGINS_OF_USER, USED_TOKEN, USED_TOKENS};
use super::retry::{Pauses, until_known};
use super::update::Statement;
use crate::limits::{LOGIN_SWEEP_EVERY, LOGIN_SWEEP_ROWS, LOGIN_USED_TOKENS_MAX, LOGINS_LISTED_MAX, MONGO_SERVER_TIME};
use crate::store::{Login, Rotation, StoreError};
use client_protocol::{SessionId, UserId};
use mongodb::bson::{Bson, doc};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};

/// A login as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LoginDoc {
    #[serde(rename = "_id")]
    id: String,
    user_id: String,
    label: String,
    created_ms: u64,
    used_ms: u64,
    expires_ms: u64,
    /// Hash of the newest token.
    token: String,
    /// How often it was renewed.
    generation: u32,
}

impl LoginDoc {
    fn new(login: Login, token: String) -> Self {
        let Login { login, user, label, created_ms, used_ms, expires_ms } = login;
        let (id, user_id) = (id(login.bytes()), id(user.bytes()));
        Self { id, user_id, label, created_ms, used_ms, expires_ms, token, generation: 0 }
    }

    fn into_login(self) -> Result<Login, StoreError> {
        let Self { id, user_id, label, created_ms, used_ms, expires_ms, .. } = self;
        let login = SessionId::from_bytes(id_bytes(&id)?);
        let user = UserId::from_bytes(id_bytes(&user_id)?);
        Ok(Login { login, user, label, created_ms, used_ms, expires_ms })
    }
}

/// A refresh token that was used.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct UsedToken {
    #[serde(rename = "_id")]
    hash: String,
    login_id: String,
    generation: u32,
}

/// Counts changes, since now and then one of them sweeps.
#[derive(Debug, Default)]
pub(super) struct Sweep(AtomicU32);

/// Logins of a filter, each with the hashes of its tokens, the newest one last.
pub(super) async fn page(link: &Link, filter: Filter<'_>, limit: usize) -> Result<Vec<(Login, Vec<[u8; 32]>)>, Fault> {
    let found: Vec<LoginDoc> = link.many(filter, false, limit).await?;
    let mut logins = Vec::with_capacity(found.len());
    for login in found {
        let used = USED_TOKENS.equal([login.id.as_str().into()]);
        let used: Vec<UsedToken> = link.many(used, false, LOGIN_USED_TOKENS_MAX as usize + 1).await?;
        let hashes = used.iter().map(|token| &token.hash).chain([&login.token]);
        let hashes = hashes.map(|hash| hash_bytes(hash)).collect::<Result<_, _>>()?;
        logins.push((login.into_login()?, hashes));
    }
    Ok(logins)
}

/// Adds a login of a dump.
pub(super) async fn load(link: &Link, login: Login, tokens: &[[u8; 32]]) -> Result<(), Fault> {
    let Some((newest, used)) = tokens.split_last() else { return Ok(()) };
    let generation = u32::try_from(used.len()).unwrap_or(u32::MAX);
    let doc = LoginDoc { generation, ..LoginDoc::new(login, hash(newest)) };
    let used =
        (0..).zip(used).map(|(generation, token)| UsedToken { hash: hash(token), login_id: doc.id.clone(), generation });
    link.insert_new(Collection::RefreshTokens, &used.collect::<Vec<_>>()).await?;
    link.insert(Collection::Logins, &doc).await
}

/// Adds a login.
pub(super) async fn create(link: &Link, sweep: &Sweep, login: Login, token_hash: [u8; 32]) -> Result<(), Fault> {
    sweep_expired(link, sweep, login.created_ms).await?;
    let doc = LoginDoc::new(login, hash(&token_hash));
    let attempt = async || match link.insert(Collection::Logins, &doc).await {
        Err(Fault::Taken) => match link.one::<LoginDoc>(LOGIN.equal([doc.id.as_str().into()])).await? {
            Some(same) if same == doc => Ok(Some(())),
            Some(_) => Err(Fault::NotDone(format!("there is a login {} already", doc.id))),
            None => Ok(None),
        },
        done => done.map(Some),
    };
    until_known("a login was added", attempt).await
}

/// Shows a refresh token, for the next one.
pub(super) async fn rotate(
    link: &Link,
    sweep: &Sweep,
    shown: [u8; 32],
    next: [u8; 32],
    now_ms: u64,
    expires_ms: u64,
) -> Result<Rotation, Fault> {
    let (shown, next) = (hash(&shown), hash(&next));
    let mut pauses = Pauses::new();
    let mut is_doubted = false;
    loop {
        // An attempt of ours may have landed: nobody else knows the next token.
        if is_doubted && let Some(done) = link.one::<LoginDoc>(LOGIN_OF_TOKEN.equal([next.as_str().into()])).await? {
            return Ok(Rotation::Rotated(done.into_login()?));
        }
        let found: Option<LoginDoc> = link.one(LOGIN_OF_TOKEN.equal([shown.as_str().into()])).await?;
        let Some(login) = found else {
            // It may have become visible only now.
            if is_doubted && link.one::<LoginDoc>(LOGIN_OF_TOKEN.equal([next.as_str().into()])).await?.is_some() {
                continue;
            }
            return show_used(link, &shown, now_ms).await;
        };
        if login.expires_ms <= now_ms {
            end(link, &login.id).await?;
            return Ok(Rotation::Refused);
        }
        sweep_expired(link, sweep, now_ms).await?;
        remember(link, &shown, &login).await?;
        match replace_token(link, &login, &next, now_ms, expires_ms).await {
            Ok(Some(rotated)) => {
                forget_old(link, &rotated).await?;
                return Ok(Rotation::Rotated(rotated.into_login()?));
            }
            // Somebody else was faster, with the same token: the next look says so.
            Ok(None) => {}
            Err(Fault::Unknown(why)) => {
                tracing::debug!(why, "it is not known whether a login was renewed");
                is_doubted = true;
            }
            Err(fault) => return Err(fault),
        }
        pauses.pause().await;
    }
}

/// Puts the next token in the place of the one that `login` has, if it still has it.
async fn replace_token(
    link: &Link,
    login: &LoginDoc,
    next: &str,
    now_ms: u64,
    expires_ms: u64,
) -> Result<Option<LoginDoc>, Fault> {
    let filter = LOGIN.equal([login.id.as_str().into()]).and("token", login.token.as_str());
    let change = doc! { "$set": {
        "token": next,
        "generation": i64::from(login.generation) + 1,
        "used_ms": now_ms as i64,
        "expires_ms": expires_ms as i64,
    } };
    let collection = link.collection::<LoginDoc>(Collection::Logins);
    let update = collection.find_one_and_update(filter.document(), change);
    link.write(update.return_document(mongodb::options::ReturnDocument::After).into_future()).await
}

/// Writes down that a token is used.
async fn remember(link: &Link, shown: &str, login: &LoginDoc) -> Result<(), Fault> {
    let used = UsedToken { hash: shown.to_owned(), login_id: login.id.clone(), generation: login.generation };
    let statement = Statement::replace(USED_TOKEN.equal([shown.into()]), &used)?.or_insert(true);
    link.update(Collection::RefreshTokens, &[statement]).await.map(|_| ())
}

/// A token that is not the newest of any login: of one that was used, the login is ended.
async fn show_used(link: &Link, shown: &str, now_ms: u64) -> Result<Rotation, Fault> {
    let used: Option<UsedToken> = link.one(USED_TOKEN.equal([shown.into()])).await?;
    let Some(used) = used else { return Ok(Rotation::Refused) };
    let login: Option<LoginDoc> = link.one(LOGIN.equal([used.login_id.as_str().into()])).await?;
    end(link, &used.login_id).await?;
    match login {
        Some(login) if login.expires_ms > now_ms => Ok(Rotation::Reused(login.into_login()?)),
        _ => Ok(Rotation::Refused),
    }
}

/// Forgets the tokens of a login that are too old.
async fn forget_old(link: &Link, login: &LoginDoc) -> Result<(), Fault> {
    let Some(last) = login.generation.checked_sub(LOGIN_USED_TOKENS_MAX + 1) else { return Ok(()) };
    let filter = USED_TOKENS.equal([login.id.as_str().into()]).within(None, Some(i64::from(last).into()));
    link.delete(filter).await.map(|_| ())
}

/// Ends a login.
async fn end(link: &Link, login: &str) -> Result<bool, Fault> {
    let was_there = link.delete(LOGIN.equal([login.into()])).await? > 0;
    link.delete(USED_TOKENS.equal([login.into()])).await?;
    Ok(was_there)
}

/// The logins of a user, newest first, at most [`LOGINS_LISTED_MAX`].
pub(super) async fn list(link: &Link, user: UserId) -> Result<Vec<Login>, Fault> {
    let filter = LOGINS_OF_USER.equal([id(user.bytes()).into()]);
    let found: Vec<LoginDoc> = link.many(filter, false, LOGINS_LISTED_MAX).await?;
    let mut logins = found.into_iter().map(LoginDoc::into_login).collect::<Result<Vec<_>, _>>()?;
    logins.sort_by_key(|login| std::cmp::Reverse((login.created_ms, login.login)));
    Ok(logins)
}

/// Ends a login of a user; says whether there was one.
pub(super) async fn end_one(link: &Link, user: UserId, login: SessionId) -> Result<bool, Fault> {
    let login = id(login.bytes());
    let found: Option<LoginDoc> = link.one(LOGIN.equal([login.as_str().into()]).and("user_id", id(user.bytes()))).await?;
    match found {
        Some(_) => end(link, &login).await,
        None => Ok(false),
    }
}

/// Ends all logins of a user.
pub(super) async fn end_all(link: &Link, user: UserId) -> Result<(), Fault> {
    let found: Vec<LoginDoc> = link.all(LOGINS_OF_USER.equal([id(user.bytes()).into()]), MONGO_SERVER_TIME).await?;
    for login in found {
        end(link, &login.id).await?;
    }
    Ok(())
}

/// Whether a login has not ended.
pub(super) async fn is_live(link: &Link, login: SessionId) -> Result<bool, Fault> {
    let found: Option<LoginDoc> = link.one(LOGIN.equal([id(login.bytes()).into()])).await?;
    Ok(found.is_some())
}

/// Removes logins whose newest token has ended: some of them, every few changes.
async fn sweep_expired(link: &Link, sweep: &Sweep, now_ms: u64) -> Result<(), Fault> {
    if !(sweep.0.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(LOGIN_SWEEP_EVERY) {
        return Ok(());
    }
    let filter = EXPIRED_LOGINS.equal([]).within(None, Some(Bson::Int64(now_ms as i64)));
    let found: Vec<LoginDoc> = link.many(filter, false, LOGIN_SWEEP_ROWS).await?;
    for login in found {
        end(link, &login.id).await?;
    }
    Ok(())
}
