//! Passwords: from standard input, from the environment, or typed without being shown.

use crate::args::Password;
use crate::failure::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

/// Longest password that is read.
const PASSWORD_BYTES_MAX: usize = 1024;

/// The password; asked for twice if it is a new one.
pub(crate) fn password(args: &Password, new: bool) -> Result<String, Failure> {
    if args.password_stdin {
        return line(&mut std::io::stdin().lock());
    }
    if let Ok(password) = std::env::var("STARLING_PASSWORD")
        && !password.is_empty()
    {
        return Ok(password);
    }
    let first = ask("Password: ")?;
    if new && ask("Again: ")? != first {
        return Err(Failure::Usage("the two passwords differ".into()));
    }
    Ok(first)
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let no_terminal = |_| Failure::Usage("no terminal to ask on: use --password-stdin or STARLING_PASSWORD".into());
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(no_terminal)?;
    let _silence = Silence::new(&terminal).map_err(|error| Failure::Usage(format!("the terminal: {error}")))?;
    // What cannot be shown is still asked for.
    let _ = write!(terminal, "{prompt}").and_then(|()| terminal.flush());
    let password = line(&mut BufReader::new(&terminal));
    let _ = (&terminal).write_all(b"\n");
    password
}

fn line(input: &mut impl BufRead) -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::Read::take(input, PASSWORD_BYTES_MAX as u64 + 1).read_line(&mut text);
    read.map_err(|error| Failure::Usage(format!("the password: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    match text.len() {
        0 => Err(Failure::Usage("no password".into())),
        PASSWORD_BYTES_MAX.. => Err(Failure::Usage("the password is too long".into())),
        _ => Ok(text.to_owned()),
    }
}

/// Switches the echo of a terminal off until it is dropped.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn new(terminal: &File) -> std::io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
