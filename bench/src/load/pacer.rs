//! Hands each send to its session when it is due. A thread of its own: the timers of an asynchronous runtime are a millisecond wide.

use super::meter::Clock;
use crate::schedule::Schedule;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Hands out all sends of `schedule`; `senders[i]` takes the due times of session `i`. Returns how many were held back, because a
/// session could not take more. Blocks until the last one.
#[must_use]
pub fn pace(schedule: Schedule, clock: &Arc<Clock>, senders: &[mpsc::Sender<u64>]) -> u64 {
    let mut held = 0;
    for due in schedule {
        if let Some(wait) = clock.until(due.at_ns) {
            std::thread::sleep(wait);
        }
        let taken = senders.get(due.sender as usize).is_some_and(|sender| sender.try_send(due.at_ns).is_ok());
        held += u64::from(!taken);
    }
    held
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sends_come_in_turn_and_not_before_they_are_due() {
        let clock = Arc::new(Clock::default());
        let (first, mut first_due) = mpsc::channel(8);
        let (second, mut second_due) = mpsc::channel(1);
        let start_ns = clock.now_ns() + 1_000_000;
        let held = pace(Schedule::new(start_ns, 1_000.0, 0.006, 2), &clock, &[first, second]);
        assert!(clock.now_ns() >= start_ns + 5_000_000);
        assert_eq!(first_due.try_recv().unwrap(), start_ns);
        assert_eq!(first_due.try_recv().unwrap(), start_ns + 2_000_000);
        assert_eq!(second_due.try_recv().unwrap(), start_ns + 1_000_000);
        // The second session had room for one of three.
        assert_eq!(held, 2);
        assert!(second_due.try_recv().is_err());
    }
}
