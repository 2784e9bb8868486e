//! The end of an instance on this host: nothing of it is left when this succeeds, and it succeeds when there is nothing.

use kit::Result;
use rpc::compute::TerminateInstance;

use super::record::Record;
use super::{nbd, network, placing, resize, volumes};
use crate::host::Host;

/// Ends the guest, and frees all it had: taps, disks, attachments, ports.
pub async fn terminate(host: Host, request: TerminateInstance) -> Result<()> {
    let slot = host.slot(&request.instance_id);
    slot.gone.cancel(); // a build under way undoes itself and gives the turn back
    let _turn = slot.turn.lock().await;
    let request_id = &request.caller.request_id;
    end_guest(&host, &request.instance_id).await?;
    resize::forget(&host, &request.instance_id).await?;
    if let Some(instance) = host.instance(&request.instance_id).await? {
        volumes::release_all(&host, request_id, &instance).await?;
        network::release(&host, request_id, &instance).await?;
    }
    Ok(())
}

/// What of an instance is on this host alone: its process, its taps, its files.
pub async fn end_guest(host: &Host, instance_id: &str) -> Result<()> {
    if let Some(store) = &host.store {
        nbd::end(&store.instances.join(instance_id)).await?;
    }
    host.hypervisor.destroy(instance_id).await?;
    unplug_all(host, instance_id).await?;
    host.hypervisor.forget(instance_id).await?;
    placing::release(host, instance_id).await
}

/// Removes the taps that were made for an instance; nothing may have them any more.
pub async fn unplug_all(host: &Host, instance_id: &str) -> Result<()> {
    for tap in Record::load(host, instance_id).await.taps {
        host.hypervisor.unplug(&tap).await?;
    }
    Ok(())
}
