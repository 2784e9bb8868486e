//! Those who began a flow and wait until it got so far: what a caller is answered, while the flow itself goes on whether somebody waits or not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Flows;
use crate::clock::Timestamp;
use crate::{Error, Result};

/// By flow, how many of its steps are waited for, and by whom.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<String, (usize, Teller)>>);

type Teller = oneshot::Sender<Result<()>>;

impl Waiting {
    fn wait(&self, id: &str, steps: usize) -> oneshot::Receiver<Result<()>> {
        let (tell, told) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), (steps, tell));
        told
    }

    /// So many steps of a flow are done.
    pub(super) fn reached(&self, id: &str, steps: usize) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.get(id).is_some_and(|(wanted, _)| *wanted <= steps)
            && let Some((_, tell)) = waiting.remove(id)
        {
            // nobody may be listening any more
            let _ = tell.send(Ok(()));
        }
    }

    /// A flow is over.
    pub(super) fn ended(&self, id: &str, how: Result<()>) {
        if let Some((_, tell)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            let _ = tell.send(how);
        }
    }

    /// A flow stopped and is taken up again later: that is not waited for.
    pub(super) fn stopped(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl<A: Clone + Send + Sync + 'static> Flows<A> {
    /// Begins a flow of the journal and waits until so many of its steps are done, or all of them. The error is the one that the flow failed
    /// with, told once everything is undone.
    pub async fn reach(&self, id: &str, steps: usize) -> Result<()> {
        let told = self.0.waiting.wait(id, steps);
        self.start(id);
        told.await.unwrap_or_else(|_| Err(Error::unavailable("What was asked for was interrupted; it will be gone on with.")))
    }

    /// The same with a flow that is nobody's.
    pub async fn take_and_reach(&self, id: &str, steps: usize) -> Result<()> {
        match self.claim(id, Timestamp::now(), false).await? {
            true => self.reach(id, steps).await,
            false => Err(Error::unavailable("Somebody else does what was asked for.")),
        }
    }
}
