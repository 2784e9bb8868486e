//! Start, stop, reboot, pause, suspend and their opposites: a task for the host of the guest.

use std::time::Duration;

use kit::{Error, Kind, Reply, Result};
use rpc::actions::InjectNmi;
use rpc::compute::{PowerAction, compute_topic};

use super::actions::{Action, accepted};
use super::begin::{self, host_of};
use super::instance::ActiveModel;
use super::states::rules::{self, Rule};
use crate::conductor::host_task::{HostTask, Work};
use crate::instance_actions;

/// How long the host may take to press a button.
const DEADLINE: Duration = Duration::from_secs(30);

/// `{"os-start": null}`
pub async fn start(action: Action) -> Result<Reply> {
    begin(action, &rules::START, PowerAction::Start).await
}

/// `{"os-stop": null}`
pub async fn stop(action: Action) -> Result<Reply> {
    begin(action, &rules::STOP, PowerAction::Stop).await
}

/// `{"pause": null}`
pub async fn pause(action: Action) -> Result<Reply> {
    begin(action, &rules::PAUSE, PowerAction::Pause).await
}

/// `{"unpause": null}`
pub async fn unpause(action: Action) -> Result<Reply> {
    begin(action, &rules::UNPAUSE, PowerAction::Unpause).await
}

/// `{"suspend": null}`
pub async fn suspend(action: Action) -> Result<Reply> {
    begin(action, &rules::SUSPEND, PowerAction::Suspend).await
}

/// `{"resume": null}`
pub async fn resume(action: Action) -> Result<Reply> {
    begin(action, &rules::RESUME, PowerAction::Resume).await
}

/// `{"reboot": {"type": "SOFT"}}`
pub async fn reboot(action: Action) -> Result<Reply> {
    action.only(&["type"])?;
    match action.text("type")?.to_ascii_uppercase().as_str() {
        "SOFT" => work(action, &rules::SOFT_REBOOT, PowerAction::SoftReboot).await,
        "HARD" => work(action, &rules::HARD_REBOOT, PowerAction::HardReboot).await,
        other => Err(Error::bad_request(format!(
            "Invalid input for field/attribute type. Value: {other}. '{other}' is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']"
        ))),
    }
}

/// `{"trigger_crash_dump": null}`, since 2.17
pub async fn trigger_crash_dump(action: Action) -> Result<Reply> {
    action.no_body()?;
    let Action { app, ctx, server, .. } = action;
    rules::CRASH_DUMP.check(&server, ctx.is_admin())?;
    let host = host_of(&server)?;
    app.bus.call(&compute_topic(&host), InjectNmi { instance_id: server.id.clone() }, DEADLINE).await.map_err(|error| {
        match error.kind {
            Kind::NotImplemented => Error::bad_request(error.message),
            _ => error,
        }
    })?;
    instance_actions::done(&app, &ctx, &server.id, rules::CRASH_DUMP.record).await?;
    Ok(accepted())
}

async fn begin(action: Action, rule: &'static Rule, power: PowerAction) -> Result<Reply> {
    work(action, rule, power).await
}

async fn work(action: Action, rule: &'static Rule, power: PowerAction) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    rule.check(&server, ctx.is_admin())?;
    if server.host.is_none() {
        return Err(rule.refusal(&server.id, "vm_state", &server.vm_state));
    }
    let task = HostTask::new(ctx.caller(), &server.id, Work::Power(power));
    begin::promise(&app, &ctx, server, rule, <ActiveModel as Default>::default(), task).await?;
    Ok(accepted())
}
