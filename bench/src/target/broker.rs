//! Message brokers as peers: NATS and mosquitto, TLS on, nothing stored. They are programs that must be there; what is missing is told
//! with the command that brings it.

use super::certificate::Certificate;
use super::process::{Process, pinned};
use super::started::Started;
use super::{Running, Target, refused_by_peers};
use crate::control::Protocol;
use crate::error::BenchError;
use crate::limits::SERVER_START_TIMEOUT;
use crate::scenario::Scenario;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time between two looks at whether a broker listens.
const LOOK: Duration = Duration::from_millis(20);

/// The first version of nats-server that knows `handshake_first`.
const NATS_MIN: Version = [2, 10, 4];
/// The version that is brought.
const NATS_BROUGHT: &str = "v2.12.2";

/// Major, minor and patch.
type Version = [u32; 3];

/// The version that a program says it is, such as `nats-server: v2.10.7`.
fn version(said: &str) -> Option<Version> {
    let (_, numbers) = said.trim().rsplit_once('v')?;
    let mut numbers = numbers.splitn(3, '.').map(|number| number.split(['-', '+']).next()?.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// A broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nats-server.
    Nats,
    /// mosquitto.
    Mosquitto,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Nats => "NATS",
            Self::Mosquitto => "mosquitto",
        }
    }

    const fn binary(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Mosquitto => "mosquitto",
        }
    }

    /// How to bring it, `folder` being looked into too.
    fn install(self, folder: &Path) -> String {
        match self {
            Self::Nats => {
                format!("GOBIN={} go install github.com/nats-io/nats-server/v2@{NATS_BROUGHT}", folder.display())
            }
            Self::Mosquitto => "apt-get install mosquitto".to_owned(),
        }
    }

    /// Checks that it knows all that its configuration says.
    fn check(self, binary: &Path, folder: &Path) -> Result<(), BenchError> {
        if self != Self::Nats {
            return Ok(());
        }
        let said = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
        let said = said.map_err(BenchError::io(binary.display().to_string()))?.stdout;
        let said = String::from_utf8_lossy(&said);
        if version(&said).is_some_and(|version| version >= NATS_MIN) {
            return Ok(());
        }
        let ([major, minor, patch], place) = (NATS_MIN, binary.display());
        Err(BenchError::Peer(format!(
            "{place} says {:?}, and must be {major}.{minor}.{patch} or later: `{}`",
            said.trim(),
            self.install(folder)
        )))
    }

    const fn protocol(self, address: SocketAddr, ca_pem: String) -> Protocol {
        match self {
            Self::Nats => Protocol::Nats { address, ca_pem },
            Self::Mosquitto => Protocol::Mqtt { address, ca_pem },
        }
    }

    fn configuration(self, port: u16, certificate: &Certificate) -> String {
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        match self {
            Self::Nats => format!(
                "listen: \"127.0.0.1:{port}\"\n\
                 tls {{ cert_file: \"{cert}\", key_file: \"{key}\", handshake_first: true }}\n"
            ),
            // Queues of every length, as the others have them, and no waiting for fuller segments; as root it would give up its user, and
            // could not read the key.
            Self::Mosquitto => format!(
                "listener {port} 127.0.0.1\ncertfile {cert}\nkeyfile {key}\nallow_anonymous true\npersistence false\n\
                 set_tcp_nodelay true\nmax_queued_messages 0\nuser root\nlog_type error\n"
            ),
        }
    }
}

/// A broker and how to start it.
#[derive(Debug, Clone)]
pub struct Broker {
    kind: Kind,
    binary: PathBuf,
    cores: Option<String>,
}

impl Broker {
    /// A broker whose program is in `folder`, on PATH, or where Debian puts servers.
    ///
    /// # Errors
    ///
    /// [`BenchError::Peer`] where it is missing or too old, with the command that brings it.
    pub fn new(kind: Kind, folder: &Path, cores: Option<String>) -> Result<Self, BenchError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = [folder.to_owned()].into_iter().chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/sbin")]);
        let binary = places
            .map(|place| place.join(kind.binary()))
            .find(|binary| binary.is_file())
            .ok_or_else(|| BenchError::Peer(format!("{} is missing: `{}`", kind.binary(), kind.install(folder))))?;
        kind.check(&binary, folder)?;
        Ok(Self { kind, binary, cores })
    }
}

impl Target for Broker {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn refuses(&self, scenario: &Scenario) -> Option<&'static str> {
        refused_by_peers(scenario)
    }

    fn is_over_tcp(&self) -> bool {
        true
    }

    fn start(&self) -> Result<Box<dyn Running>, BenchError> {
        let failed = |why: String| BenchError::Peer(format!("{}: {why}", self.name()));
        let data = tempfile::Builder::new().prefix("starling-bench-").tempdir().map_err(BenchError::io("a folder"))?;
        let certificate = Certificate::make(data.path())?;
        let port = free_port().map_err(BenchError::io("a port"))?;
        let (config, log) = (data.path().join("broker.conf"), data.path().join("server.log"));
        std::fs::write(&config, self.kind.configuration(port, &certificate)).map_err(BenchError::io("a configuration"))?;
        let stderr = std::fs::File::create(&log).map_err(BenchError::io("a log"))?;
        let mut command = pinned(&self.binary, self.cores.as_deref());
        command.arg("-c").arg(&config).current_dir(data.path()).stdin(Stdio::null()).stderr(stderr);
        let mut process = Process::spawn(&mut command).map_err(|error| failed(error.to_string()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let until = Instant::now() + SERVER_START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            let ended = process.ended();
            if ended.is_some() || Instant::now() > until {
                let why = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(failed(format!("it does not listen ({ended:?})\n{why}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(Box::new(Started {
            process,
            data,
            name: self.kind.name(),
            protocol: self.kind.protocol(address, certificate.pem),
        }))
    }
}

/// A port that nobody has now: these programs cannot be asked which one the system gave them in one way.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A program that says only its version.
    fn program(folder: &Path, said: &str) {
        let binary = folder.join("nats-server");
        std::fs::write(&binary, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
        let mut permissions = std::fs::metadata(&binary).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&binary, permissions).unwrap();
    }

    #[test]
    fn a_broker_is_found_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        program(folder.path(), "nats-server: v2.12.2");
        let broker = Broker::new(Kind::Nats, folder.path(), None).unwrap();
        assert_eq!(broker.binary, folder.path().join("nats-server"));
        assert!(Kind::Mosquitto.install(folder.path()).contains("apt-get install mosquitto"));
    }

    #[test]
    fn a_broker_that_is_too_old_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        for said in ["nats-server: v2.9.25", "nats-server: v2.10.3", "no such flag"] {
            program(folder.path(), said);
            let error = Broker::new(Kind::Nats, folder.path(), None).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("go install github.com/nats-io/nats-server/v2@v2.12.2"),
                "{error}"
            );
        }
        assert_eq!(version("nats-server: v2.11.0-RC.1"), Some([2, 11, 0]));
    }

    #[test]
    fn tls_is_on_in_every_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate::make(folder.path()).unwrap();
        for kind in [Kind::Nats, Kind::Mosquitto] {
            let text = kind.configuration(4_711, &certificate);
            assert!(text.contains("4711") && text.contains("cert.pem") && text.contains("key.pem"), "{text}");
        }
    }
}
