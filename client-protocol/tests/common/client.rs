//! Frames of clients.

use super::{DEVICE, Sample, Value, key, room, user};
use client_protocol::chat::{
    Attachment, Body, EditMessage, History, MessageTail, PostMessage, React, Relation, Search, TargetMessage, format,
    relation,
};
use client_protocol::notification::MarkRead;
use client_protocol::presence::{SetPresence, Typing, WatchPresence, state};
use client_protocol::room::{
    ChangeMember, CommandHead, CreateRoom, JoinRoom, LIVE, LeaveRoom, ListMembers, ListRooms, SetRole, SettingsTail,
    Subscribe, Unsubscribe, UpdateRoom, kind, role,
};
use client_protocol::session::{Hello, Reauth};
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Command, Query, RoomId, UserId};

const NO_TAIL: EmptyTail = EmptyTail {};

/// Every setting.
pub(super) fn settings_full() -> SettingsTail {
    SettingsTail {
        name: Some("Harbour".into()),
        topic: Some("Tides and boats ⛵".into()),
        post_role: Some(role::MODERATOR),
        edit_window_s: Some(86_400),
    }
}

/// Everything that a message may carry.
pub(super) fn message_full() -> MessageTail {
    MessageTail {
        relation: Some(Relation { kind: relation::REPLY, seq: 300 }),
        attachments: Some(vec![
            Attachment { id: "f/1".into(), name: "chart.png".into(), mime: "image/png".into(), size: 70_000, tail: NO_TAIL },
            Attachment { id: String::new(), name: String::new(), mime: String::new(), size: 0, tail: NO_TAIL },
        ]),
    }
}

/// Attachments, no relation: the first field of the tail is missing, the last one is there.
pub(super) fn message_last() -> MessageTail {
    MessageTail { relation: None, attachments: Some(Vec::new()) }
}

/// A relation, no attachments: the tail ends early.
pub(super) fn message_first() -> MessageTail {
    MessageTail { relation: Some(Relation { kind: relation::THREAD, seq: 1 }), attachments: None }
}

fn head(retry: bool) -> CommandHead {
    CommandHead { room: room(1), key: key(1), retry }
}

fn command(name: &'static str, id: u64, command: Command, tail: &impl client_protocol::Encode, fields: usize) -> Sample {
    Sample::new(name, Value::Client(ClientFrame::Request(id, command)), tail, fields)
}

fn plain(name: &'static str, id: u64, sent: Command) -> Sample {
    command(name, id, sent, &NO_TAIL, 0)
}

fn query(name: &'static str, id: u64, query: Query) -> Sample {
    Sample::new(name, Value::Client(ClientFrame::Query(id, query)), &NO_TAIL, 0)
}

pub(super) fn samples() -> Vec<Sample> {
    let mut all = session();
    all.extend(rooms());
    all.extend(membership());
    all.extend(messages());
    all.extend(queries());
    all
}

fn session() -> Vec<Sample> {
    let hello = Hello { minor: 0, features: 0, device: DEVICE, token: "a.b.c".into(), tail: NO_TAIL };
    let later = Hello { minor: 300, features: 1 << 40, token: "t".repeat(300), ..hello.clone() };
    let typing = Typing { room: room(1), tail: NO_TAIL };
    vec![
        Sample::new("Hello", Value::Client(ClientFrame::Hello(hello)), &NO_TAIL, 0),
        Sample::new("Hello/long", Value::Client(ClientFrame::Hello(later)), &NO_TAIL, 0),
        plain("Reauth", 1, Command::Reauth(Reauth { token: "d.e.f".into(), tail: NO_TAIL })),
        plain("WatchPresence", 251, Command::WatchPresence(WatchPresence { users: vec![user(2), user(3)], tail: NO_TAIL })),
        plain("WatchPresence/none", 252, Command::WatchPresence(WatchPresence { users: vec![], tail: NO_TAIL })),
        plain("SetPresence", 253, Command::SetPresence(SetPresence { state: state::AWAY, tail: NO_TAIL })),
        Sample::new("Typing", Value::Client(ClientFrame::Typing(typing)), &NO_TAIL, 0),
    ]
}

fn rooms() -> Vec<Sample> {
    let create = |settings| CreateRoom { key: key(2), kind: kind::GROUP, members: vec![user(2), user(3)], settings };
    let direct = CreateRoom { key: key(3), kind: kind::DIRECT, members: vec![user(2)], settings: SettingsTail::default() };
    let update = |settings| Command::UpdateRoom(UpdateRoom { head: head(false), settings });
    let full = settings_full();
    let last = SettingsTail { edit_window_s: Some(0), ..SettingsTail::default() };
    let first = SettingsTail { name: Some(String::new()), ..SettingsTail::default() };
    let subscribe = |after_seq| Command::Subscribe(Subscribe { room: room(1), epoch: 7, after_seq, tail: NO_TAIL });
    vec![
        command("CreateRoom/min", 2, Command::CreateRoom(direct.clone()), &direct.settings, 4),
        command("CreateRoom/full", 3, Command::CreateRoom(create(full.clone())), &full, 4),
        plain("JoinRoom", 4, Command::JoinRoom(JoinRoom { head: head(false), tail: NO_TAIL })),
        plain("LeaveRoom", 5, Command::LeaveRoom(LeaveRoom { head: head(true), tail: NO_TAIL })),
        command("UpdateRoom/min", 6, update(SettingsTail::default()), &SettingsTail::default(), 4),
        command("UpdateRoom/full", 7, update(full.clone()), &full, 4),
        command("UpdateRoom/last", 8, update(last.clone()), &last, 4),
        Sample::partial("UpdateRoom/first", Value::Client(ClientFrame::Request(9, update(first)))),
        plain("Subscribe", 10, subscribe(65_536)),
        plain("Subscribe/all", 11, subscribe(0)),
        plain("Subscribe/live", 12, subscribe(LIVE)),
        plain("Unsubscribe", 13, Command::Unsubscribe(Unsubscribe { room: room(1), tail: NO_TAIL })),
        plain("MarkRead", 14, Command::MarkRead(MarkRead { room: room(1), seq: 65_535, tail: NO_TAIL })),
    ]
}

fn membership() -> Vec<Sample> {
    let change = || ChangeMember { head: head(false), user: user(2), tail: NO_TAIL };
    let set_role = SetRole { head: head(false), user: user(2), role: role::ADMIN, tail: NO_TAIL };
    vec![
        plain("AddMember", 20, Command::AddMember(change())),
        plain("KickMember", 21, Command::KickMember(change())),
        plain("BanMember", 22, Command::BanMember(change())),
        plain("UnbanMember", 23, Command::UnbanMember(change())),
        plain("SetRole", 24, Command::SetRole(set_role)),
    ]
}

fn messages() -> Vec<Sample> {
    let post = |tail: MessageTail| {
        Command::PostMessage(PostMessage { head: head(false), body: Body::text("Ahoy ⚓"), mentions: vec![user(2)], tail })
    };
    let opaque = Command::PostMessage(PostMessage {
        head: head(true),
        body: Body { format: format::OPAQUE, bytes: (0..=255).collect() },
        mentions: vec![],
        tail: MessageTail::default(),
    });
    let edit = EditMessage {
        head: head(false),
        target: 4_294_967_296,
        body: Body { format: format::MARKDOWN, bytes: b"*Ahoy*".to_vec() },
        tail: NO_TAIL,
    };
    let target = || TargetMessage { head: head(false), target: 300, tail: NO_TAIL };
    let react = || React { head: head(false), target: 300, reaction: "👍".into(), tail: NO_TAIL };
    let none = MessageTail::default();
    let (full, last) = (message_full(), message_last());
    let first = Value::Client(ClientFrame::Request(4_294_967_296, post(message_first())));
    vec![
        command("PostMessage/min", 30, post(none.clone()), &none, 2),
        command("PostMessage/full", 65_535, post(full.clone()), &full, 2),
        command("PostMessage/last", 65_536, post(last.clone()), &last, 2),
        Sample::partial("PostMessage/first", first),
        command("PostMessage/opaque", u64::MAX, opaque, &none, 2),
        plain("EditMessage", 31, Command::EditMessage(edit)),
        plain("DeleteMessage", 32, Command::DeleteMessage(target())),
        plain("AddReaction", 33, Command::AddReaction(react())),
        plain("RemoveReaction", 34, Command::RemoveReaction(react())),
        plain("PinMessage", 35, Command::PinMessage(target())),
        plain("UnpinMessage", 36, Command::UnpinMessage(target())),
    ]
}

fn queries() -> Vec<Sample> {
    let history = |before| Query::History(History { room: room(1), before, after: 0, limit: 50, tail: NO_TAIL });
    let members = ListMembers { room: room(1), after: UserId::default(), limit: 500, tail: NO_TAIL };
    let own = History { room: RoomId::self_log(user(1)), before: 0, after: 9, limit: 100, tail: NO_TAIL };
    let search = Search { room: room(1), text: "Éric tides".into(), before: 300, limit: 50, tail: NO_TAIL };
    vec![
        query("History/250", 40, history(250)),
        query("History/251", 41, history(251)),
        query("History/65535", 42, history(65_535)),
        query("History/65536", 43, history(65_536)),
        query("History/4294967295", 44, history(4_294_967_295)),
        query("History/4294967296", 45, history(4_294_967_296)),
        query("History/after", 46, Query::History(own)),
        query("ListMembers", 47, Query::ListMembers(members)),
        query("ListRooms", 48, Query::ListRooms(ListRooms { offset: 100, limit: 100, tail: NO_TAIL })),
        query("Search", 49, Query::Search(search)),
    ]
}
