//! `starling admin`, as an operator runs it: beside the running server, and on stores that nobody serves from.

use crate::common::chat::{Chat, PASSWORD};
use crate::common::web::{Person, Web};
use crate::common::{STEP, Server, Stored};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// How the tool ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(data: &Path, args: &[&str], input: &str) -> Ended {
    run_with(&[], data, args, input)
}

fn run_with(variables: &[(&str, &str)], data: &Path, args: &[&str], input: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_starling"))
        .env_clear()
        .envs(variables.iter().copied())
        .arg("admin")
        .arg("--data")
        .arg(data)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    ended(child.wait_with_output().unwrap())
}

/// As it is called in a folder, with no word about data.
fn run_in(folder: &Path, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    ended(command.env_clear().current_dir(folder).arg("admin").args(args).stdin(Stdio::null()).output().unwrap())
}

fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The lines of JSON of a run that went well.
pub(crate) fn lines(data: &Path, args: &[&str]) -> Vec<Value> {
    lines_with(&[], data, args)
}

fn lines_with(variables: &[(&str, &str)], data: &Path, args: &[&str]) -> Vec<Value> {
    let ended = run_with(variables, data, &[&["--json"], args].concat(), "");
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A figure of the store.
pub(crate) fn stat(data: &Path, name: &str) -> u64 {
    let lines = lines(data, &["stats"]);
    let found = lines.iter().find(|line| line["name"] == name).and_then(|line| line["value"].as_u64());
    found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
}

fn of<'a>(lines: &'a [Value], sort: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == sort).collect()
}

fn refused(data: &Path, args: &[&str], exit: i32, part: &str) {
    let ended = run(data, args, "");
    assert_eq!(ended.code, Some(exit), "{args:?}: {ended:?}");
    assert!(ended.stderr.contains(part), "`{part}` is not in {ended:?}");
}

async fn log_in(web: &Web, name: &str, password: &str) -> (u16, Value) {
    web.open("POST /v1/auth/login", json!({ "login": name, "password": password })).await
}

#[tokio::test]
async fn accounts_are_made_disabled_and_given_passwords() {
    let server = Server::start(&[]);
    let (web, data) = (Web::new(&server), server.data());
    assert_eq!(mode(&data.join("admin.sock")), 0o600, "its owner only");
    let help = run(&data, &["create-user", "--help"], "");
    assert!(help.stdout.contains("Usage: starling admin create-user"), "{help:?}");

    let made = lines(&data, &["create-user", "Ann", "--email", "ann@example.org", "--name", "Ann B."]);
    assert_eq!((&of(&made, "user")[0]["username"], &of(&made, "user")[0]["status"]), (&json!("ann"), &json!("active")));
    let password = of(&made, "password")[0]["password"].as_str().unwrap().to_owned();
    assert_eq!(log_in(&web, "ann", &password).await.0, 200);
    refused(&data, &["create-user", "ann", "--email", "other@example.org"], 1, "taken");
    refused(&data, &["create-user", "x", "--email", "x@example.org"], 1, "username");
    let ended =
        run(&data, &["create-user", "ben", "--email", "ben@example.org", "--password-stdin"], &format!("{PASSWORD}\n"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains(PASSWORD));
    let (_, ben) = log_in(&web, "ben", PASSWORD).await;
    let ben = Person::of(&ben);

    // A new password ends what was open with the old one.
    let ended = run(&data, &["reset-password", "ben@example.org", "--password-stdin"], "another long password\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    web.refused(&ben, 401, "session_revoked", "GET /v1/users/me", Value::Null).await;
    assert_eq!(log_in(&web, "ben", PASSWORD).await.0, 401);
    assert_eq!(log_in(&web, "ben", "another long password").await.0, 200);

    let users = lines(&data, &["users"]);
    let names: Vec<_> = of(&users, "user").iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names, ["ann", "ben"]);
    assert!(run(&data, &["users"], "").stdout.contains("ann@example.org"));
    refused(&data, &["disable", "nobody"], 1, "no user nobody");
    refused(&data, &["dance"], 2, "unrecognized");
}

#[tokio::test]
async fn what_is_done_to_an_account_reaches_its_live_sessions() {
    let server = Server::start(&[]);
    let (data, chat) = (server.data(), Chat::new(&server));
    let ann = chat.register("ann");
    chat.register("ben");
    let room = chat.one("ann", &["create", "group", "crew", "@ben"])["room"].as_str().unwrap().to_owned();
    let mut tail = chat.follow("ben", &["tail", "crew"]);
    tail.of_type("connection");
    let began = Instant::now();
    lines(&data, &["disable", "ben"]);
    let gone = loop {
        match tail.next() {
            Some(object) if object["state"] == "disconnected" => break true,
            Some(_) => {}
            None => break true,
        }
    };
    assert!(gone && began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(chat.refused("ben", &["send", "crew", "x"]).0, 3);
    lines(&data, &["enable", "ben"]);
    assert_eq!(chat.run(&["--profile", "ben", "login", "ben"]).code, Some(0));
    chat.one("ben", &["send", "crew", "back"]);

    refused(&data, &["ban", &room, "ann"], 1, "last owner");
    lines(&data, &["role", &room, "ben", "owner"]);
    let done = lines(&data, &["ban", &room, &ann]);
    assert!(of(&done, "done")[0]["seq"].as_u64() > Some(0));
    assert_eq!(chat.refused("ann", &["send", &room, "x"]), (1, "not_found".into()));
    lines(&data, &["unban", &room, "ann"]);
    refused(&data, &["unban", &room, "ann"], 1, "not banned");
    refused(&data, &["ban", "crew", "ann"], 1, "named by its id");
    let rooms = lines(&data, &["rooms"]);
    let rooms = of(&rooms, "room");
    assert_eq!((rooms.len(), &rooms[0]["name"], &rooms[0]["members"]), (1, &json!("crew"), &json!(1)));

    let export = lines(&data, &["export", "ben"]);
    assert_eq!(export.last().unwrap()["type"], "end");
    assert_eq!(of(&export, "message")[0]["text"], "back");
    refused(&data, &["erase", "ben"], 2, "not erased");
    let done = lines(&data, &["erase", "ben", "--yes"]);
    assert_eq!(of(&done, "done")[0]["finished"], true);
    refused(&data, &["export", "ben"], 1, "no user ben");
    let verified = lines(&data, &["verify"]);
    assert_eq!((&verified[0]["differences"], &verified[0]["rooms"]), (&json!(0), &json!(3)), "{verified:?}");
    let stats = lines(&data, &["stats"]);
    let erases = of(&stats, "stat").into_iter().find(|stat| stat["name"] == "erases_under_way").unwrap();
    assert_eq!(erases["value"], 0);
    lines(&data, &["compact"]);
    let rebuilt = lines(&data, &["rebuild", &room]);
    assert_eq!((&rebuilt[0]["differences"], &rebuilt[0]["mended"]), (&json!(0), &json!(true)));
    assert_eq!(chat.refused("ben", &["rooms"]).0, 3);
}

#[tokio::test]
async fn a_backup_is_restored_and_copied() {
    let mut server = Server::start_for_restarts(Stored::Embedded, &[]);
    let (data, chat, folder) = (server.data(), Chat::new(&server), server.folder().to_owned());
    chat.register("ann");
    chat.register("ben");
    chat.one("ann", &["create", "group", "crew", "@ben"]);
    for n in 0..30 {
        chat.one("ann", &["send", "crew", &format!("message {n}"), "--key", &format!("k{n}")]);
    }
    let first = chat.one("ben", &["history", "crew", "--limit", "1"]);
    let file = folder.join("starling.backup");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    // What stands where a backup is made is not followed.
    let elsewhere = folder.join("elsewhere");
    std::fs::write(&elsewhere, "mine").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.join("starling.backup.partial")).unwrap();
    let made = lines(&data, &["backup", &path(&file)]);
    assert_eq!((&made[0]["accounts"], &made[0]["logins"]), (&json!(2), &json!(2)), "{made:?}");
    assert_eq!((std::fs::read_to_string(&elsewhere).unwrap().as_str(), mode(&file)), ("mine", 0o600));
    assert!(std::fs::symlink_metadata(folder.join("starling.backup.partial")).is_err());
    refused(&data, &["backup", &path(&file)], 2, "is there already");
    refused(&data, &["restore", &path(&file)], 1, "another process has the data folder open");

    // What comes after a backup is not in it.
    chat.one("ann", &["send", "crew", "too late"]);
    server.stop();
    refused(&data, &["users"], 4, "no server answers");
    let (new, copy) = (folder.join("new"), folder.join("copied"));
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = folder.join("damaged");
    std::fs::write(&damaged, bytes).unwrap();
    refused(&folder.join("lost"), &["restore", &path(&damaged)], 1, "damaged");
    refused(&folder.join("lost"), &["restore", &path(&file)], 1, "did not come to its end");
    let restored = lines(&new, &["restore", &path(&file)]);
    assert_eq!(restored[0]["events"], made[0]["events"]);
    assert_eq!((mode(&new), mode(&new.join("store"))), (0o700, 0o700), "what people wrote is for the owner only");
    refused(&new, &["restore", &path(&file)], 1, "not empty");
    let copied = lines(&data, &["copy", &path(&new), &path(&copy)]);
    assert_eq!(copied, restored, "nothing is lost on the way");
    refused(&data, &["copy", &path(&new), &path(&copy)], 1, "not empty");
    refused(&data, &["copy", &path(&new), "redis://there"], 2, "named by its data folder");
    through_mongodb(&folder, &new, &restored);
    as_configured(&folder, &path(&file), &restored);

    // The same server on the copied store: the keys in the folder are its own, so tokens stay good.
    std::fs::rename(data.join("store"), folder.join("old")).unwrap();
    std::fs::rename(copy.join("store"), data.join("store")).unwrap();
    server.restart();
    let messages = chat.json("ben", &["history", "crew", "--limit", "100"]);
    assert_eq!(messages.len(), 30);
    assert_eq!(messages[29], first, "to the last field");
    let again = chat.one("ann", &["send", "crew", "message 3", "--key", "k3"]);
    assert_eq!(again["seq"], 5, "a key is one message for ever");
    assert_eq!(chat.json("ben", &["search", "crew", "message"]).len(), 20);
    assert_eq!(chat.one("ben", &["rooms"])["unread"], 30);
    let deadline = Instant::now() + STEP;
    loop {
        let verified = lines(&data, &["verify"]);
        if verified.last().unwrap()["differences"] == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{verified:?}");
    }
    server.stop();
    assert!(!data.join("admin.sock").exists(), "the socket goes with the server");
}

/// From a folder into a database, and from there into another folder: nothing is lost on the way.
fn through_mongodb(folder: &Path, from: &Path, restored: &[Value]) {
    let database = mongo_server::database();
    let uri = [("MONGODB_URI", database.uri.as_str())];
    let path = |place: &Path| place.to_str().unwrap().to_owned();
    let back = path(&folder.join("back"));
    refused(folder, &["copy", &path(from), "mongodb"], 2, "MONGODB_URI");
    assert_eq!(lines_with(&uri, folder, &["copy", &path(from), "mongodb"]), restored);
    let again = run_with(&uri, folder, &["copy", &path(from), "mongodb"], "");
    assert!(again.code == Some(1) && again.stderr.contains("not empty"), "{again:?}");
    assert_eq!(lines_with(&uri, folder, &["copy", "mongodb", &back]), restored);
    let copied = lines(folder, &["copy", &back, &path(&folder.join("and on"))]);
    assert_eq!(copied, restored);
}

/// A restore goes where the server of the same configuration looks, and says where that is.
fn as_configured(folder: &Path, backup: &str, restored: &[Value]) {
    let done = |ended: &Ended| serde_json::from_str::<Value>(&ended.stdout).unwrap();
    let database = mongo_server::database();
    let here = folder.join("configured");
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join("starling.toml"), format!("mongodb_uri = \"{}\"\n", database.uri)).unwrap();
    let ended = run_in(&here, &["--data", "mine", "restore", backup]);
    assert!(ended.code == Some(2) && ended.stderr.contains("leave one of them out"), "{ended:?}");
    let ended = run_in(&here, &["--json", "restore", backup]);
    assert_eq!((ended.code, &done(&ended)), (Some(0), &restored[0]), "{ended:?}");
    assert!(ended.stderr.contains("into\":\"MongoDB at "), "{ended:?}");
    let ended = run_in(&here, &["copy", "mongodb", "copied"]);
    assert!(ended.code == Some(0) && ended.stderr.contains("into copied/store"), "{ended:?}");
    assert!(!here.join("mine").exists() && !here.join("data").exists());

    std::fs::write(here.join("other.toml"), "data = \"kept\"\n").unwrap();
    let ended = run_in(&here, &["--config", "other.toml", "restore", backup]);
    assert!(ended.code == Some(0) && ended.stderr.contains("into kept/store"), "{ended:?}");
    assert_eq!(mode(&here.join("kept/store")), 0o700);
    let ended = run_in(&here, &["--config", "other.toml", "users"]);
    assert!(ended.code == Some(4) && ended.stderr.contains("kept/admin.sock"), "{ended:?}");
    std::fs::write(here.join("other.toml"), "colour = 1\n").unwrap();
    let ended = run_in(&here, &["--config", "other.toml", "restore", backup]);
    assert!(ended.code == Some(2) && ended.stderr.contains("colour"), "{ended:?}");
}
