//! README.md and docs/ are true: the commands run, the paths exist, the settings are those of the program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Server;
use common::chat::{Chat, Ended};
use common::web::{Person, Web};
use server::config::settings::SETTINGS;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A line of a shell as words: quotes and comments, nothing else.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Commands of the blocks marked as `console`, and what they print.
fn console(document: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for block in document.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        // A block that begins with output shows what a command of the text prints.
        for line in block.lines().skip_while(|line| !line.starts_with("$ ")) {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((command, _))) if command.ends_with('\\') => {
                    command.pop();
                    command.push_str(line.trim_start());
                }
                (None, Some((_, output))) => output.push(line.to_owned()),
                (None, None) => {}
            }
        }
    }
    commands
}

/// A line without what differs from run to run: ids, times, and the spaces that align columns.
fn timeless(line: &str) -> String {
    let is_time = |word: &str| word.len() == 8 && word.split(':').count() == 3;
    let word = |word: &str| match word {
        word if uuid::Uuid::parse_str(word).is_ok() => "ID".to_owned(),
        word if is_time(word) => "TIME".to_owned(),
        word => word.to_owned(),
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn run(chat: &Chat, args: &[String]) -> Ended {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = chat.run(&args);
    assert_eq!(ended.code, Some(0), "starling-chat {args:?}: {ended:?}");
    ended
}

#[tokio::test]
async fn the_two_minutes_of_the_readme_print_what_it_says() {
    let document = read("README.md");
    let commands = console(&document);
    let server = Server::start(&[]);
    let chat = Chat::new(&server).with("STARLING_PASSWORD", "correct-horse-1");
    let mut ran = 0;
    let mut room = String::new();
    for (command, printed) in &commands {
        let args = words(command);
        if args[0] != "starling-chat" {
            continue;
        }
        let ended = run(&chat, &args[1..]);
        let found: Vec<String> = ended.stdout.lines().map(timeless).collect();
        let expected: Vec<String> = printed.iter().map(|line| timeless(line)).collect();
        assert_eq!(found, expected, "{command}");
        if let Some(id) = ended.stdout.lines().next().filter(|line| uuid::Uuid::parse_str(line).is_ok()) {
            room = id.to_owned();
        }
        ran += 1;
    }
    assert!(ran >= 10 && !room.is_empty(), "README.md was not understood: {commands:?}");
    // In the text: the one that follows for ever.
    let follow = document.split('`').find(|part| part.contains("starling-chat") && part.contains(" tail ")).unwrap();
    let mut args = words(follow);
    args.extend(["--count".to_owned(), "2".to_owned()]);
    run(&chat, &args[1..]);
    curls(&server, &commands, &room).await;
}

/// The calls with curl: a login whose token the next one shows, and a message that is one however often it is sent.
async fn curls(server: &Server, commands: &[(String, Vec<String>)], room: &str) {
    let web = Web::new(server);
    let mut person = None::<Person>;
    for (command, printed) in commands.iter().filter(|(command, _)| command.contains("curl ")) {
        let call = &command[command.find("curl ").unwrap()..];
        let call = words(call.split(" | ").next().unwrap());
        let (mut request, mut at) = (None, 1);
        let (mut headers, mut body) = (Vec::new(), None);
        while let Some(word) = call.get(at) {
            at += 1;
            match word.as_str() {
                "-s" => {}
                "-H" => headers.push(call[at].split_once(": ").unwrap()),
                "-d" => body = Some(call[at].clone()),
                url => {
                    let path = url.strip_prefix("127.0.0.1:8080").expect("the usual address");
                    // The id of the room in the document is another one.
                    let path: Vec<&str> =
                        path.split('/').map(|part| if uuid::Uuid::parse_str(part).is_ok() { room } else { part }).collect();
                    request = Some(path.join("/"));
                }
            }
            at += usize::from(word == "-H" || word == "-d");
        }
        let send = async || {
            let mut sent = web.request("POST", request.as_ref().unwrap()).body(body.clone().unwrap());
            for (name, value) in &headers {
                let token = person.as_ref().map(|person| person.token.as_str()).unwrap_or_default();
                sent = sent.header(*name, value.replace("$TOKEN", token));
            }
            web.send(sent).await
        };
        let (status, answer) = send().await;
        assert!(status < 300, "{command}: {status} {answer}");
        if printed.is_empty() {
            person = Some(Person::of(&answer));
        } else {
            let shown: serde_json::Value = serde_json::from_str(&printed[0]).unwrap();
            let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(fields(&shown), fields(&answer));
            assert_eq!(send().await.1, answer, "the same line again");
        }
    }
    assert!(person.is_some(), "README.md logs in with curl");
}

#[test]
fn the_first_steps_of_the_client_run() {
    let document = read("docs/client.md");
    let section = document.split("### First steps").nth(1).unwrap().split("\n### ").next().unwrap();
    let server = Server::start(&[]);
    let chat = Chat::new(&server);
    let mut ran = 0;
    for line in section.lines().filter_map(|line| line.strip_prefix("    starling-chat ")) {
        let mut args = words(line.trim_end_matches('&'));
        if args.iter().any(|word| word == "tail") {
            args.extend(["--for".to_owned(), "0.1".to_owned()]);
        }
        run(&chat, &args);
        ran += 1;
    }
    assert!(ran >= 6, "{section}");
}

#[test]
fn every_path_that_the_readme_names_is_there() {
    let document = read("README.md");
    let map = document.split("## Where things are").nth(1).unwrap().split("\n## ").next().unwrap();
    let is_path = |word: &&str| {
        (word.ends_with('/') || [".md", ".rs", ".py", ".service"].iter().any(|end| word.ends_with(end)))
            && !word.starts_with(['/', '-'])
            && !word.contains("://")
    };
    let trim = |text: &str| {
        let text = text.trim_end_matches(['`', ',', '.', ';', ':', '(', ')']);
        text.trim_start_matches(['`', '(']).to_owned()
    };
    let mut seen = 0;
    for line in map.lines().filter(|line| line.starts_with("    ")) {
        for path in line.split_whitespace().filter(is_path) {
            assert!(root().join(path).exists(), "Where things are: {path}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{map}");
    for word in document.split_whitespace().map(trim) {
        if word.contains('/') && is_path(&word.as_str()) {
            assert!(root().join(&word).exists(), "README.md names {word}");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let folder = root().join("docs");
    let mut documents: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.push(root().join("README.md"));
    for path in documents.iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = std::fs::read_to_string(path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let headings = std::fs::read_to_string(&target).unwrap();
                let found = headings.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(found, "{}: {link}", path.display());
            }
        }
    }
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn the_settings_in_operations_are_those_of_the_program() {
    let document = read("docs/operations.md");
    let section = document.split("## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
    let plain = |cell: &str| {
        let cell = cell.trim().replace("\\|", "|");
        cell.trim_matches('`').to_owned()
    };
    let rows: Vec<Vec<String>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(plain).collect())
        .collect();
    let expected: Vec<Vec<String>> = SETTINGS
        .iter()
        .map(|setting| {
            let default = if setting.default.is_empty() { "none" } else { setting.default };
            [setting.key, setting.env, default, setting.allowed, setting.help].map(ToOwned::to_owned).to_vec()
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn operations_says_what_each_metric_is() {
    let document = read("docs/operations.md");
    let source = read("server/src/telemetry.rs");
    let described: Vec<_> = source.split("describe_").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
    let metrics: Vec<_> = described.into_iter().filter(|name| name.starts_with("starling_")).collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        assert!(document.contains(&format!("`{metric}`")), "docs/operations.md: {metric}");
    }
}
