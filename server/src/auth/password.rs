//! Passwords: argon2id (19 MiB, 2 passes, 1 lane) on threads of their own, below the priority of everything else.
//!
//! A hash takes tens of milliseconds of CPU by design. The pool is what keeps a flood of logins from being a flood of hashes: a few
//! threads, a bounded queue, and an answer at once when the queue is full.

use argon2::password_hash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19 * 1_024;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// How nice the threads are to others (0 is not, 19 is most).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// When it makes sense to try again after [`PasswordError::Busy`], in milliseconds: about what a full queue takes.
const RETRY_AFTER_MS: u64 = 2_000;

/// Why a password was neither hashed nor checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// As many wait as may.
    #[error("too many passwords wait to be checked")]
    Busy {
        /// When it makes sense to try again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The hash could not be made, or a stored one is none.
    #[error("password hash: {0}")]
    Failed(String),
}

enum Job {
    Hash { password: String, answer: oneshot::Sender<Result<String, PasswordError>> },
    Verify { password: String, hash: String, answer: oneshot::Sender<Result<bool, PasswordError>> },
}

impl Job {
    /// Nobody waits any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Hash { answer, .. } => answer.is_closed(),
            Self::Verify { answer, .. } => answer.is_closed(),
        }
    }
}

/// The threads and their queue. They end when it is dropped.
#[derive(Debug)]
pub struct PasswordPool {
    jobs: SyncSender<Job>,
    /// Kept so that jobs may wait even while there is no thread.
    _queue: Arc<Mutex<Receiver<Job>>>,
    /// The hash of a password that nobody has: what logins of unknown accounts are checked against.
    nobody: String,
}

fn argon() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| PasswordError::Failed(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn failed(error: &password_hash::Error) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

fn hash_now(argon: &Argon2<'_>, password: &str) -> Result<String, PasswordError> {
    argon.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| failed(&error))
}

fn verify_now(argon: &Argon2<'_>, password: &str, hash: &str) -> Result<bool, PasswordError> {
    match argon.verify_password(password.as_bytes(), hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

impl PasswordPool {
    /// Starts `threads` threads; beside what they work on, `waiting` passwords may wait.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Failed`] where no thread can be started or no hash be made.
    pub fn start(threads: usize, waiting: usize) -> Result<Self, PasswordError> {
        let argon = argon()?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| PasswordError::Failed(error.to_string()))?;
        let nobody = argon.hash_password(&random).map(|hash| hash.to_string()).map_err(|error| failed(&error))?;
        let (jobs, queue) = sync_channel(waiting);
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..threads {
            let (argon, queue) = (argon.clone(), Arc::clone(&queue));
            std::thread::Builder::new()
                .name(format!("password-{n}"))
                .spawn(move || work(&argon, &queue))
                .map_err(|error| PasswordError::Failed(error.to_string()))?;
        }
        Ok(Self { jobs, _queue: queue, nobody })
    }

    /// The hash of a new password, as a PHC string.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Busy`] at once if the queue is full.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Hash { password, answer }, answered).await
    }

    /// Whether `password` is the one of `hash`. `None` is never, and takes as long: an unknown account must not answer sooner.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Busy`] at once if the queue is full; [`PasswordError::Failed`] for a hash that is none.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        let (answer, answered) = oneshot::channel();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        Ok(self.submit(Job::Verify { password, hash, answer }, answered).await? && known)
    }

    async fn submit<T>(&self, job: Job, answered: oneshot::Receiver<Result<T, PasswordError>>) -> Result<T, PasswordError> {
        let start = Instant::now();
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => PasswordError::Busy { retry_after_ms: RETRY_AFTER_MS },
            TrySendError::Disconnected(_) => PasswordError::Failed("its threads are gone".into()),
        })?;
        let answer = answered.await.unwrap_or_else(|_| Err(PasswordError::Failed("its thread is gone".into())));
        metrics::histogram!("starling_password_seconds").record(start.elapsed());
        answer
    }
}

fn work(argon: &Argon2<'_>, queue: &Mutex<Receiver<Job>>) {
    lower_priority();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if job.is_abandoned() {
            continue;
        }
        // An answer that nobody takes is no fault: the client went away.
        match job {
            Job::Hash { password, answer } => drop(answer.send(hash_now(argon, &password))),
            Job::Verify { password, hash, answer } => drop(answer.send(verify_now(argon, &password, &hash))),
        }
    }
}

/// Makes this thread give way to those that carry messages.
fn lower_priority() {
    // On Linux, "this process" is the calling thread; elsewhere the whole process would be meant, so it is left alone.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the priority of a password thread could not be lowered");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_password_is_known_again() {
        let pool = PasswordPool::start(1, 4).unwrap();
        block_on(async {
            let hash = pool.hash("correct horse".into()).await.unwrap();
            assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
            assert!(pool.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
            assert!(!pool.verify("battery staple".into(), Some(hash)).await.unwrap());
            assert!(!pool.verify("correct horse".into(), None).await.unwrap());
            assert!(matches!(pool.verify("x".into(), Some("none".into())).await, Err(PasswordError::Failed(_))));
        });
    }

    #[test]
    fn a_full_queue_answers_at_once() {
        let pool = PasswordPool::start(0, 2).unwrap();
        block_on(async {
            let first = tokio::time::timeout(std::time::Duration::from_millis(1), pool.hash("a".into())).await;
            let second = tokio::time::timeout(std::time::Duration::from_millis(1), pool.hash("b".into())).await;
            assert!(first.is_err() && second.is_err(), "they wait");
            assert!(matches!(pool.hash("c".into()).await, Err(PasswordError::Busy { retry_after_ms: 1.. })));
        });
    }
}
