//! `/os-services`, the pools, the zones, and what is said about the API itself.

use kit::clock::Timestamp;
use kit::{Context, Error, Json, Query, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::{ActiveModel, Column, Entity, Model, store};
use crate::Cinder;
use crate::volumes::{filters, store as volumes};

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let wanted = |service: &&Model| {
        let is = |key: &str, have: &str| query.get(key).is_none_or(|want| want == have);
        is("host", &service.host) && is("binary", &service.kind)
    };
    let services = store::all(app.db().read()).await?;
    let rows: Vec<Value> = services.iter().filter(wanted).map(|service| view(&ctx, service)).collect();
    Reply::ok(&json!({"services": rows}))
}

fn view(ctx: &Context, service: &Model) -> Value {
    let mut view = json!({
        "binary": service.kind, "host": service.host, "zone": service.availability_zone,
        "status": if service.disabled { "disabled" } else { "enabled" }, "state": if service.is_up() { "up" } else { "down" },
        "updated_at": service.seen_at.to_micros(), "disabled_reason": service.disabled_reason,
    });
    if service.kind == "cinder-volume" {
        view["replication_status"] = json!("disabled");
        view["active_backend_id"] = Value::Null;
        view["frozen"] = json!(false);
        if ctx.version.1 >= 49 {
            view["backend_state"] = json!(if service.is_up() { "up" } else { "down" });
        }
    }
    if ctx.version.1 >= 7 {
        view["cluster"] = Value::Null;
    }
    view
}

pub async fn enable(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    set(app, &body, false, None).await
}

pub async fn disable(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    set(app, &body, true, None).await
}

pub async fn disable_with_reason(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    let reason = body["disabled_reason"].as_str().map(str::trim).filter(|reason| (1..=255).contains(&reason.chars().count()));
    let reason = reason.ok_or_else(|| Error::bad_request("Disabled reason contains invalid characters or is too long"))?;
    set(app, &body, true, Some(reason.to_owned())).await
}

async fn set(app: Cinder, body: &Value, disabled: bool, reason: Option<String>) -> Result<Reply> {
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let host = text("host").ok_or_else(|| Error::bad_request("Missing required element 'host' in request body."))?;
    let binary = text("binary").or_else(|| text("service")).unwrap_or_else(|| "cinder-volume".into());
    let row = ActiveModel {
        disabled: Set(disabled),
        disabled_reason: Set(reason.clone()),
        updated_at: Set(Timestamp::now()),
        ..Default::default()
    };
    let (at, kind) = (host.clone(), binary.clone());
    let changed = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let one = Entity::update_many().set(row).filter(Column::Host.eq(at)).filter(Column::Kind.eq(kind));
                Ok(one.exec(tx).await?.rows_affected)
            })
        })
        .await?;
    if changed == 0 {
        return Err(Error::not_found(format!("Service {host} could not be found.")));
    }
    let status = if disabled { "disabled" } else { "enabled" };
    let mut answer = json!({"host": host, "service": binary, "binary": binary, "status": status, "disabled": disabled});
    if reason.is_some() {
        answer["disabled_reason"] = json!(reason);
    }
    Reply::ok(&answer)
}

/// One pool for each backend, of the backend's own name.
pub async fn pools(app: Cinder, _: Context, query: Query) -> Result<Reply> {
    let promised = volumes::promised(app.db().read()).await?;
    let pool = |service: &Model| {
        let backend = service.host.rsplit('@').next().unwrap_or_default();
        let mut pool = json!({"name": format!("{}#{backend}", service.host)});
        if query.flag("detail") {
            pool["capabilities"] = json!({
                "total_capacity_gb": service.total_gb, "free_capacity_gb": service.free_gb, "reserved_percentage": 0,
                "allocated_capacity_gb": promised.get(&service.host).copied().unwrap_or_default(),
                "provisioned_capacity_gb": promised.get(&service.host).copied().unwrap_or_default(),
                "max_over_subscription_ratio": "20.0", "thin_provisioning_support": true, "thick_provisioning_support": false,
                "volume_backend_name": backend, "storage_protocol": service.protocol, "vendor_name": "Cumulo", "driver_version": env!("CARGO_PKG_VERSION"),
                "pool_name": backend, "multiattach": true, "QoS_support": false, "backend_state": if service.is_up() { "up" } else { "down" },
                "timestamp": service.seen_at.to_micros(),
            });
        }
        pool
    };
    let hosts = store::volume_hosts(app.db().read()).await?;
    Reply::ok(&json!({"pools": hosts.iter().map(pool).collect::<Vec<_>>()}))
}

pub async fn zones(app: Cinder, _: Context) -> Result<Reply> {
    let hosts = store::volume_hosts(app.db().read()).await?;
    let mut zones = store::zones(app.db().read()).await?;
    zones.insert(app.zone().to_owned());
    let available = |zone: &String| hosts.iter().any(|host| host.availability_zone == *zone && !host.disabled && host.is_up());
    let zone = |zone: &String| json!({"zoneName": zone, "zoneState": {"available": available(zone)}});
    Reply::ok(&json!({"availabilityZoneInfo": zones.iter().map(zone).collect::<Vec<_>>()}))
}

/// The names clients look for, of what this API has.
const EXTENSIONS: &[(&str, &str)] = &[
    ("AvailabilityZones", "os-availability-zone"),
    ("AdminActions", "os-admin-actions"),
    ("ExtendedServices", "os-extended-services"),
    ("ExtendedSnapshotAttributes", "os-extended-snapshot-attributes"),
    ("QuotaClasses", "os-quota-class-sets"),
    ("Quotas", "os-quota-sets"),
    ("SchedulerHints", "OS-SCH-HNT"),
    ("SchedulerStats", "scheduler-stats"),
    ("Services", "os-services"),
    ("TypesExtraSpecs", "os-types-extra-specs"),
    ("TypesManage", "os-types-manage"),
    ("UsedLimits", "os-used-limits"),
    ("VolumeActions", "os-volume-actions"),
    ("VolumeEncryptionMetadata", "os-volume-encryption-metadata"),
    ("VolumeHostAttribute", "os-vol-host-attr"),
    ("VolumeImageMetadata", "os-vol-image-meta"),
    ("VolumeMigStatusAttribute", "os-vol-mig-status-attr"),
    ("VolumeTenantAttribute", "os-vol-tenant-attr"),
];

pub async fn extensions(_: Cinder, _: Context) -> Result<Reply> {
    let one = |(name, alias): &(&str, &str)| json!({"name": name, "alias": alias, "description": name, "updated": "2016-01-01T00:00:00+00:00", "links": []});
    Reply::ok(&json!({"extensions": EXTENSIONS.iter().map(one).collect::<Vec<_>>()}))
}

pub async fn resource_filters(_: Cinder, _: Context, query: Query) -> Result<Reply> {
    let all = [
        ("volume", filters::KNOWN),
        ("snapshot", &["name", "status", "volume_id"][..]),
        ("attachment", &["volume_id", "instance_id", "status"][..]),
        ("pool", &[][..]),
    ];
    let wanted = |(resource, _): &&(&str, &[&str])| query.get("resource").is_none_or(|want| want == *resource);
    let rows: Vec<Value> = all.iter().filter(wanted).map(|(resource, filters)| json!({"resource": resource, "filters": filters})).collect();
    Reply::ok(&json!({"resource_filters": rows}))
}
