//! What is known of the database's health.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it answers, and whether it takes writes.
#[derive(Debug)]
pub(in crate::store::mongo) struct Health {
    answers: AtomicBool,
    takes_writes: AtomicBool,
}

impl Default for Health {
    /// Well until it turns out otherwise.
    fn default() -> Self {
        Self { answers: true.into(), takes_writes: true.into() }
    }
}

impl Health {
    /// Whether it answered the last time that it was asked.
    pub(in crate::store::mongo) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether it took a write, the last time.
    pub(in crate::store::mongo) fn is_ready(&self) -> bool {
        self.answers() && self.takes_writes.load(Ordering::Relaxed)
    }

    /// Keeps what was found.
    pub(in crate::store::mongo) fn set(&self, answers: bool, takes_writes: bool) {
        self.answers.store(answers, Ordering::Relaxed);
        self.takes_writes.store(takes_writes, Ordering::Relaxed);
    }
}
