//! A boot, this host's half of it: steps 13 to 29 of the boot flow, in their order.
//!
//! It can be asked for twice and can be cut off anywhere. Each step looks for what an earlier attempt left before it makes anything, and each
//! says how to undo it before it begins. What is undone is undone completely, and then conductor is told why.

use std::sync::Arc;

use kit::undo::Undo;
use kit::{Error, Kind, Result};
use rpc::Caller;
use rpc::compute::{BuildInstance, Instance, InstanceMetadata};
use rpc::conductor::{self, BuildFinished, BuildOutcome, SaveInstance};

use super::events::Timeline;
use super::record::Record;
use super::{disks, images, network, placing, terminate, volumes};
use crate::host::{Host, Slot, fault, is_users};
use crate::hypervisor::PowerState;
use crate::image::cache::Base;
use crate::metadata::Documents;

/// Builds an instance and tells conductor how it went.
pub async fn build(host: Host, request: BuildInstance) {
    let slot = host.slot(&request.instance_id);
    let _turn = slot.turn.lock().await;
    let mut timeline = Timeline::new(&host, &request.instance_id, &request.caller.request_id);
    let outcome = match attempt(&host, &slot, &request, &mut timeline).await {
        Ok(()) => BuildOutcome::Running,
        Err(error) => outcome(&request.instance_id, &error),
    };
    timeline.send().await;
    // a guest that runs was saved as such, and is in the next report; of one that is no more conductor hears sooner
    if !matches!(outcome, BuildOutcome::Running) {
        host.report_now.notify_one();
    }
    let BuildInstance { caller, instance_id, answer_to, .. } = request;
    let finished = BuildFinished { caller, instance_id, host: host.name().to_owned(), outcome };
    tell(&host, answer_to.as_deref(), finished).await;
}

/// Tells the conductor that waits, or any other when that one is gone.
async fn tell(host: &Host, waiting: Option<&str>, finished: BuildFinished) {
    if let Some(topic) = waiting
        && host.bus.cast(topic, finished.clone()).await.is_ok()
    {
        return;
    }
    if let Err(error) = host.bus.cast(conductor::TOPIC, finished).await {
        tracing::error!(%error, "conductor could not be told how a build ended; it will look");
    }
}

/// All steps, or none of them.
async fn attempt(host: &Host, slot: &Arc<Slot>, request: &BuildInstance, timeline: &mut Timeline) -> Result<()> {
    let mut undo = Undo::new();
    let done = tokio::select! {
        done = steps(host, request, timeline, &mut undo) => done,
        _ = slot.gone.cancelled() => Err(gone(&request.instance_id)),
    };
    if let Err(error) = &done {
        tracing::warn!(instance = request.instance_id, %error, "the build is undone");
        let left = undo.unwind().await;
        if !left.is_empty() {
            tracing::error!(instance = request.instance_id, ?left, "parts of the build could not be undone; the next start tries again");
        }
        return done;
    }
    undo.commit();
    done
}

async fn steps(host: &Host, request: &BuildInstance, timeline: &mut Timeline, undo: &mut Undo) -> Result<()> {
    let id = &request.instance_id;
    // 13 to 19: the request, and from conductor the instance it is about
    let mut instance = timeline.step("compute_get_instance", "nova-conductor", get_instance(host, id)).await?;
    if instance.vm_state != "building" {
        return already_built(&instance);
    }
    remember(host, request).await?;
    forget_on_failure(host, id, undo);

    // a host without room for its processors is better found out before anything is fetched
    instance.numa = placing::claim(host, &instance).await?;

    // 20 to 22: the image
    let base = timeline.step("compute_get_image", "glance", images::of_root(host, &request.caller, &instance)).await?;

    // 23 to 25: ports and addresses
    host.save(SaveInstance { task_state: Some(Some("networking".into())), ..host.change(id) }).await?;
    release_network_on_failure(host, request, &instance, undo);
    instance.network_info =
        timeline.step("compute_allocate_network", "neutron", network::allocate(host, &request.caller, &instance)).await?;

    // 26 to 28: volumes
    if instance.block_devices.iter().any(volumes::is_volume) {
        let change = SaveInstance { task_state: Some(Some("block_device_mapping".into())), ..host.change(id) };
        host.save(SaveInstance { network_info: Some(instance.network_info.clone()), ..change }).await?;
    }
    disconnect_volumes_on_failure(host, request, undo);
    let devices = timeline.step("compute_block_devices", "cinder", volumes::connect_all(host, &request.caller, &mut instance)).await?;
    host.save(SaveInstance {
        task_state: Some(Some("spawning".into())),
        network_info: Some(instance.network_info.clone()),
        block_devices: devices,
        root_device_name: instance.root_device_name.is_none().then(|| "/dev/vda".into()),
        ..host.change(id)
    })
    .await?;
    timeline.send().await;

    // 29: the hypervisor
    let about = host.hypervisor.about().hypervisor_type;
    timeline.step("compute_spawn", &about, spawn(host, request, &instance, base.as_ref())).await?;
    host.save(SaveInstance {
        vm_state: Some("active".into()),
        task_state: Some(None),
        power_state: Some(PowerState::Running.number()),
        launched: true,
        ..host.change(id)
    })
    .await?;
    Record::built(host, id).await
}

async fn get_instance(host: &Host, id: &str) -> Result<Instance> {
    let instance = host.instance(id).await?.ok_or_else(|| gone(id))?;
    if instance.task_state.as_deref() == Some("deleting") { Err(gone(id)) } else { Ok(instance) }
}

/// The request came again after all was done.
fn already_built(instance: &Instance) -> Result<()> {
    match instance.vm_state.as_str() {
        "error" | "deleted" | "soft-delete" => {
            Err(Error::conflict(format!("Instance {} is not to be built: it is {}.", instance.id, instance.vm_state)))
        }
        _ => Ok(()),
    }
}

/// Keeps the request for the case that this process ends before the build does. The password is in the config drive or nowhere.
async fn remember(host: &Host, request: &BuildInstance) -> Result<()> {
    let mut record = Record::load(host, &request.instance_id).await;
    record.building = Some(BuildInstance { admin_password: None, ..request.clone() });
    record.save(host, &request.instance_id).await
}

/// Ports and volumes of an instance that comes to this host from another, or comes back.
pub async fn settle(host: &Host, caller: &Caller, instance: &mut Instance) -> Result<()> {
    instance.network_info = network::rebind(host, caller, instance).await?;
    host.save(SaveInstance { network_info: Some(instance.network_info.clone()), ..host.change(&instance.id) }).await?;
    let block_devices = volumes::connect_all(host, caller, instance).await?;
    host.save(SaveInstance { block_devices, ..host.change(&instance.id) }).await
}

/// Makes the local disks that are not there yet, and the guest, which stands still.
pub async fn make(host: &Host, instance: &Instance, base: Option<&Base>, password: Option<String>) -> Result<()> {
    if let Some(store) = &host.store {
        let drive = drive(host, instance, password).await?;
        disks::make(store, instance, base, drive.as_ref()).await?;
    }
    let guest = disks::guest(host, instance).await?;
    let mut record = Record::load(host, &instance.id).await;
    record.taps = guest.nics.iter().map(|nic| nic.tap.clone()).collect();
    record.save(host, &instance.id).await?;
    for nic in &guest.nics {
        host.hypervisor.plug(nic).await?;
    }
    host.hypervisor.create(guest).await
}

/// Lets the guest run once its ports are wired, so that its first packet finds its way; then its volumes are in use.
pub async fn run(host: &Host, caller: &Caller, instance: &Instance) -> Result<()> {
    let slot = host.slot(&instance.id);
    network::wait_plugged(host, &slot, &caller.request_id, &instance.network_info).await?;
    host.hypervisor.resume(&instance.id).await?;
    volumes::complete_all(host, caller, instance).await
}

async fn spawn(host: &Host, request: &BuildInstance, instance: &Instance, base: Option<&Base>) -> Result<()> {
    make(host, instance, base, request.admin_password.clone()).await?;
    run(host, &request.caller, instance).await
}

/// What the config drive tells the guest, if it is to have one.
pub async fn drive(host: &Host, instance: &Instance, password: Option<String>) -> Result<Option<Documents>> {
    if !instance.config_drive {
        return Ok(None);
    }
    let about = InstanceMetadata {
        instance: instance.clone(),
        availability_zone: instance.availability_zone.clone().unwrap_or_else(|| "nova".into()),
        floating_ips: Default::default(),
        password: None,
    };
    let documents = Documents::new(about, password, host.config.vendor_data.clone());
    documents.ask_vendors().await?;
    Ok(Some(documents))
}

fn forget_on_failure(host: &Host, id: &str, undo: &mut Undo) {
    let (host, id) = (host.clone(), id.to_owned());
    undo.push("guest, taps and disks", move || async move { terminate::end_guest(&host, &id).await });
}

fn release_network_on_failure(host: &Host, request: &BuildInstance, instance: &Instance, undo: &mut Undo) {
    let (host, request_id, instance) = (host.clone(), request.caller.request_id.clone(), instance.clone());
    undo.push("ports", move || async move {
        network::release(&host, &request_id, &instance).await?;
        // refused when the server is gone, and then nobody looks at it
        let _ = host.save(SaveInstance { network_info: Some(Vec::new()), ..host.change(&instance.id) }).await;
        Ok(())
    });
}

fn disconnect_volumes_on_failure(host: &Host, request: &BuildInstance, undo: &mut Undo) {
    let (host, request_id, id) = (host.clone(), request.caller.request_id.clone(), request.instance_id.clone());
    undo.push("volume exports", move || async move {
        // as recorded by now, with what the attempt made; a server that is gone is cleaned up by the one who deletes it
        match host.instance(&id).await? {
            Some(instance) if instance.task_state.as_deref() != Some("deleting") => {
                volumes::disconnect_all(&host, &request_id, &instance).await
            }
            _ => Ok(()),
        }
    });
}

fn gone(id: &str) -> Error {
    Error::new(Kind::Gone, format!("Instance {id} is being deleted."))
}

fn outcome(id: &str, error: &Error) -> BuildOutcome {
    tracing::info!(instance = id, %error, "build failed");
    match error.kind {
        Kind::Gone => BuildOutcome::Gone,
        _ if is_users(error) => BuildOutcome::Failed(fault(error)),
        _ => BuildOutcome::Refused(fault(error)),
    }
}
