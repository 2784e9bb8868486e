//! Start, stop and reboot: the task is set under a guard, so that of two actions at once one wins; then the host is told.

use kit::{Error, Reply, Result};
use rpc::compute::{PowerAction, PowerInstance, compute_topic};
use sea_orm::Set;

use super::actions::{Action, accepted};
use super::instance::ActiveModel;
use super::states::{HARD_REBOOT_RULE, Rule, SOFT_REBOOT, START, STOP, TaskState};
use super::store::{self, Guard};
use crate::instance_actions;

/// `{"os-start": null}`
pub async fn start(action: Action) -> Result<Reply> {
    action.no_body()?;
    begin(action, &START, TaskState::PoweringOn, PowerAction::Start, "start").await
}

/// `{"os-stop": null}`
pub async fn stop(action: Action) -> Result<Reply> {
    action.no_body()?;
    begin(action, &STOP, TaskState::PoweringOff, PowerAction::Stop, "stop").await
}

/// `{"reboot": {"type": "SOFT"}}`
pub async fn reboot(action: Action) -> Result<Reply> {
    action.only(&["type"])?;
    match action.text("type")?.to_ascii_uppercase().as_str() {
        "SOFT" => begin(action, &SOFT_REBOOT, TaskState::Rebooting, PowerAction::SoftReboot, "reboot").await,
        "HARD" => begin(action, &HARD_REBOOT_RULE, TaskState::RebootingHard, PowerAction::HardReboot, "reboot").await,
        other => Err(Error::bad_request(format!(
            "Invalid input for field/attribute type. Value: {other}. '{other}' is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']"
        ))),
    }
}

async fn begin(action: Action, rule: &'static Rule, task: TaskState, power: PowerAction, name: &'static str) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    rule.check(&server, ctx.is_admin())?;
    let host = server.host.clone().ok_or_else(|| {
        Error::conflict(format!("Cannot '{}' instance {} while it is in vm_state {}", rule.action, server.id, server.vm_state))
    })?;
    let (context, id) = (ctx.clone(), server.id.clone());
    let guard = Guard::unchanged(&server);
    let begun = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let change = ActiveModel { task_state: Set(Some(task.word().into())), ..Default::default() };
                if !store::change(tx, &server.id, guard, change).await? {
                    return Ok(false);
                }
                instance_actions::begin(tx, &context, &server.id, name).await?;
                Ok(true)
            })
        })
        .await?;
    if !begun {
        let server = store::fetch(&app, &ctx, &id).await?;
        rule.check(&server, ctx.is_admin())?;
        return Err(Error::conflict(format!("Instance {id} changed meanwhile; try again.")));
    }
    app.bus.cast(&compute_topic(&host), PowerInstance { caller: ctx.caller(), instance_id: id, action: power }).await?;
    Ok(accepted())
}
