//! `GET`, `PUT` and `DELETE /servers/{id}`.

use kit::call::{Wrapped, Wrapper};
use kit::db::Json;
use kit::{Context, Error, Path, Reply, Result, Versioned};
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::instance::{ActiveModel, Model};
use super::store::{self, Guard};
use super::view::{self, Beside, Detailed, Shown};
use super::{create, delete, list};
use crate::microversions::KEY_NAME_ON_REBUILD;
use crate::notifications::updates::Update;
use crate::{Nova, os_services, validate};

#[derive(Serialize)]
struct One<'a> {
    server: Detailed<'a>,
}

/// `GET /servers/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let row = store::fetch(&app, &ctx, &id.0).await?;
    reply(&app, &ctx, row).await
}

async fn reply(app: &Nova, ctx: &Context, row: Model) -> Result<Reply> {
    let row = [Shown::from(row)];
    let beside: Beside<'_> = list::beside(app, ctx, &row, list::Shows::One).await?;
    let [row] = &row;
    Reply::ok(&One { server: Detailed(row, &beside) })
}

/// The object under `server` of an update.
#[derive(Deserialize, Serialize, Versioned)]
pub struct UpdateServer {
    pub name: Option<String>,
    #[serde(rename = "accessIPv4")]
    pub access_ip_v4: Option<String>,
    #[serde(rename = "accessIPv6")]
    pub access_ip_v6: Option<String>,
    #[serde(rename = "OS-DCF:diskConfig")]
    pub disk_config: Option<String>,
    #[since(2.19)]
    pub description: Option<Option<String>>,
    #[since(2.90)]
    pub hostname: Option<String>,
    #[since(2.104)]
    pub pinned_availability_zone: Option<Option<String>>,
}

impl Wrapper for UpdateServer {
    const KEY: &'static str = "server";
    const EXACT: bool = true;
}

/// `PUT /servers/{id}`
pub async fn update(app: Nova, ctx: Context, id: Path<String>, body: Wrapped<UpdateServer>) -> Result<Reply> {
    let row = store::fetch(&app, &ctx, &id.0).await?;
    let body = body.inner;
    let mut change = <ActiveModel as Default>::default();
    if let Some(name) = &body.name {
        change.name = Set(validate::relaxed_name(ctx.strict, "name", name)?);
    }
    if let Some(description) = body.description {
        validate::description(description.as_deref())?;
        change.description = Set(description);
    }
    if let Some(address) = body.access_ip_v4 {
        change.access_ip_v4 = Set(create::address("accessIPv4", Some(address))?);
    }
    if let Some(address) = body.access_ip_v6 {
        change.access_ip_v6 = Set(create::address("accessIPv6", Some(address))?);
    }
    if body.disk_config.is_some() {
        change.disk_config = Set(create::disk_config(body.disk_config)?);
    }
    if let Some(hostname) = body.hostname {
        change.hostname = Set(create::checked_hostname(&ctx, hostname)?);
    }
    if let Some(zone) = body.pinned_availability_zone {
        let mut spec = row.spec.0.clone();
        spec.requested_zone = pinned(&app, &row, zone).await?;
        change.spec = Set(Json(spec));
    }
    let renamed = body.name.is_some();
    store::save(&app, &row.id, Guard::default(), change).await?;
    app.updates.push(&row.id, Update::of(&row, &ctx.request_id, renamed));
    let row = store::fetch(&app, &ctx, &id.0).await?;
    Reply::ok(&after_change(&app, &ctx, row).await?)
}

/// The zone a server shall keep to from now on, or none. It must be the one it is in, if it is in any.
async fn pinned(app: &Nova, row: &Model, zone: Option<String>) -> Result<Option<String>> {
    let Some(zone) = zone else { return Ok(None) };
    let known = zone == app.config.default_zone || os_services::compute_hosts(app).await?.iter().any(|host| host.zone == zone);
    if !known {
        return Err(Error::bad_request("The requested availability zone is not available"));
    }
    match (&row.host, &row.availability_zone) {
        (Some(_), Some(now)) if *now != zone => {
            Err(Error::conflict(format!("Instance {} cannot be pinned to availability zone {zone}: it is in {now}.", row.id)))
        }
        _ => Ok(Some(zone)),
    }
}

/// The server as an update or a rebuild answers it: until 2.75 less of it than a show.
pub async fn after_change(app: &Nova, ctx: &Context, row: Model) -> Result<serde_json::Value> {
    let row = [Shown::from(row)];
    let beside = list::beside(app, ctx, &row, list::Shows::One).await?;
    let [row] = &row;
    let mut body = serde_json::to_value(One { server: Detailed(row, &beside) })?;
    if view::whole_answers(ctx) {
        return Ok(body);
    }
    if let Some(server) = body.get_mut("server").and_then(serde_json::Value::as_object_mut) {
        let not_shown = |key: &str| key.starts_with("OS-EXT-") || key.starts_with("OS-SRV-USG") || key.starts_with("os-extended");
        let also = ["config_drive", "security_groups", "host_status"];
        server.retain(|key, _| !not_shown(key) && !also.contains(&key.as_str()));
        if !ctx.speaks(KEY_NAME_ON_REBUILD) {
            server.remove("key_name");
        }
        server.insert("addresses".to_owned(), serde_json::to_value(view::Addresses(&row.network_info.0, false))?);
    }
    Ok(body)
}

/// `DELETE /servers/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let row = store::fetch(&app, &ctx, &id.0).await?;
    delete::begin(&app, &ctx, row).await?;
    Reply::no_content()
}
