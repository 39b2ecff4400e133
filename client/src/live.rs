//! One connection at work: frames in, frames out, timers. All rules are in [`crate::requests`] and [`crate::cursors`]; this file only
//! moves bytes to and from them.

use crate::backoff::between;
use crate::connection::{self, Established, ReadError};
use crate::error::{ClientError, TokenError};
use crate::items::SessionItem;
use crate::limits::{
    FRAMES_OUT_MAX, REAUTH_INTERVAL_MIN, REAUTH_LEAD, REAUTH_RETRY, REQUESTS_MAX, SERVER_WAIT_MAX, SILENCE_MAX,
    TOKEN_LIFE_MAX,
};
use crate::pulse::{Pulse, Traffic};
use crate::requests::{Answered, Purpose};
use crate::session::{self, LinkEnd, Session, sleep_until};
use crate::token::AccessToken;
use bytes::Bytes;
use client_protocol::limits::OPEN_REQUESTS_MAX;
use client_protocol::session::{Goaway, Reauth, Reply, Welcome};
use client_protocol::tail::EmptyTail;
use client_protocol::{Code, Command, Frame, FrameError, ServerFrame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

type TokenAnswer = Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send>>;

/// What belongs to this connection only.
struct Live {
    out: VecDeque<Bytes>,
    in_flight_max: usize,
    renewal: Renewal,
    goaway: Option<Instant>,
    pulse: Pulse,
}

/// Where the renewal of the token stands.
struct Renewal {
    at: Instant,
    asking: Option<TokenAnswer>,
    /// How long the next token is good for.
    life: Duration,
}

/// Runs a connection to its end.
pub(crate) async fn run(session: &mut Session, established: &mut Established) -> LinkEnd {
    let mut live = Live::new(&established.welcome, Traffic::of(&established.connection));
    let Established { connection, send, frames, .. } = established;
    loop {
        let now = Instant::now();
        if let Some(end) = live.tick(session, now) {
            return end;
        }
        if live.pulse.is_due(now) && live.pulse.is_gone(Traffic::of(connection), now) {
            let reason = format!("no answer from the server for {SILENCE_MAX:?}");
            return LinkEnd::Lost(ClientError::Closed { code: None, reason });
        }
        let look = live.pulse.next_look(session.requests.awaits_reply());
        let deadline = [session.next_deadline(now), live.next_deadline(), Some(look)].into_iter().flatten().min();
        let front: &[u8] = live.out.front().map_or(&[], |frame| frame);
        tokio::select! {
            frame = frames.next(), if !session.cursors.stalled() => match frame {
                Ok(Some(frame)) => {
                    if let Err(end) = live.on_frame(session, &frame) {
                        return end;
                    }
                }
                Ok(None) => return LinkEnd::Lost(connection::lost(connection, "the server ended the session stream").await),
                Err(ReadError::Stream(what)) => return LinkEnd::Lost(connection::lost(connection, &what).await),
                Err(ReadError::Protocol(error)) => return LinkEnd::Protocol(error),
            },
            written = send.write(front), if !front.is_empty() => match written {
                Ok(bytes) => live.written(bytes),
                Err(error) => return LinkEnd::Lost(connection::lost_writing(connection, &error).await),
            },
            order = session.orders.recv(), if session.requests.len() < REQUESTS_MAX => match order {
                Some(order) => session.accept(order),
                None => return LinkEnd::Stopped,
            },
            () = session::stopped(&mut session.stop) => return LinkEnd::Stopped,
            datagram = connection.read_datagram() => match datagram {
                Ok(bytes) => on_datagram(session, bytes),
                Err(error) => return LinkEnd::Lost(ClientError::from(&error)),
            },
            answer = asked(&mut live.renewal.asking) => live.on_token(session, answer),
            () = session.wake.notified() => {}
            () = sleep_until(deadline) => {}
        }
    }
}

async fn asked(asking: &mut Option<TokenAnswer>) -> Result<AccessToken, TokenError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

fn on_datagram(session: &mut Session, bytes: Bytes) {
    // Datagrams are hints: one that cannot be read is no reason to end anything.
    if let Ok(ServerFrame::TypingNotice(notice)) = Frame::parse(bytes).and_then(|frame| ServerFrame::decode(&frame)) {
        session.cursors.on_typing(&notice);
    }
}

/// How long before its end a token of this life is renewed.
fn renew_after(life: Duration) -> Duration {
    let life = life.min(TOKEN_LIFE_MAX);
    life.saturating_sub(REAUTH_LEAD).max(life / 5 * 4).max(REAUTH_INTERVAL_MIN)
}

impl Live {
    fn new(welcome: &Welcome, traffic: Traffic) -> Self {
        let life = Duration::from_millis(welcome.expires_ms.saturating_sub(welcome.now_ms));
        Self {
            out: VecDeque::new(),
            in_flight_max: (welcome.open_requests_max as usize).clamp(1, OPEN_REQUESTS_MAX),
            renewal: Renewal { at: Instant::now() + renew_after(life), asking: None, life },
            goaway: None,
            pulse: Pulse::new(traffic, Instant::now()),
        }
    }

    /// Everything that is due now.
    fn tick(&mut self, session: &mut Session, now: Instant) -> Option<LinkEnd> {
        if self.goaway.is_some_and(|at| at <= now) {
            return Some(LinkEnd::Goaway);
        }
        session.cursors.expire(now);
        if session.requests.expire(now) {
            let reason = "no answer to a request of the session".into();
            return Some(LinkEnd::Lost(ClientError::Closed { code: None, reason }));
        }
        if self.renewal.asking.is_none() && self.renewal.at <= now {
            let tokens = Arc::clone(&session.tokens);
            self.renewal.asking = Some(Box::pin(async move { session::token(&*tokens, true).await }));
        }
        session.cursors.poll(&mut session.requests, now);
        while self.out.len() < FRAMES_OUT_MAX {
            match session.requests.next_frame(now, self.in_flight_max) {
                Some(frame) => self.out.push_back(frame),
                None => break,
            }
        }
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        let renewal = self.renewal.asking.is_none().then_some(self.renewal.at);
        [renewal, self.goaway].into_iter().flatten().min()
    }

    fn written(&mut self, bytes: usize) {
        if let Some(front) = self.out.front_mut() {
            let _ = front.split_to(bytes.min(front.len()));
            if front.is_empty() {
                self.out.pop_front();
            }
        }
    }

    fn on_frame(&mut self, session: &mut Session, frame: &Frame) -> Result<(), LinkEnd> {
        let now = Instant::now();
        let frame = match ServerFrame::decode(frame) {
            Ok(frame) => frame,
            // Added by a later version.
            Err(FrameError::UnknownKind { .. }) => return Ok(()),
            Err(error) => return Err(LinkEnd::Protocol(error.into())),
        };
        match frame {
            ServerFrame::Events(events) => session.cursors.on_events(&events, now).map_err(LinkEnd::Protocol)?,
            ServerFrame::Reply(id, reply) => self.on_reply(session, id, reply, now),
            ServerFrame::Reset(reset) => session.cursors.on_reset(&reset, now),
            ServerFrame::SubscriptionEnded(ended) => session.cursors.on_ended(&ended, now),
            ServerFrame::TypingNotice(notice) => session.cursors.on_typing(&notice),
            ServerFrame::Goaway(goaway) => self.on_goaway(session, &goaway, now),
            ServerFrame::Rooms(rooms) => {
                let _ = session.items.send(SessionItem::Rooms { rooms: rooms.rooms.into(), next: rooms.next });
            }
            ServerFrame::Bump(bump) => drop(session.items.send(SessionItem::Bump(bump))),
            ServerFrame::Presence(presence) => drop(session.items.send(SessionItem::Presence(presence.users.into()))),
            other => {
                let what = format!("a frame that does not belong on the session stream: {other:?}");
                return Err(LinkEnd::Protocol(ClientError::Protocol(what)));
            }
        }
        Ok(())
    }

    fn on_reply(&mut self, session: &mut Session, id: u64, reply: Reply, now: Instant) {
        match session.requests.on_reply(id, reply, now) {
            Answered::Done => {}
            Answered::Subscribe(room, reply) => session.cursors.on_subscribed(room, &reply, now),
            Answered::Unsubscribe(room) => session.cursors.on_unsubscribed(room),
            Answered::NeedsToken => self.renewal.at = self.renewal.at.min(now),
            Answered::Reauth(reply) => {
                let wait = match reply.code() {
                    Code::Ok => {
                        session.requests.on_token();
                        renew_after(self.renewal.life)
                    }
                    _ => REAUTH_RETRY,
                };
                self.renewal.at = now + wait;
            }
        }
    }

    fn on_goaway(&mut self, session: &mut Session, goaway: &Goaway, now: Instant) {
        let (low, high) = goaway.reconnect_after_ms;
        let wait = between(Duration::from_millis(low.into()), Duration::from_millis(high.into())).min(SERVER_WAIT_MAX);
        self.goaway = Some(now + wait);
        session.reconnect_after = self.goaway;
        let _ = session.items.send(SessionItem::Goaway { reconnect_in: wait });
    }

    fn on_token(&mut self, session: &mut Session, answer: Result<AccessToken, TokenError>) {
        let now = Instant::now();
        self.renewal.asking = None;
        // Until the reply says more.
        self.renewal.at = now + crate::limits::REQUEST_DEADLINE;
        match answer {
            Ok(token) => {
                self.renewal.life = token.valid_for.unwrap_or(self.renewal.life);
                let reauth = Reauth { token: token.token, tail: EmptyTail::default() };
                session.requests.push_own(Command::Reauth(reauth), Purpose::Reauth, now);
            }
            Err(error) => {
                // The session lives on until its token ends; the server says so then.
                tracing::warn!(%error, "no new token");
                self.renewal.at = now + REAUTH_RETRY;
            }
        }
    }
}
