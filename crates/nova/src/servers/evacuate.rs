//! `evacuate`: a server whose host is down is made anew on another.

use kit::policy::Target;
use kit::{Error, Reply, Result};
use serde_json::json;

use super::actions::Action;
use super::begin::{self, host_of};
use super::create::password;
use super::instance::ActiveModel;
use super::states::rules::EVACUATE;
use crate::conductor::evacuate::Evacuate;
use crate::microversions::{EVACUATE_STOPPED, EVACUATE_WITHOUT_PASSWORD};
use crate::migrations::{self, EVACUATION};
use crate::{os_services, validate};

/// `{"evacuate": {"host": "h2", "adminPass": "...", "onSharedStorage": false}}`
pub async fn evacuate(action: Action) -> Result<Reply> {
    let minor = action.ctx.version.1;
    let mut known = vec!["host", "adminPass"];
    known.extend((minor <= 13).then_some("onSharedStorage"));
    known.extend((29..=67).contains(&minor).then_some("force"));
    action.only(&known)?;
    if minor <= 13 {
        let shared = action.body.get("onSharedStorage").ok_or_else(|| action.required("onSharedStorage"))?;
        validate::boolean("onSharedStorage", shared)?;
    }
    if let Some(force) = action.body.get("force") {
        validate::boolean("force", force)?;
    }
    let (host, given) = (action.optional("host")?, action.optional("adminPass")?);
    let Action { app, ctx, server, .. } = action;
    ctx.enforce("os_compute_api:os-evacuate", &Target::project(&server.project_id))?;
    EVACUATE.check(&server, ctx.is_admin())?;
    let source = host_of(&server)?;
    if let Some(host) = &host {
        if *host == source {
            return Err(Error::bad_request(format!("The target host can't be the same one: {host}.")));
        }
        if !os_services::compute_hosts(&app).await?.iter().any(|row| row.host == *host) {
            return Err(Error::bad_request(format!("Compute host {host} not found.")));
        }
    }
    if os_services::is_up(&app, &source).await? {
        return Err(Error::bad_request(format!("Compute service of {source} is still in use.")));
    }
    let password = given.unwrap_or_else(password);
    app.builds.keep_password(&server.id, &password);
    let stops = ctx.speaks(EVACUATE_STOPPED);
    let (nova, context) = (app.clone(), ctx.clone());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                begin::take(tx, &context, &server, &EVACUATE, <ActiveModel as Default>::default()).await?;
                let migration = migrations::insert(tx, &context, &server, EVACUATION, &server.flavor.0).await?;
                let flow = Evacuate::new(context.caller(), &server, &source, &migration, host, stops);
                nova.flows()?.insert(tx, &server.id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow);
    if ctx.speaks(EVACUATE_WITHOUT_PASSWORD) {
        return Ok(Reply::empty(http::StatusCode::OK));
    }
    Reply::ok(&json!({"adminPass": password}))
}
