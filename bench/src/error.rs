//! What can go wrong in the harness itself. A server that does badly is no error but a verdict ([`crate::report`]).

use std::io;

/// Why a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The arguments contradict each other or leave their bounds.
    #[error("{0}")]
    Usage(String),
    /// A file, pipe or process of the harness.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The server could not be started, or ended.
    #[error("the server: {0}")]
    Server(String),
    /// A peer cannot be had.
    #[error("a peer: {0}")]
    Peer(String),
    /// The database under the server, or beside it.
    #[error("the database: {0}")]
    Database(String),
    /// A REST call failed.
    #[error("{call}: {why}")]
    Rest {
        /// Method and path.
        call: String,
        /// Status and problem, or why there was none.
        why: String,
    },
    /// The harness was told to end.
    #[error("interrupted")]
    Interrupted,
    /// The load process failed.
    #[error("the load process: {0}")]
    Load(String),
}

impl BenchError {
    /// For `map_err`: an I/O error with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
