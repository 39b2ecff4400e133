//! What is written is what is read, for values of all sizes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use client_protocol::chat::{
    Attachment, Body, EditMessage, History, HistoryPage, Message, MessagePosted, MessageTail, PostMessage, React,
    ReactionCount, Relation, Search, SearchPage, TargetMessage,
};
use client_protocol::notification::MarkRead;
use client_protocol::presence::{SetPresence, WatchPresence};
use client_protocol::room::{
    ChangeMember, CommandHead, CreateRoom, JoinRoom, LeaveRoom, ListMembers, ListRooms, RoomCreated, RoomEntry,
    RoomEntryTail, Rooms, SetRole, SettingsTail, Subscribe, Unsubscribe, UpdateRoom,
};
use client_protocol::session::{Reauth, Reply, ReplyTail};
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Command, Event, EventBody, EventHead, Key, NodeId, Query, RoomId, ServerFrame, UserId};
use common::{Value, read};
use proptest::option;
use proptest::prelude::*;

const NO_TAIL: EmptyTail = EmptyTail {};

fn user() -> impl Strategy<Value = UserId> {
    any::<[u8; 16]>().prop_map(UserId::from_bytes)
}

fn room() -> impl Strategy<Value = RoomId> {
    any::<[u8; 16]>().prop_map(RoomId::from_bytes)
}

fn key() -> impl Strategy<Value = Key> {
    any::<[u8; 16]>().prop_map(Key::from_bytes)
}

/// Numbers around the lengths of their encodings.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, 65_000_u64..66_000, 4_294_967_000_u64..4_294_968_000, any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..300, 65_000_u32..66_000, any::<u32>()]
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn body() -> impl Strategy<Value = Body> {
    (any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(format, bytes)| Body { format, bytes })
}

fn users() -> impl Strategy<Value = Vec<UserId>> {
    prop::collection::vec(user(), 0..5)
}

fn head() -> impl Strategy<Value = CommandHead> {
    (room(), key(), any::<bool>()).prop_map(|(room, key, retry)| CommandHead { room, key, retry })
}

fn message_tail() -> impl Strategy<Value = MessageTail> {
    let relation = (any::<u8>(), number()).prop_map(|(kind, seq)| Relation { kind, seq });
    let attachment = (text(), text(), text(), number()).prop_map(|(id, name, mime, size)| Attachment {
        id,
        name,
        mime,
        size,
        tail: NO_TAIL,
    });
    (option::of(relation), option::of(prop::collection::vec(attachment, 0..4)))
        .prop_map(|(relation, attachments)| MessageTail { relation, attachments })
}

fn settings() -> impl Strategy<Value = SettingsTail> {
    (option::of(text()), option::of(text()), option::of(any::<u8>()), option::of(small()))
        .prop_map(|(name, topic, post_role, edit_window_s)| SettingsTail { name, topic, post_role, edit_window_s })
}

fn room_command() -> impl Strategy<Value = Command> {
    let change = (head(), user()).prop_map(|(head, user)| ChangeMember { head, user, tail: NO_TAIL });
    let change = (change, 0..4).prop_map(|(change, what)| match what {
        0 => Command::AddMember(change),
        1 => Command::KickMember(change),
        2 => Command::BanMember(change),
        _ => Command::UnbanMember(change),
    });
    let join = head().prop_map(|head| Command::JoinRoom(JoinRoom { head, tail: NO_TAIL }));
    let leave = head().prop_map(|head| Command::LeaveRoom(LeaveRoom { head, tail: NO_TAIL }));
    let create = (key(), any::<u8>(), users(), settings())
        .prop_map(|(key, kind, members, settings)| Command::CreateRoom(CreateRoom { key, kind, members, settings }));
    let set_role = (head(), user(), any::<u8>())
        .prop_map(|(head, user, role)| Command::SetRole(SetRole { head, user, role, tail: NO_TAIL }));
    let update = (head(), settings()).prop_map(|(head, settings)| Command::UpdateRoom(UpdateRoom { head, settings }));
    let subscribe = (room(), number(), number())
        .prop_map(|(room, epoch, after_seq)| Command::Subscribe(Subscribe { room, epoch, after_seq, tail: NO_TAIL }));
    let unsubscribe = room().prop_map(|room| Command::Unsubscribe(Unsubscribe { room, tail: NO_TAIL }));
    prop_oneof![change, join, leave, create, set_role, update, subscribe, unsubscribe]
}

fn other_command() -> impl Strategy<Value = Command> {
    let post = (head(), body(), users(), message_tail())
        .prop_map(|(head, body, mentions, tail)| Command::PostMessage(PostMessage { head, body, mentions, tail }));
    let edit = (head(), number(), body())
        .prop_map(|(head, target, body)| Command::EditMessage(EditMessage { head, target, body, tail: NO_TAIL }));
    let target = (head(), number(), 0..3).prop_map(|(head, target, what)| {
        let body = TargetMessage { head, target, tail: NO_TAIL };
        match what {
            0 => Command::DeleteMessage(body),
            1 => Command::PinMessage(body),
            _ => Command::UnpinMessage(body),
        }
    });
    let react = (head(), number(), text(), any::<bool>()).prop_map(|(head, target, reaction, add)| {
        let body = React { head, target, reaction, tail: NO_TAIL };
        if add { Command::AddReaction(body) } else { Command::RemoveReaction(body) }
    });
    let mark = (room(), number()).prop_map(|(room, seq)| Command::MarkRead(MarkRead { room, seq, tail: NO_TAIL }));
    let reauth = text().prop_map(|token| Command::Reauth(Reauth { token, tail: NO_TAIL }));
    let watch = users().prop_map(|users| Command::WatchPresence(WatchPresence { users, tail: NO_TAIL }));
    let state = any::<u8>().prop_map(|state| Command::SetPresence(SetPresence { state, tail: NO_TAIL }));
    prop_oneof![3 => post, 1 => edit, 1 => target, 1 => react, 1 => mark, 1 => reauth, 1 => watch, 1 => state]
}

fn query() -> impl Strategy<Value = Query> {
    let history = (room(), number(), number(), small())
        .prop_map(|(room, before, after, limit)| Query::History(History { room, before, after, limit, tail: NO_TAIL }));
    let members = (room(), user(), small())
        .prop_map(|(room, after, limit)| Query::ListMembers(ListMembers { room, after, limit, tail: NO_TAIL }));
    let rooms = (small(), small()).prop_map(|(offset, limit)| Query::ListRooms(ListRooms { offset, limit, tail: NO_TAIL }));
    let search = (room(), text(), number(), small())
        .prop_map(|(room, text, before, limit)| Query::Search(Search { room, text, before, limit, tail: NO_TAIL }));
    prop_oneof![history, members, rooms, search]
}

fn reply() -> impl Strategy<Value = Reply> {
    let tail = (option::of(number()), option::of(text()), option::of(room()), option::of(number()))
        .prop_map(|(retry_after_ms, detail, room, time_ms)| ReplyTail { retry_after_ms, detail, room, time_ms });
    (any::<u16>(), number(), tail).prop_map(|(code, seq, tail)| Reply { code, seq, tail })
}

fn rooms() -> impl Strategy<Value = Rooms> {
    let tail = (option::of(text()), option::of(text()), option::of(user()), option::of(small()))
        .prop_map(|(name, topic, peer, members)| RoomEntryTail { name, topic, peer, members });
    let entry = (room(), any::<u8>(), any::<u8>(), number(), number(), number(), tail).prop_map(
        |(room, kind, role, head, message_no, time_ms, tail)| RoomEntry {
            room,
            kind,
            role,
            head,
            message_no,
            time_ms,
            read_seq: head / 2,
            read_message_no: message_no / 2,
            tail,
        },
    );
    (prop::collection::vec(entry, 0..6), small()).prop_map(|(rooms, next)| Rooms { rooms, next, tail: NO_TAIL })
}

fn history_page() -> impl Strategy<Value = HistoryPage> {
    let reactions = prop::collection::vec((text(), small(), any::<bool>()), 0..3).prop_map(|all| {
        let count = |(reaction, count, mine)| ReactionCount { reaction, count, mine, tail: NO_TAIL };
        all.into_iter().map(count).collect::<Vec<_>>()
    });
    let message = (number(), user(), key(), body(), users(), reactions, any::<[bool; 2]>(), message_tail()).prop_map(
        |(seq, actor, key, body, mentions, reactions, [deleted, pinned], tail)| Message {
            seq,
            message_no: seq / 2,
            time_ms: seq,
            actor,
            key,
            body,
            mentions,
            edited_ms: seq,
            deleted,
            pinned,
            reactions,
            as_of: seq,
            tail,
        },
    );
    (prop::collection::vec(message, 0..4), any::<bool>(), number()).prop_map(|(messages, more, head)| HistoryPage {
        messages,
        more,
        head,
        tail: NO_TAIL,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let head =
        (number(), number(), user(), key(), small(), number()).prop_map(|(seq, time_ms, actor, key, node, message_no)| {
            EventHead { seq, time_ms, actor, key, node: NodeId(node), message_no }
        });
    let posted = (body(), users(), message_tail())
        .prop_map(|(body, mentions, tail)| EventBody::MessagePosted(MessagePosted { body, mentions, tail }));
    let created = (any::<u8>(), users(), settings())
        .prop_map(|(kind, members, settings)| EventBody::RoomCreated(RoomCreated { kind, members, settings }));
    let unknown =
        (any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)).prop_filter_map("a known kind", |(kind, bytes)| {
            let known = EventBody::KINDS.iter().any(|(_, number)| *number == kind);
            (!known).then_some(EventBody::Unknown { kind, bytes })
        });
    (head, prop_oneof![posted, created, unknown]).prop_map(|(head, body)| Event { head, body })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands(id in number(), command in prop_oneof![room_command(), other_command()]) {
        let frame = ClientFrame::Request(id, command);
        prop_assert_eq!(read("client-frame", &frame.encode()), Ok(Value::Client(frame)));
    }

    #[test]
    fn queries(id in number(), query in query()) {
        let frame = ClientFrame::Query(id, query);
        prop_assert_eq!(read("client-frame", &frame.encode()), Ok(Value::Client(frame)));
    }

    #[test]
    fn replies(id in number(), reply in reply()) {
        let frame = ServerFrame::Reply(id, reply);
        prop_assert_eq!(read("server-frame", &frame.encode()), Ok(Value::Server(frame)));
    }

    #[test]
    fn room_lists(rooms in rooms()) {
        let frame = ServerFrame::Rooms(rooms);
        prop_assert_eq!(read("server-frame", &frame.encode()), Ok(Value::Server(frame)));
    }

    #[test]
    fn pages_of_history(id in number(), page in history_page()) {
        let frame = ServerFrame::HistoryPage(id, page);
        prop_assert_eq!(read("server-frame", &frame.encode()), Ok(Value::Server(frame)));
    }

    #[test]
    fn pages_of_a_search(id in number(), page in history_page()) {
        let frame = ServerFrame::SearchPage(id, SearchPage { messages: page.messages, next: page.head, tail: NO_TAIL });
        prop_assert_eq!(read("server-frame", &frame.encode()), Ok(Value::Server(frame)));
    }

    #[test]
    fn records(events in prop::collection::vec(event(), 0..6)) {
        let bytes: Vec<u8> = events.iter().flat_map(Event::record).collect();
        prop_assert_eq!(Event::decode_records(&bytes), Ok(events));
    }
}
