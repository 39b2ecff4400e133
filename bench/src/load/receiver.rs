//! What comes in on a native session: frames off the stream, seqs that must be dense, latencies.

use super::tally::Tally;
use bytes::BytesMut;
use client_protocol::chat::Events;
use client_protocol::frame::{Frame, FrameError, kinds};
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::session::Reply;
use client_protocol::{Code, Event, EventBody, RoomId, ServerFrame};
use std::sync::atomic::Ordering::Relaxed;

/// The receiving half of a subscribed session.
#[derive(Debug)]
pub struct Receiver {
    room: RoomId,
    buffer: BytesMut,
    tally: Tally,
}

impl Receiver {
    /// A session subscribed to `room`; `buffer` has what was read already, and the cursor of `state` is the head at that time.
    #[must_use]
    pub const fn new(room: RoomId, buffer: BytesMut, tally: Tally) -> Self {
        Self { room, buffer, tally }
    }

    /// Takes bytes that were received at `now_ns`.
    ///
    /// # Errors
    ///
    /// [`FrameError`] where the bytes are no frames.
    pub fn take(&mut self, bytes: &[u8], now_ns: u64) -> Result<(), FrameError> {
        self.buffer.extend_from_slice(bytes);
        while let Some(frame) = Frame::split(&mut self.buffer, FRAME_BYTES_MAX)? {
            self.frame(&frame, now_ns)?;
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    fn frame(&self, frame: &Frame, now_ns: u64) -> Result<(), FrameError> {
        match frame.kind {
            // Room lists and bumps are not what is measured.
            kinds::ROOMS | kinds::BUMP | kinds::TYPING_NOTICE => return Ok(()),
            _ => {}
        }
        match ServerFrame::decode(frame) {
            Ok(ServerFrame::Events(events)) => self.events(&events, now_ns),
            Ok(ServerFrame::Reply(id, reply)) => self.reply(id, &reply, now_ns),
            Ok(ServerFrame::Presence(presence)) => {
                presence.users.iter().for_each(|_| self.tally.aside(super::aside::PRESENCE_SEEN, now_ns, None));
            }
            Ok(ServerFrame::Reset(reset)) => {
                self.tally.meter.fault(format!("a reset of room {}, reason {}", reset.room, reset.reason))
            }
            Ok(ServerFrame::SubscriptionEnded(end)) => {
                self.tally.meter.fault(format!(
                    "the subscription of room {} ended: {}",
                    end.room,
                    Code::from_number(end.code)
                ));
            }
            Ok(ServerFrame::Goaway(_)) => self.tally.meter.fault("the server said goaway".to_owned()),
            Ok(_) | Err(FrameError::UnknownKind { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn events(&self, events: &Events, now_ns: u64) {
        if events.room != self.room {
            return self.tally.meter.fault(format!("events of room {}, which was not asked for", events.room));
        }
        self.tally.follows(events.first_seq, self.room);
        let mut rest: &[u8] = &events.records;
        let mut seq = events.first_seq;
        let mut messages = 0;
        while !rest.is_empty() {
            let (event, used) = match Event::decode_record(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    return self.tally.meter.fault(format!("room {}: a record that cannot be read: {error}", self.room));
                }
            };
            rest = &rest[used..];
            if event.head.seq != seq {
                self.tally.state.gaps.fetch_add(1, Relaxed);
                self.tally.meter.fault(format!("room {}: record {} where {seq} should be", self.room, event.head.seq));
            }
            seq += 1;
            if let EventBody::MessagePosted(message) = event.body {
                messages += 1;
                self.tally.message(&message.body.bytes, now_ns);
            }
        }
        if seq != events.first_seq + u64::from(events.count) {
            self.tally.meter.fault(format!(
                "room {}: a frame of {} events holds {}",
                self.room,
                events.count,
                seq - events.first_seq
            ));
        }
        self.tally.state.cursor.store(seq - 1, Relaxed);
        self.tally.came(now_ns);
        self.tally.meter.deliveries.fetch_add(messages, Relaxed);
    }

    fn reply(&self, id: u64, reply: &Reply, now_ns: u64) {
        if let Some((due_ns, name)) = self.tally.state.close_aside(id) {
            return match reply.code() {
                Code::Ok => self.tally.aside(name, due_ns, Some(now_ns)),
                code => self.tally.fault(format!("{name}: refused, {code}")),
            };
        }
        match reply.code() {
            Code::Ok => self.tally.acked(id, reply.seq, now_ns),
            code => self.tally.refused(id, code.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::load::meter::{Clock, SessionState};
    use crate::load::stamp;
    use client_protocol::chat::{Body, MessagePosted, MessageTail};
    use client_protocol::frame::events_frame;
    use client_protocol::{EventHead, Key, NodeId, UserId};
    use std::sync::Arc;
    use uuid::Uuid;

    const ROOM: RoomId = RoomId(Uuid::from_u128(7));

    fn receiver(cursor: u64) -> Receiver {
        let state = SessionState::new(true);
        state.cursor.store(cursor, Relaxed);
        let clock = Clock::default();
        clock.measure(1_000..2_000);
        let tally = Tally { state: Arc::new(state), meter: Arc::default(), clock: Arc::new(clock) };
        Receiver::new(ROOM, BytesMut::new(), tally)
    }

    fn frame(first_seq: u64, dues: &[u64]) -> bytes::Bytes {
        let mut records = Vec::new();
        for (seq, due_ns) in (first_seq..).zip(dues) {
            let head = EventHead {
                seq,
                time_ms: 1,
                actor: UserId(Uuid::nil()),
                key: Key(Uuid::nil()),
                node: NodeId(1),
                message_no: seq,
            };
            let body = Body { format: 0, bytes: stamp::body(*due_ns, 128) };
            let posted = MessagePosted { body, mentions: Vec::new(), tail: MessageTail::default() };
            Event { head, body: EventBody::MessagePosted(posted) }.encode_record(&mut records);
        }
        events_frame(ROOM, first_seq, dues.len() as u32, &records)
    }

    #[test]
    fn dense_seqs_are_counted_and_timed_in_whatever_pieces_they_come() {
        let mut receiver = receiver(4);
        let mut bytes = frame(5, &[900, 1_000]).to_vec();
        bytes.extend_from_slice(&frame(7, &[1_999]));
        for piece in bytes.chunks(50) {
            receiver.take(piece, 5_001_000).unwrap();
        }
        assert_eq!(receiver.tally.meter.deliveries.load(Relaxed), 3);
        assert_eq!(receiver.tally.state.cursor.load(Relaxed), 7);
        assert_eq!(receiver.tally.state.gaps.load(Relaxed), 0);
        // The first one was due before the window.
        let quantiles = receiver.tally.meter.histograms().latency.quantiles();
        assert_eq!(quantiles.count, 2);
        assert!((quantiles.p50_ms - 5.0).abs() < 0.01, "{quantiles:?}");
        assert!(receiver.tally.meter.faults().is_empty());
    }

    #[test]
    fn gaps_and_doubles_are_seen() {
        let mut receiver = receiver(4);
        receiver.take(&frame(6, &[1_000]), 2_000).unwrap();
        assert_eq!(receiver.tally.state.gaps.load(Relaxed), 1);
        receiver.take(&frame(6, &[1_000]), 2_000).unwrap();
        assert_eq!(receiver.tally.state.gaps.load(Relaxed), 2);
        assert_eq!(receiver.tally.meter.faults().len(), 2);
    }

    #[test]
    fn replies_are_counted_by_code() {
        let mut receiver = receiver(0);
        receiver.tally.state.open(2, 1_500);
        receiver.tally.state.open(3, 1_600);
        let mut bytes = ServerFrame::Reply(3, Reply::done(9)).encode().to_vec();
        bytes.extend_from_slice(&ServerFrame::Reply(2, Reply::retry_after(Code::Overloaded, 5)).encode());
        receiver.take(&bytes, 1_001_600).unwrap();
        assert_eq!(receiver.tally.state.acked_seq.load(Relaxed), 9);
        assert_eq!((receiver.tally.state.acked.load(Relaxed), receiver.tally.state.answered.load(Relaxed)), (1, 2));
        assert_eq!(receiver.tally.meter.refused().get("overloaded"), Some(&1));
        assert_eq!(receiver.tally.meter.histograms().ack.count(), 1);
    }

    #[test]
    fn bytes_that_are_no_frame_are_refused() {
        assert!(receiver(0).take(&[0xff; 8], 0).is_err());
    }
}
