//! The beginning of a server's end: the state, the action and the promise to clean up, in one transaction. Where the operator lets deleted servers
//! be restored for a while, a deletion only ends the guest.

use std::time::Duration;

use kit::{Context, Reply, Result};
use rpc::compute::PowerAction;
use sea_orm::Set;
use tokio::time::timeout;

use super::actions::{Action, accepted};
use super::begin;
use super::instance::{ActiveModel, Model};
use super::states::rules::{self, Rule};
use super::states::{TaskState, VmState};
use super::store::{self, Guard};
use crate::conductor::delete::Delete;
use crate::conductor::handover;
use crate::conductor::host_task::{HostTask, Work};
use crate::{Nova, instance_actions};

/// How long somebody waits at most for the end of a server that is nowhere.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Deletes a server, for now or for good.
pub async fn begin(app: &Nova, ctx: &Context, server: Model) -> Result<()> {
    let deferred = !app.config.reclaim_instance_interval.is_zero();
    let can_wait =
        matches!(VmState::parse(&server.vm_state), Some(VmState::Active | VmState::Stopped | VmState::Paused | VmState::Suspended));
    if deferred && can_wait && server.host.is_some() && server.task_state.is_none() {
        return soft(app, ctx, server).await;
    }
    for_good(app, ctx, server, &rules::DELETE).await
}

async fn soft(app: &Nova, ctx: &Context, server: Model) -> Result<()> {
    let change = ActiveModel { kept_vm_state: Set(Some(server.vm_state.clone())), ..Default::default() };
    let task = HostTask::new(ctx.caller(), &server.id, Work::Power(PowerAction::SoftDelete));
    begin::promise(app, ctx, server, &rules::SOFT_DELETE, change, task).await
}

/// Deletes a server for good. Asked twice, the second time changes nothing.
async fn for_good(app: &Nova, ctx: &Context, server: Model, rule: &'static Rule) -> Result<()> {
    rule.check(&server, ctx.is_admin())?;
    let (nova, context, is_nowhere) = (app.clone(), ctx.clone(), server.host.is_none());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let change = ActiveModel { task_state: Set(Some(TaskState::Deleting.word().into())), ..Default::default() };
                if !store::change(tx, &server.id, Guard::alive(), change).await? {
                    return Ok(None);
                }
                instance_actions::begin(tx, &context, &server.id, rule.record).await?;
                let flow = Delete::new(context.caller(), &server.id);
                nova.flows()?.insert(tx, &server.id, &flow).await.map(Some)
            })
        })
        .await?;
    match flow {
        // without a host there is little to do, and clients know it as done when nova answers; it is promised, whatever becomes of the waiting
        Some(flow) if is_nowhere => drop(timeout(AT_ONCE, handover::reach(app, &flow, usize::MAX)).await),
        Some(flow) => app.flows()?.start(&flow),
        None => {}
    }
    Ok(())
}

/// `{"forceDelete": null}`
pub async fn force(action: Action) -> Result<Reply> {
    for_good(&action.app, &action.ctx, action.server, &rules::FORCE_DELETE).await?;
    Ok(accepted())
}

/// `{"restore": null}`: a soft-deleted server runs again; one that was off stays off.
pub async fn restore(action: Action) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    rules::RESTORE.check(&server, ctx.is_admin())?;
    let off = server.kept_vm_state.as_deref() == Some(VmState::Stopped.word());
    let mut change = ActiveModel { kept_vm_state: Set(None), ..Default::default() };
    if off || server.host.is_none() {
        change.vm_state = Set(VmState::Stopped.word().into());
        let (context, id) = (ctx.clone(), server.id.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    begin::take(tx, &context, &server, &rules::RESTORE, change).await?;
                    let over = ActiveModel { task_state: Set(None), ..Default::default() };
                    store::change(tx, &id, Guard::alive(), over).await?;
                    instance_actions::end(tx, &id, &context.request_id, false).await
                })
            })
            .await?;
    } else {
        let task = HostTask::new(ctx.caller(), &server.id, Work::Power(PowerAction::Restore));
        begin::promise(&app, &ctx, server, &rules::RESTORE, change, task).await?;
    }
    Ok(accepted())
}
