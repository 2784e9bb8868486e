//! How an action on a server begins: under its rule, with the task, the record and the promise to do it in one transaction. Of two actions at
//! once one wins, and the other is told what is in the way.

use kit::flow::Flow;
use kit::{Context, Error, Result};
use sea_orm::{ConnectionTrait, Set};
use serde_json::Value;

use super::instance::{ActiveModel, Model};
use super::states::rules::Rule;
use super::store::{self, Guard};
use crate::conductor::handover;
use crate::{Nova, instance_actions};

/// Begins an action whose work is a flow.
pub async fn promise<F: Flow<App = Nova>>(
    app: &Nova,
    ctx: &Context,
    server: Model,
    rule: &'static Rule,
    change: ActiveModel,
    flow: F,
) -> Result<()> {
    promise_with(app, ctx, server, rule, change, flow, None).await
}

/// The same, with more to tell of it than the server.
pub async fn promise_with<F: Flow<App = Nova>>(
    app: &Nova,
    ctx: &Context,
    server: Model,
    rule: &'static Rule,
    change: ActiveModel,
    flow: F,
    details: Option<Value>,
) -> Result<()> {
    rule.check(&server, ctx.is_admin())?;
    let (nova, context) = (app.clone(), ctx.clone());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                take_with(tx, &context, &server, rule, change, details).await?;
                nova.flows()?.insert(tx, &server.id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow);
    Ok(())
}

/// Begins an action that goes on beside others: its work is a flow, and the server shows no task.
pub async fn beside<F: Flow<App = Nova>>(app: &Nova, ctx: &Context, instance_id: &str, record: &'static str, flow: F) -> Result<()> {
    let (nova, context, instance) = (app.clone(), ctx.clone(), instance_id.to_owned());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                instance_actions::begin(tx, &context, &instance, record).await?;
                nova.flows()?.insert(tx, &instance, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow);
    Ok(())
}

/// Begins an action beside others whose first steps may be refused: answers once so many of them are done, with what they were refused for. What is
/// not refused is recorded by the flow.
pub async fn reach<F: Flow<App = Nova>>(app: &Nova, instance_id: &str, flow: F, steps: usize) -> Result<()> {
    let (nova, instance) = (app.clone(), instance_id.to_owned());
    let flow = app.db.write(move |tx| Box::pin(async move { nova.flows()?.insert(tx, &instance, &flow).await })).await?;
    handover::reach(app, &flow, steps).await
}

/// Begins an action in a transaction of the caller's: the server is its from here on.
pub async fn take(tx: &impl ConnectionTrait, ctx: &Context, server: &Model, rule: &Rule, change: ActiveModel) -> Result<()> {
    take_with(tx, ctx, server, rule, change, None).await
}

/// The same, with more to tell of it than the server.
pub async fn take_with(
    tx: &impl ConnectionTrait,
    ctx: &Context,
    server: &Model,
    rule: &Rule,
    mut change: ActiveModel,
    details: Option<Value>,
) -> Result<()> {
    if let Some(task) = rule.begins {
        change.task_state = Set(Some(task.word().into()));
    }
    if !store::change(tx, &server.id, Guard::unchanged(server), change).await? {
        let now = store::load(tx, &server.id).await?.ok_or_else(|| store::missing(&server.id))?;
        rule.check(&now, ctx.is_admin())?;
        return Err(Error::conflict(format!("Instance {} changed meanwhile; try again.", server.id)));
    }
    instance_actions::begin_with(tx, ctx, &server.id, rule.record, details).await
}

/// The host of a server that has one; 409 for one that is nowhere.
pub fn host_of(server: &Model) -> Result<String> {
    server.host.clone().ok_or_else(|| Error::conflict(format!("Instance {} is not ready", server.id)))
}
