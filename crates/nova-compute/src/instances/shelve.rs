//! Shelving: a server leaves its host as an image and comes back on another, with its ports and volumes.

use kit::Result;
use kit::undo::Undo;
use rpc::actions::{ShelveInstance, ShelveOffloadInstance, UnshelveInstance};
use rpc::compute::Instance;

use super::action::{Subject, finish, power_off};
use super::snapshot::{Stages, upload_root};
use super::{build, images, network, terminate, volumes};
use crate::host::Host;
use crate::hypervisor::PowerState;

const STAGES: Stages = Stages { pending: "shelving_image_pending_upload", uploading: "shelving_image_uploading" };

/// Powers the guest off and uploads its root disk.
pub async fn shelve(host: Host, request: ShelveInstance) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let instance = host.must_have(&request.instance_id).await?;
        power_off(&host, &instance.id).await?;
        match &request.image_id {
            Some(image) => upload_root(&host, &request.caller, &instance, image, &STAGES).await,
            None => Ok(()),
        }
    };
    subject.call("compute_shelve_instance", work).await
}

/// Leaves nothing of the guest on this host.
pub async fn offload(host: Host, request: ShelveOffloadInstance) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_shelve_offload_instance", leave(&host, &request)).await
}

async fn leave(host: &Host, request: &ShelveOffloadInstance) -> Result<()> {
    // one that has left already is no longer this host's
    let Some(instance) = host.instance(&request.instance_id).await? else { return Ok(()) };
    power_off(host, &instance.id).await?;
    terminate::end_guest(host, &instance.id).await?;
    volumes::disconnect_all(host, &request.caller.request_id, &instance).await?;
    network::unbind(host, &request.caller.request_id, &instance).await
}

/// Makes the guest on this host, from the image it was shelved as.
pub async fn unshelve(host: Host, request: UnshelveInstance) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_unshelve_instance", come_back(&host, &request)).await
}

async fn come_back(host: &Host, request: &UnshelveInstance) -> Result<()> {
    let mut instance = host.must_have(&request.instance_id).await?;
    // its former host may not know that it lost it: by the attachments it has, it reaches nothing any more
    if request.evacuated && host.hypervisor.state(&instance.id) == PowerState::NoState {
        volumes::disconnect_all(host, &request.caller.request_id, &instance).await?;
        instance = host.must_have(&request.instance_id).await?;
    }
    let mut undo = Undo::new();
    let done = arrive(host, request, instance.clone(), &mut undo).await;
    match &done {
        Ok(()) => undo.commit(),
        Err(_) => {
            let left = undo.unwind().await;
            if !left.is_empty() {
                tracing::error!(instance = instance.id, ?left, "parts of an unshelving could not be undone");
            }
        }
    }
    done?;
    finish(host, &instance.id, Some("active")).await
}

async fn arrive(host: &Host, request: &UnshelveInstance, mut instance: Instance, undo: &mut Undo) -> Result<()> {
    let base = match &request.image_id {
        Some(image) => images::fetch(host, &request.caller, image).await?,
        None => None,
    };
    let (again, caller, was) = (host.clone(), request.caller.clone(), instance.clone());
    undo.push("guest, ports and volumes", move || async move {
        terminate::end_guest(&again, &was.id).await?;
        volumes::disconnect_all(&again, &caller.request_id, &was).await?;
        network::unbind(&again, &caller.request_id, &was).await
    });
    build::settle(host, &request.caller, &mut instance).await?;
    build::make(host, &instance, base.as_ref(), None).await?;
    build::run(host, &request.caller, &instance).await
}
