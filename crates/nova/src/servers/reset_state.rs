//! An administrator says what a server's state is.

use kit::{Error, Reply, Result};
use sea_orm::Set;

use super::actions::{Action, accepted};
use super::begin;
use super::instance::ActiveModel;
use super::states::VmState;
use super::states::rules::RESET_STATE;
use super::store::{self, Guard};
use crate::conductor::reconcile;
use crate::instance_actions;

/// `{"os-resetState": {"state": "active"}}`
pub async fn reset_state(action: Action) -> Result<Reply> {
    action.only(&["state"])?;
    let state = match action.text("state")? {
        "active" => VmState::Active,
        "error" => VmState::Error,
        other => {
            return Err(Error::bad_request(format!(
                "Invalid input for field/attribute state. Value: {other}. '{other}' is not one of ['active', 'error']"
            )));
        }
    };
    let Action { app, ctx, server, .. } = action;
    RESET_STATE.check(&server, ctx.is_admin())?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let change = ActiveModel { vm_state: Set(state.word().into()), task_state: Set(None), ..Default::default() };
                store::change(tx, &server.id, Guard::default(), change).await?;
                instance_actions::over(tx, &ctx, &server.id, RESET_STATE.record).await
            })
        })
        .await?;
    Ok(accepted())
}

/// `{"injectNetworkInfo": null}`: what the guest may know of its network is asked anew.
pub async fn inject_network_info(action: Action) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    begin::host_of(&server)?;
    reconcile::refresh_addresses(&app, &server.id).await?;
    instance_actions::done(&app, &ctx, &server.id, "injectNetworkInfo").await?;
    Ok(accepted())
}
