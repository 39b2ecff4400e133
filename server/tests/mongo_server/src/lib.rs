//! A MongoDB server for tests and measurements, and databases on it: the one that is named; else `mongod`, if it is on the PATH; else
//! FerretDB, which is built from the Go module in `server/tests/ferretdb`. A server that we start ends with the process that started it,
//! however that ends: it lives as long as its standard input is open.

mod database;

pub use database::{Database, Host, database};

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a server to start on a machine that is busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no server, or no database.
#[derive(Debug, thiserror::Error)]
pub enum MongoServerError {
    /// There is nothing to start.
    #[error(
        "a MongoDB server is needed: set MONGODB_URI, or put `mongod` on the PATH, or install Go (https://go.dev/dl) for the one that is \
         built from server/tests/ferretdb; `go` cannot be run: {0}"
    )]
    Nothing(io::Error),
    /// The Go module does not build.
    #[error("server/tests/ferretdb does not build:\n{0}")]
    Build(String),
    /// It was started, and does not listen.
    #[error("the database server does not start")]
    Start,
    /// A file, pipe or process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The URI names no host.
    #[error("the URI of the database server cannot be used")]
    Uri,
    /// The database cannot be dropped.
    #[error("the database {name} cannot be dropped: {source}")]
    Drop {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<mongodb::error::Error>,
    },
}

/// For `map_err`: an I/O error with what was tried.
fn io(what: &'static str) -> impl FnOnce(io::Error) -> MongoServerError {
    move |source| MongoServerError::Io { what, source }
}

/// A server that we started.
#[derive(Debug)]
pub struct MongoServer {
    address: SocketAddr,
    pid: u32,
    cores: Option<String>,
    // Their standard inputs are closed with us: then they end, and remove the folder.
    processes: Vec<(Child, ChildStdin)>,
    folder: PathBuf,
}

fn mongod() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("mongod")).find(|file| file.is_file())
}

/// Where builds go: the folder for such things in that in which cargo has put this program; else that of the system.
fn build_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map_or_else(std::env::temp_dir, |target| target.join("tmp")).join("starling-ferretdb")
}

/// Builds the server of the Go module, once for all processes that want it.
fn ferretdb() -> Result<PathBuf, MongoServerError> {
    let folder = build_folder();
    std::fs::create_dir_all(&folder).map_err(io("a folder for the database server"))?;
    let binary = folder.join("starling-test-ferretdb");
    let lock = File::create(folder.join("lock")).map_err(io("the lock of the build"))?;
    lock.lock().map_err(io("the lock of the build"))?;
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ferretdb");
    let built = Command::new("go").args(["build", "-mod=readonly", "-o"]).arg(&binary).arg(".").current_dir(module).output();
    let built = built.map_err(MongoServerError::Nothing)?;
    if !built.status.success() {
        return Err(MongoServerError::Build(String::from_utf8_lossy(&built.stderr).into_owned()));
    }
    Ok(binary)
}

/// A command for `program` on the cores `cores` only (a list as `taskset -c` takes it), if any are given.
fn pinned(program: &Path, cores: Option<&str>) -> Command {
    let Some(cores) = cores else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cores).arg(program);
    command
}

impl MongoServer {
    /// Starts a server of one's own, in the system's folder for temporary files.
    ///
    /// # Errors
    ///
    /// [`MongoServerError`]: there is no server, or it does not start.
    pub fn start() -> Result<Self, MongoServerError> {
        Self::start_in(&std::env::temp_dir(), None)
    }

    /// Starts a server of one's own: its data in a new folder in `place`, which it removes at its end, and it on these cores only (a
    /// list as `taskset -c` takes it), if any are given.
    ///
    /// # Errors
    ///
    /// [`MongoServerError`]: there is no server, or it does not start.
    pub fn start_in(place: &Path, cores: Option<&str>) -> Result<Self, MongoServerError> {
        let folder = tempfile::Builder::new().prefix("starling-mongo-").tempdir_in(place);
        let folder = folder.map_err(io("a folder for the database"))?.keep();
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(io("a free port"))?;
        let mut server = Self { address, pid: 0, cores: cores.map(str::to_owned), processes: Vec::new(), folder };
        server.restart()?;
        Ok(server)
    }

    fn command(&self) -> Result<(Command, bool), MongoServerError> {
        let cores = self.cores.as_deref();
        let Some(mongod) = mongod() else {
            let mut command = pinned(&ferretdb()?, cores);
            command.arg("-folder").arg(&self.folder).arg("-listen").arg(self.address.to_string());
            return Ok((command, false));
        };
        // A shell ends it when our end of the pipe is closed.
        let script = "folder=$1; shift; \"$@\" >/dev/null 2>&1 & server=$!; echo $server; cat; kill -9 $server; wait; rm -rf \"$folder\"";
        let mut command = pinned(Path::new("sh"), cores);
        command.args(["-c", script, "mongod"]).arg(&self.folder).arg(mongod);
        let port = self.address.port().to_string();
        command.args(["--bind_ip", "127.0.0.1", "--port", &port, "--dbpath"]).arg(&self.folder);
        Ok((command, true))
    }

    /// It starts again, with what it has stored, where it was.
    ///
    /// # Errors
    ///
    /// [`MongoServerError`]: it does not start.
    pub fn restart(&mut self) -> Result<(), MongoServerError> {
        let (mut command, says_its_pid) = self.command()?;
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(io("starting the database server"))?;
        let (stdin, stdout) = process.stdin.take().zip(process.stdout.take()).ok_or(MongoServerError::Start)?;
        self.pid = process.id();
        self.processes.push((process, stdin));
        if says_its_pid {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map_err(io("reading what the database server says"))?;
            self.pid = line.trim().parse().map_err(|_| MongoServerError::Start)?;
        }
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).is_err() {
            if Instant::now() > deadline {
                return Err(MongoServerError::Start);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn signal(&self, name: &str) {
        // One that has ended already takes none.
        let _ended = Command::new("kill").args([name, &self.pid.to_string()]).status();
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

    /// Its process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URI of a database on it.
    #[must_use]
    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://{}/{database}", self.address)
    }
}

impl Drop for MongoServer {
    fn drop(&mut self) {
        // One that is frozen would never end.
        let _gone = Command::new("kill").args(["-CONT", &self.pid.to_string()]).stderr(Stdio::null()).status();
        for (mut process, stdin) in self.processes.drain(..) {
            drop(stdin);
            let _ended = process.wait();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
