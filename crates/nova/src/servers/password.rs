//! The administrator's password of a guest: set by its agent (`changePassword`), and the one it made known itself (`os-server-password`).

use std::time::Duration;

use kit::{Context, Path, Reply, Result};
use rpc::actions::SetAdminPassword;
use rpc::compute::compute_topic;
use sea_orm::Set;
use serde_json::json;

use super::actions::{Action, accepted};
use super::begin::{self, host_of};
use super::instance::ActiveModel;
use super::states::TaskState;
use super::states::rules::CHANGE_PASSWORD;
use super::store::{self, Guard};
use crate::{Nova, instance_actions};

/// How long the guest's agent may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// `{"changePassword": {"adminPass": "..."}}`: the guest says at once whether it can.
pub async fn change(action: Action) -> Result<Reply> {
    action.only(&["adminPass"])?;
    let password = action.string("adminPass")?;
    let Action { app, ctx, server, .. } = action;
    CHANGE_PASSWORD.check(&server, ctx.is_admin())?;
    let host = host_of(&server)?;
    let (context, id, row) = (ctx.clone(), server.id.clone(), server);
    app.db
        .write(move |tx| {
            Box::pin(async move { begin::take(tx, &context, &row, &CHANGE_PASSWORD, <ActiveModel as Default>::default()).await })
        })
        .await?;
    let message = SetAdminPassword { caller: ctx.caller(), instance_id: id.clone(), password };
    let answer = app.bus.call(&compute_topic(&host), message, DEADLINE).await;
    let (request, failed) = (ctx.request_id.to_string(), answer.is_err());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let ours = Guard { task_state: Some(Some(TaskState::UpdatingPassword.word().into())), ..Guard::alive() };
                let over = ActiveModel { task_state: Set(None), ..Default::default() };
                store::change(tx, &id, ours, over).await?;
                instance_actions::end(tx, &id, &request, failed).await
            })
        })
        .await?;
    answer?;
    Ok(accepted())
}

/// `GET /servers/{id}/os-server-password`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    Reply::ok(&json!({"password": server.password.unwrap_or_default()}))
}

/// `DELETE /servers/{id}/os-server-password`
pub async fn clear(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let change = ActiveModel { password: Set(None), ..Default::default() };
    store::save(&app, &server.id, Guard::default(), change).await?;
    Reply::no_content()
}
