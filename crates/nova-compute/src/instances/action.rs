//! What actions on a server have in common: one at a time on each instance, a step in its timeline, and an end that is saved.

use std::future::Future;

use kit::Result;
use rpc::Caller;
use rpc::compute::Instance;
use rpc::conductor::SaveInstance;

use super::events::Timeline;
use super::power::vm_state;
use crate::host::{Host, fault};
use crate::hypervisor::PowerState;

/// Whom an action is for, and on which instance.
pub struct Subject<'a> {
    pub host: &'a Host,
    pub caller: &'a Caller,
    pub instance_id: &'a str,
}

impl Subject<'_> {
    /// An action whose asker waits for the answer.
    pub async fn call<T>(&self, event: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let slot = self.host.slot(self.instance_id);
        let _turn = slot.turn.lock().await;
        let mut timeline = Timeline::new(self.host, self.instance_id, &self.caller.request_id);
        let driver = self.host.hypervisor.about().hypervisor_type;
        let done = timeline.step(event, &driver, work).await;
        timeline.send().await;
        if let Err(error) = &done {
            tracing::error!(instance = self.instance_id, event, %error, "an action failed");
        }
        self.host.report_now.notify_one();
        done
    }

    /// An action that nobody waits for: what fails leaves the server in `error`, with a fault.
    pub async fn cast(&self, event: &str, work: impl Future<Output = Result<()>>) {
        let Err(error) = self.call(event, work).await else { return };
        let change = SaveInstance {
            vm_state: Some("error".into()),
            task_state: Some(None),
            power_state: Some(self.host.hypervisor.state(self.instance_id).number()),
            fault: Some(fault(&error)),
            ..self.host.change(self.instance_id)
        };
        if let Err(error) = self.host.save(change).await {
            // it may be gone by now
            tracing::warn!(instance = self.instance_id, %error, "a failure could not be told");
        }
    }
}

/// Notes how far an action is.
pub async fn task(host: &Host, instance: &Instance, task: &str) -> Result<()> {
    host.save(SaveInstance { task_state: Some(Some(task.into())), ..host.change(&instance.id) }).await
}

/// Ends the task, in what the guest now is unless a vm_state is given.
pub async fn finish(host: &Host, instance_id: &str, state: Option<&str>) -> Result<()> {
    let power = host.hypervisor.state(instance_id);
    let vm_state = state.unwrap_or_else(|| vm_state(power));
    host.save(SaveInstance {
        vm_state: Some(vm_state.into()),
        task_state: Some(None),
        power_state: Some(power.number()),
        ..host.change(instance_id)
    })
    .await
}

/// Powers a guest off, in good order if it will, so that nothing of it runs. Answers whether it ran.
pub async fn power_off(host: &Host, instance_id: &str) -> Result<bool> {
    let ran = host.hypervisor.state(instance_id) == PowerState::Running;
    host.hypervisor.stop(instance_id, host.config.shutdown_timeout).await?;
    host.hypervisor.destroy(instance_id).await?;
    Ok(ran)
}
