//! `/availability_zones` and `/network-ip-availabilities`: what is there to be had.

use std::collections::HashMap;

use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result};
use serde_json::{Value, json};

use crate::fault::hidden;
use crate::ipam::number;
use crate::resource::{missing, with};
use crate::{App, networks, sql, subnets};

/// The only zone there is.
const ZONE: &str = "nova";

/// 404 when a network or a router shall be in a zone that is not there.
pub fn check_hints(zones: &[String]) -> Result<()> {
    match zones.iter().find(|zone| *zone != ZONE) {
        Some(unknown) => Err(Error::not_found(format!("AvailabilityZone {unknown} could not be found.")).code("AvailabilityZoneNotFound")),
        None => Ok(()),
    }
}

/// `GET /availability_zones`
pub async fn zones(_: App, _: Context, query: Query) -> Result<Reply> {
    let zone = |resource: &str| json!({"name": ZONE, "resource": resource, "state": "available"});
    let wanted = |zone: &Value| query.0.iter().all(|(key, value)| zone.get(key).and_then(Value::as_str).is_none_or(|have| have == value));
    let zones: Vec<Value> = ["network", "router"].map(zone).into_iter().filter(wanted).collect();
    Reply::ok(&json!({"availability_zones": zones}))
}

/// `GET /service-providers`: who carries out what beyond networks themselves.
pub async fn providers(_: App, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"service_providers": [{"service_type": "L3_ROUTER_NAT", "name": "single_node", "default": true}]}))
}

/// Who may not see how many addresses are left sees no networks here.
fn may_see(ctx: &Context) -> bool {
    ctx.allows("get_network_ip_availability", &Target::default())
}

/// `GET /network-ip-availabilities`
pub async fn list(app: App, ctx: Context, query: Query) -> Result<Reply> {
    if !may_see(&ctx) {
        return Reply::ok(&json!({"network_ip_availabilities": []}));
    }
    let ids = sql::texts(app.db().read(), "SELECT id FROM networks ORDER BY id", []).await?;
    let mut all = of(&app, &ids).await?;
    for (key, field) in
        [("network_id", "network_id"), ("network_name", "network_name"), ("tenant_id", "tenant_id"), ("project_id", "project_id")]
    {
        let wanted: Vec<&str> = query.all(key).collect();
        all.retain(|one| wanted.is_empty() || one.get(field).and_then(Value::as_str).is_some_and(|v| wanted.contains(&v)));
    }
    if let Some(version) = query.get("ip_version").and_then(|text| text.parse::<i64>().ok()) {
        all.iter_mut().for_each(|one| only_version(one, version));
        all.retain(|one| one.get("subnet_ip_availability").and_then(Value::as_array).is_some_and(|subnets| !subnets.is_empty()));
    }
    Reply::ok(&json!({"network_ip_availabilities": all}))
}

/// `GET /network-ip-availabilities/{network_id}`
pub async fn show(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    if !may_see(&ctx) {
        return Err(hidden());
    }
    let one = of(&app, std::slice::from_ref(&id.0)).await?.pop();
    Reply::ok(&json!({"network_ip_availability": one.ok_or_else(|| missing::<networks::Model>(&id.0))?}))
}

/// Leaves only subnets of a version, and their sums.
fn only_version(one: &mut Value, version: i64) {
    let Some(subnets) = one.get_mut("subnet_ip_availability").and_then(Value::as_array_mut) else { return };
    subnets.retain(|subnet| subnet.get("ip_version") == Some(&json!(version)));
    let sum = |key: &str| subnets.iter().filter_map(|subnet| subnet.get(key)?.as_u64()).fold(0_u64, u64::saturating_add);
    let (total, used) = (sum("total_ips"), sum("used_ips"));
    one["total_ips"] = json!(total);
    one["used_ips"] = json!(used);
}

async fn of(app: &App, ids: &[String]) -> Result<Vec<Value>> {
    let db = app.db().read();
    let mut used: HashMap<String, i64> = HashMap::new();
    for row in sql::query(db, "SELECT subnet_id, COUNT(*) FROM ip_allocations GROUP BY subnet_id", []).await? {
        used.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    }
    let subnets: Vec<subnets::Model> = with(db, "network_id", ids).await?;
    let networks: Vec<networks::Model> = with(db, "id", ids).await?;
    let used = |subnet: &subnets::Model| used.get(&subnet.id).copied().unwrap_or_default();
    let one = |network: &networks::Model| {
        let own: Vec<&subnets::Model> = subnets.iter().filter(|subnet| subnet.network_id == network.id).collect();
        let details: Vec<Value> = own
            .iter()
            .map(|s| {
                json!({"subnet_id": s.id, "subnet_name": s.name, "ip_version": s.ip_version, "cidr": s.cidr, "total_ips": total(s), "used_ips": used(s)})
            })
            .collect();
        json!({
            "network_id": network.id, "network_name": network.name, "tenant_id": network.project_id, "project_id": network.project_id,
            "total_ips": own.iter().map(|s| total(s)).fold(0_u64, u64::saturating_add),
            "used_ips": own.iter().map(|s| used(s)).sum::<i64>(), "subnet_ip_availability": details,
        })
    };
    Ok(networks.iter().map(one).collect())
}

/// Addresses in the pools.
fn total(subnet: &subnets::Model) -> u64 {
    let size = |pool: &subnets::Pool| u64::try_from(number(pool.end) - number(pool.start)).unwrap_or(u64::MAX).saturating_add(1);
    subnet.allocation_pools.0.iter().map(size).fold(0, u64::saturating_add)
}
