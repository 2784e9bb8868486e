//! The transfers this process works on, by their names. Without it nobody could tell a transfer of this process that goes on from one that an
//! earlier life of it left.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Default)]
pub struct Working(Arc<Mutex<HashSet<String>>>);

impl Working {
    pub fn begin(&self, name: &str) {
        self.set(|names| names.insert(name.to_owned()));
    }

    pub fn end(&self, name: &str) {
        self.set(|names| names.remove(name));
    }

    pub fn is_empty(&self) -> bool {
        self.set(|names| names.is_empty())
    }

    pub fn has(&self, name: &str) -> bool {
        self.set(|names| names.contains(name))
    }

    fn set<T>(&self, change: impl FnOnce(&mut HashSet<String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
