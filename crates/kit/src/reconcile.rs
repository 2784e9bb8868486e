//! What runs now and then and repairs: reconcilers compare what should be with what is. They take no input and may run at any moment.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Result;

/// Run `reconciler` every `period` until `stop`; a failure is logged and tried again next time. Runs never overlap.
pub fn every<F, Fut>(name: &'static str, period: Duration, stop: CancellationToken, mut reconciler: F) -> tokio::task::JoinHandle<()>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = reconciler().await {
                tracing::warn!(reconciler = name, %error, "did not finish; will try again");
            }
        }
    })
}
