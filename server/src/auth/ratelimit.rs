//! Budgets by address: so many attempts at once, so many in an hour. For calls before there is a user; those of users are counted in
//! the world.

use crate::limits::RATE_ADDRESSES_MAX;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often something may be done from one address.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Times at once, and times in each `period`; 0 sets no bound.
    pub times: u32,
    /// The period.
    pub period: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A token bucket for each address; how many it remembers is bounded ([`RATE_ADDRESSES_MAX`]).
#[derive(Debug)]
pub struct IpBudget {
    rate: Rate,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
    addresses_max: usize,
}

/// The address that stands for all that there was no place for.
const SHARED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// What counts as one address: an IPv4 address, or the 64 bits of an IPv6 address that name a network, since its holder has all below.
fn key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        },
    }
}

impl IpBudget {
    /// Full budgets.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default(), addresses_max: RATE_ADDRESSES_MAX }
    }

    /// Takes one from the budget of an address.
    ///
    /// # Errors
    ///
    /// The time after which there is one again.
    pub fn take(&self, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.rate.times == 0 {
            return Ok(());
        }
        let most = f64::from(self.rate.times);
        let per_second = most / self.rate.period.as_secs_f64();
        let level = |bucket: &Bucket| {
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + passed * per_second).min(most)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = key(ip);
        if !buckets.contains_key(&key) && buckets.len() >= self.addresses_max {
            // A full bucket says nothing: it is the same as none.
            buckets.retain(|_, bucket| level(bucket) < most);
            if buckets.len() >= self.addresses_max {
                key = SHARED;
            }
        }
        let tokens = buckets.get(&key).map_or(most, level);
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / per_second));
        }
        buckets.insert(key, Bucket { tokens: tokens - 1.0, at: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let budget = IpBudget::new(Rate { times: 2, period: Duration::from_secs(10) });
        let start = Instant::now();
        assert!(budget.take(ip("10.0.0.1"), start).is_ok());
        assert!(budget.take(ip("10.0.0.1"), start).is_ok());
        let wait = budget.take(ip("10.0.0.1"), start).unwrap_err();
        assert!(wait <= Duration::from_secs(5) && wait > Duration::from_secs(4), "{wait:?}");
        assert!(budget.take(ip("10.0.0.2"), start).is_ok(), "another address has its own");
        assert!(budget.take(ip("10.0.0.1"), start + wait).is_ok());
        assert!(budget.take(ip("10.0.0.1"), start + wait).is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let budget = IpBudget::new(Rate { times: 1, period: Duration::from_secs(10) });
        let now = Instant::now();
        assert!(budget.take(ip("2001:db8:1:2::1"), now).is_ok());
        assert!(budget.take(ip("2001:db8:1:2:ffff::9"), now).is_err());
        assert!(budget.take(ip("2001:db8:1:3::1"), now).is_ok());
        assert!(budget.take(ip("::ffff:10.0.0.1"), now).is_ok());
        assert!(budget.take(ip("10.0.0.1"), now).is_err());
    }

    #[test]
    fn memory_is_bounded_and_nought_sets_no_bound() {
        let mut budget = IpBudget::new(Rate { times: 1, period: Duration::from_secs(10) });
        budget.addresses_max = 8;
        let now = Instant::now();
        let outcomes: Vec<bool> = (0..20).map(|n| budget.take(ip(&format!("10.0.0.{n}")), now).is_ok()).collect();
        assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 9, "eight of their own and one shared");
        assert!(budget.buckets.lock().unwrap().len() <= 9);
        assert!(budget.take(ip("10.0.1.1"), now + Duration::from_secs(60)).is_ok(), "old ones make room");
        let open = IpBudget::new(Rate { times: 0, period: Duration::from_secs(10) });
        assert!((0..1_000).all(|_| open.take(ip("10.0.0.1"), now).is_ok()));
    }
}
