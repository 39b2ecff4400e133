//! What is asked of a server. A scenario knows no protocol: the same one is for every target.

use crate::error::BenchError;
use crate::limits::{BODY_BYTES_MIN, DAY_VISITORS_EACH, KEEP_ALIVE, RUN_SECONDS_MAX, SENDS_PER_S_MAX, SESSIONS_MAX};
use crate::tls::Tickets;
use serde::{Deserialize, Serialize};

/// Which sessions send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Senders {
    /// All, in turn. Latency is taken at every session, the sender's own included.
    All,
    /// The first session of each room, in turn. Latency is taken at the others.
    First,
}

/// What the sessions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Sends at their due times, or nothing where none are asked for.
    Talk,
    /// Connect, subscribe, leave, again and again; a bounded number at a time.
    Join {
        /// With the ticket of the connection before; without, every handshake is a full one.
        resumes: bool,
    },
    /// Closed loop: every sender keeps this many sends unanswered, and sends the next one when one is answered.
    Closed {
        /// Sends of a session without an answer.
        in_flight: u32,
    },
    /// Everybody's connection is dropped when the measurement begins; all resume with their cursors, then talk on.
    Storm,
    /// Talk, but some sessions never read; they do not send, and what becomes of them does not count.
    Slow {
        /// How many of 100.
        percent: u32,
    },
    /// Talk, and beside it typing, presence, read marks and history; some sessions come and go. Those do not send, and their latency
    /// does not count.
    Mixed,
}

/// Rooms beside those that are measured: what they do costs the server, and its latency is not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// Rooms.
    pub rooms: u32,
    /// Users in each room.
    pub members: u32,
    /// Sessions of each user.
    pub devices: u32,
    /// Sends a second, all these rooms together, by all their sessions in turn.
    pub sends_per_s: f64,
}

impl Beside {
    const fn users(&self) -> u32 {
        self.rooms * self.members
    }

    const fn sessions(&self) -> u32 {
        self.users() * self.devices
    }
}

/// Rooms, members and load. Every user is a member of one room, and every session is subscribed to its user's room. Indices of rooms,
/// users and sessions begin with those that are measured; those of the rooms beside follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// What reports call it.
    pub name: String,
    /// Rooms that are measured.
    pub rooms: u32,
    /// Users in each of them.
    pub members: u32,
    /// Sessions of each of these users.
    pub devices: u32,
    /// Sends a second, all these rooms together; 0: nobody sends.
    pub sends_per_s: f64,
    /// Which sessions send.
    pub senders: Senders,
    /// Bytes of a message body.
    pub body_bytes: u32,
    /// What the sessions do.
    pub activity: Activity,
    /// More rooms.
    pub beside: Option<Beside>,
    /// Time under load before anything is counted, in seconds.
    pub warmup_s: f64,
    /// Time that is measured, in seconds.
    pub measure_s: f64,
}

impl Scenario {
    /// The same with other times.
    #[must_use]
    pub fn timed(self, warmup_s: f64, measure_s: f64) -> Self {
        Self { warmup_s, measure_s, ..self }
    }

    /// Whether the time that is measured is a whole multiple of [`KEEP_ALIVE`]: in less, not every silent connection says something.
    #[must_use]
    pub fn has_whole_keep_alives(&self) -> bool {
        (self.measure_s / KEEP_ALIVE.as_secs_f64()).fract() == 0.0
    }

    /// The same, measured until it is.
    #[must_use]
    pub fn with_whole_keep_alives(self) -> Self {
        let each_s = KEEP_ALIVE.as_secs_f64();
        Self { measure_s: (self.measure_s / each_s).ceil() * each_s, ..self }
    }

    /// Checks the bounds.
    ///
    /// # Errors
    ///
    /// [`BenchError::Usage`] names the bound that is left.
    pub fn check(&self) -> Result<(), BenchError> {
        let ensure = |holds: bool, what: String| if holds { Ok(()) } else { Err(BenchError::Usage(what)) };
        let product = |rooms, members, devices| u64::from(rooms) * u64::from(members) * u64::from(devices);
        let measured = product(self.rooms, self.members, self.devices);
        let beside = self.beside.as_ref().map(|beside| product(beside.rooms, beside.members, beside.devices));
        ensure(measured > 0 && beside != Some(0), "rooms without sessions".to_owned())?;
        let sessions = measured + beside.unwrap_or(0);
        ensure(sessions <= u64::from(SESSIONS_MAX), format!("1 to {SESSIONS_MAX} sessions, not {sessions}"))?;
        let sends_per_s = self.sends_per_s + self.beside.as_ref().map_or(0.0, |beside| beside.sends_per_s);
        ensure(
            (0.0..=SENDS_PER_S_MAX).contains(&sends_per_s),
            format!("0 to {SENDS_PER_S_MAX} sends a second, not {sends_per_s}"),
        )?;
        let bodies = BODY_BYTES_MIN..=client_protocol::limits::BODY_BYTES_MAX as u32;
        ensure(bodies.contains(&self.body_bytes), format!("{bodies:?} bytes of body, not {}", self.body_bytes))?;
        if let Activity::Closed { in_flight } = self.activity {
            let most = client_protocol::limits::OPEN_REQUESTS_MAX as u32;
            ensure((1..=most).contains(&in_flight), format!("1 to {most} sends in flight, not {in_flight}"))?;
        }
        ensure(self.measure_s > 0.0 && self.warmup_s >= 0.0, "something must be measured: seconds above 0".to_owned())?;
        let seconds = self.measure_s + self.warmup_s;
        ensure(seconds <= RUN_SECONDS_MAX, format!("at most {RUN_SECONDS_MAX} s of warm-up and measurement, not {seconds}"))
    }

    /// Sessions of the rooms that are measured.
    #[must_use]
    pub const fn measured_sessions(&self) -> u32 {
        self.measured_users() * self.devices
    }

    const fn measured_users(&self) -> u32 {
        self.rooms * self.members
    }

    /// A figure of the rooms beside; 0 where there are none.
    fn beside(&self, figure: impl Fn(&Beside) -> u32) -> u32 {
        self.beside.as_ref().map_or(0, figure)
    }

    /// All rooms.
    #[must_use]
    pub fn all_rooms(&self) -> u32 {
        self.rooms + self.beside(|beside| beside.rooms)
    }

    /// All users.
    #[must_use]
    pub fn users(&self) -> u32 {
        self.measured_users() + self.beside(Beside::users)
    }

    /// All sessions.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.measured_sessions() + self.beside(Beside::sessions)
    }

    /// Whether who comes back shows a TLS ticket.
    #[must_use]
    pub const fn tickets(&self) -> Tickets {
        match self.activity {
            Activity::Join { resumes: false } => Tickets::Unused,
            _ => Tickets::Used,
        }
    }

    /// The user of a session.
    #[must_use]
    pub fn user_of(&self, session: u32) -> u32 {
        match session.checked_sub(self.measured_sessions()) {
            None => session % self.measured_users(),
            Some(session) => self.measured_users() + session % self.beside(Beside::users).max(1),
        }
    }

    /// The room of a user: neighbours are in different rooms, so that sends in turn go to the rooms in turn.
    #[must_use]
    pub fn room_of_user(&self, user: u32) -> u32 {
        match user.checked_sub(self.measured_users()) {
            None => user % self.rooms,
            Some(user) => self.rooms + user % self.beside(|beside| beside.rooms).max(1),
        }
    }

    /// The room of a session.
    #[must_use]
    pub fn room_of(&self, session: u32) -> u32 {
        self.room_of_user(self.user_of(session))
    }

    /// The users whose presence a session watches: all of its room, itself too, in the scenario that has presence.
    pub fn watched_by(&self, session: u32) -> impl Iterator<Item = u32> {
        let users = if self.activity == Activity::Mixed { self.measured_users() } else { 0 };
        let (room, rooms) = (self.room_of(session), self.rooms);
        (0..users).filter(move |user| user % rooms == room).take(client_protocol::limits::PRESENCE_WATCH_MAX)
    }

    /// The user who makes a room: the first of its members.
    #[must_use]
    pub fn owner_of(&self, room: u32) -> u32 {
        match room.checked_sub(self.rooms) {
            None => room,
            Some(room) => self.measured_users() + room,
        }
    }

    /// Sessions that get each message of a room that is measured.
    #[must_use]
    pub const fn receivers(&self) -> u32 {
        self.members * self.devices
    }

    /// How many sessions never read: the last ones of those that are measured.
    #[must_use]
    pub const fn slow_sessions(&self) -> u32 {
        match self.activity {
            Activity::Slow { percent } => self.measured_sessions() * percent / 100,
            _ => 0,
        }
    }

    /// Whether this session never reads.
    #[must_use]
    pub const fn is_slow(&self, session: u32) -> bool {
        let measured = self.measured_sessions();
        session >= measured - self.slow_sessions() && session < measured
    }

    /// How many sessions come and go: the last ones of those that are measured.
    #[must_use]
    pub const fn visitors(&self) -> u32 {
        match self.activity {
            Activity::Mixed => self.measured_sessions() / DAY_VISITORS_EACH,
            _ => 0,
        }
    }

    /// Whether this session comes and goes.
    #[must_use]
    pub const fn is_visitor(&self, session: u32) -> bool {
        let measured = self.measured_sessions();
        session >= measured - self.visitors() && session < measured
    }

    /// How many sessions of the rooms that are measured send: the first ones.
    #[must_use]
    pub const fn sender_count(&self) -> u32 {
        match self.senders {
            Senders::All => self.measured_sessions() - self.slow_sessions() - self.visitors(),
            Senders::First => self.rooms,
        }
    }

    /// Whether deliveries to this session count for latency.
    #[must_use]
    pub const fn takes_latency(&self, session: u32) -> bool {
        match self.senders {
            Senders::All => session < self.measured_sessions() - self.slow_sessions() - self.visitors(),
            Senders::First => session >= self.rooms && session < self.measured_sessions(),
        }
    }

    /// Deliveries a second that all sends make, to sessions that read.
    #[must_use]
    pub fn deliveries_per_s(&self) -> f64 {
        let reading = f64::from(self.measured_sessions() - self.slow_sessions()) / f64::from(self.measured_sessions());
        let beside =
            self.beside.as_ref().map_or(0.0, |beside| beside.sends_per_s * f64::from(beside.members * beside.devices));
        self.sends_per_s * f64::from(self.receivers()) * reading + beside
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_room_has_its_members() {
        let b = Scenario::many_rooms(20_000.0);
        for room in 0..b.rooms {
            assert_eq!((0..b.sessions()).filter(|session| b.room_of(*session) == room).count(), 10);
        }
    }

    #[test]
    fn rooms_beside_come_after_those_that_are_measured() {
        let beside = Beside { rooms: 2, members: 3, devices: 2, sends_per_s: 1.0 };
        let b = Scenario { beside: Some(beside), ..Scenario::many_rooms(20_000.0) };
        assert_eq!((b.users(), b.sessions(), b.all_rooms(), b.measured_sessions()), (1_006, 1_012, 102, 1_000));
        assert_eq!((b.user_of(999), b.user_of(1_000), b.user_of(1_006)), (999, 1_000, 1_000));
        assert_eq!((b.room_of(99), b.room_of(1_000), b.room_of(1_001), b.room_of(1_002)), (99, 100, 101, 100));
        assert_eq!((b.owner_of(99), b.owner_of(100), b.owner_of(101)), (99, 1_000, 1_001));
        assert!((0..102).all(|room| b.room_of_user(b.owner_of(room)) == room));
        assert!(b.takes_latency(999) && !b.takes_latency(1_000));
        assert_eq!(b.deliveries_per_s(), 20_006.0);
        assert!(b.check().is_ok());
        let none = Beside { rooms: 2, members: 0, devices: 2, sends_per_s: 1.0 };
        assert!(Scenario { beside: Some(none), ..Scenario::many_rooms(20_000.0) }.check().is_err());
    }

    #[test]
    fn bounds_are_checked() {
        assert!(Scenario::one_room(20_000.0).timed(0.0, 0.0).check().is_err());
        assert!(Scenario::one_room(20_000.0).timed(5.0, 500.0).check().is_err());
        assert!(Scenario { members: 1_000_000, ..Scenario::one_room(1.0) }.check().is_err());
        assert!(Scenario { body_bytes: 8, ..Scenario::one_room(1.0) }.check().is_err());
        assert!(Scenario { sends_per_s: f64::NAN, ..Scenario::one_room(1.0) }.check().is_err());
    }
}
