//! What operators do to accounts, and what ends one.

use super::{Accounts, Checked, Registration, fields, now_ms};
use crate::auth::AuthError;
use crate::store::Account;
use client_protocol::UserId;
use components::rows::{AccountRow, account};

impl Accounts {
    /// Makes an account without a login, for an operator.
    ///
    /// # Errors
    ///
    /// As [`Accounts::register`], without a rate.
    pub async fn create(&self, asked: Registration) -> Result<Account, AuthError> {
        self.make(Checked::new(asked)?).await
    }

    /// Sets a password for an operator, and ends all logins of the user.
    ///
    /// # Errors
    ///
    /// [`AuthError::InvalidField`], [`AuthError::NotFound`]; the password queue, the store.
    pub async fn reset_password(&self, user: UserId, password: String) -> Result<(), AuthError> {
        fields::password(&password)?;
        self.account(user).await?;
        let hash = self.passwords.hash(password).await?;
        self.store.set_password(user, hash, now_ms()).await?.ok_or(AuthError::NotFound("user"))?;
        for login in self.store.logins(user).await? {
            self.end_login(user, login.login).await?;
        }
        Ok(())
    }

    /// Sets the status of an account that was not erased; its live sessions are told.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotFound`]; the store.
    pub async fn set_status(&self, user: UserId, status: u8) -> Result<Account, AuthError> {
        self.account(user).await?;
        let account = self.store.set_account_status(user, status, now_ms()).await?.ok_or(AuthError::NotFound("user"))?;
        self.account_changed(AccountRow { user, status });
        Ok(account)
    }

    /// Erases an account: only the id remains, its logins end, its live sessions are told. Its messages are [`crate::erase`]'s work.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotFound`], also for one that was erased; the store.
    pub async fn set_erased(&self, user: UserId) -> Result<(), AuthError> {
        self.set_status(user, account::ERASED).await.map(drop)
    }
}
