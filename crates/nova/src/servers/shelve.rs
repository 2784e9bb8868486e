//! `shelve`, `shelveOffload` and `unshelve`: a server set aside as an image, off its host, and back.

use std::collections::BTreeMap;

use kit::policy::Target;
use kit::{Error, Reply, Result};
use sea_orm::Set;
use serde_json::Value;

use super::actions::{Action, accepted};
use super::begin;
use super::images;
use super::instance::ActiveModel;
use super::states::VmState;
use super::states::rules;
use super::store;
use crate::conductor::shelve::{Offload, Shelve};
use crate::conductor::unshelve::Unshelve;
use crate::microversions::{UNSHELVE_HOST, UNSHELVE_ZONE};
use crate::os_services;

/// `{"shelve": null}`
pub async fn shelve(action: Action) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    rules::SHELVE.check(&server, ctx.is_admin())?;
    begin::host_of(&server)?;
    let image = if store::boots_from_volume(app.db.read(), &server.id).await? {
        None
    } else {
        let name = format!("{}-shelved", server.name);
        Some(images::new_image(&app, &ctx, &server, &name, &[("image_type", "snapshot")], &BTreeMap::new()).await?)
    };
    let flow = Shelve::new(ctx.caller(), &server, image.clone());
    let begun = begin::promise(&app, &ctx, server, &rules::SHELVE, <ActiveModel as Default>::default(), flow).await;
    if let (Err(_), Some(image)) = (&begun, &image) {
        images::discard(&app, &ctx, image).await;
    }
    begun?;
    Ok(accepted())
}

/// `{"shelveOffload": null}`
pub async fn offload(action: Action) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    let flow = Offload::new(ctx.caller(), &server.id);
    begin::promise(&app, &ctx, server, &rules::SHELVE_OFFLOAD, <ActiveModel as Default>::default(), flow).await?;
    Ok(accepted())
}

/// Where an offloaded server shall come back.
#[derive(Default)]
struct Wanted {
    /// `Some(None)`: to any zone from now on.
    zone: Option<Option<String>>,
    host: Option<String>,
}

/// `{"unshelve": null}`, since 2.77 `{"unshelve": {"availability_zone": "az1"}}`, since 2.91 also `{"host": "h1"}`
pub async fn unshelve(action: Action) -> Result<Reply> {
    let wanted = read(&action)?;
    let Action { app, ctx, server, .. } = action;
    rules::UNSHELVE.check(&server, ctx.is_admin())?;
    let asks = wanted.zone.is_some() || wanted.host.is_some();
    if asks && server.vm_state != VmState::ShelvedOffloaded.word() {
        return Err(Error::conflict(format!(
            "Availability zone or host cannot be given for instance {} while it is in vm_state {}: it has a host.",
            server.id, server.vm_state
        )));
    }
    let hosts = os_services::compute_hosts(&app).await?;
    if let Some(Some(zone)) = &wanted.zone
        && *zone != app.config.default_zone
        && !hosts.iter().any(|host| host.zone == *zone)
    {
        return Err(Error::bad_request("The requested availability zone is not available"));
    }
    if let Some(host) = &wanted.host {
        ctx.enforce("os_compute_api:os-shelve:unshelve_to_host", &Target::project(&server.project_id))?;
        let Some(service) = hosts.iter().find(|row| row.host == *host) else {
            return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
        };
        if let Some(Some(zone)) = &wanted.zone
            && service.zone != *zone
        {
            return Err(Error::conflict(format!("Host {host} is not in the availability zone {zone}.")));
        }
    }
    let mut change = <ActiveModel as Default>::default();
    if let Some(zone) = wanted.zone {
        let mut spec = server.spec.0.clone();
        spec.requested_zone = zone;
        change.spec = Set(kit::db::Json(spec));
    }
    let flow = Unshelve::new(ctx.caller(), &server, wanted.host);
    begin::promise(&app, &ctx, server, &rules::UNSHELVE, change, flow).await?;
    Ok(accepted())
}

fn read(action: &Action) -> Result<Wanted> {
    if action.body.is_null() || !action.ctx.speaks(UNSHELVE_ZONE) {
        return Ok(Wanted::default());
    }
    let to_host = action.ctx.speaks(UNSHELVE_HOST);
    action.only(if to_host { &["availability_zone", "host"] } else { &["availability_zone"] })?;
    let zone = match action.body.get("availability_zone") {
        Some(Value::Null) if to_host => Some(None),
        Some(_) => Some(Some(action.text("availability_zone")?.to_owned())),
        None => None,
    };
    let host = action.optional("host")?;
    if zone.is_none() && host.is_none() && !to_host {
        return Err(action.required("availability_zone"));
    }
    Ok(Wanted { zone, host })
}
