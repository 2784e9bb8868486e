//! `/os-availability-zone`: zones are what services say they are in.

use std::collections::BTreeMap;

use kit::{Context, Reply, Result};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::Nova;
use crate::os_services::{COMPUTE, Entity, Model};

/// `GET /os-availability-zone`
pub async fn list(app: Nova, _: Context) -> Result<Reply> {
    let zones = zones(&app).await?;
    let shown: Vec<Value> = zones
        .iter()
        .filter(|(_, services)| services.iter().any(|s| s.service == COMPUTE))
        .map(|(zone, services)| json!({"zoneName": zone, "zoneState": {"available": available(services)}, "hosts": null}))
        .collect();
    Reply::ok(&json!({"availabilityZoneInfo": shown}))
}

/// `GET /os-availability-zone/detail`
pub async fn detail(app: Nova, _: Context) -> Result<Reply> {
    let zones = zones(&app).await?;
    let mut shown = Vec::new();
    for (zone, services) in &zones {
        let mut hosts: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
        for service in services {
            let active = service.is_up(app.config.service_down_time);
            let state = json!({"available": !service.disabled, "active": active, "updated_at": service.reported_at.to_micros()});
            hosts.entry(&service.host).or_default().insert(&service.service, state);
        }
        shown.push(json!({"zoneName": zone, "zoneState": {"available": available(services)}, "hosts": hosts}));
    }
    Reply::ok(&json!({"availabilityZoneInfo": shown}))
}

async fn zones(app: &Nova) -> Result<BTreeMap<String, Vec<Model>>> {
    let mut zones: BTreeMap<String, Vec<Model>> = BTreeMap::new();
    for service in Entity::find().all(app.db.read()).await? {
        zones.entry(service.zone.clone()).or_default().push(service);
    }
    Ok(zones)
}

fn available(services: &[Model]) -> bool {
    services.iter().any(|service| !service.disabled)
}
