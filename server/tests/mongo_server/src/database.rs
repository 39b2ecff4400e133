//! Databases on a server.

use super::{MongoServer, MongoServerError};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::OnceLock;

/// The variable that names a server which runs already.
const VARIABLE: &str = "MONGODB_URI";

/// Where databases are made.
#[derive(Debug)]
pub enum Host {
    /// A server that runs already, by the URI of any database on it.
    Given(String),
    /// A server that we started.
    Ours(MongoServer),
}

/// A database of one's own. Where the server is not ours it is dropped at the end.
#[derive(Debug)]
pub struct Database {
    /// Names it.
    pub uri: String,
    name: String,
    is_ours: bool,
}

impl Host {
    /// The server that `given` or else MONGODB_URI names; where none is named, one is started, as by [`MongoServer::start_in`].
    ///
    /// # Errors
    ///
    /// [`MongoServerError`]: there is no server, or it does not start.
    pub fn find(given: Option<&str>, place: &Path, cores: Option<&str>) -> Result<Self, MongoServerError> {
        let given = given.map(str::to_owned).or_else(|| std::env::var(VARIABLE).ok());
        match given.filter(|uri| !uri.is_empty()) {
            Some(uri) => Ok(Self::Given(uri)),
            None => MongoServer::start_in(place, cores).map(Self::Ours),
        }
    }

    /// Names a new database, which exists once something is written to it.
    ///
    /// # Errors
    ///
    /// [`MongoServerError::Uri`] where the URI that was given is none.
    pub fn database(&self) -> Result<Database, MongoServerError> {
        let name = format!("starling_test_{}", uuid::Uuid::new_v4().simple());
        Ok(match self {
            Self::Given(uri) => Database { uri: with_database(uri, &name)?, name, is_ours: false },
            Self::Ours(server) => Database { uri: server.uri(&name), name, is_ours: true },
        })
    }

    /// The process of the server, if we started it.
    #[must_use]
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Given(_) => None,
            Self::Ours(server) => Some(server.pid()),
        }
    }
}

/// A database of a test's own: all tests of a process share a server.
///
/// # Panics
///
/// Where there is no server: a test needs one.
#[must_use]
pub fn database() -> Database {
    static SHARED: OnceLock<Host> = OnceLock::new();
    let host = SHARED.get_or_init(|| expected(Host::find(None, &std::env::temp_dir(), None)));
    expected(host.database())
}

fn expected<T>(result: Result<T, MongoServerError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A URI with another database; who logs in keeps the database that knows them.
fn with_database(uri: &str, name: &str) -> Result<String, MongoServerError> {
    let (scheme, rest) = uri.split_once("://").ok_or(MongoServerError::Uri)?;
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, old) = rest.split_once('/').unwrap_or((rest, ""));
    let old = if old.is_empty() { "admin" } else { old };
    let source =
        if hosts.contains('@') && !options.contains("authSource=") { format!("&authSource={old}") } else { String::new() };
    Ok(format!("{scheme}://{hosts}/{name}?{options}{source}"))
}

impl Database {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its server listens: the first one, if there are several.
    ///
    /// # Panics
    ///
    /// Where the URI names no host that has an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let hosts = self.uri.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let host = hosts.split('@').next_back().and_then(|hosts| hosts.split(',').next()).unwrap_or_default();
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:27017") };
        let address = host.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        address.unwrap_or_else(|| panic!("{host} has no address"))
    }

    /// Drops it now.
    ///
    /// # Errors
    ///
    /// [`MongoServerError::Drop`] where the server does not do that.
    pub fn remove(&self) -> Result<(), MongoServerError> {
        let uri = self.uri.clone();
        // A thread, since whoever calls this may be a task.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = mongodb::Client::with_uri_str(&uri).await?;
                match client.default_database() {
                    Some(database) => database.drop().await,
                    None => Ok(()),
                }
            })
        });
        match thread.join() {
            Ok(Err(source)) => Err(MongoServerError::Drop { name: self.name.clone(), source: Box::new(source) }),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of ours takes its folder with it.
        if !self.is_ours
            && let Err(error) = self.remove()
        {
            eprintln!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::with_database;

    #[test]
    fn another_database_keeps_the_rest_of_the_uri() {
        let with = |uri: &str| with_database(uri, "x").unwrap();
        assert_eq!(with("mongodb://a:1,b:2/old?replicaSet=r"), "mongodb://a:1,b:2/x?replicaSet=r");
        assert_eq!(with("mongodb://u:p@a"), "mongodb://u:p@a/x?&authSource=admin");
        assert_eq!(with("mongodb://u:p@a/old?authSource=b"), "mongodb://u:p@a/x?authSource=b");
        assert!(with_database("nonsense", "x").is_err());
    }
}
