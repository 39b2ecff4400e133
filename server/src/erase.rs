//! Erase of a user: the account first, then every room that they ever were in.
//!
//! 1. The account is set to erased: profile and names are gone, logins end, live sessions are closed, nothing more of the user is taken. From
//!    here on the erase is carried out, whatever happens: the store remembers it, and a start goes on with it ([`Eraser::resume`]).
//! 2. Each room gets a `UserErased` event, after which nothing of the user follows; the hot log loses their bodies with it.
//! 3. What they sent to that room before is blanked in the store, lot by lot.
//!
//! Each step can be done again: after a crash a room may get its event twice, which changes nothing. Ids, seqs and keys stay.

use crate::auth::{Accounts, AuthError};
use crate::limits::{ERASE_LOT_EVENTS, ERASE_LOT_ROOMS, ERASE_RETRIES_MAX, ERASE_RETRY_INTERVAL, ERASE_WAIT};
use crate::store::lots::Lots;
use crate::store::{SentQuery, Store, StoreError};
use crate::world::WorldHandle;
use client_protocol::room::{ErasedTail, UserErased};
use client_protocol::{Code, EventBody, Key, RoomId, UserId};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Why an erase was not carried out to its end. It is taken up again with the next start.
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
}

impl std::fmt::Debug for Eraser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eraser").finish_non_exhaustive()
    }
}

impl Eraser {
    /// An eraser for the users of a store.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, world: WorldHandle, accounts: Arc<Accounts>) -> Self {
        Self { store, world, accounts }
    }

    /// Erases a user. Answers when it is done, or after [`ERASE_WAIT`]; then it goes on by itself.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotFound`]; the store. Nothing was done then.
    pub async fn erase(&self, user: UserId) -> Result<Erasing, AuthError> {
        self.accounts.set_erased(user).await?;
        tracing::info!(%user, "a user is erased");
        let eraser = self.clone();
        // A task of its own: it goes on where the caller does not wait, or is gone.
        let rest = tokio::spawn(async move { eraser.carry_out(user).await });
        match tokio::time::timeout(ERASE_WAIT, rest).await {
            Ok(Ok(true)) => Ok(Erasing::Done),
            _ => Ok(Erasing::GoesOn),
        }
    }

    /// Carries out what remains of the erase of a user; says whether it came to its end.
    async fn carry_out(&self, user: UserId) -> bool {
        match self.erase_rooms(user).await {
            Ok(rooms) => {
                tracing::info!(%user, rooms, "a user was erased");
                true
            }
            Err(error) => {
                tracing::error!(%user, %error, "the erase of a user stopped; it goes on with the next start");
                false
            }
        }
    }

    /// Erases a user in all rooms; answers how many. Looks again until there is no new one: a join may have been on its way.
    async fn erase_rooms(&self, user: UserId) -> Result<usize, EraseError> {
        let mut done = BTreeSet::new();
        let mut failed = None;
        loop {
            let before = done.len();
            let mut rooms = Lots::new(|after| self.store.rooms_ever(user, after, ERASE_LOT_ROOMS), |room: &RoomId| *room);
            while let Some(lot) = rooms.next().await? {
                for room in lot {
                    // A room that cannot be served does not keep the others from it.
                    if done.insert(room)
                        && let Err(error) = self.erase_in(user, room).await
                    {
                        tracing::error!(%user, %room, %error, "a user cannot be erased in a room");
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

    async fn erase_in(&self, user: UserId, room: RoomId) -> Result<(), EraseError> {
        let erased_seq = self.append(user, room).await?;
        let ask = |after| self.store.sent(SentQuery { room, user, after, limit: ERASE_LOT_EVENTS });
        let mut sent = Lots::new(ask, |(key, _): &(Key, u64)| *key);
        while let Some(lot) = sent.next().await? {
            self.store.erase(room, user, lot.into_iter().map(|(_, seq)| seq).collect(), erased_seq).await?;
        }
        Ok(())
    }

    /// Has the event appended; answers its seq.
    async fn append(&self, user: UserId, room: RoomId) -> Result<u64, EraseError> {
        // At random: one that follows from user and room could have been taken by the user, for something else.
        let key = Key(Uuid::new_v4());
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

    /// Goes on with the erases that the last stop cut short.
    pub async fn resume(self) {
        match self.store.erasing().await {
            Ok(users) => {
                for user in users {
                    self.carry_out(user).await;
                }
            }
            Err(error) => tracing::error!(%error, "it cannot be read which users are being erased"),
        }
    }
}
