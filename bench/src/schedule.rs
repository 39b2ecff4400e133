//! When each send is due: evenly spaced, the senders in turn. Open loop: nothing that the server does moves a due time.

/// One send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When, in nanoseconds on the load process's clock.
    pub at_ns: u64,
    /// Who: index of the session.
    pub sender: u32,
}

/// All sends of a run, by ascending time.
#[derive(Debug, Clone)]
pub struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    senders: u32,
    next: u64,
    count: u64,
}

impl Schedule {
    /// `per_s` sends a second for `seconds` from `start_ns` on, by `senders` sessions in turn. None if either is zero.
    #[must_use]
    pub fn new(start_ns: u64, per_s: f64, seconds: f64, senders: u32) -> Self {
        let count = if per_s > 0.0 && senders > 0 { (per_s * seconds).round() as u64 } else { 0 };
        Self { start_ns, interval_ns: if per_s > 0.0 { 1e9 / per_s } else { 0.0 }, senders, next: 0, count }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        if self.next == self.count {
            return None;
        }
        // From the start each time: adding intervals up would add their rounding up.
        let at_ns = self.start_ns + (self.next as f64 * self.interval_ns).round() as u64;
        let sender = (self.next % u64::from(self.senders)) as u32;
        self.next += 1;
        Some(Due { at_ns, sender })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.count - self.next) as usize;
        (left, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_are_evenly_spaced_and_senders_take_turns() {
        let sends: Vec<Due> = Schedule::new(1_000, 2_000.0, 3.0, 1_000).collect();
        assert_eq!(sends.len(), 6_000);
        assert_eq!(sends[0], Due { at_ns: 1_000, sender: 0 });
        assert_eq!(sends[1], Due { at_ns: 501_000, sender: 1 });
        assert_eq!(sends[1_000], Due { at_ns: 500_001_000, sender: 0 });
        assert!(sends.windows(2).all(|pair| pair[1].at_ns - pair[0].at_ns == 500_000));
    }

    #[test]
    fn an_odd_rate_does_not_drift() {
        let sends: Vec<Due> = Schedule::new(0, 333.0, 100.0, 7).collect();
        assert_eq!(sends.len(), 33_300);
        let last = sends[33_299].at_ns;
        assert!(last.abs_diff(100_000_000_000 - 3_003_003) < 10, "{last}");
    }

    #[test]
    fn nobody_sends_where_the_rate_is_zero() {
        assert_eq!(Schedule::new(0, 0.0, 10.0, 5).count(), 0);
        assert_eq!(Schedule::new(0, 10.0, 10.0, 0).count(), 0);
    }
}
