//! One round: start the server, bring users and rooms, start the load process, sample while it measures, stop everything.

use crate::control::{GO, LoadResult, Plan, Said};
use crate::error::BenchError;
use crate::interrupt;
use crate::limits::{CONNECTED_TIMEOUT, LOAD_SLACK};
use crate::machine::Machine;
use crate::procfs::{Sample, Usage, machine_busy};
use crate::scenario::{Activity, Scenario};
use crate::target::Target;
use crate::target::process::{Process, pinned};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

/// How the load process is run.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Its threads.
    pub workers: u32,
    /// Cores to pin it to.
    pub cores: Option<String>,
}

/// What a round found.
#[derive(Debug, Clone)]
pub struct Round {
    /// What was measured.
    pub target: String,
    /// The scenario.
    pub scenario: Scenario,
    /// The machine.
    pub machine: Machine,
    /// Time until all sessions were connected and subscribed, in milliseconds; `None` where none are.
    pub connect_ms: Option<u64>,
    /// Resident memory of the server right after its start, before anything was in it, in bytes; where its process is known.
    pub rss_before: Option<u64>,
    /// Resident memory of the server at the start of the measurement, in bytes.
    pub rss_connected: Option<u64>,
    /// What the server used while measured.
    pub server: Option<Usage>,
    /// What the database used while measured; where the server has one, and its process is known.
    pub database: Option<Usage>,
    /// What the load process used while measured.
    pub clients: Usage,
    /// Its threads.
    pub workers: u32,
    /// CPU time that everything else on the machine used while measured, in seconds; where the server's process is known.
    pub others_cpu_s: Option<f64>,
    /// How many events became durable in a tick of the server's world while measured, on average, where it says so.
    pub batch: Option<f64>,
    /// What the load process saw.
    pub result: LoadResult,
}

/// Runs one round of `scenario` against a fresh server of `target`.
///
/// # Errors
///
/// [`BenchError`] where no figures could be had. A server that does badly is a [`Round`], with a bad verdict.
pub fn round(target: &dyn Target, scenario: &Scenario, options: &LoadOptions) -> Result<Round, BenchError> {
    interrupt::check()?;
    let round = with_server(target, scenario, options);
    // Whatever went wrong then has one cause.
    interrupt::check()?;
    round
}

fn with_server(target: &dyn Target, scenario: &Scenario, options: &LoadOptions) -> Result<Round, BenchError> {
    scenario.check()?;
    let running = target.start()?;
    let outcome = loaded(target, running.as_ref(), scenario, options);
    match (outcome, running.stop()) {
        (Ok(round), Ok(())) => Ok(round),
        // What became of the server is the cause of what was seen of it.
        (Err(seen), Err(BenchError::Server(why))) => Err(BenchError::Server(format!("{why}; it was noticed as `{seen}`"))),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    }
}

fn loaded(
    target: &dyn Target,
    running: &dyn crate::target::Running,
    scenario: &Scenario,
    options: &LoadOptions,
) -> Result<Round, BenchError> {
    // Before there is anything in it, so that what users, rooms and connections take is all in.
    let before = running.pid().map(Sample::of).transpose()?;
    let (protocol, sessions) = running.populate(scenario)?;
    // Where there is no server, the load process itself is what is measured.
    let alone = protocol.alone().is_some();
    let cores = protocol.alone().unwrap_or(&options.cores).clone();
    let plan = Plan { scenario: scenario.clone(), protocol, sessions, workers: options.workers };
    let mut load = Load::start(&plan, cores.as_deref())?;
    let load_pid = load.process.pid();
    let server_pid = if alone { Some(load_pid) } else { running.pid() };
    let database_pid = running.database_pid();
    let sample = || server_pid.map(Sample::of).transpose();
    let database = || database_pid.map(Sample::of).transpose();
    // Only where it is shown: to be asked costs the server something.
    let is_closed = matches!(scenario.activity, Activity::Closed { .. });
    let progress = || if is_closed { running.progress() } else { None };
    let Said::Connected { took_ms } = load.hear(CONNECTED_TIMEOUT)? else { return Err(unexpected()) };
    load.tell(GO)?;
    let Said::Measuring = load.hear(seconds(scenario.warmup_s))? else { return Err(unexpected()) };
    // CPU time first: the load process has taken its own counts when it said so, and both must be of the same time.
    let (server_from, clients_from, busy_from) = (sample()?, Sample::of(load_pid)?, machine_busy()?);
    let database_from = database()?;
    let progress_from = progress();
    let Said::Measured = load.hear(seconds(scenario.measure_s))? else { return Err(unexpected()) };
    let (server_to, clients_to, busy_to) = (sample()?, Sample::of(load_pid)?, machine_busy()?);
    let database = database_from.zip(database()?).map(|(from, to)| from.until(&to));
    let batch = progress_from.zip(progress()).and_then(|(from, to)| to.events_per_tick(&from));
    let Said::Done(result) = load.hear(Duration::ZERO)? else { return Err(unexpected()) };
    load.end();
    let busy_s = busy_to.saturating_sub(busy_from).as_secs_f64();
    let clients = if alone { Usage::default() } else { clients_from.until(&clients_to) };
    let rss_connected = server_from.as_ref().map(|sample| sample.rss);
    let server = server_from.zip(server_to).map(|(from, to)| from.until(&to));
    let known_s = clients.cpu_s + database.as_ref().map_or(0.0, |usage| usage.cpu_s);
    Ok(Round {
        target: target.name().to_owned(),
        scenario: scenario.clone(),
        machine: Machine::here(running.data()),
        connect_ms: (!alone).then_some(took_ms),
        rss_before: before.map(|sample| sample.rss),
        rss_connected,
        others_cpu_s: server.as_ref().map(|usage| (busy_s - usage.cpu_s - known_s).max(0.0)),
        server,
        database,
        batch,
        clients,
        workers: options.workers,
        result: *result,
    })
}

fn unexpected() -> BenchError {
    BenchError::Load("it said something out of turn".to_owned())
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The load process: this program again.
struct Load {
    process: Process,
    input: std::process::ChildStdin,
}

impl Load {
    fn start(plan: &Plan, cores: Option<&str>) -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::io("this program's path"))?;
        let mut command = pinned(&program, cores);
        let mut process = Process::spawn(command.arg("load").stdin(Stdio::piped()))?;
        let input = process.input().ok_or_else(|| BenchError::Load("no input".to_owned()))?;
        let mut load = Self { process, input };
        load.tell(&serde_json::to_string(plan).map_err(|error| BenchError::Load(error.to_string()))?)?;
        Ok(load)
    }

    /// Lets it end, which it does not before, so that it can be sampled.
    fn end(self) {
        let Self { mut process, input } = self;
        drop(input);
        process.wait(LOAD_SLACK);
    }

    fn tell(&mut self, line: &str) -> Result<(), BenchError> {
        writeln!(self.input, "{line}")
            .and_then(|()| self.input.flush())
            .map_err(BenchError::io("speaking to the load process"))
    }

    /// What it says next, which takes it `expected` and not much longer.
    fn hear(&mut self, expected: Duration) -> Result<Said, BenchError> {
        let timeout = expected + LOAD_SLACK;
        let Some(line) = self.process.line(timeout) else {
            let why = self
                .process
                .ended()
                .map_or(format!("it said nothing for {timeout:?}"), |status| format!("it ended, {status}"));
            return Err(BenchError::Load(why));
        };
        match serde_json::from_str(&line) {
            Ok(Said::Failed { why }) => Err(BenchError::Load(why)),
            Ok(said) => Ok(said),
            Err(error) => Err(BenchError::Load(format!("it said {line:?}: {error}"))),
        }
    }
}
