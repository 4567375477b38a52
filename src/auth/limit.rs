//! Slows down guessing, per address and per account.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::error::{Error, Kind, Result};

/// Attempts from one address: ten at once, then one every 15 seconds.
const PER_ADDRESS: (u32, Duration) = (10, Duration::from_secs(15));

/// Attempts on one account from anywhere: thirty at once, then one every 5 seconds. More than one address may make, so
/// that a single attacker cannot lock the owner out.
const PER_ACCOUNT: (u32, Duration) = (30, Duration::from_secs(5));

/// Keys kept before those that are at rest are forgotten.
const MANY: usize = 10_000;

/// Counts attempts to sign in.
pub struct LoginLimit {
    by_address: DefaultKeyedRateLimiter<String>,
    by_account: DefaultKeyedRateLimiter<String>,
}

impl Default for LoginLimit {
    fn default() -> Self {
        let limiter = |(burst, period): (u32, Duration)| {
            let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::with_period(period).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
            RateLimiter::keyed(quota.allow_burst(burst))
        };
        Self { by_address: limiter(PER_ADDRESS), by_account: limiter(PER_ACCOUNT) }
    }
}

impl LoginLimit {
    /// Counts one attempt. Errors with `RateLimited` when there were too many, right or wrong.
    pub fn check(&self, address: Option<&str>, account: &str) -> Result<()> {
        check(&self.by_address, network(address.unwrap_or("unknown")))?;
        check(&self.by_account, account.to_owned())
    }
}

fn check(limiter: &DefaultKeyedRateLimiter<String>, key: String) -> Result<()> {
    if limiter.len() > MANY {
        limiter.retain_recent();
    }
    limiter.check_key(&key).map_err(|refused| {
        let seconds = refused.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
        Error::new(Kind::RateLimited, "too many attempts to sign in").hint(format!("try again in {seconds} seconds")).retryable()
    })
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 host can choose its addresses from.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => address.segments()[..4].iter().map(|part| format!("{part:x}:")).collect(),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_stopped_after_ten_attempts_and_others_are_not() {
        let limit = LoginLimit::default();
        for _ in 0..10 {
            limit.check(Some("192.0.2.1"), "admin").unwrap();
        }
        let refused = limit.check(Some("::ffff:192.0.2.1"), "other").unwrap_err();
        assert_eq!(refused.kind, Kind::RateLimited);
        assert!(refused.hint.unwrap().contains("seconds"));
        limit.check(Some("192.0.2.2"), "admin").unwrap();
    }

    #[test]
    fn an_account_is_protected_from_many_addresses() {
        let limit = LoginLimit::default();
        let passed = (0..100).filter(|n| limit.check(Some(&format!("192.0.2.{n}")), "admin").is_ok()).count();
        assert_eq!(passed, 30);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }
}
