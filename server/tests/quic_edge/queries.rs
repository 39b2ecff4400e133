//! Queries on streams of their own, and who may ask.

use crate::common::{Raw, Server, head, post, register};
use client_protocol::chat::Body;
use client_protocol::chat::{EditMessage, History, HistoryPage, Search, TargetMessage};
use client_protocol::room::{ChangeMember, ListMembers, ListRooms, role};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, Query, RoomId, ServerFrame, UserId};
use uuid::Uuid;

fn history(room: RoomId, before: u64, after: u64, limit: u32) -> Query {
    Query::History(History { room, before, after, limit, tail: EmptyTail::default() })
}

async fn page(session: &Raw, query: &Query) -> HistoryPage {
    match session.query(query).await {
        ServerFrame::HistoryPage(_, page) => page,
        other => panic!("{other:?} where a page was due"),
    }
}

async fn refusal(session: &Raw, query: &Query) -> Code {
    match session.query(query).await {
        ServerFrame::Reply(_, reply) => reply.code(),
        other => panic!("{other:?} where a refusal was due"),
    }
}

fn seqs(page: &HistoryPage) -> Vec<u64> {
    page.messages.iter().map(|message| message.seq).collect()
}

#[tokio::test]
async fn history_is_messages_as_they_are_now() {
    let server = Server::start(&[]);
    let account = register(&server, "mona").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    for number in 2..=9 {
        assert_eq!(session.done(&post(room, &format!("message {number}"))).await, number);
    }
    let edit = EditMessage { head: head(room), target: 8, body: Body::text("edited"), tail: EmptyTail::default() };
    session.done(&Command::EditMessage(edit)).await;
    let delete = TargetMessage { head: head(room), target: 7, tail: EmptyTail::default() };
    session.done(&Command::DeleteMessage(delete)).await;

    let newest = page(&session, &history(room, 0, 0, 3)).await;
    assert_eq!((seqs(&newest), newest.more, newest.head), (vec![7, 8, 9], true, 11));
    assert!(newest.messages[0].deleted && newest.messages[0].body.bytes.is_empty());
    assert_eq!(newest.messages[1].body.bytes, b"edited");
    assert_eq!(newest.messages[2].actor, account.user.id);
    let older = page(&session, &history(room, 7, 0, 100)).await;
    assert_eq!((seqs(&older), older.more), (vec![2, 3, 4, 5, 6], false));
    let after = page(&session, &history(room, 0, 2, 2)).await;
    assert_eq!((seqs(&after), after.more), (vec![3, 4], true));
    assert_eq!(refusal(&session, &history(room, 0, 0, 0)).await, Code::InvalidField);
}

#[tokio::test]
async fn search_finds_messages_as_they_are_now() {
    let server = Server::start(&[]);
    let account = register(&server, "mona").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    for text in ["High tide", "low TIDE", "boats"] {
        session.done(&post(room, text)).await;
    }
    let edit = EditMessage { head: head(room), target: 2, body: Body::text("Spring tíde"), tail: EmptyTail::default() };
    session.done(&Command::EditMessage(edit)).await;
    let search = |text: &str, limit| {
        Query::Search(Search { room, text: text.to_owned(), before: 0, limit, tail: EmptyTail::default() })
    };
    let ServerFrame::SearchPage(_, page) = session.query(&search("tid", 10)).await else { panic!("a page was due") };
    let found: Vec<(u64, u64)> = page.messages.iter().map(|message| (message.seq, message.as_of)).collect();
    assert_eq!((found, page.next), (vec![(3, 5), (2, 5)], 0));
    let ServerFrame::SearchPage(_, page) = session.query(&search("high", 10)).await else { panic!("a page was due") };
    assert!(page.messages.is_empty());
    assert_eq!(refusal(&session, &search("...", 10)).await, Code::InvalidField);
    assert_eq!(refusal(&session, &search("tide", 0)).await, Code::InvalidField);
    let other = register(&server, "nils").await;
    let other = Raw::connect(&server, &other.tokens.access_token).await;
    assert_eq!(refusal(&other, &search("tide", 10)).await, Code::NotFound);
}

#[tokio::test]
async fn outsiders_learn_nothing() {
    let server = Server::start(&[]);
    let (nick, olga, paul) =
        (register(&server, "nick").await, register(&server, "olga").await, register(&server, "paul").await);
    let mut n = Raw::connect(&server, &nick.tokens.access_token).await;
    let mut o = Raw::connect(&server, &olga.tokens.access_token).await;
    let p = Raw::connect(&server, &paul.tokens.access_token).await;
    let room = n.create_group(vec![olga.user.id]).await;
    n.done(&post(room, "two")).await;
    o.done(&post(room, "three")).await;

    let members = |after| Query::ListMembers(ListMembers { room, after, limit: 100, tail: EmptyTail::default() });
    let first = members(UserId(Uuid::nil()));
    match o.query(&first).await {
        ServerFrame::MembersPage(_, page) => {
            let mut expected = vec![(nick.user.id, role::OWNER), (olga.user.id, role::MEMBER)];
            expected.sort();
            let found: Vec<_> = page.members.iter().map(|member| (member.user, member.role)).collect();
            assert_eq!((found, page.more), (expected, false));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(refusal(&p, &first).await, Code::NotFound);
    assert_eq!(refusal(&p, &history(room, 0, 0, 10)).await, Code::NotFound);
    assert_eq!(refusal(&p, &history(RoomId(Uuid::new_v4()), 0, 0, 10)).await, Code::NotFound);

    // Who was removed sees up to that event.
    let kick = ChangeMember { head: head(room), user: olga.user.id, tail: EmptyTail::default() };
    n.done(&Command::KickMember(kick)).await;
    n.done(&post(room, "five")).await;
    assert_eq!(seqs(&page(&o, &history(room, 0, 0, 10)).await), [2, 3]);
    assert_eq!(seqs(&page(&n, &history(room, 0, 0, 10)).await), [2, 3, 5]);
    assert_eq!(refusal(&o, &first).await, Code::NotFound);

    let rooms = Query::ListRooms(ListRooms { offset: 0, limit: 10, tail: EmptyTail::default() });
    match (n.query(&rooms).await, o.query(&rooms).await) {
        (ServerFrame::RoomsPage(_, n), ServerFrame::RoomsPage(_, o)) => {
            assert_eq!(n.rooms.iter().map(|entry| (entry.room, entry.head)).collect::<Vec<_>>(), [(room, 5)]);
            assert!(o.rooms.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn queries_and_commands_do_not_wait_for_each_other() {
    let server = Server::start(&[]);
    let account = register(&server, "quinn").await;
    let mut session = Raw::connect(&server, &account.tokens.access_token).await;
    let room = session.create_group(Vec::new()).await;
    session.subscribe(room, 0).await;
    for number in 0..50 {
        let id = session.send(&post(room, &format!("message {number}"))).await;
        if number % 10 == 0 {
            let page = page(&session, &history(room, 0, 0, 100)).await;
            assert!(page.messages.len() as u64 <= page.head);
        }
        assert_eq!(session.reply(id).await.code(), Code::Ok);
    }
    session.events_through(room, 1, 51).await;
}
