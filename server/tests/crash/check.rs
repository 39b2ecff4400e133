//! What must hold in the end.

use crate::clients::Followed;
use crate::common::{Random, Raw, Server};
use crate::load::{Account, Line, Load, Seen, hash};
use client_protocol::chat::{Body, History, MessageTail, PostMessage};
use client_protocol::room::CommandHead;
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, EventBody, Key, Query, RoomId, ServerFrame, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Acknowledged keys that are sent once more.
const RETRIED: u64 = 60;
/// Time in which a request that is sent until the database answers is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Time for followers of rooms (own logs) to come to rest after the last crash.
const SETTLING: Duration = Duration::from_secs(60);

type Logs = BTreeMap<RoomId, Vec<Seen>>;

pub(crate) async fn everything(
    server: &Server,
    load: &Load,
    accounts: &[Arc<Account>],
    eve: &Account,
    followers: JoinSet<Vec<Followed>>,
) {
    let mut session = Raw::connect(server, &accounts[0].token().await).await;
    let heads = session.rooms.rooms.iter().map(|entry| (entry.room, entry.head)).collect();
    load.set_heads(heads);
    let logs = agreed(followers, load).await;
    let lines = load.lines();
    acknowledged_is_there(&lines, &logs);
    history_agrees(&session, &logs).await;
    retries_find_the_first(server, &lines, accounts).await;
    for account in accounts {
        unread_is_a_recount(server, account, &logs).await;
    }
    own_log_is_whole(server, eve, &logs).await;
    session.subscribe(load.rooms[0], 0).await;
    let known: BTreeSet<Key> = lines.iter().map(|line| line.key).collect();
    assert_eq!(known.len(), lines.len(), "a message was acknowledged twice to its sender");
}

/// All followers have seen the same.
async fn agreed(mut followers: JoinSet<Vec<Followed>>, load: &Load) -> Logs {
    let mut all = Vec::new();
    while let Some(followed) = followers.join_next().await {
        all.extend(followed.unwrap());
    }
    // Those who have everything first.
    all.sort_by_key(|followed| followed.base);
    let mut logs = Logs::new();
    for Followed { room, base, events } in all {
        assert!(events.iter().zip(base + 1..).all(|(event, seq)| event.head.seq == seq));
        assert!(events.windows(2).all(|pair| pair[0].head.time_ms <= pair[1].head.time_ms), "time went back");
        match logs.get(&room) {
            Some(log) => assert!(log[base as usize..] == events, "two followers of {room} have seen different logs"),
            None => {
                assert_eq!(base, 0, "nobody has all of {room}");
                logs.insert(room, events);
            }
        }
    }
    assert_eq!(logs.len(), load.rooms.len());
    logs
}

/// P1 and P3: every acknowledged message stands in the log once, at the seq that was said; and nothing stands there that nobody sent.
fn acknowledged_is_there(lines: &[Line], logs: &Logs) {
    let mut places: BTreeMap<(RoomId, UserId, Key), Vec<(u64, String)>> = BTreeMap::new();
    let mut messages = 0;
    for (room, log) in logs {
        for event in log {
            if let Some(hash) = &event.message {
                messages += 1;
                let place = (event.head.seq, hash.clone());
                places.entry((*room, event.head.actor, event.head.key)).or_default().push(place);
            }
        }
    }
    for line in lines {
        let found = places.get(&(line.room, line.actor, line.key)).map_or(&[][..], Vec::as_slice);
        assert_eq!(found, [(line.seq, line.hash.clone())], "{line:?}");
    }
    assert_eq!(messages, lines.len(), "every message was acknowledged in the end");
}

/// The store tells the same to those who ask for history.
async fn history_agrees(session: &Raw, logs: &Logs) {
    for (&room, log) in logs {
        let mut told = Vec::new();
        let mut after = 0;
        loop {
            let query = History { room, before: 0, after: after.max(1), limit: 100, tail: EmptyTail::default() };
            let deadline = Instant::now() + SETTLING;
            let page = loop {
                match session.query(&Query::History(query.clone())).await {
                    ServerFrame::HistoryPage(_, page) => break page,
                    // The database may still be at what the last crash left behind.
                    ServerFrame::Reply(_, reply) if reply.code() == Code::Unavailable && Instant::now() < deadline => {}
                    other => panic!("a page was due, not {other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            told.extend(
                page.messages
                    .iter()
                    .map(|message| (message.seq, message.message_no, message.key, hash(&message.body.bytes))),
            );
            after = told.last().map_or(0, |last| last.0);
            if !page.more {
                break;
            }
        }
        let mut logged = Vec::new();
        for event in log {
            if let Some(hash) = &event.message {
                logged.push((event.head.seq, logged.len() as u64 + 1, event.head.key, hash.clone()));
            }
        }
        assert!(told == logged, "the history of {room} is not its log");
    }
}

/// P3: an old key has its first answer, marked as a retry or not, whatever its body is now.
async fn retries_find_the_first(server: &Server, lines: &[Line], accounts: &[Arc<Account>]) {
    let mut random = Random(7);
    let mut sessions = BTreeMap::new();
    for account in accounts {
        sessions.insert(account.user(), Raw::connect(server, &account.token().await).await);
    }
    for retried in 0..RETRIED.min(lines.len() as u64) {
        let line = &lines[random.below(lines.len() as u64) as usize];
        let head = CommandHead { room: line.room, key: line.key, retry: retried % 2 == 0 };
        let post = PostMessage { head, body: Body::text("again"), mentions: Vec::new(), tail: MessageTail::default() };
        let session = sessions.get_mut(&line.actor).unwrap();
        assert_eq!(answered(session, &Command::PostMessage(post)).await, line.seq, "{line:?}");
    }
}

/// The seq that a request brings. A database that hangs for more than a second now and then, as disks of busy machines do, makes some unavailable: they
/// are sent again, as clients do.
async fn answered(session: &mut Raw, command: &Command) -> u64 {
    let deadline = Instant::now() + ANSWERED_WITHIN;
    loop {
        let reply = session.request(command).await;
        match reply.code() {
            Code::Unavailable if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(50)).await,
            code => {
                assert_eq!(code, Code::Ok, "{:?}", reply.tail.detail);
                return reply.seq;
            }
        }
    }
}

/// P8: what the room list says of unread messages follows from the log and the mark.
async fn unread_is_a_recount(server: &Server, account: &Account, logs: &Logs) {
    let session = Raw::connect(server, &account.token().await).await;
    assert_eq!(session.rooms.rooms.len(), logs.len());
    for entry in &session.rooms.rooms {
        let log = &logs[&entry.room];
        let messages = |until: u64| log.iter().take(until as usize).filter(|event| event.message.is_some()).count() as u64;
        assert_eq!(entry.head, log.len() as u64);
        assert_eq!(entry.message_no, messages(entry.head));
        assert_eq!(entry.read_message_no, messages(entry.read_seq), "read up to {} of {}", entry.read_seq, entry.head);
        let after_mark = log.iter().skip(entry.read_seq as usize);
        let unread = after_mark.filter(|event| event.message.is_some()).count() as u64;
        assert_eq!(entry.message_no - entry.read_message_no, unread);
    }
}

/// Followers finish what they had not done when the server was killed, and do nothing twice: the own log of a member who was never
/// there has every room and every mention once.
async fn own_log_is_whole(server: &Server, eve: &Account, logs: &Logs) {
    let mut due: BTreeSet<(&str, RoomId, u64)> = BTreeSet::new();
    for (room, log) in logs {
        for event in log {
            if event.head.seq == 1 {
                due.insert(("listed", *room, 1));
            } else if event.mentions {
                due.insert(("notified", *room, event.head.seq));
            }
        }
    }
    let own = RoomId::self_log(eve.user());
    let mut session = Raw::connect(server, &eve.token().await).await;
    session.subscribe(own, 0).await;
    let deadline = Instant::now() + SETTLING;
    let (mut found, mut next) = (BTreeSet::new(), 1);
    while found.len() < due.len() {
        assert!(Instant::now() < deadline, "{} of {} entries are in the own log", found.len(), due.len());
        for event in session.events(own).await {
            assert_eq!(event.head.seq, next, "a gap or a duplicate in the own log");
            next += 1;
            let entry = match &event.body {
                EventBody::RoomListed(listed) => ("listed", listed.room, listed.seq),
                EventBody::Notified(notified) => ("notified", notified.room, notified.seq),
                other => panic!("{other:?} in the own log of a user who does nothing"),
            };
            assert!(found.insert(entry), "{entry:?} twice");
        }
    }
    assert_eq!(found, due);
}
