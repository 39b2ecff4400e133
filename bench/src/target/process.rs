//! Child processes: lines of their output with a time limit, an orderly stop, and no orphans.

use crate::error::BenchError;
use crate::interrupt;
use crate::limits::CHILD_LINES_MAX;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// A child process whose standard output is read. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// A command for `program` that runs on the cores `cores` only (a list as `taskset -c` takes it), if any are given.
#[must_use]
pub fn pinned(program: &Path, cores: Option<&str>) -> Command {
    match cores {
        None => Command::new(program),
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cores).arg(program);
            command
        }
    }
}

impl Process {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// [`BenchError::Io`] where it cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self, BenchError> {
        let what = format!("starting {}", command.get_program().display());
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(BenchError::io(&what))?;
        interrupt::child_began(child.id());
        let output = child.stdout.take().ok_or_else(|| BenchError::Server(format!("{what}: no output")))?;
        let (send, lines) = sync_channel(CHILD_LINES_MAX);
        // Reads until the child ends, also when nobody wants the lines any more: a full pipe would stop the child.
        let reader = move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                let _unwanted = send.try_send(line);
            }
        };
        std::thread::Builder::new().name("child-output".to_owned()).spawn(reader).map_err(BenchError::io(&what))?;
        Ok(Self { child, lines })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, once.
    pub fn input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// The next line of its output; `None` if it ends or says nothing within `timeout`.
    pub fn line(&self, timeout: Duration) -> Option<String> {
        self.lines.recv_timeout(timeout).ok()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_some() {
            interrupt::child_ended(self.pid());
        }
        ended
    }

    /// Asks it to end (SIGTERM) and waits; kills it after `timeout`. Says how it ended; `None` if it was killed.
    pub fn stop(&mut self, timeout: Duration) -> Option<ExitStatus> {
        if interrupt::terminate(self.pid()) && self.wait(timeout) {
            return self.ended();
        }
        self.kill();
        None
    }

    fn kill(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
        interrupt::child_ended(self.pid());
    }

    /// Waits for its end; `false` if that does not come within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        while self.ended().is_none() {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_come_and_the_end_is_orderly() {
        let mut process = Process::spawn(Command::new("sh").args(["-c", "echo one; echo two; exec sleep 60"])).unwrap();
        assert_eq!(process.line(Duration::from_secs(10)).as_deref(), Some("one"));
        assert_eq!(process.line(Duration::from_secs(10)).as_deref(), Some("two"));
        assert_eq!(process.line(Duration::from_millis(10)), None);
        assert!(process.ended().is_none());
        let status = process.stop(Duration::from_secs(10)).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn who_does_not_listen_is_killed() {
        let mut process =
            Process::spawn(Command::new("sh").args(["-c", "trap '' TERM; echo on; while :; do sleep 0.1; done"])).unwrap();
        assert_eq!(process.line(Duration::from_secs(10)).as_deref(), Some("on"));
        assert_eq!(process.stop(Duration::from_millis(200)), None);
    }

    #[test]
    fn cores_are_given_to_taskset() {
        let command = pinned(Path::new("/bin/x"), Some("0,1"));
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!(
            (command.get_program().to_string_lossy().as_ref(), args.join(" ").as_str()),
            ("taskset", "-c 0,1 /bin/x")
        );
    }
}
