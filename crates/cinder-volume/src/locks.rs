//! A lock for each thing that somebody works on; forgotten when nobody does any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
pub struct Locks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    pub fn of(&self, subject: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(subject.to_owned()).or_default().clone()
    }

    /// Forgets a lock that nobody else holds or waits for.
    pub fn tidy(&self, subject: &str, lock: Arc<tokio::sync::Mutex<()>>) {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&lock) <= 2 {
            locks.remove(subject);
        }
    }
}
