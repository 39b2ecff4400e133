//! What all measurements have: which binary, which store, which cores, how many rounds.

use crate::error::BenchError;
use crate::limits::{ROUNDS_MAX, WORKERS_MAX};
use crate::run::LoadOptions;
use crate::target::mongo::Mongo;
use crate::target::starling::Own;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// What a server stores in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// A folder of its own.
    Embedded,
    /// MongoDB.
    Mongo,
}

/// What all measurements have.
#[derive(Debug, Args)]
pub struct Common {
    /// Rounds of each scenario, each with a fresh server [default: 5 where servers or sides are held against each other, else 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    pub rounds: Option<u32>,
    /// The server's binary [default: `starling` beside this program; built first when run by cargo].
    #[arg(long, value_name = "PATH")]
    pub server_bin: Option<PathBuf>,
    /// What the server stores in.
    #[arg(long, value_enum, default_value = "embedded")]
    pub store: StoreKind,
    /// A MongoDB server that runs already, by the URI of any database on it; each round makes and drops one of its own
    /// [default: MONGODB_URI; else `mongod`, if it is on the PATH; else FerretDB, built with Go].
    #[arg(long, value_name = "URI")]
    pub mongodb_uri: Option<String>,
    /// Folder for the server's data, on the disk that is to be measured; what is made in it is removed again [default: beside this
    /// program].
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Cores for the server, such as `0` or `0-3`.
    #[arg(long, value_name = "CPUS")]
    pub pin_server: Option<String>,
    /// Cores for the database, where we start it.
    #[arg(long, value_name = "CPUS")]
    pub pin_database: Option<String>,
    /// Cores for the load process.
    #[arg(long, value_name = "CPUS")]
    pub pin_clients: Option<String>,
    /// Threads of the load process [default: half of the cores].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: Option<u32>,
    /// JSON objects, one a line, instead of text: of each round, of medians and ratios, and of what is missing or failed.
    #[arg(long)]
    pub json: bool,
    /// Write a page with tables and plots of everything, which works offline.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// More arguments for the server.
    #[arg(last = true, value_name = "SERVER ARGUMENTS")]
    pub server_arguments: Vec<String>,
}

impl Common {
    /// How the load process is run.
    #[must_use]
    pub fn load(&self) -> LoadOptions {
        let half = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
        let workers = self.workers.unwrap_or(half.max(1) as u32).min(WORKERS_MAX);
        LoadOptions { workers, cores: self.pin_clients.clone() }
    }

    /// A server of our own.
    ///
    /// # Errors
    ///
    /// [`BenchError::Usage`] where there is no binary, and none can be built; [`BenchError::Database`] where there is no database.
    pub fn own(&self) -> Result<Own, BenchError> {
        let beside = beside()?;
        let binary = match &self.server_bin {
            Some(binary) => binary.canonicalize().map_err(BenchError::io(binary.display().to_string()))?,
            None => {
                let binary = beside.join("starling");
                build(&binary)?;
                binary
            }
        };
        let data = self.data.clone().unwrap_or(beside);
        // The server is started in a folder of its own, so that a relative path would mean another one.
        std::fs::create_dir_all(&data).map_err(BenchError::io(data.display().to_string()))?;
        let data = data.canonicalize().map_err(BenchError::io(data.display().to_string()))?;
        let mongo = self.mongo(&data)?;
        let name = if mongo.is_some() { "starling (MongoDB)" } else { "starling" }.to_owned();
        Ok(Own { name, binary, data, cores: self.pin_server.clone(), arguments: self.server_arguments.clone(), mongo })
    }

    fn mongo(&self, data: &Path) -> Result<Option<Arc<Mongo>>, BenchError> {
        match self.store {
            StoreKind::Embedded => Ok(None),
            StoreKind::Mongo => Mongo::find(self.mongodb_uri.as_deref(), data, self.pin_database.as_deref()).map(Some),
        }
    }
}

/// The folder of this program.
pub(super) fn beside() -> Result<PathBuf, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::io("this program's path"))?;
    Ok(program.parent().unwrap_or(Path::new(".")).to_owned())
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
