//! Whether silence means anything: a server that began to listen a moment ago, or that heard nobody for a while, cannot tell a host that fell
//! silent from one that it did not hear.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Since when hosts have been heard without a break, and when the last one was.
#[derive(Default)]
pub struct Listening(Mutex<Option<(Instant, Instant)>>);

impl Listening {
    /// Some host was heard; after a silence of all of them for longer than `patience`, listening begins anew.
    pub fn heard(&self, patience: Duration) {
        let now = Instant::now();
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = heard.filter(|(_, last)| now.duration_since(*last) <= patience).map_or(now, |(since, _)| since);
        *heard = Some((since, now));
    }

    /// Whether every living host must have been heard by now, if each speaks within `patience`.
    pub fn for_long_enough(&self, patience: Duration) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|(since, last)| last.duration_since(since) > patience)
    }
}
