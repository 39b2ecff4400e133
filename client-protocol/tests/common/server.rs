//! Frames of the server.

use super::client::{message_first, message_full};
use super::{LOGIN, Sample, Value, key, records, room, user};
use client_protocol::chat::{Body, Events, HistoryPage, Message, MessageTail, ReactionCount, SearchPage};
use client_protocol::presence::{Presence, TypingNotice, state};
use client_protocol::room::{
    Bump, MemberEntry, Members, Reset, RoomEntry, RoomEntryTail, Rooms, SubscriptionEnded, kind, reset_reason, role,
};
use client_protocol::session::{Goaway, Reply, ReplyTail, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, ServerFrame};

const NO_TAIL: EmptyTail = EmptyTail {};

fn plain(name: &'static str, frame: ServerFrame) -> Sample {
    Sample::new(name, Value::Server(frame), &NO_TAIL, 0)
}

pub(super) fn samples() -> Vec<Sample> {
    let mut all = session();
    all.extend(rooms());
    all.extend(chat());
    all
}

fn session() -> Vec<Sample> {
    let welcome = Welcome {
        minor: 0,
        features: 0,
        epoch: 7,
        user: user(1),
        session: LOGIN,
        expires_ms: 1_800_000_600_000,
        now_ms: 1_800_000_000_000,
        subscriptions_max: 200,
        open_requests_max: 32,
        body_bytes_max: 8_192,
        reconnect_after_ms: (100, 2_000),
        tail: NO_TAIL,
    };
    let full = ReplyTail {
        retry_after_ms: Some(1_500),
        detail: Some("name: 200 bytes are above 128".into()),
        room: Some(room(1)),
        time_ms: Some(1_800_000_000_001),
    };
    let everything = Reply { code: Code::RateLimited.number(), seq: 9, tail: full.clone() };
    let other = Reply { code: 999, seq: 0, tail: ReplyTail::default() };
    let goaway = Goaway { reconnect_after_ms: (0, 65_536), tail: NO_TAIL };
    vec![
        plain("Welcome", ServerFrame::Welcome(welcome)),
        plain("Goaway", ServerFrame::Goaway(goaway)),
        Sample::new("Reply/min", Value::Server(ServerFrame::Reply(30, Reply::done(300))), &ReplyTail::default(), 4),
        Sample::new("Reply/full", Value::Server(ServerFrame::Reply(65_535, everything)), &full, 4),
        Sample::partial(
            "Reply/refused",
            Value::Server(ServerFrame::Reply(6, Reply::refused(Code::Forbidden, "admins only"))),
        ),
        Sample::new("Reply/other", Value::Server(ServerFrame::Reply(7, other)), &ReplyTail::default(), 4),
    ]
}

fn entries() -> Vec<RoomEntry> {
    let full = RoomEntryTail {
        name: Some("Harbour".into()),
        topic: Some("Tides".into()),
        peer: Some(user(2)),
        members: Some(10_000),
    };
    let entry = RoomEntry {
        room: room(1),
        kind: kind::GROUP,
        role: role::OWNER,
        head: 1_000,
        message_no: 900,
        time_ms: 1_800_000_000_000,
        read_seq: 990,
        read_message_no: 897,
        tail: full,
    };
    let bare = RoomEntry { room: room(2), kind: kind::DIRECT, tail: RoomEntryTail::default(), ..entry.clone() };
    let peer = RoomEntryTail { peer: Some(user(2)), ..RoomEntryTail::default() };
    vec![bare, RoomEntry { room: room(3), kind: kind::DIRECT, tail: peer, ..entry.clone() }, entry]
}

fn rooms() -> Vec<Sample> {
    let none = Rooms { rooms: vec![], next: 0, tail: NO_TAIL };
    let some = Rooms { rooms: entries(), next: 300, tail: NO_TAIL };
    let bump = Bump { room: room(1), head: 1_001, message_no: 901, mentioned: true, tail: NO_TAIL };
    let reset = Reset { room: room(1), epoch: 8, head: 1_001, reason: reset_reason::EPOCH, tail: NO_TAIL };
    let code = Code::Banned.number();
    let ended = SubscriptionEnded { room: room(1), last_seq: 1_002, code, tail: NO_TAIL };
    let member = |n, role| MemberEntry { user: user(n), role, joined_seq: u64::from(n) * 100, tail: NO_TAIL };
    let members = Members { members: vec![member(1, role::OWNER), member(3, role::MEMBER)], more: true, tail: NO_TAIL };
    let presence = Presence { users: vec![(user(2), state::ONLINE), (user(3), state::OFFLINE)], tail: NO_TAIL };
    let typing = TypingNotice { room: room(1), user: user(2), tail: NO_TAIL };
    vec![
        plain("Rooms", ServerFrame::Rooms(some.clone())),
        plain("Rooms/none", ServerFrame::Rooms(none)),
        plain("RoomsPage", ServerFrame::RoomsPage(48, some)),
        plain("Bump", ServerFrame::Bump(bump)),
        plain("Reset", ServerFrame::Reset(reset)),
        plain("SubscriptionEnded", ServerFrame::SubscriptionEnded(ended)),
        plain("MembersPage", ServerFrame::MembersPage(47, members)),
        plain("Presence", ServerFrame::Presence(presence)),
        plain("TypingNotice", ServerFrame::TypingNotice(typing)),
    ]
}

fn messages() -> Vec<Message> {
    let bare = Message {
        seq: 298,
        message_no: 250,
        time_ms: 1_800_000_000_000,
        actor: user(1),
        key: key(1),
        body: Body::default(),
        mentions: vec![],
        edited_ms: 0,
        deleted: true,
        pinned: false,
        reactions: vec![],
        as_of: 299,
        tail: MessageTail::default(),
    };
    let reactions = vec![
        ReactionCount { reaction: "👍".into(), count: 300, mine: true, tail: NO_TAIL },
        ReactionCount { reaction: "ok".into(), count: 1, mine: false, tail: NO_TAIL },
    ];
    let full = Message {
        seq: 300,
        message_no: 251,
        body: Body::text("Ahoy"),
        mentions: vec![user(2), user(3)],
        edited_ms: 1_800_000_001_000,
        deleted: false,
        pinned: true,
        reactions,
        as_of: 400,
        tail: message_full(),
        ..bare.clone()
    };
    let related = Message { seq: 301, message_no: 252, tail: message_first(), ..full.clone() };
    vec![bare, full, related]
}

fn chat() -> Vec<Sample> {
    let page = HistoryPage { messages: messages(), more: true, head: 401, tail: NO_TAIL };
    let none = HistoryPage { messages: vec![], more: false, head: 0, tail: NO_TAIL };
    let found = SearchPage { messages: messages().into_iter().rev().collect(), next: 298, tail: NO_TAIL };
    let nothing = SearchPage { messages: vec![], next: 0, tail: NO_TAIL };
    let three = records::three();
    let records: Vec<u8> = three.iter().flat_map(client_protocol::Event::record).collect();
    let one = Events { room: room(1), first_seq: 300, count: 1, records: three[0].record().into() };
    let events = Events { room: room(1), first_seq: 300, count: 3, records: records.into() };
    vec![
        plain("HistoryPage", ServerFrame::HistoryPage(40, page)),
        plain("HistoryPage/none", ServerFrame::HistoryPage(41, none)),
        plain("SearchPage", ServerFrame::SearchPage(49, found)),
        plain("SearchPage/none", ServerFrame::SearchPage(50, nothing)),
        Sample::partial("Events", Value::Server(ServerFrame::Events(events))),
        Sample::partial("Events/one", Value::Server(ServerFrame::Events(one))),
    ]
}
