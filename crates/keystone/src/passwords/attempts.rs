//! Failed logins slow their account down: after a burst of them it answers 429 for a while, whether the account exists or not.
//!
//! In memory and for each process: this is about guessing at speed, not about locking accounts ([`super::rules`] does that when told to).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kit::{Error, Kind, Result};

/// Accounts remembered at once.
const MOST: usize = 10_000;
/// How long a burst takes to be forgiven.
const WINDOW: Duration = Duration::from_secs(60);

/// Failures of late, by account.
pub struct Attempts {
    /// Failures forgiven within the window.
    burst: f64,
    failures: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Attempts {
    /// Zero for no limit.
    pub fn new(failures_per_minute: u32) -> Attempts {
        Attempts { burst: f64::from(failures_per_minute), failures: Mutex::default() }
    }

    /// 429 when the account has failed too often of late.
    pub fn check(&self, account: &str) -> Result<()> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.get(account) {
            Some((count, at)) if self.burst > 0.0 && self.left(*count, *at) >= self.burst => {
                Err(Error::new(Kind::TooManyRequests, "Too many failed logins; try again in a moment."))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub fn failed(&self, account: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST {
            failures.retain(|_, (count, at)| self.left(*count, *at) > 0.0);
            if failures.len() >= MOST {
                failures.clear();
            }
        }
        let entry = failures.entry(account.to_owned()).or_insert((0.0, Instant::now()));
        *entry = (self.left(entry.0, entry.1) + 1.0, Instant::now());
    }

    /// What is left of failures counted some time ago.
    fn left(&self, count: f64, at: Instant) -> f64 {
        (count - self.burst * at.elapsed().as_secs_f64() / WINDOW.as_secs_f64()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_failures_is_followed_by_429() {
        let attempts = Attempts::new(3);
        for _ in 0..4 {
            assert!(attempts.check("ann").is_ok());
            attempts.failed("ann");
        }
        assert_eq!(attempts.check("ann").unwrap_err().kind, Kind::TooManyRequests);
        assert!(attempts.check("bea").is_ok());
        attempts.failures.lock().unwrap().get_mut("ann").unwrap().1 -= WINDOW;
        assert!(attempts.check("ann").is_ok());
        let unlimited = Attempts::new(0);
        (0..100).for_each(|_| unlimited.failed("ann"));
        assert!(unlimited.check("ann").is_ok());
    }
}
