//! Peers that are given a certificate and a key and say their port. Of those that are scripts, the sources are in `bench/peers/`; what they
//! need comes from npm, into a folder beside this program, on first use.

use super::certificate::Certificate;
use super::process::{Process, pinned};
use super::started::Started;
use super::{Running, Target, refused_by_peers};
use crate::control::Protocol;
use crate::error::BenchError;
use crate::limits::{INSTALL_TIMEOUT, SERVER_START_TIMEOUT};
use crate::scenario::Scenario;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files that make up the peers.
const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../../peers/package.json")),
    ("package-lock.json", include_str!("../../peers/package-lock.json")),
    ("uws.js", include_str!("../../peers/uws.js")),
    ("socketio.js", include_str!("../../peers/socketio.js")),
];

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// uWebSockets in Bun: WebSocket over TLS, nothing stored.
    Uws,
    /// socket.io in Node: WebSocket over TLS, nothing stored.
    Socketio,
    /// The floor on quinn: this program again.
    FloorQuic,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Uws => "uWebSockets",
            Self::Socketio => "socket.io",
            Self::FloorQuic => "floor-quic",
        }
    }

    const fn protocol(self, address: SocketAddr, ca_pem: String) -> Protocol {
        match self {
            Self::Uws => Protocol::WebSocket { address, ca_pem },
            Self::Socketio => Protocol::SocketIo { address, ca_pem },
            Self::FloorQuic => Protocol::Floor { address, ca_pem },
        }
    }
}

/// A peer and where it runs.
#[derive(Debug, Clone)]
pub struct Peer {
    kind: Kind,
    folder: PathBuf,
    cores: Option<String>,
}

impl Peer {
    /// A peer whose packages are in `folder`, installed if need be.
    ///
    /// # Errors
    ///
    /// [`BenchError::Peer`] where it cannot be had.
    pub fn new(kind: Kind, folder: &Path, cores: Option<String>) -> Result<Self, BenchError> {
        if kind != Kind::FloorQuic {
            install(folder)?;
        }
        Ok(Self { kind, folder: folder.to_owned(), cores })
    }

    /// The program and its first argument.
    fn program(&self) -> Result<(PathBuf, PathBuf), BenchError> {
        Ok(match self.kind {
            Kind::Uws => (self.folder.join("node_modules/.bin/bun"), self.folder.join("uws.js")),
            Kind::Socketio => (PathBuf::from("node"), self.folder.join("socketio.js")),
            Kind::FloorQuic => {
                let program = std::env::current_exe().map_err(BenchError::io("this program's path"))?;
                (program, PathBuf::from("floor-quic"))
            }
        })
    }
}

/// Puts the files into `folder` and has npm fetch what they need, unless that was done.
fn install(folder: &Path) -> Result<(), BenchError> {
    let done = folder.join("installed");
    let is_current =
        |(name, text): &(&str, &str)| std::fs::read_to_string(folder.join(name)).is_ok_and(|found| found == *text);
    if done.is_file() && FILES.iter().all(is_current) {
        return Ok(());
    }
    let place = || folder.display().to_string();
    std::fs::create_dir_all(folder).map_err(BenchError::io(place()))?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).map_err(BenchError::io(place()))?;
    }
    let missing = |why: String| {
        let bring = "npm comes with Node.js (apt install npm)";
        BenchError::Peer(format!("uws and socketio are brought by `npm ci` in {}: {why}; {bring}", folder.display()))
    };
    eprintln!("starling-bench: fetching the peers into {}", folder.display());
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(folder).stdin(Stdio::null());
    let mut npm = Process::spawn(&mut npm).map_err(|error| missing(error.to_string()))?;
    if !npm.wait(INSTALL_TIMEOUT) {
        return Err(missing(format!("not done after {INSTALL_TIMEOUT:?}")));
    }
    match npm.ended() {
        Some(status) if status.success() => std::fs::write(done, "").map_err(BenchError::io(place())),
        status => Err(missing(format!("{status:?}"))),
    }
}

impl Target for Peer {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn refuses(&self, scenario: &Scenario) -> Option<&'static str> {
        refused_by_peers(scenario)
    }

    fn is_over_tcp(&self) -> bool {
        self.kind != Kind::FloorQuic
    }

    fn start(&self) -> Result<Box<dyn Running>, BenchError> {
        let failed = |why: String| BenchError::Peer(format!("{}: {why}", self.name()));
        let data = tempfile::Builder::new().prefix("starling-bench-").tempdir().map_err(BenchError::io("a folder"))?;
        let certificate = Certificate::make(data.path())?;
        let (program, script) = self.program()?;
        let log = data.path().join("server.log");
        let stderr = std::fs::File::create(&log).map_err(BenchError::io("a log"))?;
        let mut command = pinned(&program, self.cores.as_deref());
        command.arg(script).args([&certificate.cert, &certificate.key]).stdin(Stdio::null()).stderr(stderr);
        command.env("NODE_ENV", "production");
        let process = Process::spawn(&mut command).map_err(|error| failed(error.to_string()))?;
        let said = process.line(SERVER_START_TIMEOUT).unwrap_or_default();
        let Some(port) = said.strip_prefix("PORT ").and_then(|port| port.trim().parse::<u16>().ok()) else {
            let why = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(failed(format!("it said {said:?} in place of its port\n{why}")));
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Box::new(Started {
            process,
            data,
            name: self.kind.name(),
            protocol: self.kind.protocol(address, certificate.pem),
        }))
    }
}
