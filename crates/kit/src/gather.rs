//! Many small things done in one go: what comes while one round is under way goes with the next, so that a thousand hosts that say they live
//! cost no more than a few.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::{Error, Result};

/// Things that wait for the next round.
pub struct Gather<T, R> {
    waiting: Mutex<Vec<(T, oneshot::Sender<Result<R>>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl<T, R> Default for Gather<T, R> {
    fn default() -> Self {
        Gather { waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<T, R> Gather<T, R> {
    /// Has this done with whatever else waits, by one of those who wait: `work` answers for each thing, in their order.
    pub async fn go<Fut>(&self, thing: T, work: impl FnOnce(Vec<T>) -> Fut) -> Result<R>
    where
        Fut: Future<Output = Result<Vec<R>>>,
    {
        let (done, outcome) = oneshot::channel();
        self.waiting().push((thing, done));
        let turn = self.turn.lock().await;
        let round = std::mem::take(&mut *self.waiting());
        if !round.is_empty() {
            let (things, waiting): (Vec<T>, Vec<_>) = round.into_iter().unzip();
            match work(things).await {
                Ok(answers) => waiting.into_iter().zip(answers).for_each(|(done, answer)| drop(done.send(Ok(answer)))),
                Err(error) => waiting.into_iter().for_each(|done| drop(done.send(Err(error.clone())))),
            }
        }
        drop(turn);
        outcome.await.unwrap_or_else(|_| Err(Error::unavailable("Who did this together with other things went away.")))
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<(T, oneshot::Sender<Result<R>>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_comes_during_a_round_goes_with_the_next() {
        let (gather, rounds) = (Arc::new(Gather::default()), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..100).map(|n| {
            let (gather, rounds) = (gather.clone(), rounds.clone());
            tokio::spawn(async move {
                let work = |things: Vec<i32>| async move {
                    rounds.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(things.into_iter().map(|thing| thing * 2).collect())
                };
                assert_eq!(gather.go(n, work).await.unwrap(), n * 2);
            })
        });
        futures::future::try_join_all(tasks).await.unwrap();
        assert!(rounds.load(Ordering::Relaxed) <= 3, "{rounds:?}");
    }

    #[tokio::test]
    async fn a_round_that_fails_fails_for_all_of_it_and_the_next_goes_on() {
        let gather: Gather<u8, u8> = Gather::default();
        let failed = gather.go(1, |_| async { Err(Error::conflict("no")) }).await.unwrap_err();
        assert_eq!((failed.kind, &*failed.message), (crate::Kind::Conflict, "no"));
        assert_eq!(gather.go(2, |things| async { Ok(things) }).await.unwrap(), 2);
    }
}
