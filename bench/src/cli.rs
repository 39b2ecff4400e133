//! The command line.

use crate::error::BenchError;
use crate::limits::{ROUNDS_MAX, WORKERS_MAX};
use crate::presets::Named;
use crate::run::LoadOptions;
use crate::scenario::Scenario;
use crate::target::starling::{Access, Other, Own};
use crate::target::{Kind, Target, Targets};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Loads a Starling server and says what it cost.
#[derive(Debug, Parser)]
#[command(name = "starling-bench", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: What,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Scenarios at a fixed rate: deliveries, CPU, latency, packets, memory.
    Run(RunArgs),
    /// Low load: one sender, one receiver, from send to receipt through fsync.
    Latency(LatencyArgs),
    /// The load process; started by the others.
    #[command(hide = true)]
    Load,
    /// The floor on quinn, a server; started by the others.
    #[command(hide = true)]
    FloorQuic {
        /// Certificate, PEM.
        cert: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which scenarios.
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',', default_value = "all")]
    pub scenario: Vec<Named>,
    /// Deliveries a second, all rooms together; several are run one after the other (A, B, big and G; F has a tenth of it, H a quarter).
    #[arg(long, value_delimiter = ',', default_value = "20000")]
    pub rate: Vec<f64>,
    /// Find the rate at which A or B saturates: doubled until 1 % of the deliveries take 100 ms or more, or less than 95 % arrive; then
    /// bisected.
    #[arg(long)]
    pub ramp: bool,
    /// Connections of C, rounded up to a whole hundred.
    #[arg(long, default_value_t = 2_000)]
    pub connections: u32,
    /// Sends of a session that E keeps unanswered.
    #[arg(long, default_value_t = 8)]
    pub in_flight: u32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 128)]
    pub body_bytes: u32,
    /// Time measured, in seconds.
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Time under load before that, in seconds.
    #[arg(long, default_value_t = 5.0)]
    pub warmup: f64,
    /// How it is measured.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// Sends that are measured.
    #[arg(long, default_value_t = 200)]
    pub sends: u32,
    /// Time between two of them, in milliseconds.
    #[arg(long, default_value_t = 20.0)]
    pub interval_ms: f64,
    /// How it is measured.
    #[command(flatten)]
    pub common: Common,
}

/// What all measurements have.
#[derive(Debug, Args)]
pub struct Common {
    /// Rounds of each scenario, each with a fresh server.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    pub rounds: u32,
    /// The server's binary [default: `starling` beside this program; built first when run by cargo].
    #[arg(long, value_name = "PATH", conflicts_with = "address")]
    pub server_bin: Option<PathBuf>,
    /// A server that runs already: its QUIC address. It must have been started with its rates raised.
    #[arg(long, value_name = "HOST:PORT", requires = "api", requires = "ca")]
    pub address: Option<SocketAddr>,
    /// Its REST interface, such as `http://127.0.0.1:8080`.
    #[arg(long, value_name = "URL", requires = "address")]
    pub api: Option<String>,
    /// Its certificate, a PEM file.
    #[arg(long, value_name = "PATH", requires = "address")]
    pub ca: Option<PathBuf>,
    /// The name in its certificate.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub server_name: String,
    /// Its process, if CPU time and memory are to be measured.
    #[arg(long, value_name = "PID", requires = "address")]
    pub server_pid: Option<u32>,
    /// Folder for the server's data, on the disk that is to be measured; what is made in it is removed again [default: beside this
    /// program].
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Cores for the server, such as `0` or `0-3`.
    #[arg(long, value_name = "CPUS")]
    pub pin_server: Option<String>,
    /// Cores for the load process.
    #[arg(long, value_name = "CPUS")]
    pub pin_clients: Option<String>,
    /// Threads of the load process [default: half of the cores].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: Option<u32>,
    /// Other servers to run beside it, in the same rounds, in turn; ratios are printed. What is missing is told, with the
    /// command that brings it; scripts are fetched with npm on first use.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEERS")]
    pub peers: Vec<Kind>,
    /// One JSON object a round and line, instead of text.
    #[arg(long)]
    pub json: bool,
    /// Write a page with tables and plots of everything, which works offline.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// More arguments for the server.
    #[arg(last = true, value_name = "SERVER ARGUMENTS")]
    pub server_arguments: Vec<String>,
}

impl RunArgs {
    /// The scenarios that were asked for.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        for named in self.scenario.iter().flat_map(|named| named.parts()) {
            let rates = if named.has_rate() { &self.rate[..] } else { &self.rate[..1] };
            for rate in rates {
                let scenario = named.scenario(*rate, self.connections, self.in_flight);
                scenarios.push(Scenario { body_bytes: self.body_bytes, ..scenario.timed(self.warmup, self.seconds) });
            }
        }
        scenarios
    }
}

impl LatencyArgs {
    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        Scenario::latency(self.sends, self.interval_ms)
    }
}

impl Common {
    /// How the load process is run.
    #[must_use]
    pub fn load(&self) -> LoadOptions {
        let half = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
        let workers = self.workers.unwrap_or(half.max(1) as u32).min(WORKERS_MAX);
        LoadOptions { workers, cores: self.pin_clients.clone() }
    }

    /// The servers to measure: Starling first, then the peers that can be had; and why others cannot.
    ///
    /// # Errors
    ///
    /// As [`Self::target`].
    pub fn targets(&self) -> Result<(Targets, Vec<BenchError>), BenchError> {
        let mut targets = vec![self.target()?];
        let mut missing = Vec::new();
        let program = std::env::current_exe().map_err(BenchError::io("this program's path"))?;
        let folder = program.parent().unwrap_or(Path::new(".")).join("bench-peers");
        for kind in &self.peers {
            match kind.target(&folder, self.pin_server.clone()) {
                Ok(peer) => targets.push(peer),
                Err(error) => missing.push(error),
            }
        }
        Ok((targets, missing))
    }

    /// The server to measure.
    ///
    /// # Errors
    ///
    /// [`BenchError::Usage`] where there is no binary, and none can be built.
    pub fn target(&self) -> Result<Box<dyn Target>, BenchError> {
        if let (Some(address), Some(api), Some(ca)) = (self.address, &self.api, &self.ca) {
            let access = Access { address, api: api.clone(), ca: ca.clone(), server_name: self.server_name.clone() };
            return Ok(Box::new(Other { access, pid: self.server_pid }));
        }
        let program = std::env::current_exe().map_err(BenchError::io("this program's path"))?;
        let beside = program.parent().unwrap_or(Path::new("."));
        let binary = match &self.server_bin {
            Some(binary) => binary.canonicalize().map_err(BenchError::io(binary.display().to_string()))?,
            None => {
                let binary = beside.join("starling");
                build(&binary)?;
                binary
            }
        };
        let data = self.data.clone().unwrap_or_else(|| beside.to_owned());
        // The server is started in a folder of its own, so that a relative path would mean another one.
        std::fs::create_dir_all(&data).map_err(BenchError::io(data.display().to_string()))?;
        let data = data.canonicalize().map_err(BenchError::io(data.display().to_string()))?;
        Ok(Box::new(Own { binary, data, cores: self.pin_server.clone(), arguments: self.server_arguments.clone() }))
    }
}

/// Builds the server under `cargo run`, so that figures are never those of an old binary; else it must be there.
fn build(binary: &Path) -> Result<(), BenchError> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let command = format!("cargo build --profile {profile} -p starling-server");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = Command::new(cargo).args(["build", "--profile", profile, "-p", "starling-server"]).status();
        if !built.map_err(BenchError::io(&command))?.success() {
            return Err(BenchError::Usage(format!("`{command}` failed")));
        }
    }
    if binary.is_file() {
        return Ok(());
    }
    Err(BenchError::Usage(format!(
        "there is no server at {}: run `{command}` first, or give --server-bin",
        binary.display()
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(arguments: &str) -> Result<RunArgs, clap::Error> {
        let words = ["starling-bench", "run"].into_iter().chain(arguments.split_ascii_whitespace());
        match Cli::try_parse_from(words)?.command {
            What::Run(run) => Ok(run),
            _ => unreachable!("`run` was asked for"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults_are_all_scenarios_at_20000() {
        let scenarios = run("").unwrap().scenarios();
        let names: Vec<&str> = scenarios.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "C"]);
        assert_eq!(scenarios[1].deliveries_per_s(), 20_000.0);
        assert_eq!((scenarios[0].measure_s, scenarios[0].warmup_s, scenarios[0].body_bytes), (20.0, 5.0, 128));
    }

    #[test]
    fn several_scenarios_and_rates_are_all_combinations() {
        let scenarios = run("--scenario A,c,big --rate 5000,40000").unwrap().scenarios();
        let found: Vec<(&str, f64)> = scenarios.iter().map(|s| (s.name.as_str(), s.deliveries_per_s())).collect();
        assert_eq!(found, [("A", 5_000.0), ("A", 40_000.0), ("C", 0.0), ("big", 5_000.0), ("big", 40_000.0)]);
        assert_eq!(run("--scenario every").unwrap().scenarios().len(), 9);
    }

    #[test]
    fn arguments_after_dashes_are_the_servers() {
        let args = run("--scenario b --rate 1000 --rounds 3 --pin-server 0 -- --flush-us-per-reader 0").unwrap();
        assert_eq!(args.scenarios().len(), 1);
        assert_eq!(args.scenarios()[0].sends_per_s, 100.0);
        assert_eq!((args.common.rounds, args.common.server_arguments.len()), (3, 2));
    }

    #[test]
    fn another_server_needs_all_of_its_addresses() {
        assert!(run("--address 127.0.0.1:4433").is_err());
        assert!(run("--address 127.0.0.1:4433 --api http://127.0.0.1:8080 --ca cert.pem").is_ok());
        assert!(run("--server-pid 4").is_err());
        assert!(run("--rounds 0").is_err());
    }
}
