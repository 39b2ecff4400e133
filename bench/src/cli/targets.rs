//! What is measured: a server of our own or one that runs already, and others beside it.

use super::Common;
use super::common::beside;
use crate::error::BenchError;
use crate::limits::{INSERT_BATCH_MAX, INSERT_CONNECTIONS_MAX, ROUNDS_SIDE_BY_SIDE};
use crate::target::mongo::Inserts;
use crate::target::starling::{Access, Other};
use crate::target::{Kind, Targets};
use clap::Args;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// The first address of a host and port.
fn resolved(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "it has no address".to_owned())
}

/// What is measured.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// A server that runs already: its QUIC address. It must have been started with its rates raised.
    #[arg(long, value_name = "HOST:PORT", requires = "api", requires = "ca")]
    #[arg(conflicts_with_all = ["server_bin", "store", "mongodb_uri"])]
    #[arg(value_parser = resolved)]
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
    /// With `--store mongo`, E has beside it one insert for each message on the same database server: connections of these inserts.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=i64::from(INSERT_CONNECTIONS_MAX)))]
    pub insert_connections: u32,
    /// Messages of each of those inserts; more than one shows what the database takes in batches.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(INSERT_BATCH_MAX)))]
    pub insert_batch: u32,
    /// Other servers to run beside it, in the same rounds, in turn; ratios are printed. What is missing is told, with the
    /// command that brings it; scripts are fetched with npm on first use.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEERS")]
    pub peers: Vec<Kind>,
}

impl TargetArgs {
    /// Rounds of each scenario: several where servers are held against each other.
    #[must_use]
    pub fn rounds(&self, common: &Common) -> u32 {
        common.rounds.unwrap_or(if self.peers.is_empty() { 1 } else { ROUNDS_SIDE_BY_SIDE })
    }

    /// The servers to measure: Starling first, then the peers that can be had; and why others cannot.
    ///
    /// # Errors
    ///
    /// [`BenchError::Usage`] where there is no binary, and none can be built; [`BenchError::Database`] where there is no database.
    pub fn targets(&self, common: &Common) -> Result<(Targets, Vec<BenchError>), BenchError> {
        let cores = &common.pin_server;
        if let (Some(address), Some(api), Some(ca)) = (self.address, &self.api, &self.ca) {
            let access = Access { address, api: api.clone(), ca: ca.clone(), server_name: self.server_name.clone() };
            return self.with_peers(vec![Box::new(Other { access, pid: self.server_pid })], cores.as_deref());
        }
        let own = common.own()?;
        let mut targets: Targets = Vec::new();
        let mongo = own.mongo.clone();
        targets.push(Box::new(own));
        if let Some(mongo) = mongo {
            let (connections, batch, cores) = (self.insert_connections, self.insert_batch, common.pin_clients.clone());
            targets.push(Box::new(Inserts { mongo, connections, batch, cores }));
        }
        self.with_peers(targets, cores.as_deref())
    }

    fn with_peers(&self, mut targets: Targets, cores: Option<&str>) -> Result<(Targets, Vec<BenchError>), BenchError> {
        let mut missing = Vec::new();
        let folder = beside()?.join("bench-peers");
        for kind in &self.peers {
            match kind.target(&folder, cores.map(str::to_owned)) {
                Ok(peer) => targets.push(peer),
                Err(error) => missing.push(error),
            }
        }
        Ok((targets, missing))
    }
}
