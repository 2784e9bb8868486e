//! `resize`, `migrate`, and how both end: `confirmResize` and `revertResize`.

use kit::policy::Target;
use kit::{Error, Reply, Result};
use rpc::compute::Flavor;
use sea_orm::Set;
use serde_json::json;

use super::actions::{Action, accepted};
use super::begin::{self, host_of};
use super::create;
use super::instance::{ActiveModel, Model};
use super::states::rules::{self, Rule};
use super::store;
use crate::conductor::resize::Resize;
use crate::conductor::resized::{Confirm, Revert};
use crate::microversions::MIGRATE_HOST;
use crate::migrations::{self, MIGRATION, RESIZE};
use crate::{Nova, flavors, numa, os_services, quotas, validate};

/// `{"resize": {"flavorRef": "2"}}`
pub async fn resize(action: Action) -> Result<Reply> {
    action.only(&["flavorRef", "OS-DCF:diskConfig"])?;
    let reference = match action.body.get("flavorRef") {
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => action.text("flavorRef")?.to_owned(),
    };
    let disk_config = action.optional("OS-DCF:diskConfig")?.map(|value| create::disk_config(Some(value))).transpose()?;
    let Action { app, ctx, server, .. } = action;
    rules::RESIZE.check(&server, ctx.is_admin())?;
    let flavor = flavors::for_server(&app, &ctx, validate::id_of(&reference)).await?;
    if flavor.id == server.flavor.0.id {
        return Err(Error::bad_request("When resizing, instances must change flavor!"));
    }
    let from_volume = store::boots_from_volume(app.db.read(), &server.id).await?;
    if flavor.root_gb == 0 && server.flavor.0.root_gb != 0 && !from_volume {
        return Err(Error::bad_request("Resize to zero disk flavor is not allowed."));
    }
    let spec = &server.spec.0;
    create::check_image_size((spec.min_ram, spec.min_disk, 0), &flavor, from_volume)?;
    numa::wanted(&flavor, &spec.image_properties)?;
    let mut change = <ActiveModel as Default>::default();
    if let Some(disk_config) = disk_config {
        change.disk_config = Set(disk_config);
    }
    begin_move(&app, &ctx, server, &rules::RESIZE, flavor, change, |flow| flow).await?;
    Ok(accepted())
}

/// `{"migrate": null}`, since 2.56 `{"migrate": {"host": "h2"}}`
pub async fn migrate(action: Action) -> Result<Reply> {
    let mut host = None;
    if action.ctx.speaks(MIGRATE_HOST) && !action.body.is_null() {
        action.only(&["host"])?;
        host = action.nullable("host")?;
    }
    let Action { app, ctx, server, .. } = action;
    if let Some(host) = &host {
        ctx.enforce("os_compute_api:os-migrate-server:migrate:host", &Target::project(&server.project_id))?;
        rules::MIGRATE.check(&server, ctx.is_admin())?;
        if server.host.as_ref() == Some(host) {
            return Err(Error::bad_request(format!(
                "It's not allowed to migrate to the same host: the server {} is on {host}.",
                server.id
            )));
        }
        if !os_services::compute_hosts(&app).await?.iter().any(|row| row.host == *host) {
            return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
        }
    }
    rules::MIGRATE.check(&server, ctx.is_admin())?;
    let flavor = server.flavor.0.clone();
    let change = <ActiveModel as Default>::default();
    begin_move(&app, &ctx, server, &rules::MIGRATE, flavor, change, |flow| flow.elsewhere(host)).await?;
    Ok(accepted())
}

/// The quota, the migration, the task and the promise in one transaction.
async fn begin_move(
    app: &Nova,
    ctx: &kit::Context,
    server: Model,
    rule: &'static Rule,
    flavor: Flavor,
    mut change: ActiveModel,
    how: impl FnOnce(Resize) -> Resize + Send + 'static,
) -> Result<()> {
    let source = host_of(&server)?;
    let (nova, context) = (app.clone(), ctx.clone());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let (vcpus, ram) = (i64::from(flavor.vcpus).max(server.vcpus), (flavor.ram_mb as i64).max(server.ram_mb));
                quotas::grow(tx, &server.project_id, vcpus - server.vcpus, ram - server.ram_mb).await?;
                (change.vcpus, change.ram_mb) = (Set(vcpus), Set(ram));
                begin::take_with(tx, &context, &server, rule, change, Some(json!({"new_flavor": flavor}))).await?;
                let kind = if server.flavor.0.id == flavor.id { MIGRATION } else { RESIZE };
                let migration = migrations::insert(tx, &context, &server, kind, &flavor).await?;
                let flow = how(Resize::new(context.caller(), &server, &source, &migration, flavor));
                nova.flows()?.insert(tx, &server.id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow);
    Ok(())
}

/// `{"confirmResize": null}`
pub async fn confirm(action: Action) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    rules::CONFIRM_RESIZE.check(&server, ctx.is_admin())?;
    let migration = finished(&app, &server).await?;
    let flow = Confirm::new(ctx.caller(), &migration);
    begin::promise(&app, &ctx, server, &rules::CONFIRM_RESIZE, <ActiveModel as Default>::default(), flow).await?;
    Reply::no_content()
}

/// `{"revertResize": null}`
pub async fn revert(action: Action) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    rules::REVERT_RESIZE.check(&server, ctx.is_admin())?;
    let migration = finished(&app, &server).await?;
    let flow = Revert::new(ctx.caller(), &migration);
    begin::promise(&app, &ctx, server, &rules::REVERT_RESIZE, <ActiveModel as Default>::default(), flow).await?;
    Ok(accepted())
}

async fn finished(app: &Nova, server: &Model) -> Result<migrations::Model> {
    let found = migrations::finished_of(app.db.read(), &server.id).await?;
    found.ok_or_else(|| Error::bad_request("Instance has not been resized."))
}
