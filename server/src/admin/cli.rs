//! The tool `starling admin`: its arguments, and which request they are.

use super::request::Request;
use super::tool::{ask, backup, copy, restore};
use crate::config::{Config, Loaded};
use crate::limits::ADMIN_PASSWORD_BYTES;
use crate::rest::rooms::Role;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Parser, Subcommand};
use serde_json::json;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The server refused, or something is not as it should be.
pub(super) const REFUSED: u8 = 1;
/// The arguments.
pub(super) const USAGE: u8 = 2;
/// No server answers.
pub(super) const NO_SERVER: u8 = 4;

/// Administers the Starling server of a data folder. What is not said here is taken from the server's configuration: the same
/// file, the same variables.
#[derive(Debug, Parser)]
#[command(name = "starling admin", bin_name = "starling admin", version)]
pub(super) struct Args {
    /// The server's data folder [default: `data` of the server's configuration, else ./data]
    #[arg(long, global = true)]
    pub(super) data: Option<PathBuf>,
    /// The server's configuration [env: STARLING_CONFIG] [default: ./starling.toml if it exists]
    #[arg(long, value_name = "PATH", global = true)]
    config: Option<OsString>,
    /// Print the lines of JSON as the server sends them
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an account; prints a password at random unless one is given
    CreateUser {
        username: String,
        #[arg(long)]
        email: String,
        /// Shown name
        #[arg(long)]
        name: Option<String>,
        /// Read the password from standard input, one line
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a new password and end all logins; prints one at random unless one is given
    ResetPassword {
        /// Id, username or e-mail address
        user: String,
        /// Read the password from standard input, one line
        #[arg(long)]
        password_stdin: bool,
    },
    /// List accounts
    Users,
    /// Let a user do nothing any more, until enabled; live sessions are closed
    Disable { user: String },
    /// Let a disabled user act again
    Enable { user: String },
    /// List rooms
    Rooms,
    /// Ban a user from a room
    Ban { room: String, user: String },
    /// Lift a ban
    Unban { room: String, user: String },
    /// Give a member a role: member, moderator, admin or owner
    Role {
        room: String,
        user: String,
        #[arg(value_parser = parse_role)]
        role: Role,
    },
    /// Print everything that is kept of a user, as lines of JSON
    Export { user: String },
    /// Erase a user, for ever
    Erase {
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show figures about the store
    Stats,
    /// Compare logs, projections and references
    Verify,
    /// As verify, and make projections anew where they differ
    Rebuild {
        /// Only this room
        room: Option<String>,
    },
    /// Write everything into a file, while the server works
    Backup { file: PathBuf },
    /// Have what was overwritten or removed leave the disk
    Compact,
    /// Read a backup into the server's store, a data folder or the database of MONGODB_URI: it must be empty, and no server run
    Restore { file: PathBuf },
    /// Copy everything from one store to an empty one; no server may run on either
    Copy {
        /// A data folder, or `mongodb`: the database of MONGODB_URI
        from: String,
        /// A data folder, or `mongodb`
        to: String,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    serde_json::from_value(json!(text)).map_err(|_| "member, moderator, admin or owner".to_owned())
}

impl Args {
    /// The configuration that the server would have here.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let mut args = vec![OsString::from("starling")];
        if let Some(path) = &self.config {
            args.extend(["--config".into(), path.clone()]);
        }
        match Config::load(args, |name| std::env::var(name).ok()) {
            Ok(Loaded::Run(config)) => Ok(*config),
            Ok(Loaded::Print(text)) => Err(Failure::new(USAGE, text)),
            Err(error) => Err(Failure::new(USAGE, error)),
        }
    }

    /// The data folder; the configuration is read only where nobody names one.
    pub(super) fn data(&self) -> Result<PathBuf, Failure> {
        self.data.clone().map_or_else(|| self.config().map(|config| config.data), Ok)
    }
}

/// What went wrong, and what the process ends with.
pub(super) struct Failure {
    pub(super) exit: u8,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(exit: u8, message: impl ToString) -> Self {
        Self { exit, message: message.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(REFUSED, error)
    }
}

/// Runs the tool; `args` begins with the program's name, `admin` left out.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _nobody_reads = error.print();
            return ExitCode::from(code);
        }
    };
    match work(&args) {
        Ok(code) => code,
        Err(failure) => {
            match args.json {
                true => eprintln!("{}", json!({ "type": "error", "message": failure.message })),
                false => eprintln!("starling admin: {}", failure.message),
            }
            ExitCode::from(failure.exit)
        }
    }
}

fn work(args: &Args) -> Result<ExitCode, Failure> {
    let request = match &args.what {
        What::CreateUser { username, email, name, password_stdin } => Request::CreateUser {
            username: username.clone(),
            email: email.clone(),
            password: password(*password_stdin)?,
            display_name: name.clone(),
        },
        What::ResetPassword { user, password_stdin } => {
            Request::ResetPassword { user: user.clone(), password: password(*password_stdin)? }
        }
        What::Users => Request::Users {},
        What::Disable { user } => Request::SetActive { user: user.clone(), active: false },
        What::Enable { user } => Request::SetActive { user: user.clone(), active: true },
        What::Rooms => Request::Rooms {},
        What::Ban { room, user } => Request::Ban { room: room.clone(), user: user.clone() },
        What::Unban { room, user } => Request::Unban { room: room.clone(), user: user.clone() },
        What::Role { room, user, role } => Request::Role { room: room.clone(), user: user.clone(), role: *role },
        What::Export { user } => Request::Export { user: user.clone() },
        What::Erase { user, yes } => {
            if !yes {
                confirm(user)?;
            }
            Request::Erase { user: user.clone() }
        }
        What::Stats => Request::Stats {},
        What::Verify => Request::Verify {},
        What::Rebuild { room } => Request::Rebuild { room: room.clone() },
        What::Compact => Request::Compact {},
        What::Backup { file } => return backup(args, file),
        What::Restore { file } => return restore(args, file),
        What::Copy { from, to } => return copy(args, from, to),
    };
    let made = match (&args.what, &request) {
        (What::CreateUser { password_stdin: false, .. }, Request::CreateUser { password, .. })
        | (What::ResetPassword { password_stdin: false, .. }, Request::ResetPassword { password, .. }) => {
            Some(password.clone())
        }
        _ => None,
    };
    let code = ask(args, &request)?;
    if let Some(password) = made {
        match args.json {
            true => println!("{}", json!({ "type": "password", "password": password })),
            false => println!("password: {password}"),
        }
    }
    Ok(code)
}

fn password(from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let mut bytes = [0; ADMIN_PASSWORD_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(REFUSED, error))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn confirm(user: &str) -> Result<(), Failure> {
    eprint!("{user} and all that they wrote will be gone for ever. Type the name again: ");
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    match line.trim() == user {
        true => Ok(()),
        false => Err(Failure::new(USAGE, "not erased")),
    }
}
