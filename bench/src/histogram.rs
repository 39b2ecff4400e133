//! Latencies: a histogram of microseconds with three digits, which can be merged and sent between processes.

use crate::limits::LATENCY_US_MAX;
use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// The parts of all that a curve has points for.
const CURVE: [f64; 21] = [
    0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9999,
    0.99995, 0.99999,
];

/// Latencies of many things. Merging is exact: the same as if all had been recorded in one.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    #[allow(clippy::expect_used, reason = "the bounds are constants, and the first test makes one")]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds of the histogram"))
    }
}

impl Latencies {
    /// Records a latency in nanoseconds. What is above [`LATENCY_US_MAX`] counts as that.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns / 1_000);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing is out of range.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok(), "{added:?}");
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many were longer than this.
    #[must_use]
    pub fn count_above(&self, latency: Duration) -> u64 {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.iter_recorded().filter(|step| step.value_iterated_to() > us).map(|step| step.count_at_value()).sum()
    }

    /// The latency that this part (0 to 1) of all did not exceed, in milliseconds; 0 if nothing was recorded.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// Points of the curve: part of all (0 to 1) and the latency that it did not exceed, in milliseconds. Denser towards the end, where it
    /// matters; none if nothing was recorded.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let parts = CURVE.into_iter().filter(|part| self.count() as f64 * (1.0 - part) >= 1.0 || *part <= 0.5);
        if self.count() == 0 { Vec::new() } else { parts.map(|part| (part, self.quantile_ms(part))).collect() }
    }

    /// The quantiles that reports show.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.count(),
            p50_ms: self.quantile_ms(0.5),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: self.0.max() as f64 / 1_000.0,
        }
    }
}

/// The quantiles that reports show, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many latencies these are.
    pub count: u64,
    /// Half were not above.
    pub p50_ms: f64,
    /// 99 in 100 were not above.
    pub p99_ms: f64,
    /// 999 in 1,000 were not above.
    pub p999_ms: f64,
    /// The largest.
    pub max_ms: f64,
}

/// As pairs of microseconds and count, ascending.
impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Self::default();
        for (us, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latencies.0.saturating_record_n(us, count);
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(us: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        for us in us {
            latencies.record_ns(us * 1_000);
        }
        latencies
    }

    #[test]
    fn merging_is_the_same_as_recording_in_one() {
        let mut merged = of((0..5_000).map(|n| n * 2));
        merged.merge(&of((0..5_000).map(|n| n * 2 + 1)));
        assert_eq!(merged, of(0..10_000));
        assert_eq!(merged.count(), 10_000);
    }

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let quantiles = of(1..=100_000).quantiles();
        for (found, wanted) in
            [(quantiles.p50_ms, 50.0), (quantiles.p99_ms, 99.0), (quantiles.p999_ms, 99.9), (quantiles.max_ms, 100.0)]
        {
            assert!((found - wanted).abs() <= wanted / 1_000.0, "{found} for {wanted}");
        }
        assert_eq!(Latencies::default().quantiles(), Quantiles::default());
    }

    #[test]
    fn a_curve_rises_and_shows_no_more_than_is_known() {
        let curve = of(1..=1_000).curve();
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{curve:?}");
        assert_eq!(curve.last().unwrap().0, 0.999);
        assert!(Latencies::default().curve().is_empty());
        assert!(!of([5]).curve().is_empty());
    }

    #[test]
    fn survives_the_pipe() {
        let sent = of([3, 17, 17, 400, 29_000, 1_000_000]);
        let text = serde_json::to_string(&sent).unwrap();
        let received: Latencies = serde_json::from_str(&text).unwrap();
        assert_eq!(received.quantiles(), sent.quantiles());
        assert_eq!(serde_json::to_string(&received).unwrap(), text);
    }

    #[test]
    fn what_is_longer_is_counted() {
        let latencies = of([1_000, 99_000, 120_000, 120_000, 5_000_000]);
        assert_eq!(latencies.count_above(Duration::from_millis(100)), 3);
        assert_eq!(Latencies::default().count_above(Duration::ZERO), 0);
    }

    #[test]
    fn a_latency_above_the_bound_counts_as_the_bound() {
        let latencies = of([LATENCY_US_MAX * 10]);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.quantile_ms(0.5) >= LATENCY_US_MAX as f64 / 1_000.0);
    }
}
