//! Standings of the tokens in use, remembered while nothing in the database has changed.
//!
//! Every service asks about every token once a second, and hardly anything changes meanwhile. As long as this process is the only one
//! that writes (SQLite), a count of its writes tells exactly whether an answer still holds; with a shared database nothing is remembered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kit::clock::Timestamp;

use super::validate::Standing;

/// Tokens remembered at once.
const MOST: usize = 10_000;

/// The memory of one process.
pub struct Standings {
    /// Whether only this process writes to the database.
    alone: bool,
    generation: AtomicU64,
    known: RwLock<HashMap<String, (u64, Arc<Standing>)>>,
}

impl Standings {
    pub fn new(alone: bool) -> Standings {
        Standings { alone, generation: AtomicU64::new(0), known: RwLock::default() }
    }

    /// What a token was found to stand for, if nothing changed since.
    pub fn get(&self, token: &str) -> Option<Arc<Standing>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (generation, standing) = known.get(token)?;
        let holds = *generation == self.generation() && standing.expires_at() > Timestamp::now();
        holds.then(|| standing.clone())
    }

    /// To be read before the database is asked.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub fn keep(&self, token: &str, generation: u64, standing: &Arc<Standing>) {
        if !self.alone || generation != self.generation() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(token.to_owned(), (generation, standing.clone()));
    }

    /// Something was written: nothing remembered holds any more.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}
