//! `starling-chat tail`: live, from a place on, over a crash of the server, to the end of a membership.

use crate::common::chat::{Chat, Following};
use crate::common::{Server, Stored};
use serde_json::{Value, json};

/// Everything until the program ends: seqs and kinds of the events.
fn rest_of(tail: &mut Following) -> Vec<Value> {
    std::iter::from_fn(|| tail.next()).filter(|object| object["type"] == "event").collect()
}

fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_tail_shows_what_was_and_what_comes() {
    let server = Server::start(&[]);
    let chat = Chat::new(&server);
    let (ann, ben) = (chat.register("ann"), chat.register("ben"));
    let room = chat.one("ann", &["create", "group", "crew", "@ben"])["room"].clone();
    chat.one("ann", &["send", "crew", "one"]);
    chat.one("ann", &["send", "crew", "two"]);

    // From the start: the room itself first.
    let mut tail = chat.follow("ben", &["tail", "crew", "--since", "0", "--count", "3"]);
    let events = rest_of(&mut tail);
    assert_eq!((tail.ended(), seqs(&events)), (Some(0), vec![1, 2, 3]));
    assert_eq!((&events[0]["kind"], &events[0]["room"]), (&json!("room_created"), &room));
    assert_eq!((&events[1]["text"], &events[1]["actor"]), (&json!("one"), &json!(ann)));
    let mut tail = chat.follow("ben", &["tail", "crew", "--since", "2", "--count", "1"]);
    assert_eq!(seqs(&rest_of(&mut tail)), [3]);

    // Live: the states of the others say that it has begun.
    let mut tail = chat.follow("ben", &["tail", "crew"]);
    assert_eq!(tail.of_type("presence")["user"], json!(ann));
    chat.one("ann", &["send", "crew", "three"]);
    let event = tail.of_type("event");
    assert_eq!((&event["seq"], &event["text"], &event["kind"]), (&json!(4), &json!("three"), &json!("message_posted")));
    chat.one("ann", &["edit", "crew", "4", "third"]);
    let event = tail.of_type("event");
    assert_eq!((&event["kind"], &event["target"], &event["text"]), (&json!("message_edited"), &json!(4), &json!("third")));
    chat.one("ann", &["react", "crew", "4", "👍"]);
    assert_eq!(tail.of_type("event")["reaction"], json!("👍"));
    chat.one("ann", &["typing", "crew"]);
    assert_eq!(tail.of_type("typing")["user"], json!(ann));
    tail.interrupt();
    assert_eq!(tail.ended(), Some(0));

    // For people.
    let shown = chat.text("ben", &["tail", "crew", "--since", "1", "--count", "2"]);
    assert!(shown.contains("ann: one\n") && shown.contains("ann: two\n"), "{shown}");

    // Removed in the middle: the removal is the last that is seen.
    let mut tail = chat.follow("ben", &["tail", "crew", "--since", "5", "--quiet"]);
    assert_eq!(tail.of_type("event")["seq"], 6);
    chat.one("ann", &["kick", "crew", "@ben"]);
    let mut last = tail.of_type("event");
    assert_eq!((&last["kind"], &last["user"]), (&json!("member_kicked"), &json!(ben)));
    last = tail.of_type("ended");
    assert_eq!((&last["last_seq"], tail.ended()), (&json!(7), Some(1)));
    assert!(tail.errors().contains("\"type\":\"error\""));
}

#[test]
fn a_tail_and_a_sender_miss_nothing_over_kill_9() {
    const MESSAGES: usize = 60;
    let mut server = Server::start_for_restarts(Stored::Embedded, &[]);
    let chat = Chat::new(&server);
    chat.register("ann");
    chat.register("ben");
    chat.one("ann", &["create", "public", "lobby"]);
    chat.one("ben", &["join", "lobby"]);
    let count = (2 + MESSAGES).to_string();
    let mut tail = chat.follow("ben", &["tail", "lobby", "--since", "0", "--quiet", "--count", &count]);
    let mut sender = chat.follow("ann", &["send", "lobby", "--key", "script"]);
    let mut events = Vec::new();
    for number in 0..MESSAGES {
        sender.line(&format!("message {number}"));
        if number == 0 {
            // It is there: what cannot connect at all gives up, and rightly so.
            sender.of_type("done");
        }
        if number == 20 || number == 40 {
            // In the middle: some of these are under way, none has to be.
            events.push(tail.of_type("event"));
            server.kill9();
            server.restart();
        }
    }
    sender.close_input();
    assert_eq!(sender.ended(), Some(0), "{}", sender.errors());
    let (mut lost, mut back) = (0, 0);
    while let Some(object) = tail.next() {
        match (object["type"].as_str(), object["state"].as_str()) {
            (Some("event"), _) => events.push(object),
            (Some("connection"), Some("disconnected")) => lost += 1,
            (Some("connection"), Some("connected")) => back += 1,
            other => panic!("{other:?}: {object}"),
        }
    }
    assert_eq!(tail.ended(), Some(0), "{}", tail.errors());
    assert!(lost >= 1 && back >= 1, "it saw no crash: {lost}, {back}");
    assert_eq!(seqs(&events), (1..=2 + MESSAGES as u64).collect::<Vec<_>>(), "each once, in order");
    let texts: Vec<&str> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    let sent: Vec<String> = (0..MESSAGES).map(|number| format!("message {number}")).collect();
    assert_eq!(texts, sent, "each message once, though the sender had to repeat some");
    assert_eq!(chat.json("ben", &["history", "lobby", "--limit", "200"]).len(), MESSAGES);
    server.stop();
}
