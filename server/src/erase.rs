//! Erase of a user: the account first, then every room that they ever were in.
//!
//! 1. The account is set to erased: profile and names are gone, logins end, live sessions are closed, nothing more of the user is taken. From
//!    here on the erase is carried out, whatever happens: the store remembers it, and [`Eraser::watch`] goes on with it.
//! 2. Each room gets a `UserErased` event, after which nothing of the user follows; the hot log loses their bodies with it.
//! 3. What they sent to that room before is blanked in the store, lot by lot.
//!
//! Each step can be done again, by another server at the same time too: the events have a key that the store keeps with the erase, so
//! no room gets a second one. Ids, seqs and keys stay.

use crate::auth::{Accounts, AuthError};
use crate::limits::{
    ERASE_AGAIN_MAX, ERASE_AGAIN_MIN, ERASE_LOT_EVENTS, ERASE_LOT_ROOMS, ERASE_RETRIES_MAX, ERASE_RETRY_INTERVAL, ERASE_WAIT,
};
use crate::store::lots::Lots;
use crate::store::{SentQuery, Store, StoreError};
use crate::world::WorldHandle;
use client_protocol::room::{ErasedTail, UserErased};
use client_protocol::{Code, EventBody, Key, RoomId, UserId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Why an erase was not carried out to its end. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A room takes no events.
    #[error("room {room} did not take the event: {code:?}")]
    Room {
        /// Which.
        room: RoomId,
        /// What it answered last.
        code: Code,
    },
}

/// How far an erase came while its caller waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasing {
    /// Everything is done.
    Done,
    /// The account is erased; rooms follow.
    GoesOn,
}

/// Carries out erases. Cheap to clone.
#[derive(Clone)]
pub struct Eraser {
    store: Arc<dyn Store>,
    world: WorldHandle,
    accounts: Arc<Accounts>,
    /// Whose erases this server is at.
    busy: Arc<Mutex<BTreeSet<UserId>>>,
    /// An attempt has failed.
    failed: Arc<Notify>,
}

/// An erase that this server is at.
struct Turn<'a> {
    busy: &'a Mutex<BTreeSet<UserId>>,
    user: UserId,
}

impl<'a> Turn<'a> {
    fn take(busy: &'a Mutex<BTreeSet<UserId>>, user: UserId) -> Option<Self> {
        let is_new = busy.lock().unwrap_or_else(PoisonError::into_inner).insert(user);
        is_new.then_some(Self { busy, user })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.user);
    }
}

impl std::fmt::Debug for Eraser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eraser").finish_non_exhaustive()
    }
}

impl Eraser {
    /// An eraser for the users of a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, world: WorldHandle, accounts: Arc<Accounts>) -> Self {
        Self { store, world, accounts, busy: Arc::default(), failed: Arc::default() }
    }

    /// Erases a user, or goes on with an erase that has not come to its end. Answers when it is done, or after [`ERASE_WAIT`]; then it
    /// goes on by itself.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotFound`]: nothing was done. Others are the store's: if it turns out that the account was erased all the same, the rest is
    /// done too.
    pub async fn erase(&self, user: UserId) -> Result<Erasing, AuthError> {
        match self.accounts.set_erased(user).await {
            Err(AuthError::NotFound(what)) if self.store.erase_key(user).await?.is_none() => {
                return Err(AuthError::NotFound(what));
            }
            Err(AuthError::NotFound(_)) => {}
            // Whether it was set may not be known.
            set => set.inspect_err(|_| self.failed.notify_one())?,
        }
        tracing::info!(%user, "a user is erased");
        let eraser = self.clone();
        // A task of its own: it goes on where the caller does not wait, or is gone.
        let rest = tokio::spawn(async move { eraser.begin(user).await });
        match tokio::time::timeout(ERASE_WAIT, rest).await {
            Ok(Ok(true)) => Ok(Erasing::Done),
            _ => Ok(Erasing::GoesOn),
        }
    }

    /// Begins with the rooms of a user whose account was just erased; says whether the erase came to its end.
    async fn begin(&self, user: UserId) -> bool {
        match self.store.erase_key(user).await {
            Ok(Some(key)) => self.carry_out(user, key).await,
            Ok(None) => true,
            Err(error) => self.stopped(user, &error.into()),
        }
    }

    /// Carries out what remains of the erase of a user; says whether it came to its end.
    async fn carry_out(&self, user: UserId, key: Key) -> bool {
        let Some(_turn) = Turn::take(&self.busy, user) else { return false };
        match self.erase_rooms(user, key).await {
            Ok(rooms) => {
                tracing::info!(%user, rooms, "a user was erased");
                true
            }
            Err(error) => self.stopped(user, &error),
        }
    }

    fn stopped(&self, user: UserId, error: &EraseError) -> bool {
        tracing::warn!(%user, %error, "the erase of a user stopped; it is tried again");
        self.failed.notify_one();
        false
    }

    /// Erases a user in all rooms; answers how many. Looks again until there is no new one: a join may have been on its way.
    async fn erase_rooms(&self, user: UserId, key: Key) -> Result<usize, EraseError> {
        let mut done = BTreeSet::new();
        let mut failed = None;
        loop {
            let before = done.len();
            let mut rooms = Lots::new(|after| self.store.rooms_ever(user, after, ERASE_LOT_ROOMS), |room: &RoomId| *room);
            while let Some(lot) = rooms.next().await? {
                for room in lot {
                    // A room that cannot be served does not keep the others from it.
                    if done.insert(room)
                        && let Err(error) = self.erase_in(user, key, room).await
                    {
                        tracing::warn!(%user, %room, %error, "a user cannot be erased in a room yet");
                        failed.get_or_insert(error);
                    }
                }
            }
            if done.len() > before {
                continue;
            }
            if let Some(error) = failed {
                return Err(error);
            }
            self.store.finish_erase(user).await?;
            return Ok(before);
        }
    }

    async fn erase_in(&self, user: UserId, key: Key, room: RoomId) -> Result<(), EraseError> {
        let erased_seq = self.append(user, key, room).await?;
        let ask = |after| self.store.sent(SentQuery { room, user, after, limit: ERASE_LOT_EVENTS });
        let mut sent = Lots::new(ask, |(key, _): &(Key, u64)| *key);
        while let Some(lot) = sent.next().await? {
            self.store.erase(room, user, lot.into_iter().map(|(_, seq)| seq).collect(), erased_seq).await?;
        }
        Ok(())
    }

    /// Has the event appended, unless it is there; answers its seq.
    async fn append(&self, user: UserId, key: Key, room: RoomId) -> Result<u64, EraseError> {
        let mut tries = 0;
        loop {
            let body = EventBody::UserErased(UserErased { user, tail: ErasedTail::default() });
            let reply = self.world.decree(room, user, key, body).await;
            tries += 1;
            match reply.code() {
                Code::Ok => return Ok(reply.seq),
                Code::Unavailable | Code::Overloaded | Code::OutcomeUnknown if tries < ERASE_RETRIES_MAX => {
                    tokio::time::sleep(ERASE_RETRY_INTERVAL).await;
                }
                code => return Err(EraseError::Room { room, code }),
            }
        }
    }

    /// Goes on, again and again, with erases that were cut short: by the last stop, by a failure, or on a server that is gone.
    pub async fn watch(self) {
        let mut pause = ERASE_AGAIN_MIN;
        loop {
            let all_done = self.resume().await;
            pause = if all_done { ERASE_AGAIN_MAX } else { (pause * 2).min(ERASE_AGAIN_MAX) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.failed.notified(), if all_done => {
                    pause = ERASE_AGAIN_MIN;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Goes on with all erases that are open; says whether none is left.
    async fn resume(&self) -> bool {
        let users = match self.store.erasing().await {
            Ok(users) => users,
            Err(error) => {
                tracing::warn!(%error, "it cannot be read which users are being erased");
                return false;
            }
        };
        let mut all_done = true;
        for (user, key) in users {
            all_done &= self.carry_out(user, key).await;
        }
        all_done
    }
}
