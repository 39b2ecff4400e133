//! The tool at work. It asks the server that runs on a data folder, over the socket in it; `restore` and `copy` open stores themselves, and
//! want nobody else to have them open.

use super::backup::BackupReader;
use super::cli::{Args, Failure, NO_SERVER, REFUSED, USAGE};
use super::offline::{self, Place};
use super::request::Request;
use super::{show, socket_path};
use crate::config::Secret;
use crate::store::Store;
use crate::store::dump::Counts;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Sends a request; the answer can be read from what is handed back.
fn send(args: &Args, request: &Request) -> Result<BufReader<UnixStream>, Failure> {
    let path = socket_path(&args.data()?);
    let no_server = |error: io::Error| Failure::new(NO_SERVER, format!("no server answers at {}: {error}", path.display()));
    let mut stream = UnixStream::connect(&path).map_err(no_server)?;
    let request = serde_json::to_string(request).map_err(|error| Failure::new(USAGE, error))?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(no_server)?;
    Ok(BufReader::new(stream))
}

fn next_line(answer: &mut impl BufRead) -> Result<Value, Failure> {
    let mut line = String::new();
    if answer.read_line(&mut line)? == 0 {
        return Err(Failure::new(NO_SERVER, "the server broke off: it is not known whether it was done"));
    }
    serde_json::from_str(&line).map_err(|error| Failure::new(REFUSED, format!("not understood: {error}")))
}

fn refusal(line: &Value) -> Option<Failure> {
    (line["type"] == "error").then(|| Failure::new(REFUSED, line["message"].as_str().unwrap_or("refused")))
}

/// Has a request carried out and prints the answer.
pub(super) fn ask(args: &Args, request: &Request) -> Result<ExitCode, Failure> {
    // An export is for programs in any case.
    let json = args.json || matches!(request, Request::Export { .. });
    let mut answer = send(args, request)?;
    let bar = bar();
    let mut out = io::stdout().lock();
    loop {
        let line = next_line(&mut answer)?;
        if let Some(refusal) = refusal(&line) {
            bar.finish_and_clear();
            return Err(refusal);
        }
        let is_last = line["type"] == "done";
        if line["type"] == "progress" {
            bar.set_length(line["total"].as_u64().unwrap_or(0));
            bar.set_position(line["done"].as_u64().unwrap_or(0));
        } else if is_last && matches!(request, Request::Export { .. }) {
            // The export has an end of its own.
        } else if let Some(text) = if json { Some(line.to_string()) } else { show::line(&line) } {
            bar.suspend(|| writeln!(out, "{text}"))?;
        }
        if is_last {
            bar.finish_and_clear();
            out.flush()?;
            let as_it_should_be = line["differences"].as_u64().unwrap_or(0) == 0;
            return Ok(ExitCode::from(if as_it_should_be { 0 } else { REFUSED }));
        }
    }
}

/// A bar on standard error; nothing where that is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show_counts(args: &Args, what: &str, counts: &Counts) {
    let Counts { rooms, events, logins, accounts } = counts;
    match args.json {
        true => println!(
            "{}",
            json!({ "type": "done", "rooms": rooms, "events": events, "logins": logins, "accounts": accounts })
        ),
        false => println!("{what}: {accounts} accounts, {logins} logins, {rooms} rooms and own logs, {events} events"),
    }
}

/// Passes bytes on to a file while they are read.
struct Tee<R> {
    input: R,
    file: File,
    bar: ProgressBar,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.file.write_all(&buffer[..count])?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

/// Takes a backup, checks it as it comes, and gives it its name when it is whole and on the disk.
pub(super) fn backup(args: &Args, file: &Path) -> Result<ExitCode, Failure> {
    if file.exists() {
        return Err(Failure::new(USAGE, format!("{} is there already", file.display())));
    }
    let mut answer = send(args, &Request::Backup {})?;
    loop {
        let line = next_line(&mut answer)?;
        if let Some(refusal) = refusal(&line) {
            return Err(refusal);
        }
        if line["type"] == "backup" {
            break;
        }
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let bar = bar();
    let made = make_partial(&partial).map_err(|error| Failure::new(REFUSED, format!("{}: {error}", partial.display())))?;
    let checked = take_backup(Tee { input: answer, file: made.try_clone()?, bar: bar.clone() });
    bar.finish_and_clear();
    let counts = checked.inspect_err(|_| drop(std::fs::remove_file(&partial)))?;
    made.sync_all()?;
    std::fs::rename(&partial, file)?;
    show_counts(args, "backup", &counts);
    Ok(ExitCode::SUCCESS)
}

/// Makes the file that a backup is written to. What stands there, left by a backup that broke off or put there by somebody, is
/// neither followed nor written to.
fn make_partial(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn take_backup(input: impl Read) -> Result<Counts, Failure> {
    let refused = |error| Failure::new(REFUSED, error);
    let mut reader = BackupReader::new(BufReader::new(input)).map_err(refused)?;
    while reader.next_item().map_err(refused)?.is_some() {}
    Ok(reader.counts())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Says what goes where, before it does.
fn tell(args: &Args, what: &str, from: &str, into: &str) {
    match args.json {
        true => eprintln!("{}", json!({ "type": what, "from": from, "into": into })),
        false => eprintln!("{what} {from} into {into}"),
    }
}

/// The store that the server would have here.
fn own_place(args: &Args) -> Result<Place, Failure> {
    let config = args.config()?;
    match (config.mongodb_uri, &args.data) {
        (Some(_), Some(_)) => {
            let why =
                "--data names a folder, and MONGODB_URI (or mongodb_uri of the file) a database: leave one of them out";
            Err(Failure::new(USAGE, why))
        }
        (Some(uri), None) => Ok(Place::Database(uri.text().to_owned())),
        (None, folder) => Ok(Place::Folder(folder.clone().unwrap_or(config.data))),
    }
}

/// Reads a backup into the store that the server would have here, which must be empty.
pub(super) fn restore(args: &Args, file: &Path) -> Result<ExitCode, Failure> {
    let place = own_place(args)?;
    let refused = |error: &dyn std::fmt::Display| Failure::new(REFUSED, error);
    let input = File::open(file).map_err(|error| Failure::new(USAGE, format!("{}: {error}", file.display())))?;
    let bar = bar();
    bar.set_length(input.metadata()?.len());
    let opened = place.open().map_err(|error| refused(&error))?;
    tell(args, "restoring", &file.display().to_string(), &opened.place);
    let restored = runtime()?.block_on(offline::restore(&*opened.store, BufReader::new(bar.wrap_read(input)), |_| {}));
    opened.store.close();
    bar.finish_and_clear();
    show_counts(args, "restored", &restored.map_err(|error| refused(&error))?);
    Ok(ExitCode::SUCCESS)
}

/// Copies one store to another.
pub(super) fn copy(args: &Args, from: &str, to: &str) -> Result<ExitCode, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::new(REFUSED, error);
    // A secret, so it is no argument; where both are folders nobody asks for it.
    let uri = if [from, to].contains(&"mongodb") { args.config()?.mongodb_uri } else { None };
    let uri = uri.as_ref().map(Secret::text);
    let place = |text: &str| Place::named(text, uri).map_err(|error| Failure::new(USAGE, error));
    let (from, to) = (place(from)?, place(to)?);
    if from == to {
        return Err(Failure::new(USAGE, "that is one and the same store"));
    }
    if let Place::Folder(folder) = &from
        && !folder.join("store").is_dir()
    {
        return Err(Failure::new(USAGE, format!("there is no store in {}", folder.display())));
    }
    let from = from.open().map_err(|error| refused(&error))?;
    let to = to.open().map_err(|error| refused(&error))?;
    tell(args, "copying", &from.place, &to.place);
    let bar = bar();
    let copied = runtime()?.block_on(async {
        bar.set_length(about(&*from.store).await);
        offline::copy(&*from.store, &*to.store, |counts| bar.set_position(counts.total())).await
    });
    to.store.close();
    from.store.close();
    bar.finish_and_clear();
    show_counts(args, "copied", &copied.map_err(|error| refused(&error))?);
    Ok(ExitCode::SUCCESS)
}

/// About how many pieces a store has.
async fn about(store: &dyn Store) -> u64 {
    let stats = store.stats().await.unwrap_or_default();
    let counted = ["accounts", "logins", "rooms_and_own_logs", "events_estimate"];
    stats.iter().filter(|(name, _)| counted.contains(&name.as_str())).map(|(_, value)| value).sum()
}
