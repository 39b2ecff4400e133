//! Waits between tries: doubled with every failure up to a bound, and drawn at random so that clients which lost the same server
//! do not come back at the same moment.

use std::time::Duration;

/// Bounds of the waits, and how many tries failed in a row.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// Start from the beginning.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// At least this many failures.
    pub(crate) fn at_least(&mut self, failures: u32) {
        self.failures = self.failures.max(failures);
    }

    /// Counts a failure and draws the wait after it: between half of the bound and the bound.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        between(ceiling / 2, ceiling)
    }

    fn ceiling(&self) -> Duration {
        exponential(self.min, self.max, self.failures)
    }
}

/// `min` doubled `failures` times, at most `max`.
pub(crate) fn exponential(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX)).min(max)
}

/// A random time in the range; the lower bound if the range is empty.
pub(crate) fn between(low: Duration, high: Duration) -> Duration {
    let span = u64::try_from(high.saturating_sub(low).as_nanos()).unwrap_or(u64::MAX);
    if span == 0 {
        return low;
    }
    let mut bytes = [0; 8];
    // Without a source of randomness the middle is as good as any other point.
    let drawn = if getrandom::fill(&mut bytes).is_ok() { u64::from_le_bytes(bytes) % span } else { span / 2 };
    low + Duration::from_nanos(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound() {
        let (min, max) = (Duration::from_millis(250), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max);
        for failures in 0..40 {
            let ceiling = exponential(min, max, failures);
            assert!(ceiling <= max);
            let wait = backoff.next();
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} after {failures}");
        }
        backoff.reset();
        assert!(backoff.next() <= min);
    }

    #[test]
    fn a_random_time_stays_in_its_range() {
        let (low, high) = (Duration::from_millis(10), Duration::from_millis(20));
        for _ in 0..100 {
            let drawn = between(low, high);
            assert!(drawn >= low && drawn < high);
        }
        assert_eq!(between(high, low), high);
        assert_eq!(between(low, low), low);
    }
}
