//! `/os-hosts`, until 2.42: hosts before there were hypervisors and services to ask for.

use std::collections::BTreeMap;

use kit::db::Json as JsonText;
use kit::{Context, Error, Json, Kind, Path, Query, Reply, Result, Routes};
use rpc::compute::Flavor;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::{Map, Value, json};

use crate::hypervisors::node;
use crate::os_services::{self, COMPUTE};
use crate::servers::instance;
use crate::{Nova, validate};

pub fn routes() -> Routes<Nova> {
    Routes::new()
        .get("/os-hosts", "os_compute_api:os-hosts:list", list)
        .until(2, 42)
        .get("/os-hosts/{id}", "os_compute_api:os-hosts:show", show)
        .until(2, 42)
        .put("/os-hosts/{id}", "os_compute_api:os-hosts:update", update)
        .until(2, 42)
        .get("/os-hosts/{id}/startup", "os_compute_api:os-hosts:start", power)
        .until(2, 42)
        .get("/os-hosts/{id}/shutdown", "os_compute_api:os-hosts:shutdown", power)
        .until(2, 42)
        .get("/os-hosts/{id}/reboot", "os_compute_api:os-hosts:reboot", power)
        .until(2, 42)
}

/// `GET /os-hosts`
pub async fn list(app: Nova, _: Context, query: Query) -> Result<Reply> {
    let mut services = os_services::Entity::find().order_by_asc(os_services::Column::Number);
    if let Some(zone) = query.get("zone").filter(|zone| !zone.is_empty()) {
        services = services.filter(os_services::Column::Zone.eq(zone));
    }
    let services = services.all(app.db.read()).await?;
    // named as in `service`, without the project's prefix
    let short = |service: &str| service.trim_start_matches("nova-").to_owned();
    let hosts: Vec<Value> = services.iter().map(|s| json!({"host_name": s.host, "service": short(&s.service), "zone": s.zone})).collect();
    Reply::ok(&json!({"hosts": hosts}))
}

/// `GET /os-hosts/{host}`: what it has, what is taken, and by which project.
pub async fn show(app: Nova, _: Context, host: Path<String>) -> Result<Reply> {
    let node = node::Entity::find().filter(node::Column::Host.eq(&host.0)).one(app.db.read()).await?;
    let node = node.ok_or_else(|| missing(&host.0))?;
    type Row = (String, i64, i64, JsonText<Flavor>);
    let rows: Vec<Row> = instance::Entity::find()
        .select_only()
        .columns([instance::Column::ProjectId, instance::Column::Vcpus, instance::Column::RamMb, instance::Column::Flavor])
        .filter(instance::Column::Host.eq(&host.0))
        .filter(instance::Column::Deleted.eq(false))
        .into_tuple()
        .all(app.db.read())
        .await?;
    let mut projects: BTreeMap<String, Share> = BTreeMap::new();
    let mut used = Share::default();
    for (project, vcpus, ram_mb, flavor) in rows {
        let disk_gb = (flavor.0.root_gb + flavor.0.ephemeral_gb) as i64;
        for share in [projects.entry(project).or_default(), &mut used] {
            *share = Share { cpu: share.cpu + vcpus, memory_mb: share.memory_mb + ram_mb, disk_gb: share.disk_gb + disk_gb };
        }
    }
    let inventory = &node.inventory.0;
    let total = Share { cpu: inventory.vcpus.into(), memory_mb: inventory.memory_mb as i64, disk_gb: inventory.local_gb as i64 };
    let shares = [("(total)", total), ("(used_now)", used), ("(used_max)", used)].into_iter();
    let shares = shares.chain(projects.iter().map(|(project, share)| (project.as_str(), *share)));
    let rows: Vec<Value> = shares.map(|(project, share)| share.view(&host.0, project)).collect();
    Reply::ok(&json!({"host": rows}))
}

/// A part of a host.
#[derive(Clone, Copy, Default)]
struct Share {
    cpu: i64,
    memory_mb: i64,
    disk_gb: i64,
}

impl Share {
    fn view(self, host: &str, project: &str) -> Value {
        let Share { cpu, memory_mb, disk_gb } = self;
        json!({"resource": {"host": host, "project": project, "cpu": cpu, "memory_mb": memory_mb, "disk_gb": disk_gb}})
    }
}

/// `PUT /os-hosts/{host}`: whether it takes new servers.
pub async fn update(app: Nova, _: Context, host: Path<String>, body: Json<Map<String, Value>>) -> Result<Reply> {
    let unknown: Vec<&str> = body.0.keys().map(String::as_str).filter(|key| !matches!(*key, "status" | "maintenance_mode")).collect();
    kit::microversion::unexpected(&unknown)?;
    if body.0.is_empty() {
        return Err(Error::bad_request("Invalid input for field/attribute body. 'status' or 'maintenance_mode' is a required property"));
    }
    let enable = |key: &str| match body.0.get(key).map(|value| (value.as_str().map(str::to_ascii_lowercase), value)) {
        None => Ok(None),
        Some((Some(text), _)) if text == "enable" => Ok(Some(true)),
        Some((Some(text), _)) if text == "disable" => Ok(Some(false)),
        Some((_, value)) => Err(validate::invalid(key, value, format!("{value} is not one of ['enable', 'disable']"))),
    };
    let (status, maintenance) = (enable("status")?, enable("maintenance_mode")?);
    os_services::of_host(&app, &host.0).await?.ok_or_else(|| missing(&host.0))?;
    if maintenance.is_some() {
        return Err(Error::new(Kind::NotImplemented, "Virt driver does not implement host maintenance mode."));
    }
    let enabled = status.unwrap_or(true);
    os_services::set_disabled(&app, &host.0, COMPUTE, !enabled).await?;
    Reply::ok(&json!({"host": host.0, "status": if enabled { "enabled" } else { "disabled" }}))
}

/// `GET /os-hosts/{host}/startup`, `shutdown` and `reboot`: the machines under hypervisors are not ours to switch.
pub async fn power(app: Nova, _: Context, host: Path<String>) -> Result<Reply> {
    os_services::of_host(&app, &host.0).await?.ok_or_else(|| missing(&host.0))?;
    Err(Error::new(Kind::NotImplemented, "Virt driver does not implement host power management."))
}

fn missing(host: &str) -> Error {
    Error::not_found(format!("Compute host {host} could not be found."))
}
