//! The bus within one process.

use super::{Bus, Followed, Follower, Notice};
use crate::limits::BUS_EVENTS_MAX;
use std::pin::Pin;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Carries events from the world to followers in the same process.
#[derive(Debug)]
pub struct LocalBus {
    sender: broadcast::Sender<Notice>,
}

impl Default for LocalBus {
    fn default() -> Self {
        Self { sender: broadcast::channel(BUS_EVENTS_MAX).0 }
    }
}

impl Bus for LocalBus {
    fn publish(&self, notices: Vec<Notice>) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        for notice in notices {
            // Fails only if the last follower has just gone.
            let _gone = self.sender.send(notice);
        }
    }

    fn follow(&self) -> Box<dyn Follower> {
        Box::new(LocalFollower { receiver: self.sender.subscribe() })
    }
}

#[derive(Debug)]
struct LocalFollower {
    receiver: broadcast::Receiver<Notice>,
}

impl Follower for LocalFollower {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Followed>> + Send + '_>> {
        Box::pin(async {
            match self.receiver.recv().await {
                Ok(notice) => Some(Followed::Notice(Box::new(notice))),
                Err(RecvError::Lagged(missed)) => Some(Followed::Missed(missed)),
                Err(RecvError::Closed) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use client_protocol::chat::{Body, MessagePosted, MessageTail};
    use client_protocol::{Event, EventBody, EventHead, Key, NodeId, RoomId, UserId};
    use components::edge::Record;

    fn notice(seq: u64) -> Notice {
        let head =
            EventHead { seq, time_ms: 1, actor: UserId::default(), key: Key::default(), node: NodeId(1), message_no: seq };
        let body = MessagePosted { body: Body::text("hello"), mentions: Vec::new(), tail: MessageTail::default() };
        let event = Event { head, body: EventBody::MessagePosted(body) };
        (RoomId::default(), Record { bytes: event.record().into(), event })
    }

    #[tokio::test]
    async fn followers_get_events_in_order_and_are_told_what_they_missed() {
        let bus = LocalBus::default();
        bus.publish(vec![notice(1)]);
        let mut follower = bus.follow();
        bus.publish(vec![notice(2), notice(3)]);
        for expected in [2, 3] {
            match follower.next().await.unwrap() {
                Followed::Notice(notice) => assert_eq!(notice.1.event.head.seq, expected),
                Followed::Missed(missed) => panic!("missed {missed}"),
            }
        }
        bus.publish((0..BUS_EVENTS_MAX as u64 + 10).map(notice).collect());
        assert!(matches!(follower.next().await.unwrap(), Followed::Missed(10..)));
    }
}
