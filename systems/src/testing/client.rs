//! A mock client: takes frames, keeps what it was told, and complains at once about what must never happen.

use super::model_store::ModelStore;
use client_protocol::chat::Events;
use client_protocol::room::LIVE;
use client_protocol::session::Reply;
use client_protocol::{CloseCode, Command, Event, RoomId, ServerFrame, UserId};
use components::edge::SessionHandle;
use std::collections::BTreeMap;

/// Names a client of a scenario: one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub usize);

/// Names a request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Who asked.
    pub client: ClientId,
    /// The request.
    pub id: u64,
}

/// One connection of a user.
#[derive(Debug)]
pub struct Client {
    /// The connection.
    pub handle: SessionHandle,
    /// Whose.
    pub user: UserId,
    /// It is there.
    pub connected: bool,
    /// The server closed it with this code.
    pub closed: Option<CloseCode>,
    /// It takes no events: the world was told.
    pub blocked: bool,
    /// Requests without an answer: what and when (monotonic microseconds).
    pub open: BTreeMap<u64, (Command, u64)>,
    /// Answers, and how long they took in microseconds.
    pub replies: BTreeMap<u64, (Reply, u64)>,
    /// Every frame but events and replies, in order.
    pub frames: Vec<ServerFrame>,
    /// Typing notices and other datagrams.
    pub datagrams: Vec<ServerFrame>,
    /// Events by room, of the last subscription and those before it.
    pub events: BTreeMap<RoomId, Vec<Event>>,
    /// The seq that must come next, of rooms that are subscribed.
    pub next: BTreeMap<RoomId, u64>,
    /// Frames of events.
    pub event_frames: u64,
    pub(super) last_request: u64,
}

impl Client {
    pub(super) fn new(handle: SessionHandle, user: UserId) -> Self {
        Self {
            handle,
            user,
            connected: true,
            closed: None,
            blocked: false,
            open: BTreeMap::new(),
            replies: BTreeMap::new(),
            frames: Vec::new(),
            datagrams: Vec::new(),
            events: BTreeMap::new(),
            next: BTreeMap::new(),
            event_frames: 0,
            last_request: 0,
        }
    }

    /// The last seq of a room that the client has.
    #[must_use]
    pub fn cursor(&self, room: RoomId) -> u64 {
        self.next.get(&room).map_or(0, |next| next - 1)
    }

    /// Texts of the messages received from a room, in order.
    #[must_use]
    pub fn texts(&self, room: RoomId) -> Vec<String> {
        let events = self.events.get(&room).into_iter().flatten();
        events.filter_map(super::scenario::text_of).collect()
    }

    /// Seqs received from a room, in order.
    #[must_use]
    pub fn seqs(&self, room: RoomId) -> Vec<u64> {
        self.events.get(&room).into_iter().flatten().map(|event| event.head.seq).collect()
    }

    /// Frames that `pick` picks.
    pub fn picked<T>(&self, pick: impl Fn(&ServerFrame) -> Option<T>) -> Vec<T> {
        self.frames.iter().filter_map(pick).collect()
    }

    pub(super) fn take(&mut self, frame: ServerFrame, store: &ModelStore, now_us: u64) {
        match frame {
            ServerFrame::Reply(id, reply) => self.take_reply(id, reply, store, now_us),
            ServerFrame::Events(events) => self.take_events(&events, store),
            frame => {
                match &frame {
                    ServerFrame::Reset(reset) => {
                        self.next.insert(reset.room, reset.head + 1);
                    }
                    ServerFrame::SubscriptionEnded(ended) => {
                        let next = self.next.remove(&ended.room).expect("what ended had begun");
                        assert_eq!(next, ended.last_seq + 1, "a subscription ends where it says");
                    }
                    _ => {}
                }
                self.frames.push(frame);
            }
        }
    }

    fn take_reply(&mut self, id: u64, reply: Reply, store: &ModelStore, now_us: u64) {
        let asked = self.open.remove(&id);
        let (command, asked_us) = asked.unwrap_or_else(|| panic!("an answer to {id}, which is not open: {reply:?}"));
        if reply.code == 0
            && let Some(head) = super::commands::head_of(&command)
        {
            assert!(reply.seq > 0 && reply.seq <= store.head(head.room), "what is acked is durable: {reply:?}");
        }
        if let (1.., Command::Subscribe(subscribe)) = (reply.code, &command) {
            // Whatever it read before, it does not any more.
            self.next.remove(&subscribe.room);
        }
        if reply.code == 0 {
            match command {
                Command::Subscribe(subscribe) => {
                    // The last seq that the client has: after the head, nothing is known to be missing.
                    let after = if subscribe.after_seq == LIVE { reply.seq } else { subscribe.after_seq };
                    self.next.insert(subscribe.room, after + 1);
                }
                Command::Unsubscribe(unsubscribe) => {
                    self.next.remove(&unsubscribe.room);
                }
                _ => {}
            }
        }
        self.replies.insert(id, (reply, now_us - asked_us));
    }

    fn take_events(&mut self, events: &Events, store: &ModelStore) {
        let room = events.room;
        assert!(!self.blocked, "no events for one who is blocked");
        let next = *self.next.get(&room).unwrap_or_else(|| panic!("{}: events of a room that is not subscribed", self.user));
        assert_eq!(events.first_seq, next, "{}: events of {room} neither missing nor twice", self.user);
        let records = Event::decode_records(&events.records).expect("records");
        assert_eq!(records.len(), events.count as usize, "as many records as it says");
        let own = room == RoomId::self_log(self.user);
        for (event, seq) in records.iter().zip(next..) {
            assert_eq!(event.head.seq, seq, "records are dense");
            let stored = store.rooms.get(&room).and_then(|log| log.event(seq)).expect("what is shown is durable");
            assert_eq!(stored.head, event.head, "what is shown is what is stored");
            let blanked = crate::fold::blanked(event);
            let same = stored.body == event.body || blanked.as_ref().is_some_and(|blanked| blanked.body == stored.body);
            assert!(same, "what is shown is what is stored: {event:?}, {stored:?}");
            let seen = own || store.log(room).members.get(&self.user).is_some_and(|m| m.is_member() || seq <= m.left_seq);
            assert!(seen, "{} may not see {seq} of {room}", self.user);
        }
        self.next.insert(room, next + records.len() as u64);
        self.events.entry(room).or_default().extend(records);
        self.event_frames += 1;
    }
}
