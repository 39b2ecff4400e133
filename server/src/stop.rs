//! Ends the process where going on would be worse: a part without which the server only looks alive has panicked.

/// Held by a thread or task that the server cannot do without, and what to call it: if it panics, the process ends at once and whoever
/// supervises it starts it anew. Everything acknowledged is durable, so nothing is lost by that.
#[derive(Debug)]
pub(crate) struct StopOnPanic(pub(crate) &'static str);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(part = self.0, "panicked: the process ends");
            std::process::abort();
        }
    }
}
