//! Configuration: a file, the environment and flags, each above the one before. One table ([`settings::SETTINGS`]) says of every
//! setting how it is spelled, what it may be, and what it is when nobody sets it.
//!
//! Nothing here reads the process' own environment or arguments: [`Config::load`] is handed both, and reads files only.

pub mod settings;

use crate::limits::JWT_SECRET_BYTES_MIN;
use clap::{Arg, ArgAction, Command};
use components::time::Tuning;
use settings::{SETTINGS, Setting};
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read if it exists and none is named.
pub const DEFAULT_FILE: &str = "./starling.toml";
/// Names of the original system that have no meaning here yet, and what to do about them.
const NOT_YET: &[(&str, &str)] =
    &[("MSG_BROKER_URL", "this version runs all services in one process, without a broker: unset MSG_BROKER_URL")];

/// Variables that are no settings of the server: the file's place, and what `starling-chat` reads.
const OTHER_VARIABLES: &[&str] = &[
    "STARLING_CONFIG",
    "STARLING_SERVER",
    "STARLING_API",
    "STARLING_CA",
    "STARLING_FINGERPRINT",
    "STARLING_SERVER_NAME",
    "STARLING_PROFILE",
    "STARLING_JSON",
    "STARLING_TIMEOUT",
    "STARLING_CHAT_HOME",
    "STARLING_PASSWORD",
];

/// A text that must not be seen: `Debug` shows only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the server was told. See [`settings::SETTINGS`] for what each may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Folder of the keys and, unless MongoDB is the store, of the store.
    pub data: PathBuf,
    /// The MongoDB database that is the store; the embedded store where there is none.
    pub mongodb_uri: Option<Secret>,
    /// Address that REST and QUIC listen on.
    pub host: IpAddr,
    /// Port of REST (TCP); 0 takes any free one.
    pub port: u16,
    /// Port of QUIC (UDP); 0 takes any free one.
    pub quic_port: u16,
    /// Certificate chain, PEM; a self-signed one in the data folder where there is none.
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    pub tls_key: Option<PathBuf>,
    /// Whether the client's address is the last one of `X-Forwarded-For`.
    pub forwarded_for: bool,
    /// Secret of access tokens (HS256); Ed25519 where there is none.
    pub jwt_secret: Option<Secret>,
    /// Lifetime of access tokens, in seconds.
    pub access_token_s: u64,
    /// Registrations of one address in an hour; 0 is no bound.
    pub register_per_ip: u32,
    /// Logins of one address in a minute; 0 is no bound.
    pub login_per_ip: u32,
    /// Commands a second that a user may send for long.
    pub user_rate: f64,
    /// Commands that a user may send at once.
    pub user_burst: f64,
    /// Commands a second that a room takes for long.
    pub room_rate: f64,
    /// Commands that a room takes at once.
    pub room_burst: f64,
    /// A room's flush interval per reader, in microseconds.
    pub flush_us_per_reader: u64,
    /// The longest flush interval of a room, in microseconds.
    pub flush_us_max: u64,
    /// Queue wait above which new sends are refused, in milliseconds.
    pub overload_wait_ms: u64,
    /// How long an unused room or user stays in memory, in seconds.
    pub idle_s: u64,
    /// Time that sessions get to go away before the process ends, in seconds.
    pub drain_s: u64,
    /// Do not wait for the disk before acknowledging: for measurements only, since a power cut then loses what was acknowledged.
    pub unsafe_no_sync: bool,
    /// Which log lines are written: a level, or `tracing` directives.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// What a start is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// Serve.
    Run(Box<Config>),
    /// Print this (help or version) and end with exit code 0.
    Print(String),
}

/// A configuration that cannot be used. The process ends with [`ConfigError::EXIT_CODE`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is not one of those allowed.
    #[error("{key}: found {found}, allowed is {allowed}")]
    Value {
        /// The setting, as it is spelled where it was found.
        key: String,
        /// What was found; of secrets only their length.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A key of the file is none.
    #[error("{key}: no such setting (there are: {known})")]
    UnknownKey {
        /// File and key.
        key: String,
        /// Those that there are.
        known: String,
    },
    /// The file cannot be read, or is no TOML.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A name of the original system that means nothing here yet.
    #[error("{name}: {why}")]
    NotYet {
        /// The name.
        name: &'static str,
        /// What to do.
        why: &'static str,
    },
    /// The arguments are none that we know.
    #[error("{0}")]
    Usage(String),
}

impl ConfigError {
    /// What the process ends with.
    pub const EXIT_CODE: u8 = 2;
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self::unset();
        for setting in SETTINGS {
            let taken = setting.default.is_empty() || (setting.set)(&mut config, setting.default);
            debug_assert!(taken, "{} does not take its own default", setting.key);
        }
        config
    }
}

impl Config {
    /// Before the defaults of the table.
    fn unset() -> Self {
        Self {
            data: PathBuf::new(),
            mongodb_uri: None,
            host: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            port: 0,
            quic_port: 0,
            tls_cert: None,
            tls_key: None,
            forwarded_for: false,
            jwt_secret: None,
            access_token_s: 0,
            register_per_ip: 0,
            login_per_ip: 0,
            user_rate: 0.0,
            user_burst: 0.0,
            room_rate: 0.0,
            room_burst: 0.0,
            flush_us_per_reader: 0,
            flush_us_max: 0,
            overload_wait_ms: 0,
            idle_s: 0,
            drain_s: 0,
            unsafe_no_sync: false,
            log: String::new(),
            log_format: LogFormat::Text,
        }
    }

    /// Reads the configuration: defaults, then the file (`--config`, `STARLING_CONFIG`, or `./starling.toml` if it exists), then the
    /// environment (through `env`; an empty value counts as none), then the flags. `args` begins with the program's name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the setting as it is spelled where it was found.
    pub fn load(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        Self::load_with_file(args, env, Path::new(DEFAULT_FILE))
    }

    /// As [`Config::load`], with another file in place of [`DEFAULT_FILE`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn load_with_file(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
        default_file: &Path,
    ) -> Result<Loaded, ConfigError> {
        let matches = match command().try_get_matches_from(args) {
            Ok(matches) => matches,
            Err(error) if !error.use_stderr() => return Ok(Loaded::Print(error.render().to_string())),
            Err(error) => return Err(ConfigError::Usage(error.render().to_string())),
        };
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        if let Some((name, why)) = NOT_YET.iter().find(|(name, _)| env(name).is_some()) {
            return Err(ConfigError::NotYet { name, why });
        }
        let mut config = Self::default();
        let named = matches.get_one::<String>("config").cloned().or_else(|| env("STARLING_CONFIG"));
        match named {
            Some(path) => config.apply_file(Path::new(&path))?,
            None if default_file.exists() => config.apply_file(default_file)?,
            None => {}
        }
        for setting in SETTINGS {
            if let Some(text) = env(setting.env) {
                config.apply(setting, setting.env.to_owned(), &text)?;
            }
        }
        for setting in SETTINGS.iter().filter(|setting| setting.has_flag) {
            if let Some(text) = matches.get_one::<String>(setting.key) {
                config.apply(setting, format!("--{}", setting.flag), text)?;
            }
        }
        config.check()?;
        Ok(Loaded::Run(Box::new(config)))
    }

    /// Those of these names of environment variables that begin like Starling's and mean nothing to anyone: misspelt settings, mostly.
    pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<String> {
        let is_known = |name: &str| SETTINGS.iter().any(|setting| setting.env == name) || OTHER_VARIABLES.contains(&name);
        let mut unknown: Vec<_> =
            names.into_iter().filter(|name| name.starts_with("STARLING_") && !is_known(name)).collect();
        unknown.sort_unstable();
        unknown
    }

    fn apply(&mut self, setting: &Setting, key: String, text: &str) -> Result<(), ConfigError> {
        if (setting.set)(self, text) {
            return Ok(());
        }
        let found = if setting.is_secret { format!("{} bytes", text.len()) } else { format!("`{text}`") };
        Err(ConfigError::Value { key, found, allowed: setting.allowed.to_owned() })
    }

    fn apply_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let fault = |why: String| ConfigError::File { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| fault(error.to_string()))?;
        for (name, value) in table {
            let key = format!("{}: {name}", path.display());
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == name) else {
                let known = SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", ");
                return Err(ConfigError::UnknownKey { key, known });
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                other => {
                    let found = format!("a TOML {}", other.type_str());
                    return Err(ConfigError::Value { key, found, allowed: setting.allowed.to_owned() });
                }
            };
            self.apply(setting, key, &text)?;
        }
        Ok(())
    }

    /// What no single setting can see.
    fn check(&self) -> Result<(), ConfigError> {
        let pair = |missing: &str, given: &str, path: &Option<PathBuf>| ConfigError::Value {
            key: missing.to_owned(),
            found: "nothing".to_owned(),
            allowed: format!("a path, since {given} is {}", path.as_deref().unwrap_or(Path::new("")).display()),
        };
        if self.unsafe_no_sync && self.mongodb_uri.is_some() {
            return Err(ConfigError::Value {
                key: "unsafe_no_sync".to_owned(),
                found: "true".to_owned(),
                allowed: "false, since mongodb_uri is set: the database syncs".to_owned(),
            });
        }
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Err(pair("tls_key", "tls_cert", &self.tls_cert)),
            (None, Some(_)) => Err(pair("tls_cert", "tls_key", &self.tls_key)),
            _ => Ok(()),
        }
    }

    /// Where REST listens.
    #[must_use]
    pub const fn rest_address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Where QUIC listens.
    #[must_use]
    pub const fn quic_address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.quic_port)
    }

    /// Time that sessions get to go away before the process ends.
    #[must_use]
    pub const fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_s)
    }

    /// What the world is told of all this.
    #[must_use]
    pub const fn tuning(&self) -> Tuning {
        Tuning {
            flush_us_per_reader: self.flush_us_per_reader,
            flush_us_max: self.flush_us_max,
            user_rate: self.user_rate,
            user_burst: self.user_burst,
            room_rate: self.room_rate,
            room_burst: self.room_burst,
            overload_wait_us: self.overload_wait_ms * 1_000,
            idle_us: self.idle_s * 1_000_000,
        }
    }
}

/// The URI of a database as the table takes it; whether it is a good one is found out by the driver.
fn mongodb_uri(text: &str) -> Option<Secret> {
    let is_uri = ["mongodb://", "mongodb+srv://"].iter().any(|scheme| text.starts_with(scheme));
    is_uri.then(|| Secret::new(text.to_owned()))
}

/// A secret as the table takes it.
fn jwt_secret(text: &str) -> Option<Secret> {
    (text.len() >= JWT_SECRET_BYTES_MIN).then(|| Secret::new(text.to_owned()))
}

fn command() -> Command {
    let mut command = Command::new("starling")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Starling, a real-time chat server. `starling admin --help` is about the tool that administers it")
        .after_help(
            "A setting has the same name in the file (TOML), in the environment and as a flag; flags are above the environment, the \
             environment is above the file. Secrets are not taken as flags, since others can read those.",
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("PATH")
                .help(format!("File to read [env: STARLING_CONFIG] [default: {DEFAULT_FILE} if it exists]")),
        );
    for setting in SETTINGS.iter().filter(|setting| setting.has_flag) {
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        let mut arg = Arg::new(setting.key)
            .long(setting.flag)
            .value_name(setting.value_name)
            .help_heading(setting.group)
            .help(format!("{} [env: {}] [default: {default}]", setting.help, setting.env))
            .allow_hyphen_values(true)
            .action(ArgAction::Set);
        if setting.value_name == settings::BOOL {
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
        }
        command = command.arg(arg);
    }
    let hidden = SETTINGS.iter().filter(|setting| !setting.has_flag);
    let lines: Vec<String> = hidden.map(|s| format!("  {} ({} in the file): {}", s.env, s.key, s.help)).collect();
    command.after_long_help(format!(
        "A setting has the same name in the file (TOML), in the environment and as a flag; flags are above the environment, the \
         environment is above the file.\n\nOnly in the environment or the file, since others can read flags:\n{}",
        lines.join("\n")
    ))
}
