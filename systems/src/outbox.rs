//! The outbox: what systems say to sessions and REST requests in this tick. Flush hands it to the edge before any room's events.

use bevy_ecs::prelude::Resource;
use bytes::Bytes;
use client_protocol::session::Reply;
use client_protocol::{CloseCode, Code, RoomId, ServerFrame};
use components::edge::{Origin, SessionHandle};

/// What was said in this tick. Bounded by the inputs of the tick: a command has one reply, a session 32 open requests.
#[derive(Resource, Debug, Default)]
pub struct Outbox {
    /// Frames, in order.
    pub frames: Vec<(SessionHandle, Bytes)>,
    /// Datagrams: who gets which.
    pub datagrams: Vec<(SessionHandle, Bytes)>,
    /// Answers to REST requests and calls of the server itself.
    pub rest: Vec<(u64, Reply)>,
    /// Commands of followers that ended: the room and event that they follow from, and whether they did what they should.
    pub followed: Vec<(RoomId, u64, bool)>,
    /// Connections to close.
    pub closes: Vec<(SessionHandle, CloseCode)>,
    /// The codes of refusals among the answers.
    pub refused: Vec<Code>,
}

impl Outbox {
    /// Answers a command.
    pub fn reply(&mut self, origin: Origin, reply: Reply) {
        if reply.code() != Code::Ok && matches!(origin, Origin::Session { .. } | Origin::Rest { .. }) {
            self.refused.push(reply.code());
        }
        match origin {
            Origin::Session { session, request } => self.frame(session, &ServerFrame::Reply(request, reply)),
            Origin::Rest { token } | Origin::Server { token } => self.rest.push((token, reply)),
            Origin::World { follows: Some((room, seq)) } => self.followed.push((room, seq, reply.code() == Code::Ok)),
            Origin::World { follows: None } | Origin::Nobody => {}
        }
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.datagrams.is_empty() && self.rest.is_empty() && self.closes.is_empty()
    }

    /// Sends a frame to a session.
    pub fn frame(&mut self, session: SessionHandle, frame: &ServerFrame) {
        self.frames.push((session, frame.encode()));
    }

    /// Closes a session, after what was said to it before.
    pub fn close(&mut self, session: SessionHandle, code: CloseCode) {
        self.closes.push((session, code));
    }
}
