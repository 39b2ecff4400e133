//! Signals that ask the process to end.

use super::Running;

/// A server that ends with the next SIGINT or SIGTERM.
pub struct StopOnSignal {
    pub(super) running: Running,
    pub(super) signals: Signals,
}

impl StopOnSignal {
    /// Waits for a signal, then drains. A second signal ends the process at once.
    pub fn wait(self) {
        let Self { running, mut signals } = self;
        if let Some(background) = &running.background {
            background.block_on(signals.next());
            tracing::info!("draining; once more to stop at once");
            background.spawn(async move {
                signals.next().await;
                std::process::exit(130);
            });
        }
        running.shut_down();
    }
}

/// The signals that ask a process to end.
#[cfg(unix)]
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The signal that asks a process to end.
#[cfg(windows)]
pub(super) struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(windows)]
impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    pub(super) async fn next(&mut self) {
        let _one = self.interrupt.recv().await;
    }
}
