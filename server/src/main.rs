//! The `starling` binary: reads the configuration, starts the server, waits for a signal. `starling admin` is a tool of its own.

use server::config::{Config, ConfigError, Loaded};
use server::{App, telemetry};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(unix)]
    if std::env::args_os().nth(1).is_some_and(|first| first == "admin") {
        return server::admin::cli::run(std::env::args_os().enumerate().filter(|(at, _)| *at != 1).map(|(_, arg)| arg));
    }
    let config = match Config::load(std::env::args_os(), |name| std::env::var(name).ok()) {
        Ok(Loaded::Run(config)) => config,
        Ok(Loaded::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("starling: {error}");
            return ExitCode::from(ConfigError::EXIT_CODE);
        }
    };
    if let Err(error) = telemetry::init_log(&config) {
        eprintln!("starling: {error}");
        return ExitCode::from(ConfigError::EXIT_CODE);
    }
    let unknown = Config::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()));
    if !unknown.is_empty() {
        tracing::warn!(names = unknown.join(", "), "environment variables that look like settings and are none");
    }
    let data = config.data.clone();
    match App::new(*config).start() {
        Ok(running) => {
            let rest = running.rest_address();
            println!("Starling {}", env!("CARGO_PKG_VERSION"));
            println!("  QUIC  {}  (ALPN starling/1)", running.quic_address());
            println!("  REST  http://{rest}  (docs at http://{rest}/docs)");
            println!("  data  {}", data.display());
            println!("  store {}", running.store_place());
            println!("  cert  SHA-256 {}", running.fingerprint());
            match running.on_signal() {
                Ok(stop) => {
                    println!("Ctrl-C stops it.");
                    stop.wait();
                    println!("Stopped.");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("starling: cannot listen for signals: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("starling: {error}");
            ExitCode::FAILURE
        }
    }
}
