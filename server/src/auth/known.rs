//! Tokens that were found good: who reconnects, or calls REST again, shows the same one, and its signature need not be checked again.

use super::token::{Claims, TokenHash};
use crate::limits::{KNOWN_TOKENS_MAX, KNOWN_TOKENS_SWEEP_MS};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Known {
    claims: HashMap<TokenHash, Claims>,
    /// When those that had ended were last looked for, Unix time in milliseconds.
    swept_ms: u64,
}

/// See the module. The keys of a process do not change, so what was good stays good until its end.
#[derive(Debug, Default)]
pub(super) struct KnownTokens(Mutex<Known>);

impl KnownTokens {
    /// What a token says that was found good, whether it has ended since or not.
    pub(super) fn claims(&self, hash: &TokenHash) -> Option<Claims> {
        self.lock().claims.get(hash).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a token that is good. Those that ended before `now_ms` make room; where there is none, it is checked again the next time.
    pub(super) fn remember(&self, hash: TokenHash, claims: Claims, now_ms: u64) {
        let mut known = self.lock();
        let is_full = known.claims.len() >= KNOWN_TOKENS_MAX;
        if is_full && now_ms.saturating_sub(known.swept_ms) >= KNOWN_TOKENS_SWEEP_MS {
            known.swept_ms = now_ms;
            known.claims.retain(|_, claims| claims.expires_ms > now_ms);
        }
        if known.claims.len() < KNOWN_TOKENS_MAX {
            known.claims.insert(hash, claims);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::hash_of;
    use client_protocol::{SessionId, UserId};

    #[test]
    fn those_that_ended_make_room() {
        let known = KnownTokens::default();
        let claims = |expires_ms| {
            let (user, login) = (UserId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
            Claims { user, login, expires_ms }
        };
        let hash = |n: usize| hash_of(&n.to_string());
        let (now_ms, later_ms) = (KNOWN_TOKENS_SWEEP_MS, KNOWN_TOKENS_SWEEP_MS * 2);
        for n in 0..KNOWN_TOKENS_MAX {
            known.remember(hash(n), claims(if n == 7 { now_ms + 1 } else { later_ms + 1 }), now_ms);
        }
        let next = hash(KNOWN_TOKENS_MAX);
        known.remember(next, claims(later_ms + 1), now_ms);
        assert_eq!(known.claims(&next), None, "there is no room");
        known.remember(next, claims(later_ms + 1), now_ms + 1);
        assert_eq!(known.claims(&next), None, "it is not looked for with each of them");
        known.remember(next, claims(later_ms + 1), later_ms);
        assert_eq!(known.claims(&next), Some(claims(later_ms + 1)));
        assert_eq!(known.claims(&hash(7)), None, "it has ended");
        assert_eq!(known.claims(&hash(8)), Some(claims(later_ms + 1)));
    }
}
