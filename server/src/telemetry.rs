//! Telemetry: what the server says of itself, as log lines and as metrics.
//!
//! Metrics are named `starling_*`; whoever counts something uses the macros of the `metrics` crate, and `GET /metrics` shows it.

use crate::config::{Config, LogFormat};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing_subscriber::EnvFilter;

/// Upper bounds of the buckets of every histogram, in seconds: from a write to memory to a request that gave up.
const BUCKETS_S: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is none.
    #[error("log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else of this process takes the log already.
    #[error("the log is taken: {0}")]
    LogTaken(String),
    /// Something else of this process takes the metrics already.
    #[error("the metrics are taken: {0}")]
    MetricsTaken(String),
}

/// Begins to log to the standard error stream, as the configuration says. Once in a process.
///
/// # Errors
///
/// [`TelemetryError`] for a filter that is none, and on a second call.
pub fn init_log(config: &Config) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let outcome = match config.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| TelemetryError::LogTaken(error.to_string()))
}

/// Begins to count, and gives the handle that [`crate::rest::RestDeps::metrics`] wants. Later calls give the same one.
///
/// # Errors
///
/// [`TelemetryError::MetricsTaken`] where another recorder was installed.
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALL: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let taken = |error: &dyn std::fmt::Display| TelemetryError::MetricsTaken(error.to_string());
    let builder = PrometheusBuilder::new().set_buckets(BUCKETS_S).map_err(|error| taken(&error))?;
    let handle = builder.install_recorder().map_err(|error| taken(&error))?;
    describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("starling_rest_requests_total", "REST requests by route, method and status");
    describe_histogram!("starling_rest_request_seconds", Unit::Seconds, "Time that REST requests took, by route");
    describe_gauge!("starling_rest_connections", "REST connections open");
    describe_counter!("starling_auth_logins_total", "Logins by outcome");
    describe_counter!("starling_auth_registrations_total", "Accounts made");
    describe_counter!("starling_auth_refresh_reused_total", "Refresh tokens shown a second time");
    describe_histogram!("starling_password_seconds", Unit::Seconds, "Time that password hashes took, waiting included");
    describe_counter!("starling_ticks_total", "Ticks of the world");
    describe_counter!("starling_commands_total", "Inputs of the world: commands, changes of sessions, answers of the store");
    describe_counter!("starling_refusals_total", "Commands refused by the world, by code");
    describe_counter!("starling_events_total", "Events that became durable");
    describe_counter!("starling_frames_sent_total", "Frames of events handed to connections");
    describe_gauge!("starling_sessions", "Sessions");
    describe_gauge!("starling_rooms_in_memory", "Rooms in memory");
    describe_gauge!("starling_users_in_memory", "Users in memory");
    describe_gauge!("starling_hot_log_bytes", Unit::Bytes, "Recent events kept in memory, of all rooms");
    describe_gauge!("starling_open_reads", "Reads that the store has not answered");
    describe_gauge!("starling_catch_up_pages", "Pages of logs in memory, for readers who catch up");
}
