//! One server process: started, killed, started again on the same folder and ports, stopped.

use mongo_server::Database;
use starling_client::rest::{LoggedIn, Rest};
use starling_client::{Client, ClientBuilder};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time for a start, which may find other tests on the same two cores.
const START: Duration = Duration::from_secs(60);
/// Time for a stop.
const STOP: Duration = Duration::from_secs(30);

/// Sends a signal to a process that a test has started.
pub fn signal(pid: u32, name: &str) {
    let signalled = Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(signalled.success());
}

/// Which store a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// In its folder.
    Embedded,
    /// In a database of its own, on the MongoDB server of the tests.
    Mongo,
}

/// A server and its folder. Dropping it kills the process.
pub struct Server {
    folder: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    child: Option<Child>,
    database: Option<Database>,
    pub rest: SocketAddr,
    pub quic: SocketAddr,
}

impl Server {
    /// A server on free ports, with these arguments besides folder and ports. No bounds on registrations and logins.
    pub fn start(args: &[&str]) -> Self {
        Self::start_on(0, 0, args, &[])
    }

    /// The same, with variables in its environment.
    pub fn start_with_env(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_on(0, 0, args, env)
    }

    /// A server whose ports are not of the range that the system gives to clients: nobody takes them while it is down.
    pub fn start_for_restarts(stored: Stored, args: &[&str]) -> Self {
        let database = (stored == Stored::Mongo).then(mongo_server::database);
        let env: Vec<(&str, &str)> = database.iter().map(|database| ("MONGODB_URI", database.uri.as_str())).collect();
        let mut server = Self::start_on_own_ports(args, &env);
        server.database = database;
        server
    }

    /// The same, with variables in its environment.
    pub fn start_on_own_ports(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut random = super::Random(uuid::Uuid::new_v4().as_u128() as u64);
        let mut port = || 15_000 + u16::try_from(random.below(15_000)).unwrap();
        loop {
            let (rest, quic) = (port(), port());
            let free = std::net::TcpListener::bind(("127.0.0.1", rest)).is_ok()
                && std::net::UdpSocket::bind(("127.0.0.1", quic)).is_ok();
            if free {
                return Self::start_on(rest, quic, args, env);
            }
        }
    }

    fn start_on(rest: u16, quic: u16, args: &[&str], env: &[(&str, &str)]) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::Builder::new().prefix("starling-test-").tempdir().unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut server = Self { folder, args, env, child: None, database: None, rest: nowhere, quic: nowhere };
        server.rest.set_port(rest);
        server.quic.set_port(quic);
        server.spawn();
        server
    }

    /// Starts the process again, on the ports that it had.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the server still runs");
        self.spawn();
    }

    fn spawn(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_starling"))
            .env_clear()
            .envs(self.env.iter().cloned())
            .current_dir(self.folder.path())
            .args(["--register-per-ip", "0", "--login-per-ip", "0"])
            .arg("--data")
            .arg(self.data())
            .args(["--port", &self.rest.port().to_string(), "--quic-port", &self.quic.port().to_string()])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, heard) = std::sync::mpsc::channel();
        // Reads on to the end, so that the server never writes into a closed pipe.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _nobody_listens = said.send(line);
            }
        });
        self.child = Some(child);
        let deadline = Instant::now() + START;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = heard.recv_timeout(left) else {
                panic!("the server did not start:\n{}", self.log());
            };
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("QUIC"), Some(address)) => self.quic = address.parse().unwrap(),
                (Some("REST"), Some(address)) => {
                    self.rest = address.strip_prefix("http://").unwrap().parse().unwrap();
                }
                (Some("Ctrl-C"), _) => return,
                _ => {}
            }
        }
    }

    /// SIGKILL: no goodbye, nothing is written any more.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the server does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and does not wait.
    pub fn terminate(&self) {
        signal(self.pid(), "-TERM");
    }

    /// SIGINT, which is what Ctrl-C sends, and does not wait.
    pub fn interrupt(&self) {
        signal(self.pid(), "-INT");
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server does not run");
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let _gone = child.kill();
                let _gone = child.wait();
                panic!("the server does not stop:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM; the process must end well.
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// The URI of its database, if it has one of its own.
    pub fn database_uri(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.uri.as_str())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server does not run").id()
    }

    pub fn rest_url(&self) -> String {
        format!("http://{}", self.rest)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn certificate(&self) -> PathBuf {
        self.data().join("cert.pem")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What the process wrote to its standard error stream, its last starts included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A builder of clients that fits this server, with short waits.
    pub fn client(&self, account: &LoggedIn) -> ClientBuilder {
        let rest = Rest::new(&self.rest_url()).unwrap();
        Client::builder(self.quic.to_string())
            .ca_file(self.certificate())
            .tokens(rest.tokens(account.tokens.clone()))
            .backoff(Duration::from_millis(10), Duration::from_millis(100))
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// CPU time so far, of all threads.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // After the name, which may hold spaces, in parentheses; utime and stime are fields 14 and 15 of the whole.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 on every Linux.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _gone = child.kill();
            let _gone = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("the server's log ends with:\n{}", last.join("\n"));
        }
    }
}
