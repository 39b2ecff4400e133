//! A MongoDB server for tests, and databases on it: the one that MONGODB_URI names; else `mongod`, if it is on the PATH; else FerretDB,
//! which is built from the Go module in `server/tests/ferretdb`. A server that we start ends with the test process, however that ends:
//! it lives as long as its standard input is open.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Long enough for a server to start on a machine that is busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that we started.
pub struct MongoServer {
    address: SocketAddr,
    pid: u32,
    // Their standard inputs are closed with us: then they end, and remove the folder.
    processes: Vec<(Child, ChildStdin)>,
    folder: PathBuf,
}

fn mongod() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("mongod")).find(|file| file.is_file())
}

/// Builds the server of the Go module, once for all test processes.
fn ferretdb() -> PathBuf {
    let place = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = place.join("starling-ferretdb");
    std::fs::create_dir_all(&folder).unwrap();
    let binary = folder.join("starling-test-ferretdb");
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ferretdb");
    let built = Command::new("go").args(["build", "-mod=readonly", "-o"]).arg(&binary).arg(".").current_dir(module).output();
    let built = built.unwrap_or_else(|error| {
        panic!(
            "tests of the MongoDB store need a server: set MONGODB_URI, or put `mongod` on the PATH, or install Go (https://go.dev/dl) \
             for the one that is built from server/tests/ferretdb; `go` cannot be run: {error}"
        )
    });
    assert!(built.status.success(), "server/tests/ferretdb does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    binary
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl MongoServer {
    /// Starts a server of one's own.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let address = free_address();
        let mut server = Self { address, pid: 0, processes: Vec::new(), folder };
        server.run();
        server
    }

    fn run(&mut self) {
        let (folder, address) = (&self.folder, self.address);
        let is_mongod = mongod().is_some();
        let mut command = match mongod() {
            // A shell ends it when our end of the pipe is closed.
            Some(mongod) => {
                let mut command = Command::new("sh");
                let script = "folder=$1; shift; \"$@\" >/dev/null 2>&1 & server=$!; echo $server; cat; kill -9 $server; wait; rm -rf \"$folder\"";
                command.args(["-c", script, "mongod"]).arg(folder).arg(mongod);
                let port = address.port().to_string();
                command.args(["--bind_ip", "127.0.0.1", "--port", &port, "--dbpath"]).arg(folder);
                command
            }
            None => {
                let mut command = Command::new(ferretdb());
                command.arg("-folder").arg(folder).arg("-listen").arg(address.to_string());
                command
            }
        };
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a server that starts");
        let stdin = process.stdin.take().unwrap();
        self.pid = process.id();
        if is_mongod {
            let mut line = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
            self.pid = line.trim().parse().unwrap();
        }
        self.processes.push((process, stdin));
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "the database server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        let signalled = Command::new("kill").args([name, &self.pid.to_string()]).status().unwrap();
        assert!(signalled.success());
    }

    /// It does nothing any more, and does not say so.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// It ends at once.
    pub fn kill9(&self) {
        self.signal("-KILL");
    }

    /// It starts again, with what it has stored, where it was.
    pub fn restart(&mut self) {
        self.run();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URI of a database on it.
    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://{}/{database}", self.address)
    }
}

impl Drop for MongoServer {
    fn drop(&mut self) {
        // One that is frozen would never end.
        let _gone = Command::new("kill").args(["-CONT", &self.pid.to_string()]).stderr(std::process::Stdio::null()).status();
        for (mut process, stdin) in self.processes.drain(..) {
            drop(stdin);
            let _ended = process.wait();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where databases are made: one server for all tests of a process.
enum Shared {
    Given(String),
    Ours(MongoServer),
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("MONGODB_URI") {
        Ok(uri) if !uri.is_empty() => Shared::Given(uri),
        _ => Shared::Ours(MongoServer::start()),
    })
}

/// A database of a test's own.
pub struct Database {
    /// Names it.
    pub uri: String,
    name: String,
    is_ours: bool,
}

/// A database of one's own, dropped at the end where the server is not ours.
pub fn database() -> Database {
    let name = format!("starling_test_{}", uuid::Uuid::new_v4().simple());
    match shared() {
        Shared::Given(uri) => Database { uri: with_database(uri, &name), name, is_ours: false },
        Shared::Ours(server) => Database { uri: server.uri(&name), name, is_ours: true },
    }
}

/// A URI with another database; who logs in keeps the database that knows them.
fn with_database(uri: &str, name: &str) -> String {
    let (scheme, rest) = uri.split_once("://").expect("a URI with a scheme");
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, old) = rest.split_once('/').unwrap_or((rest, ""));
    let old = if old.is_empty() { "admin" } else { old };
    let source =
        if hosts.contains('@') && !options.contains("authSource=") { format!("&authSource={old}") } else { String::new() };
    format!("{scheme}://{hosts}/{name}?{options}{source}")
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its server listens: the first one, if there are several.
    pub fn address(&self) -> SocketAddr {
        let hosts = self.uri.split("://").nth(1).and_then(|rest| rest.split('/').next()).expect("a host");
        let host = hosts.split('@').next_back().and_then(|hosts| hosts.split(',').next()).expect("a host");
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:27017") };
        host.to_socket_addrs().unwrap().next().expect("an address")
    }
}

/// The documents of a database that have these bytes in them, in whatever collection and field; text is looked for whatever its case.
pub async fn documents_with(uri: &str, text: &str) -> Vec<mongodb::bson::RawDocumentBuf> {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let database = client.default_database().expect("a URI with a database");
    let wanted = text.to_ascii_lowercase().into_bytes();
    let mut found = Vec::new();
    for name in database.list_collection_names().await.unwrap() {
        let mut documents =
            database.collection::<mongodb::bson::RawDocumentBuf>(&name).find(Default::default()).await.unwrap();
        while documents.advance().await.unwrap() {
            let document = documents.current();
            let bytes = document.as_bytes().to_ascii_lowercase();
            if bytes.windows(wanted.len()).any(|part| part == wanted) {
                found.push(document.to_owned());
            }
        }
    }
    client.shutdown().await;
    found
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_ours {
            return;
        }
        let uri = self.uri.clone();
        // A thread, since whoever drops this may be a task.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = mongodb::Client::with_uri_str(&uri).await?;
                match client.default_database() {
                    Some(database) => database.drop().await,
                    None => Ok(()),
                }
            })
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("the database {} cannot be dropped: {error}", self.uri);
        }
    }
}
