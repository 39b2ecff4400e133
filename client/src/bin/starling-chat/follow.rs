//! Following a room: what was said last, then what happens, until it is enough.

use crate::args::Tail;
use crate::context::{Context, Session};
use crate::failure::Failure;
use crate::json;
use crate::messages::{body_text, message_line, show_messages};
use crate::text::{clean_line, kind_name, role_name, state_name, time};
use serde_json::json;
use starling_client::protocol::chat::Body;
use starling_client::protocol::limits::{PRESENCE_WATCH_MAX, TYPING_EXPIRES_MS};
use starling_client::protocol::room::SettingsTail;
use starling_client::{
    After, Client, Code, Event, EventBody, Page, RoomEvents, RoomId, RoomItem, SessionItem, SessionItems, UserId,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Messages shown first.
const HISTORY: u64 = 10;

/// Follows a room.
pub(crate) async fn tail(context: &Context, args: Tail) -> Result<(), Failure> {
    let mut session = context.session()?;
    let client = session.connect().await?;
    let mut items = client.session_items();
    let room = session.room(&client, &args.room).await?;
    let shown = args.history.unwrap_or(if context.out.json { 0 } else { HISTORY });
    // One's own log has no messages.
    let own = room == RoomId::self_log(session.saved.user_id());
    let after = match args.since {
        Some(0) => After::Start,
        Some(seq) => After::Seq(seq),
        None if shown == 0 || own => After::Live,
        None => {
            let page = client.history(room, Page::Newest, shown as usize).await?;
            show_messages(&mut session, room, &page.messages).await?;
            After::Seq(page.head)
        }
    };
    let mut events = client.subscribe(room, after).await?;
    if !args.quiet && !own {
        watch_members(&client, room).await;
    }
    let mut follower = Follower { session, room, left: args.count, quiet: args.quiet, typing: HashMap::new() };
    let result = follower.run(&client, &mut events, &mut items, args.seconds).await;
    client.close().await;
    result
}

/// Asks for the presence of the members; of large rooms, of none.
async fn watch_members(client: &Client, room: RoomId) {
    let Ok(page) = client.members(room, UserId::default(), PRESENCE_WATCH_MAX).await else { return };
    if page.more {
        return;
    }
    let users = page.members.into_iter().map(|member| member.user).collect();
    // Nice to have: the room is followed without it too.
    let _ = client.watch_presence(users).await;
}

struct Follower<'a> {
    session: Session<'a>,
    room: RoomId,
    /// Events still to be shown.
    left: Option<u64>,
    quiet: bool,
    /// Who was shown as typing, and when.
    typing: HashMap<UserId, Instant>,
}

impl Follower<'_> {
    async fn run(
        &mut self,
        client: &Client,
        events: &mut RoomEvents,
        items: &mut SessionItems,
        seconds: Option<f64>,
    ) -> Result<(), Failure> {
        let end = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(|time| tokio::time::Instant::now() + time);
        let timer = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let mut timer = std::pin::pin!(timer);
        let mut stopped = std::pin::pin!(stopped());
        while self.left != Some(0) {
            tokio::select! {
                item = events.next() => match item {
                    Some(item) => self.item(client, item).await?,
                    None => return Err(client.closed().await.into()),
                },
                Some(item) = items.next() => self.session_item(item).await?,
                () = &mut timer => return Ok(()),
                () = &mut stopped => return Ok(()),
            }
        }
        Ok(())
    }

    /// Shows an item. The last one, of a user who was removed, is a failure.
    async fn item(&mut self, client: &Client, item: RoomItem) -> Result<(), Failure> {
        let out = self.session.context.out;
        match &item {
            RoomItem::Typing { .. } if self.quiet => return Ok(()),
            RoomItem::Event(event) => {
                self.typing.remove(&event.head.actor);
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            _ => {}
        }
        if out.json {
            out.object(&json::item(self.room, &item))?;
            return not_ended(&item);
        }
        match &item {
            RoomItem::Event(event) => {
                self.session.names.fetch(people(event)).await;
                out.text(&self.event_line(event))?;
            }
            RoomItem::Typing { user } => {
                let now = Instant::now();
                self.typing.retain(|_, since| now < *since + Duration::from_millis(TYPING_EXPIRES_MS));
                if self.typing.insert(*user, now).is_none() {
                    self.session.names.fetch([*user]).await;
                    out.text(&out.dim(&format!("        {} is typing", self.session.names.show(*user))))?;
                }
            }
            RoomItem::Reset { reason, .. } => {
                out.note(&format!("        events are missing ({}); the last messages:", json::reset_name(*reason)));
                let page = client.history(self.room, Page::Newest, HISTORY as usize).await?;
                show_messages(&mut self.session, self.room, &page.messages).await?;
            }
            RoomItem::Ended { code, .. } => {
                let why = if *code == Code::Banned { "you were banned" } else { "you are no member any more" };
                out.note(&format!("        the end: {why}"));
            }
            _ => {}
        }
        not_ended(&item)
    }

    async fn session_item(&mut self, item: SessionItem) -> Result<(), Failure> {
        let out = self.session.context.out;
        match item {
            SessionItem::Presence(users) if !self.quiet => {
                if !out.json {
                    self.session.names.fetch(users.iter().map(|(user, _)| *user)).await;
                }
                for (user, state) in users.iter().filter(|(user, _)| *user != self.session.saved.user_id()) {
                    let line = format!("        {} is {}", self.session.names.show(*user), state_name(*state));
                    let object = json!({ "type": "presence", "user": user.0, "state": state_name(*state) });
                    out.either(&out.dim(&line), &object)?;
                }
            }
            SessionItem::Connected { .. } => out.object(&json!({ "type": "connection", "state": "connected" }))?,
            SessionItem::Disconnected { reason, reconnect_in } => {
                let ms = reconnect_in.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
                let object = json!({
                    "type": "connection", "state": "disconnected", "reason": reason.to_string(), "reconnect_in_ms": ms,
                });
                out.object(&object)?;
                if let Some(time) = reconnect_in {
                    out.note(&format!("        {reason}; connecting again in {:.1} s", time.as_secs_f64()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn event_line(&self, event: &Event) -> String {
        let out = self.session.context.out;
        let head = &event.head;
        let who = self.session.names.show(head.actor);
        if let EventBody::MessagePosted(posted) = &event.body {
            let text = if posted.body == Body::default() { out.dim("(deleted)") } else { body_text(&posted.body) };
            let related = posted.tail.relation.map(|to| (to.kind, to.seq));
            return message_line(out, head.seq, head.time_ms, &who, &text, related, &[]);
        }
        let what = self.what_happened(&who, event);
        let line = format!("{:>6}  {}  * {what}", head.seq, time(head.time_ms));
        out.dim(&line.replace('\n', "\n        "))
    }

    fn what_happened(&self, who: &str, event: &Event) -> String {
        let show = |user: UserId| self.session.names.show(user);
        match &event.body {
            EventBody::MessageEdited(edited) => format!("{who} edited {}: {}", edited.target, body_text(&edited.body)),
            EventBody::MessageDeleted(deleted) => format!("{who} deleted {}", deleted.target),
            EventBody::ReactionAdded(given) => format!("{who} {} to {}", clean_line(&given.reaction), given.target),
            EventBody::ReactionRemoved(taken) => {
                format!("{who} took back {} from {}", clean_line(&taken.reaction), taken.target)
            }
            EventBody::MessagePinned(pin) => format!("{who} pinned {}", pin.target),
            EventBody::MessageUnpinned(pin) => format!("{who} unpinned {}", pin.target),
            EventBody::RoomCreated(created) => {
                format!("{who} made this {} room{}", kind_name(created.kind), changes(&created.settings))
            }
            EventBody::MemberJoined(_) => format!("{who} joined"),
            EventBody::MemberLeft(_) => format!("{who} left"),
            EventBody::UserErased(_) => format!("{who} was erased, with all that they wrote"),
            EventBody::MemberAdded(changed) => format!("{who} added {}", show(changed.user)),
            EventBody::MemberKicked(changed) => format!("{who} removed {}", show(changed.user)),
            EventBody::MemberBanned(changed) => format!("{who} banned {}", show(changed.user)),
            EventBody::MemberUnbanned(changed) => format!("{who} unbanned {}", show(changed.user)),
            EventBody::RoleChanged(changed) => {
                format!("{who} made {} {}", show(changed.user), role_name(changed.role))
            }
            EventBody::SettingsChanged(changed) => format!("{who} changed the settings{}", changes(&changed.settings)),
            EventBody::RoomListed(listed) => format!("room {} came to your list", listed.room),
            EventBody::RoomUnlisted(unlisted) => format!("room {} left your list", unlisted.room),
            EventBody::ReadMarked(marked) => format!("room {} read up to {}", marked.room, marked.seq),
            EventBody::Notified(given) => {
                format!("{}: message {} in room {}", json::notified_name(given.kind), given.seq, given.room)
            }
            other => format!("{who}: an event of a later version (kind {:#06x})", other.kind()),
        }
    }
}

/// Waits for a signal that asks the program to end: Ctrl-C, or what `kill` and service managers send.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The end of a stream is told by the exit code.
fn not_ended(item: &RoomItem) -> Result<(), Failure> {
    match item {
        RoomItem::Ended { code, .. } => Err(Failure::Refused {
            code: code.name().to_owned(),
            message: format!("the subscription ended: {code}"),
            retry_after_ms: None,
        }),
        _ => Ok(()),
    }
}

/// Whose names an event shows.
fn people(event: &Event) -> Vec<UserId> {
    let other = match &event.body {
        EventBody::MemberAdded(changed)
        | EventBody::MemberKicked(changed)
        | EventBody::MemberBanned(changed)
        | EventBody::MemberUnbanned(changed) => Some(changed.user),
        EventBody::RoleChanged(changed) => Some(changed.user),
        _ => None,
    };
    [Some(event.head.actor), other].into_iter().flatten().collect()
}

fn changes(settings: &SettingsTail) -> String {
    let mut list = Vec::new();
    if let Some(name) = &settings.name {
        list.push(format!("name {}", clean_line(name)));
    }
    if let Some(topic) = &settings.topic {
        list.push(format!("topic {}", clean_line(topic)));
    }
    if let Some(role) = settings.post_role {
        list.push(format!("post from {}", role_name(role)));
    }
    if let Some(seconds) = settings.edit_window_s {
        list.push(format!("edit window {seconds} s"));
    }
    if list.is_empty() { String::new() } else { format!(": {}", list.join(", ")) }
}
