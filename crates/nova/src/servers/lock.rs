//! Locks: a locked server refuses whatever changes it, to everybody but administrators.

use kit::policy::Target;
use kit::{Context, Reply, Result};
use sea_orm::{NotSet, Set};

use super::actions::{Action, accepted};
use super::instance::{ActiveModel, Model};
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
    let by = party(&action.ctx, &action.server);
    // who owns a server does not take a lock over: it would be theirs to undo
    if action.server.locked && by == OWNER {
        return Ok(accepted());
    }
    let locked_reason = reason.map_or(NotSet, |reason| Set(Some(reason)));
    let change = ActiveModel { locked: Set(true), locked_by: Set(Some(by.into())), locked_reason, ..Default::default() };
    record(action, change, &LOCK).await
}

/// `{"unlock": null}`
pub async fn unlock(action: Action) -> Result<Reply> {
    if action.server.locked_by.as_deref().is_some_and(|by| by != party(&action.ctx, &action.server)) {
        let target = Target::project(&action.server.project_id);
        action.ctx.enforce("os_compute_api:os-lock-server:unlock:unlock_override", &target)?;
    }
    let change = ActiveModel { locked: Set(false), locked_by: Set(None), locked_reason: Set(None), ..Default::default() };
    record(action, change, &UNLOCK).await
}

const OWNER: &str = "owner";

/// As whom somebody locks a server: everybody of its project is its owner, an administrator too.
fn party(ctx: &Context, server: &Model) -> &'static str {
    if ctx.project_id().is_ok_and(|project| project == server.project_id) { OWNER } else { "admin" }
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
