//! What goes on beside the messages of a mixed day: typing (datagrams), presence and read marks ([`Requests`], which
//! [`super::session`] sends), history (queries on streams of their own). Each at fixed times, whatever the server does.

use super::meter::Clock;
use super::tally::Tally;
use crate::limits::{DAY_HISTORY_INTERVAL, DAY_HISTORY_LIMIT, DAY_MOOD_INTERVAL, DAY_TYPING_INTERVAL, MARK_INTERVAL};
use bytes::BytesMut;
use client_protocol::chat::History;
use client_protocol::frame::{Frame, LENGTH_BYTES, kinds};
use client_protocol::limits::FRAME_BYTES_MAX;
use client_protocol::notification::MarkRead;
use client_protocol::presence::{SetPresence, Typing, WatchPresence, state};
use client_protocol::tail::EmptyTail;
use client_protocol::{ClientFrame, Command, Query, RoomId, UserId};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use uuid::Uuid;

const MARK: &str = "read mark";
const WATCH: &str = "presence watched";
const MOOD: &str = "presence set";
/// Changes of presence that came.
pub const PRESENCE_SEEN: &str = "presence seen by others";
/// Visitors who were there again.
pub const BACK: &str = "back after a break";
const TYPING: &str = "typing";
const TYPING_SEEN: &str = "typing seen by others";
const HISTORY: &str = "history";

/// Ticks at fixed times, the first at a random one: sessions must not march in step.
#[must_use]
pub fn ticks(interval: Duration) -> Interval {
    let first = interval.mul_f64(f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX));
    let mut ticks = tokio::time::interval_at(Instant::now() + first, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// When a tick was due, however late it was looked at.
fn due_ns(tick: Instant, clock: &Clock) -> u64 {
    clock.now_ns().saturating_sub(tick.elapsed().as_nanos() as u64)
}

/// A request that is due.
#[derive(Debug)]
pub struct Request {
    /// What it is.
    pub name: &'static str,
    /// Since when.
    pub due_ns: u64,
    /// How it is said.
    pub command: Command,
}

/// Requests of a session that go on its stream, between its sends.
pub struct Requests {
    marks: Interval,
    moods: Interval,
    is_away: bool,
    /// To be watched, until that was asked for.
    watched: Vec<UserId>,
}

impl Requests {
    /// For a session that has just subscribed.
    #[must_use]
    pub fn new(watched: &[Uuid]) -> Self {
        let watched = watched.iter().copied().map(UserId).collect();
        Self { marks: ticks(MARK_INTERVAL), moods: ticks(DAY_MOOD_INTERVAL), is_away: false, watched }
    }

    /// The next one, when it is due. May be dropped while it waits.
    pub async fn next(&mut self, room: RoomId, tally: &Tally) -> Request {
        if !self.watched.is_empty() {
            let users = std::mem::take(&mut self.watched);
            let command = Command::WatchPresence(WatchPresence { users, tail: EmptyTail {} });
            return Request { name: WATCH, due_ns: tally.clock.now_ns(), command };
        }
        let (name, tick, command) = tokio::select! {
            tick = self.marks.tick() => {
                let seq = tally.state.cursor.load(Relaxed);
                (MARK, tick, Command::MarkRead(MarkRead { room, seq, tail: EmptyTail {} }))
            }
            tick = self.moods.tick() => {
                self.is_away = !self.is_away;
                let state = if self.is_away { state::AWAY } else { state::ONLINE };
                (MOOD, tick, Command::SetPresence(SetPresence { state, tail: EmptyTail {} }))
            }
        };
        Request { name, due_ns: due_ns(tick, &tally.clock), command }
    }
}

/// Starts the tasks of a session in the runtime of the calling worker; they end with its connection.
pub fn start(connection: &quinn::Connection, room: RoomId, tally: &Tally) {
    tokio::spawn(type_on(connection.clone(), room, tally.clone()));
    tokio::spawn(see_typing(connection.clone(), tally.clone()));
    tokio::spawn(look_back(connection.clone(), room, tally.clone()));
}

async fn type_on(connection: quinn::Connection, room: RoomId, tally: Tally) {
    let mut ticks = ticks(DAY_TYPING_INTERVAL);
    let frame = ClientFrame::Typing(Typing { room, tail: EmptyTail {} }).encode().slice(LENGTH_BYTES..);
    loop {
        let due_ns = due_ns(ticks.tick().await, &tally.clock);
        if let Err(error) = connection.send_datagram(frame.clone()) {
            return tally.fault(format!("a datagram could not be sent: {error}"));
        }
        tally.aside(TYPING, due_ns, None);
    }
}

async fn see_typing(connection: quinn::Connection, tally: Tally) {
    while let Ok(datagram) = connection.read_datagram().await {
        if datagram.get(..2) == Some(&kinds::TYPING_NOTICE.to_le_bytes()) {
            tally.aside(TYPING_SEEN, tally.clock.now_ns(), None);
        }
    }
}

async fn look_back(connection: quinn::Connection, room: RoomId, tally: Tally) {
    let mut ticks = ticks(DAY_HISTORY_INTERVAL);
    loop {
        let due_ns = due_ns(ticks.tick().await, &tally.clock);
        match ask(&connection, room).await {
            Ok(()) => tally.aside(HISTORY, due_ns, Some(tally.clock.now_ns())),
            Err(why) => return tally.fault(format!("history: {why}")),
        }
    }
}

/// Asks for the newest messages.
async fn ask(connection: &quinn::Connection, room: RoomId) -> Result<(), String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    let query = Query::History(History { room, before: 0, after: 0, limit: DAY_HISTORY_LIMIT, tail: EmptyTail {} });
    send.write_chunk(query.frame(1)).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    let answer = receive.read_to_end(FRAME_BYTES_MAX + LENGTH_BYTES).await.map_err(|error| error.to_string())?;
    let frame = Frame::split(&mut BytesMut::from(&answer[..]), FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
    match frame.ok_or("no whole frame")? {
        frame if frame.kind == kinds::HISTORY_PAGE => Ok(()),
        frame => Err(format!("a frame of kind {:#06x} came", frame.kind)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use client_protocol::ServerFrame;
    use std::sync::Arc;

    #[test]
    fn notices_are_known_by_their_first_two_bytes() {
        let notice = client_protocol::presence::TypingNotice {
            room: RoomId(Uuid::nil()),
            user: UserId(Uuid::nil()),
            tail: EmptyTail {},
        };
        let datagram = ServerFrame::TypingNotice(notice).encode().slice(LENGTH_BYTES..);
        assert_eq!(datagram.get(..2), Some(&kinds::TYPING_NOTICE.to_le_bytes()[..]));
    }

    #[test]
    fn a_request_is_due_at_its_tick_and_not_when_it_is_looked_at() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = Arc::new(Clock::default());
        let tally = Tally { state: Arc::default(), meter: Arc::default(), clock };
        runtime.block_on(async {
            let begun = Instant::now();
            tokio::time::sleep(Duration::from_millis(80)).await;
            let marks = tokio::time::interval_at(begun + Duration::from_millis(10), MARK_INTERVAL);
            let moods = tokio::time::interval_at(begun + MARK_INTERVAL, DAY_MOOD_INTERVAL);
            let mut requests = Requests { marks, moods, is_away: false, watched: Vec::new() };
            let request = requests.next(RoomId(Uuid::nil()), &tally).await;
            let late_ns = tally.clock.now_ns() - request.due_ns;
            assert!(request.name == MARK && late_ns >= 70_000_000, "{} is {late_ns} ns late", request.name);
        });
    }
}
