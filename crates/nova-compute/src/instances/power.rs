//! Start, stop, reboot, pause, suspend. The API set the task; here it is done, and its end saved.

use std::time::Duration;

use kit::Result;
use rpc::compute::{Instance, PowerAction, PowerInstance};
use rpc::conductor::SaveInstance;

use super::disks;
use super::events::Timeline;
use crate::host::{Host, fault};
use crate::hypervisor::PowerState;

/// Does it, and saves how it ended. A failure leaves the server as it is, with a fault.
pub async fn power(host: Host, request: PowerInstance) {
    let slot = host.slot(&request.instance_id);
    let _turn = slot.turn.lock().await;
    let mut timeline = Timeline::new(&host, &request.instance_id, &request.caller.request_id);
    let driver = host.hypervisor.about().hypervisor_type;
    let done = timeline.step(event(request.action), &driver, act(&host, &request.instance_id, request.action)).await;
    timeline.send().await;
    if let Err(error) = done.and(save(&host, &request, None).await) {
        tracing::error!(instance = request.instance_id, action = ?request.action, %error, "a power action failed");
        // the server may be gone by now, then nobody is to be told
        let _ = save(&host, &request, Some(fault(&error))).await;
    }
    host.report_now.notify_one();
}

async fn act(host: &Host, id: &str, action: PowerAction) -> Result<()> {
    let instance = host.must_have(id).await?;
    match action {
        // a suspended guest goes on where it was
        PowerAction::Start | PowerAction::Resume | PowerAction::Restore => start(host, &instance).await,
        PowerAction::Stop | PowerAction::SoftDelete => host.hypervisor.stop(id, host.config.shutdown_timeout).await,
        PowerAction::SoftReboot => restart(host, &instance, host.config.shutdown_timeout).await,
        PowerAction::HardReboot => restart(host, &instance, Duration::ZERO).await,
        PowerAction::Pause => host.hypervisor.pause(id).await,
        PowerAction::Unpause => host.hypervisor.resume(id).await,
        PowerAction::Suspend => host.hypervisor.suspend(id).await,
    }
}

/// Starts a guest from what is recorded of it.
pub async fn start(host: &Host, instance: &Instance) -> Result<()> {
    let guest = disks::guest(host, instance).await?;
    for nic in &guest.nics {
        host.hypervisor.plug(nic).await?;
    }
    host.hypervisor.create(guest).await?;
    host.hypervisor.resume(&instance.id).await
}

async fn restart(host: &Host, instance: &Instance, grace: Duration) -> Result<()> {
    host.hypervisor.stop(&instance.id, grace).await?;
    host.hypervisor.destroy(&instance.id).await?;
    start(host, instance).await
}

/// The server as the guest is now; a server on its way to be deleted is that.
async fn save(host: &Host, request: &PowerInstance, fault: Option<rpc::conductor::Fault>) -> Result<()> {
    let state = host.hypervisor.state(&request.instance_id);
    let vm_state = match request.action {
        PowerAction::SoftDelete if fault.is_none() => "soft-delete",
        _ => vm_state(state),
    };
    let change = SaveInstance {
        vm_state: Some(vm_state.into()),
        task_state: Some(None),
        power_state: Some(state.number()),
        fault,
        ..host.change(&request.instance_id)
    };
    host.save(change).await
}

/// What a server is whose guest is in this state.
pub fn vm_state(state: PowerState) -> &'static str {
    match state {
        PowerState::Running => "active",
        PowerState::Paused => "paused",
        PowerState::Suspended => "suspended",
        PowerState::Shutdown | PowerState::NoState => "stopped",
        PowerState::Crashed => "error",
    }
}

fn event(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Start => "compute_start_instance",
        PowerAction::Stop => "compute_stop_instance",
        PowerAction::SoftReboot | PowerAction::HardReboot => "compute_reboot_instance",
        PowerAction::Pause => "compute_pause_instance",
        PowerAction::Unpause => "compute_unpause_instance",
        PowerAction::Suspend => "compute_suspend_instance",
        PowerAction::Resume => "compute_resume_instance",
        PowerAction::SoftDelete => "compute_soft_delete_instance",
        PowerAction::Restore => "compute_restore_instance",
    }
}
