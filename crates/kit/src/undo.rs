//! Undo in memory, for the half of an action that happens on one host.
//!
//! Each thing done pushes how to undo it; on failure the guard unwinds, last first; on success it is told to forget.

use std::future::Future;

use futures::future::BoxFuture;

use crate::Result;

type UndoFn = Box<dyn FnOnce() -> BoxFuture<'static, Result<()>> + Send>;

/// What has been done so far, and how to take it back.
#[derive(Default)]
pub struct Undo {
    done: Vec<(&'static str, UndoFn)>,
}

impl Undo {
    pub fn new() -> Undo {
        Undo::default()
    }

    /// Remember how to undo what was just done (or what is about to be: undoing must tolerate that there is nothing).
    pub fn push<F, Fut>(&mut self, what: &'static str, undo: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.done.push((what, Box::new(move || Box::pin(undo()))));
    }

    /// It all succeeded: nothing will be undone.
    pub fn commit(mut self) {
        self.done.clear();
    }

    /// Take everything back, last first. One failure does not keep the others from being undone; the failed ones are named in the answer.
    pub async fn unwind(mut self) -> Vec<&'static str> {
        let mut failed = Vec::new();
        while let Some((what, undo)) = self.done.pop() {
            if let Err(error) = undo().await {
                tracing::error!(what, %error, "could not be undone");
                failed.push(what);
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn unwinds_last_first_and_past_failures() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut undo = Undo::new();
        for (name, ok) in [("first", true), ("second", false), ("third", true)] {
            let seen = seen.clone();
            undo.push(name, move || async move {
                seen.lock().unwrap().push(name);
                if ok { Ok(()) } else { Err(crate::Error::conflict("busy")) }
            });
        }
        assert_eq!(undo.unwind().await, ["second"]);
        assert_eq!(*seen.lock().unwrap(), ["third", "second", "first"]);
    }
}
