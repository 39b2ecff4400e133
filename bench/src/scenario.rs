//! What is asked of a server. A scenario knows no protocol: the same one is for every target.

use crate::error::BenchError;
use crate::limits::{BODY_BYTES_MIN, RUN_SECONDS_MAX, SENDS_PER_S_MAX, SESSIONS_MAX};
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
    Join,
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
    /// Talk, and beside it typing, read marks and history.
    Mixed,
}

/// Rooms, members and load. Every user is a member of one room, and every session is subscribed to its user's room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// What reports call it.
    pub name: String,
    /// Rooms.
    pub rooms: u32,
    /// Users in each room.
    pub members: u32,
    /// Sessions of each user.
    pub devices: u32,
    /// Sends a second, all rooms together; 0: nobody sends.
    pub sends_per_s: f64,
    /// Which sessions send.
    pub senders: Senders,
    /// Bytes of a message body.
    pub body_bytes: u32,
    /// What the sessions do.
    pub activity: Activity,
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

    /// Checks the bounds.
    ///
    /// # Errors
    ///
    /// [`BenchError::Usage`] names the bound that is left.
    pub fn check(&self) -> Result<(), BenchError> {
        let ensure = |holds: bool, what: String| if holds { Ok(()) } else { Err(BenchError::Usage(what)) };
        let sessions = u64::from(self.rooms) * u64::from(self.members) * u64::from(self.devices);
        ensure((1..=u64::from(SESSIONS_MAX)).contains(&sessions), format!("1 to {SESSIONS_MAX} sessions, not {sessions}"))?;
        ensure(
            (0.0..=SENDS_PER_S_MAX).contains(&self.sends_per_s),
            format!("0 to {SENDS_PER_S_MAX} sends a second, not {}", self.sends_per_s),
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

    /// Users.
    #[must_use]
    pub const fn users(&self) -> u32 {
        self.rooms * self.members
    }

    /// Sessions. Session `i` belongs to user `i % users()`.
    #[must_use]
    pub const fn sessions(&self) -> u32 {
        self.users() * self.devices
    }

    /// The room of a user or a session (the same, since sessions go by users): neighbours are in different rooms, so that sends in
    /// turn go to the rooms in turn.
    #[must_use]
    pub const fn room_of(&self, index: u32) -> u32 {
        index % self.rooms
    }

    /// Sessions that get each message.
    #[must_use]
    pub const fn receivers(&self) -> u32 {
        self.members * self.devices
    }

    /// How many sessions never read: the last ones.
    #[must_use]
    pub const fn slow_sessions(&self) -> u32 {
        match self.activity {
            Activity::Slow { percent } => self.sessions() * percent / 100,
            _ => 0,
        }
    }

    /// Whether this session never reads.
    #[must_use]
    pub const fn is_slow(&self, session: u32) -> bool {
        session >= self.sessions() - self.slow_sessions()
    }

    /// How many sessions send: the first ones.
    #[must_use]
    pub const fn sender_count(&self) -> u32 {
        match self.senders {
            Senders::All => self.sessions() - self.slow_sessions(),
            Senders::First => self.rooms,
        }
    }

    /// Whether deliveries to this session count for latency.
    #[must_use]
    pub const fn takes_latency(&self, session: u32) -> bool {
        match self.senders {
            Senders::All => !self.is_slow(session),
            Senders::First => session >= self.rooms,
        }
    }

    /// Deliveries a second that the sends make, to sessions that read.
    #[must_use]
    pub fn deliveries_per_s(&self) -> f64 {
        let reading = f64::from(self.sessions() - self.slow_sessions()) / f64::from(self.sessions());
        self.sends_per_s * f64::from(self.receivers()) * reading
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
    fn bounds_are_checked() {
        assert!(Scenario::one_room(20_000.0).timed(0.0, 0.0).check().is_err());
        assert!(Scenario::one_room(20_000.0).timed(5.0, 500.0).check().is_err());
        assert!(Scenario { members: 1_000_000, ..Scenario::one_room(1.0) }.check().is_err());
        assert!(Scenario { body_bytes: 8, ..Scenario::one_room(1.0) }.check().is_err());
        assert!(Scenario { sends_per_s: f64::NAN, ..Scenario::one_room(1.0) }.check().is_err());
    }
}
