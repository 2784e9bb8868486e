//! `/os-hosts`, `/capabilities`, and what there would be of clusters.

use std::collections::BTreeMap;

use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Model, store};
use crate::{Cinder, reconcile, snapshots, volumes};

pub async fn list(app: Cinder, _: Context) -> Result<Reply> {
    let view = |service: &Model| {
        json!({
            "host_name": service.host, "service": service.kind, "zone": service.availability_zone,
            "service-status": if service.is_up() { "available" } else { "unavailable" },
            "service-state": if service.disabled { "disabled" } else { "enabled" }, "last-update": service.seen_at.to_micros(),
        })
    };
    let services = store::all(app.db().read()).await?;
    Reply::ok(&json!({"hosts": services.iter().map(view).collect::<Vec<_>>()}))
}

/// What a host carries, in all and for each project.
pub async fn show(app: Cinder, _: Context, Path(host): Path<String>) -> Result<Reply> {
    let db = app.db().read();
    if !store::all(db).await?.iter().any(|service| service.host == host) {
        return Err(Error::not_found(format!("Compute host {host} could not be found.")));
    }
    let volumes = volumes::store::on_host(db, &host).await?;
    let ids: Vec<&String> = volumes.iter().map(|volume| &volume.id).collect();
    let kept = snapshots::Entity::find().filter(snapshots::Column::VolumeId.is_in(ids)).all(db).await?;
    let mut load: BTreeMap<&str, [i64; 4]> = BTreeMap::from([("", [0; 4])]);
    for volume in &volumes {
        for key in ["", &volume.project_id] {
            let sums = load.entry(key).or_default();
            (sums[0], sums[1]) = (sums[0] + 1, sums[1] + volume.size);
        }
    }
    for snapshot in &kept {
        for key in ["", &snapshot.project_id] {
            let sums = load.entry(key).or_default();
            (sums[2], sums[3]) = (sums[2] + 1, sums[3] + snapshot.size);
        }
    }
    let view = |(project, [count, size, snapshots, snapshot_size]): (&str, [i64; 4])| {
        let project = if project.is_empty() { "(total)" } else { project };
        json!({"resource": {
            "host": host, "project": project, "volume_count": count.to_string(), "total_volume_gb": size.to_string(),
            "snapshot_count": snapshots.to_string(), "total_snapshot_gb": snapshot_size.to_string(),
        }})
    };
    Reply::ok(&json!({"host": load.into_iter().map(view).collect::<Vec<Value>>()}))
}

/// What a backend can do, for the keys of extra specs.
pub async fn capabilities(app: Cinder, _: Context, Path(host): Path<String>) -> Result<Reply> {
    let host = host.split('#').next().unwrap_or_default();
    let service = store::volume_hosts(app.db().read()).await?.into_iter().find(|service| service.host == host);
    let service = service.ok_or_else(|| Error::not_found(format!("Service {host} could not be found.")))?;
    let has = |title: &str, has: bool| json!({"title": title, "description": title, "type": "boolean", "default": has});
    Reply::ok(&json!({
        "namespace": format!("OS::Storage::Capabilities::{host}"), "vendor_name": "Cumulo", "pool_name": null, "display_name": null,
        "volume_backend_name": service.backend(), "driver_version": env!("CARGO_PKG_VERSION"), "storage_protocol": service.protocol,
        "description": null, "visibility": null, "replication_targets": [],
        "properties": {
            "thin_provisioning": has("Thin Provisioning", true), "compression": has("Compression", false),
            "qos": has("QoS", false), "replication_enabled": has("Replication", false), "multiattach": has("Multiattach", true),
        },
    }))
}

/// The hosts of this cloud form no clusters.
pub async fn clusters(_: Cinder, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"clusters": []}))
}

pub async fn cluster(_: Cinder, _: Context, Path(name): Path<String>) -> Result<Reply> {
    Err(Error::not_found(format!("Cluster {name} could not be found.")))
}

/// `PUT /clusters/enable` and `disable`
pub async fn change_cluster(_: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    let name = body["name"].as_str().ok_or_else(|| Error::bad_request("Invalid input for field/attribute name. It is required."))?;
    Err(Error::not_found(format!("Cluster {name} could not be found.")))
}

/// `POST /workers/cleanup`: takes up at once what processes that died have left in the middle.
pub async fn clean_up(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    if !body.is_object() {
        return Err(Error::bad_request("Invalid input for field/attribute body. It is not of type 'object'"));
    }
    app.flows()?.take_over(false).await?;
    reconcile::stuck(&app).await?;
    Reply::json(http::StatusCode::ACCEPTED, &json!({"cleaning": [], "unavailable": []}))
}
