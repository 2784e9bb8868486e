//! `os-migrateLive`: a server goes to another host while it runs.

use kit::policy::Target;
use kit::{Error, Reply, Result};
use sea_orm::Set;
use serde_json::Value;

use super::actions::{Action, accepted};
use super::begin::{self, host_of};
use super::instance::ActiveModel;
use super::states::rules::LIVE_MIGRATE;
use crate::conductor::live_migrate::LiveMigrate;
use crate::migrations::{self, LIVE};
use crate::{os_services, validate};

/// `{"os-migrateLive": {"host": null, "block_migration": "auto"}}`
pub async fn migrate(action: Action) -> Result<Reply> {
    let host = read(&action)?;
    let Action { app, ctx, server, .. } = action;
    if host.is_some() {
        ctx.enforce("os_compute_api:os-migrate-server:migrate_live:host", &Target::project(&server.project_id))?;
    }
    LIVE_MIGRATE.check(&server, ctx.is_admin())?;
    let source = host_of(&server)?;
    if let Some(host) = &host {
        if *host == source {
            return Err(Error::bad_request(format!("Unable to migrate instance ({}) to current host ({host}).", server.id)));
        }
        if !os_services::compute_hosts(&app).await?.iter().any(|row| row.host == *host) {
            return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
        }
    }
    let (nova, context) = (app.clone(), ctx.clone());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                begin::take(tx, &context, &server, &LIVE_MIGRATE, <ActiveModel as Default>::default()).await?;
                let migration = migrations::insert(tx, &context, &server, LIVE, &server.flavor.0).await?;
                let queued = migrations::ActiveModel { status: Set("queued".to_owned()), ..Default::default() };
                migrations::change(tx, &migration, queued).await?;
                let flow = LiveMigrate::new(context.caller(), &server, &source, &migration, host);
                nova.flows()?.insert(tx, &server.id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow);
    Ok(accepted())
}

/// The host that is asked for, of a body in the form of the caller's version. What it says about block migration is for hosts that share
/// disks: here the guest's own disks go with it always, and volumes are where they are.
fn read(action: &Action) -> Result<Option<String>> {
    let minor = action.ctx.version.1;
    let mut known = vec!["host", "block_migration"];
    known.extend((minor <= 24).then_some("disk_over_commit"));
    known.extend((30..=67).contains(&minor).then_some("force"));
    action.only(&known)?;
    for field in known.iter().filter(|field| **field != "force") {
        action.body.get(field).ok_or_else(|| action.required(field))?;
    }
    let automatic = minor >= 25 && action.body.get("block_migration").and_then(Value::as_str) == Some("auto");
    for field in known.iter().filter(|field| **field != "host" && !(automatic && **field == "block_migration")) {
        if let Some(value) = action.body.get(field) {
            validate::boolean(field, value)?;
        }
    }
    action.nullable("host")
}
