//! Logins that were live a moment ago, so that not every request asks the store. A login that ends here is forgotten at once; one that
//! ends elsewhere within [`LIVE_LOGIN_TIME`].

use crate::limits::{LIVE_LOGIN_TIME, LIVE_LOGINS_MAX};
use client_protocol::{SessionId, UserId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

#[derive(Debug, Default)]
struct Known {
    logins: HashMap<SessionId, (UserId, Instant)>,
    /// When those whose time is over were last looked for.
    swept: Option<Instant>,
    /// Counts what was forgotten: an answer of the store from before says nothing any more.
    forgotten: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LiveLogins {
    known: Mutex<Known>,
}

/// From before a question to the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(u64);

impl LiveLogins {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the login was live within the last seconds; if not, what to show to [`LiveLogins::remember`].
    pub(super) fn is_live(&self, login: SessionId, now: Instant) -> Result<(), Asked> {
        let known = self.lock();
        match known.logins.get(&login) {
            Some((_, until)) if *until > now => Ok(()),
            _ => Err(Asked(known.forgotten)),
        }
    }

    /// Remembers a login for live, unless one was forgotten since the question was asked.
    pub(super) fn remember(&self, asked: Asked, user: UserId, login: SessionId, now: Instant) {
        let mut known = self.lock();
        if known.forgotten != asked.0 {
            return;
        }
        let may_sweep = known.swept.is_none_or(|at| now.saturating_duration_since(at) >= LIVE_LOGIN_TIME);
        if known.logins.len() >= LIVE_LOGINS_MAX && may_sweep {
            known.swept = Some(now);
            known.logins.retain(|_, (_, until)| *until > now);
        }
        if known.logins.len() < LIVE_LOGINS_MAX {
            known.logins.insert(login, (user, now + LIVE_LOGIN_TIME));
        }
    }

    /// Forgets a login.
    pub(super) fn forget(&self, login: SessionId) {
        let mut known = self.lock();
        known.forgotten += 1;
        known.logins.remove(&login);
    }

    /// Forgets all logins of a user.
    pub(super) fn forget_user(&self, user: UserId) {
        let mut known = self.lock();
        known.forgotten += 1;
        known.logins.retain(|_, (whose, _)| *whose != user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_meanwhile_is_not_remembered() {
        let (live, now) = (LiveLogins::default(), Instant::now());
        let (user, login) = (UserId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let Err(asked) = live.is_live(login, now) else { panic!("nothing is known yet") };
        live.remember(asked, user, login, now);
        assert!(live.is_live(login, now).is_ok());
        assert!(live.is_live(login, now + LIVE_LOGIN_TIME).is_err(), "not longer than the bound");
        let Err(asked) = live.is_live(login, now + LIVE_LOGIN_TIME) else { panic!("it was too old") };
        live.forget(login);
        live.remember(asked, user, login, now);
        assert!(live.is_live(login, now).is_err(), "the answer was from before the end");
    }

    #[test]
    fn a_full_memory_makes_room_once_in_a_while() {
        let (live, now) = (LiveLogins::default(), Instant::now());
        let user = UserId::from_bytes([1; 16]);
        let login = |n: usize| SessionId::from_bytes((n as u128).to_be_bytes());
        let remember = |n: usize, now| live.remember(Asked(0), user, login(n), now);
        for n in 0..LIVE_LOGINS_MAX {
            remember(n, now);
        }
        remember(LIVE_LOGINS_MAX, now);
        assert!(live.is_live(login(LIVE_LOGINS_MAX), now).is_err(), "there is no room for it");
        let later = now + LIVE_LOGIN_TIME;
        remember(LIVE_LOGINS_MAX, later);
        assert!(live.is_live(login(LIVE_LOGINS_MAX), later).is_ok(), "the others' time is over");
        assert_eq!(live.lock().logins.len(), 1);
    }

    #[test]
    fn a_user_is_forgotten_whole() {
        let (live, now) = (LiveLogins::default(), Instant::now());
        let (ada, bob) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        for (n, user) in [(1, ada), (2, ada), (3, bob)] {
            live.remember(Asked(0), user, SessionId::from_bytes([n; 16]), now);
        }
        live.forget_user(ada);
        let left: Vec<bool> = (1..=3).map(|n| live.is_live(SessionId::from_bytes([n; 16]), now).is_ok()).collect();
        assert_eq!(left, [false, false, true]);
    }
}
