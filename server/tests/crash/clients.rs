//! Clients that go on through crashes: with the library, and without.

use crate::common::raw::{decode_events, device, transport};
use crate::common::{Random, Raw, step};
use crate::load::{Account, Line, Load, Seen, hash};
use client_protocol::chat::{Body, MessageTail, PostMessage};
use client_protocol::limits::REPLAY_EVENTS_MAX;
use client_protocol::notification::MarkRead;
use client_protocol::room::{CommandHead, reset_reason};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, Key, RoomId, ServerFrame, UserId};
use starling_client::{After, Client, ClientError, RoomItem};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Messages that a raw sender has under way.
const UNDER_WAY: usize = 8;
/// A mark is set after so many events.
const MARK_EVERY: u64 = 40;
/// A connection is tried for so long.
const TRY: Duration = Duration::from_secs(2);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(20);

/// What a follower has of a room: every event after `base`, which is 0 unless it was too far behind and told so.
pub(crate) struct Followed {
    pub(crate) room: RoomId,
    pub(crate) base: u64,
    pub(crate) events: Vec<Seen>,
}

/// A message that is to be sent until it is acknowledged.
#[derive(Debug, Clone)]
struct Draft {
    post: PostMessage,
}

impl Draft {
    fn new(random: &mut Random, load: &Load) -> Self {
        let room = load.rooms[random.below(load.rooms.len() as u64) as usize];
        let text = format!("{:016x}", random.next()).repeat(1 + random.below(12) as usize);
        let mentions = if random.below(load.mention_every) == 0 { vec![load.mentioned] } else { Vec::new() };
        let head = CommandHead { room, key: Key(Uuid::new_v4()), retry: false };
        Self { post: PostMessage { head, body: Body::text(text), mentions, tail: MessageTail::default() } }
    }

    fn command(&self) -> Command {
        Command::PostMessage(self.post.clone())
    }

    fn acknowledged(&self, actor: UserId, seq: u64, load: &Load) {
        let CommandHead { room, key, .. } = self.post.head;
        load.record(&Line { room, actor, key, seq, hash: hash(&self.post.body.bytes) });
    }
}

/// Whether the same key may be sent again.
const fn is_passing(code: Code) -> bool {
    matches!(code, Code::OutcomeUnknown | Code::Overloaded | Code::RateLimited | Code::Unavailable | Code::Internal)
}

/// Posts one message after the other.
pub(crate) async fn library_sender(client: Client, actor: UserId, mut random: Random, load: Arc<Load>) {
    while !load.stopping() {
        let mut draft = Draft::new(&mut random, &load);
        loop {
            match client.send(draft.command()).await {
                Ok(acked) => {
                    draft.acknowledged(actor, acked.seq, &load);
                    break;
                }
                Err(ClientError::Unknown { .. } | ClientError::Timeout) => {}
                Err(ClientError::Refused { code, .. }) if is_passing(code) => tokio::time::sleep(PAUSE).await,
                Err(other) => panic!("{other}"),
            }
            draft.post.head.retry = true;
        }
    }
}

/// Follows a room to its end: the seq in `load` once senders have stopped.
pub(crate) async fn library_follower(client: Client, room: RoomId, load: Arc<Load>) -> Vec<Followed> {
    let mut items = client.subscribe(room, After::Start).await.unwrap();
    let (mut base, mut events) = (0, Vec::<Seen>::new());
    while !is_whole([(room, base + events.len() as u64)], &load) {
        match tokio::time::timeout(Duration::from_millis(200), items.next()).await {
            Ok(Some(RoomItem::Event(event))) => {
                assert_eq!(event.head.seq, base + events.len() as u64 + 1, "a gap or a duplicate for the library");
                events.push(Seen::new(event, &load));
            }
            // Servers that live for half a second each may leave a client, which waits before it comes back, too far behind.
            Ok(Some(RoomItem::Reset { cursor, reason: reset_reason::TOO_FAR_BEHIND })) => {
                assert!(cursor.seq > base + events.len() as u64 + REPLAY_EVENTS_MAX, "it was not too far behind");
                base = cursor.seq;
                events.clear();
            }
            // Another follower's sign of life, see below.
            Ok(Some(RoomItem::Typing { .. })) => {}
            Ok(other) => panic!("{other:?} where event {} of {room} was due", base + events.len() as u64 + 1),
            // A packet that wants an answer: who only waits learns of a crash by the next sign of life, which may be 15 s away.
            Err(_) => {
                let _sent = client.typing(room);
            }
        }
    }
    vec![Followed { room, base, events }]
}

/// Whether senders have stopped, and the last event of every acknowledged message is there.
fn is_whole(followed: impl IntoIterator<Item = (RoomId, u64)>, load: &Load) -> bool {
    load.heads().is_some_and(|heads| followed.into_iter().all(|(room, seq)| seq >= heads[&room]))
}

fn lively() -> quinn::TransportConfig {
    let mut lively = transport();
    // Who has nothing to say learns of a crash by this.
    lively.keep_alive_interval(Some(Duration::from_millis(100)));
    lively
}

async fn connect(account: &Account, device: client_protocol::DeviceId, load: &Load) -> Raw {
    loop {
        let token = account.token().await;
        let connecting = Raw::try_connect_with(&load.place, &token, device, lively());
        if let Ok(Some(session)) = tokio::time::timeout(TRY, connecting).await {
            return session;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Keeps some messages under way; after a crash sends those again that have no answer.
pub(crate) async fn raw_sender(account: Arc<Account>, mut random: Random, load: Arc<Load>) {
    let device = device();
    let mut unanswered: BTreeMap<Key, Draft> = BTreeMap::new();
    while !(load.stopping() && unanswered.is_empty()) {
        let mut session = connect(&account, device, &load).await;
        // Whatever ends this, the next connection goes on with what is unanswered.
        let _lost = send_until_lost(&mut session, &account, &mut unanswered, &mut random, &load).await;
    }
}

async fn send_until_lost(
    session: &mut Raw,
    account: &Account,
    unanswered: &mut BTreeMap<Key, Draft>,
    random: &mut Random,
    load: &Load,
) -> Option<()> {
    let mut asked: BTreeMap<u64, Key> = BTreeMap::new();
    for (key, draft) in unanswered.iter_mut() {
        draft.post.head.retry = true;
        asked.insert(session.try_send(&draft.command()).await?, *key);
    }
    loop {
        while asked.len() < UNDER_WAY && !load.stopping() {
            let draft = Draft::new(random, load);
            let key = draft.post.head.key;
            // Unanswered before it is sent: it may be in the log although the write failed.
            unanswered.insert(key, draft.clone());
            asked.insert(session.try_send(&draft.command()).await?, key);
        }
        if asked.is_empty() {
            return Some(());
        }
        let ServerFrame::Reply(id, reply) = step("an answer", session.hooked.recv.next()).await? else { continue };
        let key = asked.remove(&id).expect("an answer to something");
        if reply.code() == Code::Ok {
            let draft = unanswered.remove(&key).unwrap();
            draft.acknowledged(account.user(), reply.seq, load);
        } else {
            assert!(is_passing(reply.code()), "{:?} {:?}", reply.code(), reply.tail.detail);
            tokio::time::sleep(PAUSE).await;
            let draft = unanswered.get_mut(&key).unwrap();
            draft.post.head.retry = true;
            asked.insert(session.try_send(&draft.command()).await?, key);
        }
    }
}

/// Follows all rooms with cursors, and marks what it has read.
pub(crate) async fn raw_follower(account: Arc<Account>, load: Arc<Load>) -> Vec<Followed> {
    let device = device();
    let mut followed: BTreeMap<RoomId, Vec<Seen>> = load.rooms.iter().map(|room| (*room, Vec::new())).collect();
    let whole = |followed: &BTreeMap<RoomId, Vec<Seen>>| {
        is_whole(followed.iter().map(|(room, events)| (*room, events.len() as u64)), &load)
    };
    while !whole(&followed) {
        let mut session = connect(&account, device, &load).await;
        let epoch = session.welcome.epoch;
        let mut lost = false;
        for (room, events) in &followed {
            lost |= session.try_send(&crate::common::subscribe(*room, epoch, events.len() as u64)).await.is_none();
        }
        while !lost && !whole(&followed) {
            match tokio::time::timeout(Duration::from_millis(200), session.hooked.recv.next()).await {
                Err(_) => {}
                Ok(None) => lost = true,
                Ok(Some(ServerFrame::Events(events))) => {
                    let have = followed.get_mut(&events.room).unwrap();
                    assert_eq!(events.first_seq, have.len() as u64 + 1, "a gap or a duplicate");
                    let before = have.len() as u64;
                    have.extend(decode_events(&events).into_iter().map(|event| Seen::new(event, &load)));
                    let seq = have.len() as u64;
                    if before / MARK_EVERY != seq / MARK_EVERY {
                        let mark = MarkRead { room: events.room, seq, tail: EmptyTail::default() };
                        lost = session.try_send(&Command::MarkRead(mark)).await.is_none();
                    }
                }
                Ok(Some(frame @ (ServerFrame::Reset(_) | ServerFrame::SubscriptionEnded(_)))) => panic!("{frame:?}"),
                Ok(Some(_)) => {}
            }
        }
    }
    followed.into_iter().map(|(room, events)| Followed { room, base: 0, events }).collect()
}
