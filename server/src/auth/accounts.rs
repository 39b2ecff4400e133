//! Accounts and logins: register, log in, renew, log out, and who a token belongs to.
//!
//! A login is a family of refresh tokens of which only the newest is good. Showing an older one again means that two hold it: the login
//! ends, and its sessions with it. A refresh token is 32 random bytes; the store has only its SHA-256.

mod operators;

use super::live::LiveLogins;
use super::ratelimit::{IpBudget, Rate};
use super::token::{Issued, TokenHash, hash_of};
use super::{AuthError, PasswordPool, Tokens, fields, now_ms};
use crate::config::Config;
use crate::limits::{LOGINS_PER_USER_MAX, REFRESH_TOKEN_LIFETIME};
use crate::store::{Account, Login, ProfilePatch, Rotation, Store};
use crate::world::WorldHandle;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client_protocol::{SessionId, UserId};
use components::edge::Control;
use components::rows::{AccountRow, account};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often an address may register and log in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Registrations.
    pub register: Rate,
    /// Logins, good ones and bad ones.
    pub login: Rate,
}

impl Rates {
    /// As the configuration says.
    #[must_use]
    pub const fn from_config(config: &Config) -> Self {
        Self {
            register: Rate { times: config.register_per_ip, period: Duration::from_secs(3_600) },
            login: Rate { times: config.login_per_ip, period: Duration::from_secs(60) },
        }
    }
}

/// Whom a good token stands for, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub user: UserId,
    /// By which login.
    pub login: SessionId,
    /// When the token ends, Unix time in milliseconds.
    pub expires_ms: u64,
}

impl Identity {
    /// What the world wants to know of the account: it was active a moment ago.
    #[must_use]
    pub const fn account(&self) -> AccountRow {
        AccountRow { user: self.user, status: account::ACTIVE }
    }
}

/// The tokens of a login.
#[derive(Clone)]
pub struct Session {
    /// The login.
    pub login: SessionId,
    /// Access token.
    pub access: Issued,
    /// Refresh token, good once.
    pub refresh: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("login", &self.login).finish_non_exhaustive()
    }
}

/// What somebody registers with. Passwords are not shown by `Debug`.
#[derive(Clone, Default)]
pub struct Registration {
    /// See [`fields::username`].
    pub username: String,
    /// See [`fields::email`].
    pub email: String,
    /// See [`fields::password`].
    pub password: String,
    /// See [`fields::display_name`]; the username where there is none.
    pub display_name: Option<String>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A registration whose fields are what they may be.
struct Checked {
    username: String,
    email: String,
    display_name: String,
    password: String,
}

impl Checked {
    fn new(asked: Registration) -> Result<Self, AuthError> {
        let username = fields::username(&asked.username)?;
        let email = fields::email(&asked.email)?;
        fields::password(&asked.password)?;
        let display_name = fields::display_name(asked.display_name.as_deref().unwrap_or(&username))?;
        Ok(Self { username, email, display_name, password: asked.password })
    }
}

/// See the module.
pub struct Accounts {
    store: Arc<dyn Store>,
    world: WorldHandle,
    tokens: Tokens,
    passwords: PasswordPool,
    registers: IpBudget,
    logins: IpBudget,
    live: LiveLogins,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// A refresh token and what the store keeps of it.
fn refresh_token() -> Result<(String, TokenHash), AuthError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| AuthError::Internal(error.to_string()))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = hash_of(&token);
    Ok((token, hash))
}

fn refresh_ends(now: u64) -> u64 {
    now + u64::try_from(REFRESH_TOKEN_LIFETIME.as_millis()).unwrap_or(u64::MAX / 2)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Accounts {
    /// Brings the parts together.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, world: WorldHandle, tokens: Tokens, passwords: PasswordPool, rates: Rates) -> Self {
        Self {
            store,
            world,
            tokens,
            passwords,
            registers: IpBudget::new(rates.register),
            logins: IpBudget::new(rates.login),
            live: LiveLogins::default(),
        }
    }

    /// Makes and checks access tokens.
    #[must_use]
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Makes an account and its first login. That a name or address is taken is said openly: without mail there is no other way.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: a field, a name taken, the address' rate, the password queue, the store.
    pub async fn register(&self, from: IpAddr, asked: Registration) -> Result<(Account, Session), AuthError> {
        let asked = Checked::new(asked)?;
        spend(&self.registers, from)?;
        let account = self.make(asked).await?;
        let session = self.open_login(&account, String::new()).await?;
        Ok((account, session))
    }

    async fn make(&self, asked: Checked) -> Result<Account, AuthError> {
        let Checked { username, email, display_name, password } = asked;
        let password_hash = self.passwords.hash(password).await?;
        let now = now_ms();
        let account = Account {
            user: UserId(Uuid::now_v7()),
            username,
            email,
            display_name,
            bio: String::new(),
            avatar_url: String::new(),
            password_hash,
            status: account::ACTIVE,
            created_ms: now,
            updated_ms: now,
        };
        self.store.create_account(account.clone()).await?;
        metrics::counter!("starling_auth_registrations_total").increment(1);
        tracing::info!(user = %account.user, "registered");
        Ok(account)
    }

    /// Logs in by username or e-mail address. Unknown accounts and wrong passwords have the same answer after the same time.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidCredentials`]; [`AuthError::AccountDisabled`] only to one who knows the password; a field, the address'
    /// rate, the password queue, the store.
    pub async fn login(
        &self,
        from: IpAddr,
        name: &str,
        password: String,
        label: &str,
    ) -> Result<(Account, Session), AuthError> {
        let label = fields::label(label)?;
        spend(&self.logins, from)?;
        let found = match fields::login_name(name) {
            Some(name) => self.store.account_by_name(name).await?,
            None => None,
        };
        // A password that is too long was never set; hashing it would only cost.
        let in_bounds = fields::password(&password).is_ok();
        let hash = found.as_ref().filter(|account| in_bounds && account.status != account::ERASED);
        let hash = hash.map(|account| account.password_hash.clone());
        let password = if in_bounds { password } else { String::new() };
        let good = self.passwords.verify(password, hash).await?;
        let account = match found {
            Some(account) if good => account,
            _ => {
                metrics::counter!("starling_auth_logins_total", "outcome" => "refused").increment(1);
                return Err(AuthError::InvalidCredentials);
            }
        };
        if account.status != account::ACTIVE {
            return Err(AuthError::AccountDisabled);
        }
        metrics::counter!("starling_auth_logins_total", "outcome" => "done").increment(1);
        let session = self.open_login(&account, label).await?;
        Ok((account, session))
    }

    /// Opens a login of an account as it was when the password was checked.
    async fn open_login(&self, account: &Account, label: String) -> Result<Session, AuthError> {
        let (user, now) = (account.user, now_ms());
        let login = SessionId(Uuid::now_v7());
        let (refresh, hash) = refresh_token()?;
        let row = Login { login, user, label, created_ms: now, used_ms: now, expires_ms: refresh_ends(now) };
        self.store.create_login(row, hash).await?;
        if let Err(refused) = self.check_unchanged(account).await {
            self.end_login(user, login).await?;
            return Err(refused);
        }
        let mut logins = self.store.logins(user).await?;
        if logins.len() > LOGINS_PER_USER_MAX {
            logins.sort_by_key(|row| std::cmp::Reverse((row.login == login, row.used_ms)));
            for old in logins.drain(LOGINS_PER_USER_MAX..) {
                self.end_login(user, old.login).await?;
            }
        }
        Ok(Session { login, access: self.access(user, login, now)?, refresh })
    }

    /// Whether an account is still active, with the same password. Whoever changed it in between ended its logins before the new one was there.
    async fn check_unchanged(&self, account: &Account) -> Result<(), AuthError> {
        match self.store.account(account.user).await? {
            Some(now) if now.password_hash != account.password_hash => Err(AuthError::InvalidCredentials),
            Some(now) if now.status == account::ACTIVE => Ok(()),
            _ => Err(AuthError::AccountDisabled),
        }
    }

    fn access(&self, user: UserId, login: SessionId, now: u64) -> Result<Issued, AuthError> {
        self.tokens.issue(user, login, now).map_err(AuthError::Internal)
    }

    /// Takes the next refresh token for one shown. One shown a second time ends the login.
    ///
    /// # Errors
    ///
    /// [`AuthError::SessionRevoked`] for one shown again, [`AuthError::Unauthenticated`] for one that is unknown, ended or too old;
    /// the store.
    pub async fn refresh(&self, shown: &str) -> Result<Session, AuthError> {
        let now = now_ms();
        let (refresh, next) = refresh_token()?;
        match self.store.rotate_login(hash_of(shown), next, now, refresh_ends(now)).await? {
            Rotation::Rotated(login) => {
                Ok(Session { login: login.login, access: self.access(login.user, login.login, now)?, refresh })
            }
            Rotation::Reused(login) => {
                metrics::counter!("starling_auth_refresh_reused_total").increment(1);
                tracing::warn!(user = %login.user, login = %login.login, "a refresh token was shown again; its login ends");
                self.revoked(login.user, login.login);
                Err(AuthError::SessionRevoked)
            }
            Rotation::Refused => Err(AuthError::Unauthenticated),
        }
    }

    /// Ends a login of `user` and closes its sessions; says whether there was one.
    ///
    /// # Errors
    ///
    /// The store.
    pub async fn end_login(&self, user: UserId, login: SessionId) -> Result<bool, AuthError> {
        let ended = self.store.end_login(user, login).await?;
        if ended {
            self.revoked(user, login);
        }
        Ok(ended)
    }

    fn revoked(&self, user: UserId, login: SessionId) {
        self.live.forget(login);
        self.world.control(Control::LoginRevoked { user, login: Some(login) });
    }

    /// The logins of a user that have not ended, newest first.
    ///
    /// # Errors
    ///
    /// The store.
    pub async fn logins(&self, user: UserId) -> Result<Vec<Login>, AuthError> {
        Ok(self.store.logins(user).await?)
    }

    /// Whom a token stands for: it is good, its login has not ended, its account is active. What was true within the last 5 s counts,
    /// unless it changed through this process.
    ///
    /// # Errors
    ///
    /// [`AuthError::Unauthenticated`], [`AuthError::TokenExpired`], [`AuthError::SessionRevoked`], [`AuthError::AccountDisabled`]; the
    /// store.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        let identity = self.identify(token)?;
        self.check_live(identity.user, identity.login).await?;
        Ok(identity)
    }

    /// The first half of [`Accounts::authenticate`]: the token is good. Costs a signature's check, and asks nobody.
    ///
    /// # Errors
    ///
    /// [`AuthError::Unauthenticated`], [`AuthError::TokenExpired`].
    pub fn identify(&self, token: &str) -> Result<Identity, AuthError> {
        let claims = self.tokens.verify(token)?;
        Ok(Identity { user: claims.user, login: claims.login, expires_ms: claims.expires_ms })
    }

    /// Whether [`Accounts::check_live`] would say yes without asking the store.
    #[must_use]
    pub fn is_known_live(&self, login: SessionId) -> bool {
        self.live.is_live(login, Instant::now()).is_ok()
    }

    /// The second half of [`Accounts::authenticate`]: the login has not ended, and the account is active.
    ///
    /// # Errors
    ///
    /// [`AuthError::SessionRevoked`], [`AuthError::AccountDisabled`]; the store.
    pub async fn check_live(&self, user: UserId, login: SessionId) -> Result<(), AuthError> {
        let Err(asked) = self.live.is_live(login, Instant::now()) else { return Ok(()) };
        if !self.store.login_is_live(login).await? {
            return Err(AuthError::SessionRevoked);
        }
        match self.store.account(user).await? {
            Some(account) if account.status == account::ACTIVE => {}
            _ => return Err(AuthError::AccountDisabled),
        }
        self.live.remember(asked, user, login, Instant::now());
        Ok(())
    }

    /// Says that an account's status was changed through this process: nothing of before counts, and its live sessions are told.
    pub fn account_changed(&self, account: AccountRow) {
        self.live.forget_user(account.user);
        self.world.control(Control::AccountChanged(account));
    }

    /// Whether this is the user's password, for what needs more than a token.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidCredentials`] if not; [`AuthError::NotFound`]; the address' rate, the password queue, the store.
    pub async fn check_password(&self, from: IpAddr, user: UserId, password: String) -> Result<(), AuthError> {
        spend(&self.logins, from)?;
        let account = self.account(user).await?;
        if fields::password(&password).is_err() {
            return Err(AuthError::InvalidCredentials);
        }
        match self.passwords.verify(password, Some(account.password_hash)).await? {
            true => Ok(()),
            false => Err(AuthError::InvalidCredentials),
        }
    }

    /// An account that was not erased, by id.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotFound`]; the store.
    pub async fn account(&self, user: UserId) -> Result<Account, AuthError> {
        let found = self.store.account(user).await?;
        found.filter(|account| account.status != account::ERASED).ok_or(AuthError::NotFound("user"))
    }

    /// An account that was not erased, by username only: who has an e-mail address is nobody's business.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotFound`]; the store.
    pub async fn account_by_username(&self, name: &str) -> Result<Account, AuthError> {
        let Ok(name) = fields::username(name) else { return Err(AuthError::NotFound("user")) };
        let found = self.store.account_by_name(name).await?;
        found.filter(|account| account.status != account::ERASED).ok_or(AuthError::NotFound("user"))
    }

    /// Changes a profile; what is `None` stays.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidField`], [`AuthError::NotFound`]; the store.
    pub async fn update_profile(&self, user: UserId, patch: ProfilePatch) -> Result<Account, AuthError> {
        let patch = ProfilePatch {
            display_name: patch.display_name.as_deref().map(fields::display_name).transpose()?,
            bio: patch.bio.as_deref().map(fields::bio).transpose()?,
            avatar_url: patch.avatar_url.as_deref().map(fields::avatar_url).transpose()?,
        };
        self.store.update_profile(user, patch, now_ms()).await?.ok_or(AuthError::NotFound("user"))
    }
}

fn spend(budget: &IpBudget, from: IpAddr) -> Result<(), AuthError> {
    budget.take(from, Instant::now()).map_err(|wait| AuthError::RateLimited { retry_after_ms: millis(wait) })
}
