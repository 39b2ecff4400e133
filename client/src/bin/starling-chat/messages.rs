//! Messages: posting, reading, changing.

use crate::args::{Edit, History, React, Read, RoomArg, Search, Send, Target};
use crate::context::{Context, Session};
use crate::failure::Failure;
use crate::json;
use crate::output::Output;
use crate::rooms::finish;
use crate::text::{clean, clean_line, time};
use starling_client::protocol::chat::{Body, Message, format, relation};
use starling_client::protocol::limits::{BODY_BYTES_MAX, HISTORY_PAGE_MAX};
use starling_client::{After, Client, ClientError, Code, Key, Page, Post, RoomId, new_key};
use std::io::{BufRead, Read as _};
use std::time::Duration;
use tokio::sync::mpsc;

/// Time that a typing notice has to leave.
const TYPING_LEAVES: Duration = Duration::from_millis(300);
/// Times that a line of standard input is sent again because the server is busy, and for how long it is waited between them.
const PATIENCE_TRIES: usize = 100;
const PATIENCE_MIN: Duration = Duration::from_millis(10);
const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// Lines of standard input read ahead.
const LINES_AHEAD: usize = 16;

fn body(text: &str, markdown: bool) -> Body {
    Body { format: if markdown { format::MARKDOWN } else { format::TEXT }, ..Body::text(text) }
}

/// Posts the text, or the lines of standard input one after the other.
pub(crate) async fn send(context: &Context, args: Send) -> Result<(), Failure> {
    let mut session = context.session()?;
    let mut mentions = Vec::with_capacity(args.mention.len());
    for user in &args.mention {
        mentions.push(session.user(user).await?);
    }
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let post = |text: &str, key: Key| Post {
        body: body(text, args.markdown),
        mentions: mentions.clone(),
        reply_to: args.reply_to,
        thread: args.thread,
        attachments: Vec::new(),
        key: Some(key),
    };
    if !args.text.is_empty() {
        let key = args.key.as_deref().map_or_else(new_key, Key::from_text);
        post_one(context, &client, room, post(&args.text.join(" "), key)).await?;
    } else {
        let mut lines = stdin_lines();
        let mut number = 0_u64;
        while let Some(line) = lines.recv().await {
            let line = line?;
            number += 1;
            if line.trim().is_empty() {
                continue;
            }
            let key = args.key.as_ref().map_or_else(new_key, |key| Key::from_text(&format!("{key}/{number}")));
            post_patiently(context, &client, room, post(&line, key)).await?;
        }
    }
    client.close().await;
    Ok(())
}

async fn post_one(context: &Context, client: &Client, room: RoomId, post: Post) -> Result<(), Failure> {
    let key = post.key;
    let acked = client.post(room, post).await?;
    context.out.object(&json::done(room, acked, key))
}

/// As [`post_one`], and where the server asks for patience it gets some: a script with many lines must not stop in the middle of them.
async fn post_patiently(context: &Context, client: &Client, room: RoomId, post: Post) -> Result<(), Failure> {
    for _ in 0..PATIENCE_TRIES {
        match client.post(room, post.clone()).await {
            Err(ClientError::Refused { code: Code::RateLimited | Code::Overloaded, retry_after: Some(wait), .. }) => {
                tokio::time::sleep(wait.clamp(PATIENCE_MIN, PATIENCE_MAX)).await;
            }
            outcome => return context.out.object(&json::done(room, outcome?, post.key)),
        }
    }
    post_one(context, client, room, post).await
}

/// Lines of standard input, from a thread: reading cannot be interrupted.
fn stdin_lines() -> mpsc::Receiver<Result<String, Failure>> {
    let (lines, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut bytes = Vec::new();
            // A line without end must not fill the memory; what is above the bound the server would refuse.
            let read = input.by_ref().take(BODY_BYTES_MAX as u64 + 2).read_until(b'\n', &mut bytes);
            let line = match read {
                Ok(0) => return,
                Ok(_) => String::from_utf8(bytes).map_err(|_| Failure::Usage("standard input is not UTF-8".into())),
                Err(error) => Err(Failure::Usage(format!("standard input: {error}"))),
            };
            let line = line.map(|line| line.trim_end_matches(['\r', '\n']).to_owned());
            let line = match line {
                Ok(line) if line.len() > BODY_BYTES_MAX => {
                    Err(Failure::Usage(format!("a line is longer than {BODY_BYTES_MAX} bytes")))
                }
                line => line,
            };
            let last = line.is_err();
            if lines.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Shows messages as they are now.
pub(crate) async fn history(context: &Context, args: History) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let start = match (args.before, args.after) {
        (Some(seq), _) => Page::Before(seq),
        // On the wire 0 says nothing. Event 1 makes the room and is no message.
        (None, Some(seq)) => Page::After(seq.max(1)),
        (None, None) => Page::Newest,
    };
    let messages = read_history(&client, room, start, args.limit as usize).await?;
    client.close().await;
    show_messages(&mut session, room, &messages).await
}

/// Up to `limit` messages, by ascending seq, over as many pages as that takes.
async fn read_history(client: &Client, room: RoomId, start: Page, limit: usize) -> Result<Vec<Message>, Failure> {
    let mut messages: Vec<Message> = Vec::new();
    let mut page = start;
    loop {
        let wanted = (limit - messages.len()).min(HISTORY_PAGE_MAX);
        let got = client.history(room, page, wanted).await?;
        let (first, last) = (got.messages.first().map(|m| m.seq), got.messages.last().map(|m| m.seq));
        match (page, first, last) {
            (Page::After(_), _, Some(last)) => {
                page = Page::After(last);
                messages.extend(got.messages);
            }
            (_, Some(first), _) => {
                page = Page::Before(first);
                messages.splice(0..0, got.messages);
            }
            _ => return Ok(messages),
        }
        if !got.more || messages.len() >= limit {
            return Ok(messages);
        }
    }
}

/// Shows messages that have some words, in the order of the log.
pub(crate) async fn search(context: &Context, args: Search) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let (text, limit) = (args.text.join(" "), args.limit as usize);
    let (mut found, mut before) = (Vec::new(), args.before);
    while found.len() < limit {
        let page = client.search(room, text.as_str(), before, limit - found.len()).await?;
        found.extend(page.messages);
        before = page.next;
        if before == 0 {
            break;
        }
    }
    client.close().await;
    found.reverse();
    show_messages(&mut session, room, &found).await
}

/// Prints messages.
pub(crate) async fn show_messages(session: &mut Session<'_>, room: RoomId, messages: &[Message]) -> Result<(), Failure> {
    let out = session.context.out;
    if out.json {
        return messages.iter().try_for_each(|message| out.object(&json::message(room, message)));
    }
    session.names.fetch(messages.iter().map(|message| message.actor)).await;
    for message in messages {
        let name = session.names.show(message.actor);
        let text = if message.deleted { out.dim("(deleted)") } else { body_text(&message.body) };
        let mut marks = Vec::new();
        if message.edited_ms > 0 && !message.deleted {
            marks.push("edited".to_owned());
        }
        if message.pinned {
            marks.push("pinned".to_owned());
        }
        let related = message.tail.relation.map(|to| (to.kind, to.seq));
        out.text(&message_line(out, message.seq, message.time_ms, &name, &text, related, &marks))?;
        if !message.reactions.is_empty() {
            let given: Vec<String> =
                message.reactions.iter().map(|given| format!("{} {}", clean_line(&given.reaction), given.count)).collect();
            out.text(&out.dim(&format!("{:>6}  {}", "", given.join("  "))))?;
        }
    }
    Ok(())
}

/// The text of a body, for people.
pub(crate) fn body_text(body: &Body) -> String {
    match (body.format, std::str::from_utf8(&body.bytes)) {
        (format::TEXT | format::MARKDOWN, Ok(text)) => clean(text),
        (format::OPAQUE, _) => "(encrypted)".into(),
        _ => format!("(format {} cannot be shown)", body.format),
    }
}

/// One message: seq, time, name and text; further lines of the text are indented.
pub(crate) fn message_line(
    out: Output,
    seq: u64,
    time_ms: u64,
    name: &str,
    text: &str,
    related: Option<(u8, u64)>,
    marks: &[String],
) -> String {
    let related = match related {
        Some((relation::REPLY, seq)) => out.dim(&format!("(to {seq}) ")),
        Some((relation::THREAD, seq)) => out.dim(&format!("(thread {seq}) ")),
        _ => String::new(),
    };
    let marks = if marks.is_empty() { String::new() } else { out.dim(&format!(" ({})", marks.join(", "))) };
    let text = text.replace('\n', "\n        ");
    format!("{}  {}  {}: {related}{text}{marks}", out.dim(&format!("{seq:>6}")), out.dim(&time(time_ms)), out.bold(name))
}

/// Replaces the text of a message.
pub(crate) async fn edit(context: &Context, args: Edit) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let acked = client.edit(room, args.seq, body(&args.text.join(" "), args.markdown)).await?;
    finish(context, &client, room, acked, "Edited").await
}

/// What is done to a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// Blanks it.
    Delete,
    /// Pins it.
    Pin,
    /// Unpins it.
    Unpin,
}

/// Changes a message.
pub(crate) async fn change(context: &Context, args: Target, change: Change) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let (acked, what) = match change {
        Change::Delete => (client.delete(room, args.seq).await?, "Deleted"),
        Change::Pin => (client.pin(room, args.seq).await?, "Pinned"),
        Change::Unpin => (client.unpin(room, args.seq).await?, "Unpinned"),
    };
    finish(context, &client, room, acked, what).await
}

/// Adds a reaction or takes it back.
pub(crate) async fn react(context: &Context, args: React, add: bool) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    let (acked, what) = match add {
        true => (client.react(room, args.seq, args.reaction).await?, "Reacted"),
        false => (client.unreact(room, args.seq, args.reaction).await?, "Taken back"),
    };
    finish(context, &client, room, acked, what).await
}

/// Moves the read mark.
pub(crate) async fn read(context: &Context, args: Read) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    // Above the head counts as the head.
    let acked = client.mark_read(room, args.seq.unwrap_or(u64::MAX)).await?;
    finish(context, &client, room, acked, "Marked as read").await
}

/// Says that the user types.
pub(crate) async fn typing(context: &Context, args: RoomArg) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let room = session.room(&client, &args.room).await?;
    // Only those who read a room may say that they type in it.
    let _events = client.subscribe(room, After::Live).await?;
    let sent = client.typing(room);
    tokio::time::sleep(TYPING_LEAVES).await;
    client.close().await;
    context.out.object(&serde_json::json!({ "type": "typing_sent", "room": room.0, "sent": sent }))
}
