//! Trying again: while the outcome of an attempt is not known, and what it does is the same when it is done twice.

use super::fault::Fault;
use crate::limits::{MONGO_RETRY_MAX, MONGO_RETRY_MIN};
use std::time::Duration;

/// Pauses between attempts, growing.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Pauses {
    /// From the shortest on.
    pub(super) const fn new() -> Self {
        Self(MONGO_RETRY_MIN)
    }

    /// The next one.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(MONGO_RETRY_MAX);
    }
}

/// Makes attempts until one says what became of it; `None` asks for another one. Ends by itself only then: whoever calls bounds the
/// time. `what` says for the log what is not known.
pub(super) async fn until_known<T, F>(what: &'static str, mut attempt: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<Option<T>, Fault>>,
{
    let mut pauses = Pauses::new();
    loop {
        match attempt().await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(Fault::Unknown(why)) => tracing::debug!(why, "it is not known whether {what}"),
            Err(fault) => return Err(fault),
        }
        pauses.pause().await;
    }
}
