//! Rescue: the guest boots from another disk, with its own beside it, until it is unrescued.
//!
//! The rescue disk's name in the instance's directory tells what the guest boots from, so a reboot stays in rescue.

use kit::{Error, Result};
use rpc::actions::{RescueInstance, UnrescueInstance};
use rpc::compute::Instance;

use super::action::{Subject, finish, power_off};
use super::disk_changes::{self, Rescue};
use super::{build, images, power};
use crate::host::Host;

/// Boots the guest from a rescue disk.
pub async fn rescue(host: Host, request: RescueInstance) {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.cast("compute_rescue_instance", begin(&host, &request)).await;
}

/// Boots it from its own again.
pub async fn unrescue(host: Host, request: UnrescueInstance) {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.cast("compute_unrescue_instance", end(&host, &request.instance_id)).await;
}

async fn begin(host: &Host, request: &RescueInstance) -> Result<()> {
    let instance = host.must_have(&request.instance_id).await?;
    let image = request.image_id.as_ref().or(instance.image_id.as_ref());
    let image = image.ok_or_else(|| Error::bad_request(format!("Instance {} has no image to be rescued with.", instance.id)))?;
    let base = images::fetch(host, &request.caller, image).await?;
    let rescue = Rescue::of(&images::show(host, &request.caller, image).await?.properties())?;
    let drive = build::drive(host, &instance, request.admin_password.clone()).await?;
    power_off(host, &instance.id).await?;
    if let (Some(store), Some(base)) = (&host.store, base) {
        disk_changes::make_rescue(store, &instance.id, rescue, &base, drive.as_ref()).await?;
    }
    power::start(host, &instance).await?;
    finish(host, &instance.id, Some("rescued")).await
}

async fn end(host: &Host, instance_id: &str) -> Result<()> {
    let instance: Instance = host.must_have(instance_id).await?;
    power_off(host, instance_id).await?;
    if let Some(store) = &host.store {
        disk_changes::end_rescue(store, instance_id).await?;
    }
    power::start(host, &instance).await?;
    finish(host, instance_id, Some("active")).await
}
