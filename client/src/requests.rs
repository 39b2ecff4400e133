//! The requests that have no final answer yet. Plain data and rules: no sockets, time comes in as an argument.
//!
//! A request is sent again, with the same key and marked `retry`, until a final answer or its deadline. It is *uncertain* once a try
//! of it may have been done without its answer reaching us; then only an answer that speaks of the key ends it.

use crate::backoff::exponential;
use crate::error::{ClientError, is_transient, leaves_open};
use crate::limits::{REQUEST_DEADLINE, RESEND_MAX, RESEND_MIN, SERVER_WAIT_MAX, TOKEN_TIMEOUT};
use bytes::Bytes;
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::session::Reply;
use client_protocol::{Code, Command, Key, RoomId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// The seq of the event that the command made, now or when it was sent first; 0 where it makes none.
    pub seq: u64,
    /// The room that was made or found, for commands that name none.
    pub room: Option<RoomId>,
    /// When the event was appended, Unix time in milliseconds, if the server says so.
    pub time_ms: Option<u64>,
}

/// Takes the final answer of a command.
pub(crate) type Answer = oneshot::Sender<Result<Acked, ClientError>>;

/// Who waits for the reply.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// A call of the application.
    Caller(Answer),
    /// The subscription of a room; made anew on each connection.
    Subscribe(RoomId),
    /// The end of one.
    Unsubscribe(RoomId),
    /// A new token.
    Reauth,
    /// Puts back what the session had on the connection before.
    Restore,
}

/// What a reply means for the session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Nothing more.
    Done,
    /// A subscription was answered.
    Subscribe(RoomId, Reply),
    /// A subscription was ended.
    Unsubscribe(RoomId),
    /// The token was answered.
    Reauth(Reply),
    /// The server says that the token has ended; the command waits for a new one.
    NeedsToken,
}

#[derive(Debug)]
struct Request {
    command: Command,
    purpose: Purpose,
    deadline: Instant,
    not_before: Option<Instant>,
    /// On the present connection, without an answer.
    in_flight: bool,
    /// An earlier try may have been done.
    uncertain: bool,
    tries: u32,
    /// It has waited for a new token once.
    renewed: bool,
}

/// The table of open requests, in the order in which they were given.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    next_id: u64,
    open: BTreeMap<u64, Request>,
    in_flight: usize,
}

impl Requests {
    /// Requests without a final answer.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether a request was sent that is not answered.
    pub(crate) const fn awaits_reply(&self) -> bool {
        self.in_flight > 0
    }

    /// Adds a command of the application.
    pub(crate) fn push_call(&mut self, command: Command, answer: Answer, deadline: Instant) {
        self.push(command, Purpose::Caller(answer), deadline);
    }

    /// Adds a request of the session itself.
    pub(crate) fn push_own(&mut self, command: Command, purpose: Purpose, now: Instant) {
        self.push(command, purpose, now + REQUEST_DEADLINE);
    }

    fn push(&mut self, command: Command, purpose: Purpose, deadline: Instant) {
        self.next_id += 1;
        let request = Request {
            command,
            purpose,
            deadline,
            not_before: None,
            in_flight: false,
            uncertain: false,
            tries: 0,
            renewed: false,
        };
        self.open.insert(self.next_id, request);
    }

    /// Whether a request of this kind is open.
    pub(crate) fn has(&self, kind: u16) -> bool {
        self.open.values().any(|request| request.command.kind() == kind)
    }

    /// The next frame to send, while fewer than `in_flight_max` are unanswered.
    pub(crate) fn next_frame(&mut self, now: Instant, in_flight_max: usize) -> Option<Bytes> {
        while self.in_flight < in_flight_max {
            let id = self.open.iter().find(|(_, request)| request.is_due(now)).map(|(id, _)| *id)?;
            let request = self.open.get_mut(&id)?;
            if request.uncertain {
                mark_retry(&mut request.command);
            }
            let frame = request.command.frame(id);
            let bytes = frame.len() - client_protocol::frame::LENGTH_BYTES;
            if bytes > FRAME_BYTES_MAX {
                self.finish(id, Err(ClientError::too_large(bytes)));
                continue;
            }
            request.in_flight = true;
            request.not_before = None;
            request.tries += 1;
            self.in_flight += 1;
            return Some(frame);
        }
        None
    }

    /// Takes a reply.
    pub(crate) fn on_reply(&mut self, id: u64, reply: Reply, now: Instant) -> Answered {
        let Some(request) = self.open.get_mut(&id).filter(|request| request.in_flight) else {
            // The answer of a request that timed out here.
            return Answered::Done;
        };
        request.in_flight = false;
        self.in_flight -= 1;
        if matches!(request.purpose, Purpose::Caller(_) | Purpose::Restore)
            && let Some(answered) = request.goes_on(&reply, now)
        {
            return answered;
        }
        let Some(request) = self.open.remove(&id) else { return Answered::Done };
        match request.purpose {
            Purpose::Caller(answer) => {
                // The caller may have gone.
                let _ = answer.send(result_of(&reply));
                Answered::Done
            }
            Purpose::Restore => Answered::Done,
            Purpose::Subscribe(room) => Answered::Subscribe(room, reply),
            Purpose::Unsubscribe(room) => Answered::Unsubscribe(room),
            Purpose::Reauth => Answered::Reauth(reply),
        }
    }

    /// The token was renewed: what waited for it goes on.
    pub(crate) fn on_token(&mut self) {
        for request in self.open.values_mut().filter(|request| request.renewed) {
            request.not_before = None;
        }
    }

    /// The connection is gone: what was on it is to be sent again, what belonged to it is forgotten.
    pub(crate) fn on_disconnected(&mut self) {
        self.in_flight = 0;
        self.open.retain(|_, request| matches!(request.purpose, Purpose::Caller(_)));
        for request in self.open.values_mut() {
            request.uncertain |= request.in_flight;
            request.in_flight = false;
            request.not_before = None;
        }
    }

    /// Ends what is past its deadline. Says whether a request of the session itself was among it: the connection answers nothing.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let late: Vec<u64> = self.open.iter().filter(|(_, request)| request.deadline <= now).map(|(id, _)| *id).collect();
        let mut silent = false;
        for id in late {
            let Some(request) = self.open.get(&id) else { continue };
            silent |= !matches!(request.purpose, Purpose::Caller(_));
            let error = request.unfinished(ClientError::Timeout);
            self.finish(id, Err(error));
        }
        silent
    }

    /// Ends everything.
    pub(crate) fn fail_all(&mut self, reason: &ClientError) {
        let ids: Vec<u64> = self.open.keys().copied().collect();
        for id in ids {
            let Some(request) = self.open.get(&id) else { continue };
            let error = request.unfinished(reason.clone());
            self.finish(id, Err(error));
        }
    }

    /// When [`Self::next_frame`] or [`Self::expire`] has something to do next.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.open
            .values()
            .map(|request| request.not_before.filter(|time| *time > now).unwrap_or(request.deadline).min(request.deadline))
            .min()
    }

    fn finish(&mut self, id: u64, result: Result<Acked, ClientError>) {
        let Some(request) = self.open.remove(&id) else { return };
        // The server may still count it among the open ones; then it reads the next one later.
        self.in_flight -= usize::from(request.in_flight);
        if let Purpose::Caller(answer) = request.purpose {
            let _ = answer.send(result);
        }
    }
}

impl Request {
    fn is_due(&self, now: Instant) -> bool {
        !self.in_flight && self.not_before.is_none_or(|time| time <= now)
    }

    /// Whether the reply leaves the request open, and what it means then.
    fn goes_on(&mut self, reply: &Reply, now: Instant) -> Option<Answered> {
        let code = reply.code();
        if code == Code::TokenExpired && !self.renewed {
            self.renewed = true;
            self.not_before = Some(now + TOKEN_TIMEOUT);
            return Some(Answered::NeedsToken);
        }
        // A refusal for lack of means says nothing about a try before it.
        if !(leaves_open(code) || self.uncertain && is_transient(code)) {
            return None;
        }
        self.uncertain = true;
        let wait = match reply.tail.retry_after_ms {
            Some(ms) => Duration::from_millis(ms).min(SERVER_WAIT_MAX),
            None => exponential(RESEND_MIN, RESEND_MAX, self.tries.saturating_sub(1)),
        };
        self.not_before = Some(now + wait);
        Some(Answered::Done)
    }

    /// The error of a request that ends without an answer.
    fn unfinished(&self, otherwise: ClientError) -> ClientError {
        match (self.in_flight || self.uncertain, &self.command) {
            // These change nothing that lasts.
            (true, Command::WatchPresence(_) | Command::SetPresence(_)) | (false, _) => otherwise,
            (true, command) => ClientError::Unknown { key: key_of(command) },
        }
    }
}

fn result_of(reply: &Reply) -> Result<Acked, ClientError> {
    match reply.code() {
        Code::Ok => Ok(Acked { seq: reply.seq, room: reply.tail.room, time_ms: reply.tail.time_ms }),
        _ => Err(ClientError::refused(reply)),
    }
}

macro_rules! with_head {
    ($command:expr, $value:ident => $found:expr, $key:ident => $key_only:expr, $none:expr) => {
        match $command {
            Command::JoinRoom($value) => $found,
            Command::LeaveRoom($value) => $found,
            Command::AddMember($value)
            | Command::KickMember($value)
            | Command::BanMember($value)
            | Command::UnbanMember($value) => $found,
            Command::SetRole($value) => $found,
            Command::UpdateRoom($value) => $found,
            Command::PostMessage($value) => $found,
            Command::EditMessage($value) => $found,
            Command::DeleteMessage($value) | Command::PinMessage($value) | Command::UnpinMessage($value) => $found,
            Command::AddReaction($value) | Command::RemoveReaction($value) => $found,
            Command::CreateRoom($key) => $key_only,
            _ => $none,
        }
    };
}

fn mark_retry(command: &mut Command) {
    with_head!(command, value => value.head.retry = true, _room => {}, {});
}

/// The idempotency key of a command that has one.
pub(crate) fn key_of(command: &Command) -> Option<Key> {
    with_head!(command, value => Some(value.head.key), room => Some(room.key), None)
}
