//! The client program `starling-chat` as child processes, with profiles in a folder of their own.

use super::process::signal;
use super::{STEP, Server};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The password of everybody.
pub const PASSWORD: &str = "a long enough password";

/// The program, which lies beside the server's.
pub fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_starling")).with_file_name("starling-chat");
    assert!(
        path.exists(),
        "{} is missing: run `cargo test --workspace`, or `cargo build -p starling-client` first",
        path.display()
    );
    path
}

/// People at one server, each with a profile.
pub struct Chat {
    home: TempDir,
    env: Vec<(&'static str, String)>,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Chat {
    /// An empty folder of profiles, and a server to talk to.
    pub fn new(server: &Server) -> Self {
        let env = vec![
            ("STARLING_SERVER", server.quic.to_string()),
            ("STARLING_API", server.rest_url()),
            ("STARLING_CA", server.certificate().display().to_string()),
            ("STARLING_PASSWORD", PASSWORD.to_owned()),
            ("STARLING_TIMEOUT", "20".to_owned()),
        ];
        Self { home: tempfile::Builder::new().prefix("starling-home-").tempdir().unwrap(), env }
    }

    /// Where the profiles are.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The same profiles, without one of the variables (a login remembers its server).
    pub fn without(mut self, variable: &str) -> Self {
        self.env.retain(|(name, _)| *name != variable);
        self
    }

    /// The same profiles with another value of a variable.
    pub fn with(mut self, variable: &'static str, value: &str) -> Self {
        self = self.without(variable);
        self.env.push((variable, value.to_owned()));
        self
    }

    fn spawn(&self, args: &[&str], stdin: Stdio) -> Child {
        let mut command = Command::new(program());
        command.env_clear().env("STARLING_CHAT_HOME", self.home()).envs(self.env.iter().cloned());
        command.args(args).current_dir(self.home()).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "")
    }

    /// The same, with this on its standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.spawn(args, Stdio::piped());
        let mut stdin = child.stdin.take().unwrap();
        // It may end without having read it.
        let _gone = stdin.write_all(input.as_bytes());
        drop(stdin);
        let (stdout, stderr) = (all(child.stdout.take().unwrap()), all(child.stderr.take().unwrap()));
        let code = wait(&mut child, args);
        Ended { code, stdout: stdout.recv_timeout(STEP).unwrap(), stderr: stderr.recv_timeout(STEP).unwrap() }
    }

    /// Runs it for people: what it printed. It must succeed.
    pub fn text(&self, who: &str, args: &[&str]) -> String {
        let ended = self.run(&[&["--profile", who], args].concat());
        assert_eq!(ended.code, Some(0), "{who} {args:?}: {ended:?}");
        ended.stdout
    }

    /// Runs it with `--json`: the objects that it printed. It must succeed.
    pub fn json(&self, who: &str, args: &[&str]) -> Vec<Value> {
        let ended = self.run(&[&["--json", "--profile", who], args].concat());
        assert_eq!(ended.code, Some(0), "{who} {args:?}: {ended:?}");
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
    }

    /// The same where one object is due.
    pub fn one(&self, who: &str, args: &[&str]) -> Value {
        let mut objects = self.json(who, args);
        assert_eq!(objects.len(), 1, "{who} {args:?}: {objects:?}");
        objects.remove(0)
    }

    /// It must fail: exit code and code of the error. The exit code stands in the error too, and nothing on standard output.
    pub fn refused(&self, who: &str, args: &[&str]) -> (i32, String) {
        let ended = self.run(&[&["--json", "--profile", who], args].concat());
        let error: Value = ended.stderr.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        assert_eq!(error["type"], "error", "{who} {args:?}: {ended:?}");
        assert_eq!(error["exit"].as_i64(), ended.code.map(i64::from), "{ended:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{ended:?}");
        (ended.code.unwrap(), error["code"].as_str().unwrap().to_owned())
    }

    /// Makes an account and logs in; the id.
    pub fn register(&self, who: &str) -> String {
        let email = format!("{who}@example.org");
        let user = self.one(who, &["register", who, "--email", &email]);
        assert_eq!((&user["type"], &user["username"]), (&"user".into(), &who.into()));
        user["id"].as_str().unwrap().to_owned()
    }

    /// Starts the program with `--json` and goes on.
    pub fn follow(&self, who: &str, args: &[&str]) -> Following {
        let args = [&["--json", "--profile", who], args].concat();
        let mut child = self.spawn(&args, Stdio::piped());
        let (said, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _nobody_listens = said.send(line);
            }
        });
        let (stdin, stderr) = (child.stdin.take(), all(child.stderr.take().unwrap()));
        Following { child, stdin, lines, stderr, seen: Vec::new() }
    }
}

/// Reads a stream to its end, beside.
fn all(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (said, heard) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _cut_off = stream.read_to_end(&mut bytes);
        let _nobody_listens = said.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    heard
}

fn wait(child: &mut Child, what: &[&str]) -> Option<i32> {
    let deadline = Instant::now() + STEP + STEP;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            let _gone = child.kill();
            let _gone = child.wait();
            panic!("starling-chat {what:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program that runs beside the test. Dropping it kills it.
pub struct Following {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Receiver<String>,
    /// What it has said so far, for messages.
    seen: Vec<String>,
}

impl Following {
    /// The next object; `None` at the end.
    pub fn next(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(STEP) {
            Ok(line) => {
                let object = serde_json::from_str(&line).expect("one object a line");
                self.seen.push(line);
                Some(object)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more comes; so far: {:#?}", self.seen),
        }
    }

    /// The next object of a type; others are left out.
    pub fn of_type(&mut self, wanted: &str) -> Value {
        loop {
            match self.next() {
                Some(object) if object["type"] == wanted => return object,
                Some(_) => {}
                None => {
                    let errors = self.errors();
                    panic!("it ended where `{wanted}` was due: {:#?} {errors}", self.seen);
                }
            }
        }
    }

    /// A line on its standard input.
    pub fn line(&mut self, text: &str) {
        writeln!(self.stdin.as_mut().expect("it is closed"), "{text}").unwrap();
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// What a Ctrl-C sends.
    pub fn interrupt(&self) {
        signal(self.child.id(), "-INT");
    }

    /// Waits for its end; the exit code.
    pub fn ended(&mut self) -> Option<i32> {
        wait(&mut self.child, &["beside the test"])
    }

    /// Its standard error stream, once it has ended.
    pub fn errors(&self) -> String {
        self.stderr.recv_timeout(STEP).unwrap_or_default()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
