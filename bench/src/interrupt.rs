//! Interruption: the harness is told to end (SIGINT, SIGTERM, SIGHUP). What it started is told to end too, the run fails for want of it, and
//! folders are removed on the way out as always. Told twice, the harness ends at once.

use crate::error::BenchError;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a run that was interrupted: that of a shell for SIGINT.
pub const INTERRUPTED: u8 = 130;

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);
static CHILDREN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn children() -> MutexGuard<'static, BTreeSet<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a child process, which is to end with the harness.
pub(crate) fn child_began(pid: u32) {
    children().insert(pid);
}

/// Forgets a child process that has ended.
pub(crate) fn child_ended(pid: u32) {
    children().remove(&pid);
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) -> bool {
    Command::new("kill").arg("-TERM").arg(pid.to_string()).status().is_ok_and(|status| status.success())
}

/// Fails once the harness was told to end.
///
/// # Errors
///
/// [`BenchError::Interrupted`].
pub fn check() -> Result<(), BenchError> {
    if IS_INTERRUPTED.load(Ordering::SeqCst) { Err(BenchError::Interrupted) } else { Ok(()) }
}

/// Listens for signals from now on, on a thread of its own.
///
/// # Errors
///
/// [`BenchError::Io`] where that is not possible.
pub fn listen() -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(BenchError::io("a runtime for signals"))?;
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut signals = {
        let _inside = runtime.enter();
        let signals: Result<Vec<_>, _> = kinds.into_iter().map(signal).collect();
        signals.map_err(BenchError::io("listening for signals"))?
    };
    let wait = move || {
        for is_told_again in [false, true] {
            runtime.block_on(futures_util::future::select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))));
            IS_INTERRUPTED.store(true, Ordering::SeqCst);
            let running: Vec<u32> = children().iter().copied().collect();
            running.into_iter().for_each(|pid| {
                let _gone = terminate(pid);
            });
            if is_told_again {
                std::process::exit(INTERRUPTED.into());
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(BenchError::io("a thread for signals"))?;
    Ok(())
}
