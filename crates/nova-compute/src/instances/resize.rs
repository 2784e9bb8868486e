//! Resize and cold migration: the disks are set aside on one host and taken by another (or the same), until somebody confirms or goes back.
//!
//! ```text
//!   source: resize -------------------> set aside ----confirm---> gone
//!                         |                 |
//!                    disks v                 +--finish_revert---> as before
//!   destination:        finish ---> guest --revert---> gone
//! ```

use kit::{Error, Result};
use rpc::actions::{ConfirmResize, FinishResize, FinishRevertResize, OfferedDisk, OfferedDisks, PrepResize, ResizeInstance, RevertResize};
use rpc::compute::Instance;
use rpc::conductor::GetInstance;

use super::action::{Subject, power_off};
use super::{build, disk_changes, disks, nbd, placing, terminate, volumes};
use crate::host::Host;

/// Whether this host can take the server with its new flavor.
pub async fn prep(host: Host, request: PrepResize) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_prep_resize", check(&host, &request)).await
}

async fn check(host: &Host, request: &PrepResize) -> Result<()> {
    let instance = read(host, &request.instance_id).await?;
    let (old, new) = (&instance.flavor, &request.flavor);
    let shrinks = new.root_gb < old.root_gb && !disks::boots_from_volume(&instance);
    if shrinks || new.ephemeral_gb < old.ephemeral_gb {
        return Err(Error::bad_request("Resize error: Unable to resize disk down."));
    }
    host.numa.has_room(request.numa.as_ref())
}

/// Powers the guest off, sets its disks aside, and offers them.
pub async fn resize(host: Host, request: ResizeInstance) -> Result<OfferedDisks> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_resize_instance", leave(&host, &request)).await
}

async fn leave(host: &Host, request: &ResizeInstance) -> Result<OfferedDisks> {
    let instance = read(host, &request.instance_id).await?;
    // asked a second time, only the record still knows
    let ran = instance.vm_state == "active";
    power_off(host, &instance.id).await?;
    terminate::unplug_all(host, &instance.id).await?;
    if instance.host.as_deref() == Some(host.name()) {
        volumes::disconnect_all(host, &request.caller.request_id, &instance).await?;
    }
    host.numa.set_aside(&instance.id).await?;
    let Some(store) = &host.store else {
        host.hypervisor.forget(&instance.id).await?;
        return Ok(OfferedDisks { running: ran, disks: Vec::new() });
    };
    disk_changes::set_aside(store, &instance.id).await?;
    let aside = disk_changes::aside(store, &instance.id);
    let mut offered = Vec::new();
    for name in disk_changes::offered(&aside).await? {
        let path = aside.join(&name);
        let url = match request.dest_host == host.name() {
            true => path.to_string_lossy().into_owned(),
            false => nbd::serve(store, &host.config.host_ip, &path).await?,
        };
        offered.push(OfferedDisk { name, url });
    }
    Ok(OfferedDisks { running: ran, disks: offered })
}

/// Takes the disks and makes the guest with its new flavor.
pub async fn finish(host: Host, request: FinishResize) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_finish_resize", take(&host, &request)).await
}

async fn take(host: &Host, request: &FinishResize) -> Result<()> {
    let mut instance = host.must_have(&request.instance_id).await?;
    if let Some(store) = &host.store {
        disk_changes::take(store, &instance, &request.offered.disks).await?;
    }
    build::settle(host, &request.caller, &mut instance).await?;
    remake(host, request.offered.running, &request.caller, &instance).await
}

/// Forgets the old guest.
pub async fn confirm(host: Host, request: ConfirmResize) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_confirm_resize", forget(&host, &request.instance_id)).await
}

/// Nothing is left of what was set aside.
pub async fn forget(host: &Host, instance_id: &str) -> Result<()> {
    placing::forget_aside(host, instance_id).await?;
    let Some(store) = &host.store else { return Ok(()) };
    nbd::end(&disk_changes::aside(store, instance_id)).await?;
    disk_changes::forget_aside(store, instance_id).await
}

/// Ends the new guest.
pub async fn revert(host: Host, request: RevertResize) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let instance = read(&host, &request.instance_id).await?;
        power_off(&host, &instance.id).await?;
        terminate::end_guest(&host, &instance.id).await?;
        match instance.host.as_deref() == Some(host.name()) {
            true => volumes::disconnect_all(&host, &request.caller.request_id, &instance).await,
            false => Ok(()),
        }
    };
    subject.call("compute_revert_resize", work).await
}

/// Puts the old guest back.
pub async fn finish_revert(host: Host, request: FinishRevertResize) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let mut instance = host.must_have(&request.instance_id).await?;
        host.numa.put_back(&instance.id).await?;
        if let Some(store) = &host.store {
            nbd::end(&disk_changes::aside(store, &instance.id)).await?;
            disk_changes::put_back(store, &instance.id).await?;
        }
        build::settle(&host, &request.caller, &mut instance).await?;
        remake(&host, request.running, &request.caller, &instance).await
    };
    subject.call("compute_finish_revert_resize", work).await
}

/// The guest of disks that are here already; running, or as one that was powered off.
pub async fn remake(host: &Host, running: bool, caller: &rpc::Caller, instance: &Instance) -> Result<()> {
    build::make(host, instance, None, None).await?;
    match running {
        true => build::run(host, caller, instance).await,
        false => {
            volumes::complete_all(host, caller, instance).await?;
            host.hypervisor.destroy(&instance.id).await
        }
    }
}

/// The instance, whichever host it belongs to by now.
pub async fn read(host: &Host, id: &str) -> Result<Instance> {
    let instance = host.ask(GetInstance { instance_id: id.to_owned() }).await?;
    instance.ok_or_else(|| Error::not_found(format!("Instance {id} could not be found.")))
}
