//! `/os-services`, the pools, the zones, and what is said about the API itself.

use kit::clock::Timestamp;
use kit::{Context, Error, Json, Query, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::{ActiveModel, Column, Entity, Model, store};
use crate::capabilities::satisfies;
use crate::microversions::{BACKEND_STATE, CLUSTERS, POOL_FILTERS};
use crate::volumes::{filters, store as volumes};
use crate::{Cinder, types};

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let wanted = |service: &&Model| {
        let is = |key: &str, have: &str| query.get(key).is_none_or(|want| want == have);
        let host = query.get("host").is_none_or(|host| host == service.host || service.host.split('@').next() == Some(host));
        host && is("binary", &service.kind)
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
        view["frozen"] = json!(service.frozen);
        if ctx.speaks(BACKEND_STATE) {
            view["backend_state"] = json!(if service.is_up() { "up" } else { "down" });
        }
    }
    if ctx.speaks(CLUSTERS) {
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
pub async fn pools(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let promised = volumes::promised(app.db().read()).await?;
    let name = |service: &Model| format!("{}#{}", service.host, service.backend());
    let mut hosts = store::volume_hosts(app.db().read()).await?;
    if let Some(wanted) = query.get("name").filter(|_| ctx.speaks(POOL_FILTERS)) {
        hosts.retain(|service| name(service) == wanted);
    }
    if let Some(wanted) = query.get("volume_type").filter(|_| ctx.speaks(POOL_FILTERS)) {
        let kind = types::store::find(app.db().read(), &ctx, wanted).await?;
        hosts.retain(|service| satisfies(service, &kind.extra_specs.0));
    }
    let pool = |service: &Model| match query.flag("detail") {
        true => json!({"name": name(service), "capabilities": capabilities(service, promised.get(&service.host).copied())}),
        false => json!({"name": name(service)}),
    };
    Reply::ok(&json!({"pools": hosts.iter().map(pool).collect::<Vec<_>>()}))
}

fn capabilities(service: &Model, promised: Option<i64>) -> Value {
    json!({
        "total_capacity_gb": service.total_gb, "free_capacity_gb": service.free_gb, "reserved_percentage": service.reserved(),
        "allocated_capacity_gb": promised.unwrap_or_default(), "provisioned_capacity_gb": promised.unwrap_or_default(),
        "max_over_subscription_ratio": format!("{:.1}", service.oversubscription()), "thin_provisioning_support": true, "thick_provisioning_support": false,
        "volume_backend_name": service.backend(), "storage_protocol": service.protocol, "vendor_name": "Cumulo",
        "driver_version": env!("CARGO_PKG_VERSION"), "pool_name": service.backend(), "multiattach": true, "QoS_support": false,
        "backend_state": if service.is_up() { "up" } else { "down" }, "timestamp": service.seen_at.to_micros(),
    })
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
    ("Backups", "backups"),
    ("Capabilities", "capabilities"),
    ("Cgsnapshots", "cgsnapshots"),
    ("Consistencygroups", "consistencygroups"),
    ("ExtendedServices", "os-extended-services"),
    ("ExtendedSnapshotAttributes", "os-extended-snapshot-attributes"),
    ("QuotaClasses", "os-quota-class-sets"),
    ("Hosts", "os-hosts"),
    ("Qos_specs_manage", "qos-specs"),
    ("Quotas", "os-quota-sets"),
    ("SchedulerHints", "OS-SCH-HNT"),
    ("SchedulerStats", "scheduler-stats"),
    ("SnapshotActions", "os-snapshot-actions"),
    ("SnapshotManage", "os-snapshot-manage"),
    ("SnapshotUnmanage", "os-snapshot-unmanage"),
    ("Services", "os-services"),
    ("TypesExtraSpecs", "os-types-extra-specs"),
    ("TypesManage", "os-types-manage"),
    ("UsedLimits", "os-used-limits"),
    ("VolumeActions", "os-volume-actions"),
    ("VolumeManage", "os-volume-manage"),
    ("VolumeTransfer", "os-volume-transfer"),
    ("VolumeTypeAccess", "os-volume-type-access"),
    ("VolumeUnmanage", "os-volume-unmanage"),
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
        ("snapshot", &["name", "status", "volume_id", "metadata", "availability_zone", "created_at", "updated_at", "consumes_quota"][..]),
        ("backup", &["name", "status", "volume_id", "created_at", "updated_at"][..]),
        ("group", &["name", "status", "availability_zone", "group_type"][..]),
        ("group_snapshot", &["name", "status", "group_id"][..]),
        ("attachment", &["volume_id", "instance_id", "status", "attach_status"][..]),
        ("message", &["resource_uuid", "resource_type", "event_id", "request_id", "message_level"][..]),
        ("pool", &["name", "volume_type"][..]),
        ("volume_type", &["is_public", "extra_specs"][..]),
    ];
    let wanted = |(resource, _): &&(&str, &[&str])| query.get("resource").is_none_or(|want| want == *resource);
    let rows: Vec<Value> = all.iter().filter(wanted).map(|(resource, filters)| json!({"resource": resource, "filters": filters})).collect();
    Reply::ok(&json!({"resource_filters": rows}))
}
