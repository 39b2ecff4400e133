//! Starling: a server of our own, started for the round, or one that runs already.

use super::mongo::Mongo;
use super::process::{Process, pinned};
use super::rest::{self, Rest};
use super::{Progress, Running, Target};
use crate::control::{Protocol, SessionPlan};
use crate::error::BenchError;
use crate::limits::{SERVER_START_TIMEOUT, SERVER_STOP_TIMEOUT};
use crate::scenario::Scenario;
use mongo_server::Database;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

/// Bounds that protect a server from what a harness does.
const NO_RATES: [&str; 16] = [
    "--register-per-ip",
    "0",
    "--login-per-ip",
    "0",
    "--user-rate",
    "1000000",
    "--user-burst",
    "1000000",
    "--room-rate",
    "1000000",
    "--room-burst",
    "1000000",
    "--log",
    "warn",
    "--host",
    "127.0.0.1",
];

/// Settings of the environment without the server's prefix.
const ENVIRONMENT: [&str; 4] = ["JWT_SECRET", "MONGODB_URI", "MSG_BROKER_URL", "PORT"];
/// What all others begin with.
const ENVIRONMENT_PREFIX: &str = "STARLING_";

/// Whether a variable of the environment would make it another server.
fn is_setting(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(ENVIRONMENT_PREFIX) || ENVIRONMENT.contains(&&*name)
}

/// Where a server listens, and whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// QUIC.
    pub address: SocketAddr,
    /// REST, such as `http://127.0.0.1:8080`.
    pub api: String,
    /// Certificate to trust, a PEM file.
    pub ca: PathBuf,
    /// Name in the server's certificate.
    pub server_name: String,
}

impl Access {
    /// Nothing is said where metrics are off; they are no reason to fail a round.
    fn progress(&self) -> Option<Progress> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let metrics = runtime.block_on(Rest::new(&self.api).ok()?.metrics()).ok()?;
        Progress::parse(&metrics)
    }

    fn populate(&self, scenario: &Scenario) -> Result<(Protocol, Vec<SessionPlan>), BenchError> {
        let ca_pem = std::fs::read_to_string(&self.ca).map_err(BenchError::io(self.ca.display().to_string()))?;
        let rest = Rest::new(&self.api)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::io("a runtime"))?;
        let there = runtime.block_on(rest::populate(&rest, scenario))?;
        let session = |index: u32| SessionPlan {
            token: there.tokens[scenario.user_of(index) as usize].clone(),
            room: there.rooms[scenario.room_of(index) as usize],
            watched: scenario.watched_by(index).map(|user| there.users[user as usize]).collect(),
        };
        let protocol = Protocol::Native { address: self.address, server_name: self.server_name.clone(), ca_pem };
        Ok((protocol, (0..scenario.sessions()).map(session).collect()))
    }
}

/// The server's binary, started afresh with an empty data folder.
#[derive(Debug, Clone)]
pub struct Own {
    /// What reports call it.
    pub name: String,
    /// The binary.
    pub binary: PathBuf,
    /// Folder in which a data folder is made and removed again.
    pub data: PathBuf,
    /// Cores to pin it to.
    pub cores: Option<String>,
    /// More arguments.
    pub arguments: Vec<String>,
    /// What it stores in, where that is not its own folder.
    pub mongo: Option<Arc<Mongo>>,
}

struct Started {
    // Before the folder, so that it is dropped first.
    process: Process,
    data: TempDir,
    access: Access,
    stored: Option<Stored>,
}

/// A server's database.
struct Stored {
    mongo: Arc<Mongo>,
    database: Database,
}

impl Stored {
    fn new(mongo: &Arc<Mongo>) -> Result<Self, BenchError> {
        Ok(Self { mongo: Arc::clone(mongo), database: mongo.database()? })
    }
}

impl Target for Own {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self) -> Result<Box<dyn Running>, BenchError> {
        std::fs::create_dir_all(&self.data).map_err(BenchError::io(self.data.display().to_string()))?;
        let data = tempfile::Builder::new()
            .prefix("starling-bench-")
            .tempdir_in(&self.data)
            .map_err(BenchError::io(format!("a folder in {}", self.data.display())))?;
        let log = data.path().join("server.log");
        let stderr = std::fs::File::create(&log).map_err(BenchError::io(log.display().to_string()))?;
        let store = data.path().join("data");
        let mut command = pinned(&self.binary, self.cores.as_deref());
        command.args(NO_RATES).args(["--port", "0", "--quic-port", "0", "--data"]).arg(&store).args(&self.arguments);
        // No starling.toml of the folder that the harness was started in.
        command.current_dir(data.path()).stdin(Stdio::null()).stderr(stderr);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        let stored = self.mongo.as_ref().map(Stored::new).transpose()?;
        if let Some(stored) = &stored {
            command.env("MONGODB_URI", &stored.database.uri);
        }
        let mut process = Process::spawn(&mut command)?;
        let Some((address, api)) = addresses(&process) else {
            let ended =
                process.ended().map_or("it said not where it listens".to_owned(), |status| format!("it ended, {status}"));
            return Err(BenchError::Server(format!("{ended}\n{}", tail(&log))));
        };
        let access = Access { address, api, ca: store.join("cert.pem"), server_name: "localhost".to_owned() };
        Ok(Box::new(Started { process, data, access, stored }))
    }
}

/// Reads the server's output until both addresses were said.
fn addresses(process: &Process) -> Option<(SocketAddr, String)> {
    let until = Instant::now() + SERVER_START_TIMEOUT;
    let (mut quic, mut rest) = (None, None);
    while quic.is_none() || rest.is_none() {
        let line = process.line(until.saturating_duration_since(Instant::now()))?;
        match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
            ["QUIC", address, ..] => quic = address.parse().ok(),
            ["REST", address, ..] => rest = Some((*address).to_owned()),
            _ => {}
        }
    }
    quic.zip(rest)
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

impl Running for Started {
    fn pid(&self) -> Option<u32> {
        Some(self.process.pid())
    }

    fn database_pid(&self) -> Option<u32> {
        self.stored.as_ref()?.mongo.pid()
    }

    fn data(&self) -> Option<&Path> {
        Some(self.data.path())
    }

    fn progress(&self) -> Option<Progress> {
        self.access.progress()
    }

    fn populate(&self, scenario: &Scenario) -> Result<(Protocol, Vec<SessionPlan>), BenchError> {
        self.access.populate(scenario)
    }

    fn stop(mut self: Box<Self>) -> Result<(), BenchError> {
        let log = self.data.path().join("server.log");
        if let Some(status) = self.process.ended() {
            return Err(BenchError::Server(format!("it ended during the run, {status}\n{}", tail(&log))));
        }
        match self.process.stop(SERVER_STOP_TIMEOUT) {
            Some(status) if status.success() => match &self.stored {
                Some(Stored { mongo, database }) => mongo.retire(database),
                None => Ok(()),
            },
            Some(status) => Err(BenchError::Server(format!("it ended badly, {status}\n{}", tail(&log)))),
            None => Err(BenchError::Server(format!(
                "it did not stop within {SERVER_STOP_TIMEOUT:?} and was killed\n{}",
                tail(&log)
            ))),
        }
    }
}

/// A server that runs already. Its rates must be raised by whoever started it.
#[derive(Debug, Clone)]
pub struct Other {
    /// How to reach it.
    pub access: Access,
    /// Its process, if it is on this machine.
    pub pid: Option<u32>,
}

impl Target for Other {
    fn name(&self) -> &str {
        "starling (already running)"
    }

    fn start(&self) -> Result<Box<dyn Running>, BenchError> {
        Ok(Box::new(self.clone()))
    }
}

impl Running for Other {
    fn pid(&self) -> Option<u32> {
        self.pid
    }

    fn data(&self) -> Option<&Path> {
        None
    }

    fn progress(&self) -> Option<Progress> {
        self.access.progress()
    }

    fn populate(&self, scenario: &Scenario) -> Result<(Protocol, Vec<SessionPlan>), BenchError> {
        self.access.populate(scenario)
    }

    fn stop(self: Box<Self>) -> Result<(), BenchError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_servers_output_says_where_it_listens() {
        let said = "echo 'Starling 0.1.0'; echo '  QUIC  127.0.0.1:4433  (ALPN starling/1)'; echo '  REST  http://127.0.0.1:8080  (docs)'";
        let process = Process::spawn(std::process::Command::new("sh").args(["-c", said])).unwrap();
        assert_eq!(addresses(&process), Some(("127.0.0.1:4433".parse().unwrap(), "http://127.0.0.1:8080".to_owned())));
    }

    #[test]
    fn no_setting_of_the_environment_is_handed_on() {
        for name in ["STARLING_CONFIG", "STARLING_FLUSH_US_PER_READER", "MONGODB_URI", "PORT"] {
            assert!(is_setting(OsStr::new(name)), "{name}");
        }
        assert!(!is_setting(OsStr::new("PATH")) && !is_setting(OsStr::new("PORTS")));
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("server");
        std::fs::write(&binary, "#!/bin/sh\necho 'no such flag' >&2\nexit 2\n").unwrap();
        let mut permissions = std::fs::metadata(&binary).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&binary, permissions).unwrap();
        let own = Own {
            name: "starling".to_owned(),
            binary,
            data: folder.path().to_owned(),
            cores: None,
            arguments: Vec::new(),
            mongo: None,
        };
        let error = own.start().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("no such flag"), "{error}");
    }
}
