//! What people see of the answers: a line each. With `--json` they are passed on as they are.

use serde_json::Value;

/// A field as text; texts without quotes.
fn field(line: &Value, name: &str) -> String {
    match &line[name] {
        Value::Null => String::new(),
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

/// The line as people see it; `None` for what is not for them.
pub(super) fn line(line: &Value) -> Option<String> {
    let of = |name: &str| field(line, name);
    Some(match line["type"].as_str()? {
        "user" => format!("{}  {:<8}  {:<24}  {}", of("id"), of("status"), of("username"), of("email")),
        "room" => format!(
            "{}  {:<6}  {:>7} members  {:>9} messages  {}",
            of("id"),
            of("kind"),
            of("members"),
            of("messages"),
            of("name")
        ),
        "stat" => format!("{:<28} {:>14}", of("name"), of("value")),
        "difference" => format!("room {}: {}", of("room"), of("what")),
        "done" => return done(line),
        _ => return None,
    })
}

fn done(line: &Value) -> Option<String> {
    let of = |name: &str| field(line, name);
    if !line["differences"].is_null() {
        let what = match (line["differences"].as_u64(), line["mended"].as_bool()) {
            (Some(0), _) => "all is as the logs say".to_owned(),
            (_, Some(true)) => format!("{} differences; what can be made anew was", of("differences")),
            _ => format!("{} differences", of("differences")),
        };
        return Some(format!(
            "{} rooms and own logs, {} events, {} messages: {what}",
            of("rooms"),
            of("events"),
            of("messages")
        ));
    }
    match (line["seq"].as_u64(), line["finished"].as_bool()) {
        (Some(seq), _) => Some(format!("done: event {seq}")),
        (None, Some(false)) => Some("the account is erased; its messages are on the way".to_owned()),
        (None, Some(true)) => Some("erased".to_owned()),
        (None, None) => None,
    }
}
