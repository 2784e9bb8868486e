//! The start of this process on a host where guests may run already: they are taken over, what was half done is finished or undone, and
//! what belongs to nobody any more is ended.

use std::collections::HashMap;
use std::time::Duration;

use kit::Result;
use rpc::compute::{Instance, PowerAction, PowerInstance};
use rpc::conductor::HostInstances;
use rpc::{Caller, conductor};

use super::record::Record;
use super::{build, placing, power, terminate};
use crate::host::Host;
use crate::hypervisor::PowerState;

/// How long to wait for a conductor that is not there yet, between two questions.
const PATIENCE: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(10);

/// Brings this host and conductor's record of it together.
pub async fn adopt(host: &Host) -> Result<()> {
    let instances = instances(host).await;
    let expected: Vec<_> = instances.iter().map(|i| (i.id.clone(), PowerState::from_number(i.power_state))).collect();
    let mut known: HashMap<String, Instance> = instances.into_iter().map(|instance| (instance.id.clone(), instance)).collect();
    placing::restore(host, &known).await?;
    host.hypervisor.adopt(&expected).await?;
    for (id, state) in host.hypervisor.guests() {
        match known.remove(&id) {
            Some(instance) => resume(host, instance, state).await,
            // all of it has come, and conductor will say whose it is
            None if Record::load(host, &id).await.arriving && is_alive(state) => {
                tracing::info!(instance = id, "this guest has come from another host, whose it still is");
            }
            None => {
                tracing::warn!(instance = id, "this guest is nobody's any more, so it is ended");
                if let Err(error) = terminate::end_guest(host, &id).await {
                    tracing::error!(instance = id, %error, "a guest that is nobody's could not be ended");
                }
            }
        }
    }
    Ok(())
}

fn is_alive(state: PowerState) -> bool {
    match state {
        PowerState::Running | PowerState::Paused => true,
        PowerState::NoState | PowerState::Shutdown | PowerState::Crashed | PowerState::Suspended => false,
    }
}

/// Conductor's answer, whenever it comes: nothing can be decided without it.
async fn instances(host: &Host) -> Vec<Instance> {
    loop {
        let ask = HostInstances { host: host.name().to_owned() };
        match host.bus.call(conductor::TOPIC, ask, DEADLINE).await {
            Ok(instances) => return instances,
            Err(error) => tracing::warn!(%error, "conductor does not say which instances are here; asking again"),
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

/// Goes on with what was under way when the last process ended.
async fn resume(host: &Host, instance: Instance, state: PowerState) {
    let id = instance.id.clone();
    let Some(task) = instance.task_state.as_deref() else {
        if instance.vm_state == "building" {
            resume_build(host, &id).await;
        }
        return;
    };
    let action = match task {
        "powering-off" => PowerAction::Stop,
        "powering-on" => PowerAction::Start,
        "rebooting" | "reboot_pending" | "reboot_started" if state == PowerState::Running => return clear_task(host, &id, state).await,
        "rebooting" | "reboot_pending" | "reboot_started" | "rebooting_hard" | "reboot_pending_hard" | "reboot_started_hard" => {
            PowerAction::HardReboot
        }
        "scheduling" | "networking" | "block_device_mapping" | "spawning" => return resume_build(host, &id).await,
        // conductor goes on with its own flows by itself
        _ => return,
    };
    tracing::info!(instance = id, task, "going on with what was under way");
    tokio::spawn(power::power(host.clone(), PowerInstance { caller: Caller::default(), instance_id: id, action }));
}

async fn resume_build(host: &Host, id: &str) {
    match Record::load(host, id).await.building {
        Some(request) => {
            tracing::info!(instance = id, "going on with a build");
            tokio::spawn(build::build(host.clone(), request));
        }
        // conductor has not asked this process yet, or will ask again
        None => tracing::debug!(instance = id, "a build that is not begun here"),
    }
}

async fn clear_task(host: &Host, id: &str, state: PowerState) {
    let change = rpc::conductor::SaveInstance { task_state: Some(None), power_state: Some(state.number()), ..host.change(id) };
    if let Err(error) = host.save(change).await {
        tracing::warn!(instance = id, %error, "a finished reboot could not be noted");
    }
}
