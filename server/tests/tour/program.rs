//! `starling-chat`: accounts, rooms, messages; what it prints for people; its exit codes.

use crate::common::chat::{Chat, PASSWORD};
use crate::common::{STEP, Server};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// Values of a field of several objects.
fn column<'a>(objects: &'a [Value], field: &str) -> Vec<&'a Value> {
    objects.iter().map(|object| &object[field]).collect()
}

#[test]
fn a_login_is_kept_in_the_profile_until_it_ends() {
    let server = Server::start(&[]);
    let chat = Chat::new(&server);
    assert_eq!(chat.refused("ann", &["rooms"]), (3, "unauthenticated".into()));
    let ann = chat.register("ann");
    let profile = chat.home().join("ann.json");
    assert_eq!(std::fs::metadata(&profile).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&profile).unwrap().contains(PASSWORD));
    assert_eq!(chat.refused("other", &["register", "ann", "--email", "b@example.org"]), (1, "username_taken".into()));

    // The login remembers its server and whom to trust.
    let chat = chat.without("STARLING_SERVER").without("STARLING_API").without("STARLING_CA");
    let me = chat.one("ann", &["whoami"]);
    assert_eq!((&me["id"], &me["server"]), (&json!(ann), &json!(server.quic.to_string())));
    assert!(chat.json("ann", &["rooms"]).is_empty());
    chat.one("ann", &["profile", "set", "--display-name", "Ann B.", "--bio", "Knits."]);
    let shown = chat.one("ann", &["profile", "show"]);
    let expected = (&json!("Ann B."), &json!("Knits."), &json!("ann@example.org"));
    assert_eq!((&shown["display_name"], &shown["bio"], &shown["email"]), expected);

    assert_eq!(chat.one("ann", &["logout"])["type"], "logged_out");
    assert!(!profile.exists());
    assert_eq!(chat.refused("ann", &["whoami"]), (3, "unauthenticated".into()));

    let chat = chat.with("STARLING_API", &server.rest_url()).with("STARLING_SERVER", &server.quic.to_string());
    let chat = chat.with("STARLING_CA", &server.certificate().display().to_string());
    let wrong = chat.run_with(&["--profile", "ann", "login", "ann", "--password-stdin"], "not the password\n");
    assert!(matches!(wrong.code, Some(1 | 3)) && !wrong.stderr.is_empty(), "{wrong:?}");
    let input = format!("{PASSWORD}\n");
    let again = chat.run_with(&["--profile", "ann", "login", "ANN@example.org", "--password-stdin"], &input);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "Logged in as ann\n"), "{again:?}");
    assert_eq!(chat.one("ann", &["whoami"])["id"], json!(ann));
}

#[test]
fn rooms_are_made_joined_left_and_kept_in_order() {
    let server = Server::start(&[]);
    let chat = Chat::new(&server);
    let (ann, ben) = (chat.register("ann"), chat.register("ben"));
    let cem = chat.register("cem");

    let lobby = chat.one("ann", &["create", "public", "lobby", "--topic", "Everybody"])["room"].clone();
    assert_eq!(
        chat.one("ben", &["public"]),
        json!({"type": "public_room", "id": lobby, "name": "lobby", "topic": "Everybody", "members": 1})
    );
    let joined = chat.one("ben", &["join", "lobby"]);
    assert_eq!(joined, json!({"type": "done", "room": lobby, "seq": 2}));
    assert_eq!(chat.one("ben", &["leave", "lobby"])["seq"], 3);
    assert_eq!(chat.refused("ben", &["send", lobby.as_str().unwrap(), "Hello?"]), (1, "forbidden".into()));
    assert!(chat.json("ben", &["rooms"]).is_empty());

    let keyed = ["create", "group", "crew", "@ben", "--key", "the crew"];
    let crew = chat.one("ann", &keyed)["room"].clone();
    assert_eq!(chat.one("ann", &keyed)["room"], crew, "the same key makes the same room");
    let crew = crew.as_str().unwrap();
    assert_eq!(chat.refused("cem", &["join", crew]), (1, "not_found".into()));
    assert_eq!(chat.refused("ben", &["invite", "crew", "nobody"]).0, 2);
    assert_eq!(chat.refused("ben", &["kick", "crew", "@ann"]), (1, "forbidden".into()));
    chat.one("ann", &["invite", "crew", "@cem"]);
    let members = chat.json("cem", &["members", "crew"]);
    let mut users: Vec<&str> = column(&members, "user").into_iter().map(|id| id.as_str().unwrap()).collect();
    let mut expected = [ann.as_str(), &ben, &cem];
    users.sort_unstable();
    expected.sort_unstable();
    assert_eq!(users, expected);
    chat.one("ann", &["kick", "crew", "@cem"]);
    assert_eq!(chat.refused("cem", &["members", "crew"]).0, 2, "no such room of one's own");
    chat.one("ann", &["ban", "crew", "@cem"]);
    assert_eq!(chat.refused("ann", &["invite", "crew", "@cem"]).0, 1);
    chat.one("ann", &["unban", "crew", "@cem"]);
    chat.one("ann", &["invite", "crew", "@cem"]);
    chat.one("ann", &["role", "crew", "@ben", "moderator"]);
    chat.one("ben", &["kick", "crew", "@cem"]);
    chat.one("ann", &["settings", "crew", "--name", "Crew", "--topic", "Ropes"]);
    let room = chat.one("ben", &["rooms"]);
    assert_eq!((&room["name"], &room["topic"], &room["role"]), (&json!("Crew"), &json!("Ropes"), &json!("moderator")));

    let direct = chat.one("ann", &["create", "direct", "@cem"])["room"].clone();
    assert_eq!(chat.one("cem", &["create", "direct", "@ann"])["room"], direct, "one room for the two");
    chat.one("cem", &["send", "@ann", "Hello, Ann"]);
    assert_eq!(chat.one("ann", &["history", "@cem"])["text"], "Hello, Ann");
    let listed = chat.json("ann", &["rooms"]);
    assert_eq!(column(&listed, "kind"), ["direct", "group", "public"], "newest first");
    assert_eq!((&listed[0]["peer"], &listed[0]["unread"]), (&json!(cem), &json!(1)));
}

#[test]
fn messages_are_sent_changed_read_and_counted() {
    let server = Server::start(&[]);
    let chat = Chat::new(&server);
    let ben_id = chat.register("ben");
    chat.register("ann");
    chat.one("ann", &["create", "group", "crew", "@ben"]);
    let seq = |done: &Value| done["seq"].as_u64().unwrap();
    let first = chat.one("ann", &["send", "crew", "Land", "ahoy", "--key", "one", "--mention", "@ben"]);
    assert_eq!(chat.one("ann", &["send", "crew", "Land", "ahoy", "--key", "one"]), first, "a key is one message");
    let lines = chat.run_with(&["--json", "--profile", "ann", "send", "crew", "--key", "two"], "a\n\nb\nc\n");
    assert_eq!((lines.code, lines.stdout.lines().count()), (Some(0), 3), "{lines:?}");
    let first = seq(&first);
    let (a, b) = ((first + 1).to_string(), (first + 2).to_string());

    assert_eq!(chat.one("ben", &["rooms"])["unread"], 4);
    chat.one("ben", &["read", "crew", &a]);
    assert_eq!(chat.one("ben", &["rooms"])["unread"], 2);
    let done = chat.one("ben", &["read", "crew"]);
    assert_eq!(seq(&done), first + 3);
    // Marks that follow each other are stored together, some seconds later.
    let deadline = Instant::now() + STEP;
    let listed = loop {
        let listed = chat.one("ben", &["rooms"]);
        if listed["unread"] == 0 || Instant::now() > deadline {
            break listed;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((&listed["unread"], &listed["read_seq"]), (&json!(0), &listed["head"]));

    chat.one("ann", &["edit", "crew", &a, "A,", "edited"]);
    assert_eq!(chat.refused("ben", &["edit", "crew", &a, "mine"]), (1, "forbidden".into()));
    chat.one("ben", &["react", "crew", &a, "👍"]);
    chat.one("ann", &["react", "crew", &a, "👍"]);
    chat.one("ann", &["unreact", "crew", &a, "👍"]);
    chat.one("ann", &["pin", "crew", &a]);
    chat.one("ann", &["delete", "crew", &b]);
    assert_eq!(chat.refused("ann", &["edit", "crew", &b, "again"]), (1, "message_deleted".into()));
    chat.one("ben", &["send", "crew", "Aye", "--reply-to", &a]);

    let messages = chat.json("ben", &["history", "crew"]);
    assert_eq!(messages.len(), 5);
    assert_eq!((&messages[0]["text"], &messages[0]["mentions"]), (&json!("Land ahoy"), &json!([ben_id])));
    assert_eq!((&messages[1]["text"], &messages[1]["pinned"]), (&json!("A, edited"), &json!(true)));
    assert!(messages[1]["edited_ms"].as_u64() > Some(0));
    assert_eq!(messages[1]["reactions"], json!([{ "reaction": "👍", "count": 1, "mine": true }]));
    assert_eq!((&messages[2]["deleted"], messages[2]["text"].as_str().unwrap_or_default()), (&json!(true), ""));
    assert_eq!(messages[4]["reply_to"], json!(first + 1));
    let texts = |args: &[&str]| -> Vec<u64> { chat.json("ben", args).iter().map(seq).collect() };
    assert_eq!(texts(&["history", "crew", "--limit", "1", "--before", &b]), [first + 1]);
    assert_eq!(texts(&["history", "crew", "--limit", "2", "--after", &first.to_string()]), [first + 1, first + 2]);

    assert_eq!(texts(&["search", "crew", "EDIT"]), [first + 1], "the last word may be the start of one");
    assert_eq!(texts(&["search", "crew", "land", "ahoy"]), [first]);
    assert_eq!(texts(&["search", "crew", "b"]), [] as [u64; 0], "it was deleted");
    assert_eq!(
        texts(&["search", "crew", "a", "--limit", "2"]),
        [first + 1, seq(&messages[4])],
        "the newest, in the order of the log"
    );
    assert_eq!(chat.refused("ben", &["search", "crew", "--", "--"]), (1, "invalid_field".into()));

    let shown = chat.text("ben", &["history", "crew"]);
    for part in
        ["ann: Land ahoy", "ann: A, edited (edited, pinned)", "👍 1", "ann: (deleted)", &format!("ben: (to {a}) Aye")]
    {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    let shown = chat.text("ann", &["rooms"]);
    assert!(shown.starts_with("UNREAD") && shown.contains("crew"), "{shown}");
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let server = Server::start(&[]);
    let chat = Chat::new(&server);
    chat.register("ann");
    assert_eq!(chat.run(&["--help"]).code, Some(0));
    assert_eq!(chat.run(&["--profile", "ann", "dance"]).code, Some(2));
    assert_eq!(chat.run(&["--profile", "ann", "tail"]).code, Some(2));
    assert_eq!(chat.refused("ann", &["send", "nowhere", "x"]), (2, "usage".into()));
    assert_eq!(chat.refused("ann", &["history", &uuid::Uuid::new_v4().to_string()]), (1, "not_found".into()));
    assert_eq!(chat.refused("ben", &["rooms"]), (3, "unauthenticated".into()));
    // Nobody listens there: the port was free a moment ago.
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(chat.refused("ann", &["rooms", "--server", &nowhere.to_string(), "--timeout", "1"]), (4, "connect".into()));
    let other = "00".repeat(32);
    let chat = chat.without("STARLING_CA");
    assert_eq!(chat.refused("ann", &["rooms", "--fingerprint", &other]), (4, "connect".into()), "not trusted");
}
