//! Locks: a locked server refuses whatever changes it, to everybody but administrators.

use kit::policy::Target;
use kit::{Reply, Result};
use sea_orm::Set;

use super::actions::{Action, accepted};
use super::instance::ActiveModel;
use super::states::rules::{LOCK, Rule, UNLOCK};
use super::store::{self, Guard};
use crate::microversions::LOCKED_FILTER;
use crate::{instance_actions, validate};

/// `{"lock": null}`, or since 2.73 `{"lock": {"locked_reason": "..."}}`
pub async fn lock(action: Action) -> Result<Reply> {
    let mut reason = None;
    if action.ctx.speaks(LOCKED_FILTER) && !action.body.is_null() {
        action.only(&["locked_reason"])?;
        if action.body.get("locked_reason").is_some() {
            let text = action.text("locked_reason")?;
            validate::length("locked_reason", text, 255)?;
            reason = Some(text.to_owned());
        }
    }
    let owner = action.ctx.project_id().is_ok_and(|project| project == action.server.project_id);
    let by = if owner && !action.ctx.is_admin() { "owner" } else { "admin" };
    let change = ActiveModel { locked: Set(true), locked_by: Set(Some(by.into())), locked_reason: Set(reason), ..Default::default() };
    record(action, change, &LOCK).await
}

/// `{"unlock": null}`
pub async fn unlock(action: Action) -> Result<Reply> {
    if action.server.locked_by.as_deref() == Some("admin") {
        let target = Target::project(&action.server.project_id);
        action.ctx.enforce("os_compute_api:os-lock-server:unlock:unlock_override", &target)?;
    }
    let change = ActiveModel { locked: Set(false), locked_by: Set(None), locked_reason: Set(None), ..Default::default() };
    record(action, change, &UNLOCK).await
}

async fn record(action: Action, change: ActiveModel, rule: &'static Rule) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    rule.check(&server, ctx.is_admin())?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                store::change(tx, &server.id, Guard::default(), change).await?;
                instance_actions::over(tx, &ctx, &server.id, rule.record).await
            })
        })
        .await?;
    Ok(accepted())
}
