//! A guest that was made anew on another host while this one could not be reached: conductor says so when it hears of this host again, and what
//! is still here of it is ended, so that it does not run twice.

use kit::Result;

use super::record::Record;
use super::{resize, terminate};
use crate::host::Host;

/// Ends what this host has of an instance, unless it is here by right again.
pub async fn end_evacuated(host: Host, instance_id: String) {
    if let Err(error) = end(&host, &instance_id).await {
        // the next report is answered the same way
        tracing::error!(instance = instance_id, %error, "a guest that was evacuated could not be ended");
    }
}

async fn end(host: &Host, instance_id: &str) -> Result<()> {
    let slot = host.slot(instance_id);
    let _turn = slot.turn.lock().await;
    if host.instance(instance_id).await?.is_some() || Record::load(host, instance_id).await.arriving {
        return Ok(());
    }
    tracing::warn!(instance = instance_id, "this guest was evacuated while the host was cut off, so it is ended");
    terminate::end_guest(host, instance_id).await?;
    resize::forget(host, instance_id).await
}
