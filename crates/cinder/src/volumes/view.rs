//! A volume as JSON.

use std::collections::{BTreeMap, HashMap};

use kit::microversion::At;
use kit::{Context, Result, Versioned};
use serde::Serialize;
use serde_json::{Value, json};

use super::store::{self, Kind};
use super::{AttachStatus, Volume};
use crate::policies::shows;
use crate::{Cinder, attachments, consistencygroups, groups, services, types};

/// `GET /volumes/{id}`; what only administrators see is absent for others.
#[derive(Serialize, Versioned)]
pub struct VolumeView {
    id: String,
    status: String,
    size: i64,
    availability_zone: String,
    created_at: String,
    updated_at: Option<String>,
    name: Option<String>,
    description: Option<String>,
    volume_type: Option<String>,
    #[since(3.63)]
    volume_type_id: String,
    snapshot_id: Option<String>,
    source_volid: Option<String>,
    metadata: BTreeMap<String, String>,
    links: Value,
    user_id: String,
    bootable: String,
    encrypted: bool,
    replication_status: Option<String>,
    consistencygroup_id: Option<String>,
    #[since(3.13)]
    group_id: Option<String>,
    #[since(3.64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_key_id: Option<String>,
    multiattach: bool,
    attachments: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    migration_status: Option<Option<String>>,
    #[serde(rename = "os-vol-tenant-attr:tenant_id", skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_image_metadata: Option<BTreeMap<String, String>>,
    #[since(3.48)]
    service_uuid: Option<String>,
    /// Before 3.69 a truth value, since then also unknown; a target of ours is never shared.
    #[since(3.48)]
    shared_targets: bool,
    #[since(3.65)]
    consumes_quota: bool,
    #[serde(rename = "os-vol-host-attr:host", skip_serializing_if = "Option::is_none")]
    host: Option<Option<String>>,
    #[serde(rename = "os-vol-mig-status-attr:migstat", skip_serializing_if = "Option::is_none")]
    migstat: Option<Option<String>>,
    #[serde(rename = "os-vol-mig-status-attr:name_id", skip_serializing_if = "Option::is_none")]
    name_id: Option<Option<String>>,
    #[since(3.21)]
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<Option<String>>,
    #[since(3.61)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<Option<String>>,
}

/// The links of a volume.
pub fn links(ctx: &Context, id: &str) -> Value {
    let path = format!("/volumes/{id}");
    json!([{"rel": "self", "href": ctx.link(&path)}, {"rel": "bookmark", "href": ctx.bookmark(&path)}])
}

/// `{id, name, links}`
pub fn brief(ctx: &Context, volume: &Volume) -> Value {
    json!({"id": volume.id, "name": volume.name, "links": links(ctx, &volume.id)})
}

/// One volume at the caller's version.
pub async fn one(app: &Cinder, ctx: &Context, volume: Volume) -> Result<Value> {
    Ok(many(app, ctx, vec![volume]).await?.pop().unwrap_or_default())
}

/// What changed a volume answers with: without what is about the storage, its owner, or the image.
pub async fn changed(app: &Cinder, ctx: &Context, volume: Volume) -> Result<Value> {
    let mut view = one(app, ctx, volume).await?;
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|key, _| !key.starts_with("os-vol-") && key != "volume_image_metadata");
    }
    Ok(view)
}

/// Volumes with what belongs to them, in a fixed number of queries.
pub async fn many(app: &Cinder, ctx: &Context, volumes: Vec<Volume>) -> Result<Vec<Value>> {
    let ids: Vec<String> = volumes.iter().map(|volume| volume.id.clone()).collect();
    let db = app.db().read();
    let mut pairs: HashMap<(String, bool), BTreeMap<String, String>> = HashMap::new();
    let mut rows = store::metadata_of(db, &ids).await?;
    // what cinder says comes last, over what the user says
    rows.sort_by_key(|pair| pair.kind == Kind::Admin.text());
    for pair in rows {
        pairs.entry((pair.volume_id, pair.kind == Kind::Image.text())).or_default().insert(pair.key, pair.value);
    }
    let mut uses: HashMap<String, Vec<Value>> = HashMap::new();
    for attachment in attachments::store::of_volumes(db, &ids).await? {
        if attachment.status == AttachStatus::Attached {
            uses.entry(attachment.volume_id.clone()).or_default().push(attachments::view::of_volume(ctx, &attachment));
        }
    }
    let consistent =
        groups::store::of_type(db, &consistencygroups::type_id(), volumes.iter().filter_map(|v| v.group_id.as_deref())).await?;
    let types = types::store::names(db).await?;
    let services = services::store::ids(db).await?;
    let sight = Sight::of(ctx);
    let view = |volume: Volume| {
        let view = VolumeView {
            metadata: pairs.remove(&(volume.id.clone(), false)).unwrap_or_default(),
            volume_image_metadata: pairs.remove(&(volume.id.clone(), true)),
            attachments: uses.remove(&volume.id).unwrap_or_default(),
            volume_type: types.get(&volume.type_id).cloned(),
            consistencygroup_id: volume.group_id.clone().filter(|id| consistent.contains(id)),
            service_uuid: volume.host.as_ref().and_then(|host| services.get(host)).cloned(),
            ..bare(ctx, &sight, volume)
        };
        Ok(serde_json::to_value(At(&view, ctx.version))?)
    };
    volumes.into_iter().map(view).collect()
}

/// What the caller may see of volumes beyond what everybody sees.
struct Sight {
    admin: bool,
    host: bool,
    migration: bool,
    tenant: bool,
}

impl Sight {
    fn of(ctx: &Context) -> Sight {
        Sight {
            admin: ctx.is_admin(),
            host: shows(ctx, "volume_extension:volume_host_attribute"),
            migration: shows(ctx, "volume_extension:volume_mig_status_attribute"),
            tenant: shows(ctx, "volume_extension:volume_tenant_attribute"),
        }
    }
}

/// What the row alone tells.
fn bare(ctx: &Context, sight: &Sight, volume: Volume) -> VolumeView {
    let admin = sight.admin;
    VolumeView {
        links: links(ctx, &volume.id),
        status: volume.status.shown().text(),
        size: volume.size,
        availability_zone: volume.availability_zone,
        created_at: volume.created_at.to_micros(),
        updated_at: volume.updated_at.map(|at| at.to_micros()),
        name: volume.name,
        description: volume.description,
        volume_type: None,
        volume_type_id: volume.type_id,
        snapshot_id: volume.snapshot_id,
        source_volid: volume.source_volid,
        metadata: BTreeMap::new(),
        user_id: volume.user_id,
        bootable: volume.bootable.to_string(),
        encrypted: volume.encryption_key_id.is_some(),
        replication_status: None,
        consistencygroup_id: None,
        group_id: volume.group_id,
        encryption_key_id: volume.encryption_key_id,
        multiattach: volume.multiattach,
        attachments: Vec::new(),
        migration_status: admin.then(|| volume.migration_status.clone()),
        tenant_id: sight.tenant.then_some(volume.project_id),
        volume_image_metadata: None,
        service_uuid: None,
        shared_targets: false,
        consumes_quota: true,
        // a backend is one pool of its own name
        host: sight.host.then(|| volume.host.map(|host| format!("{host}#{}", host.rsplit('@').next().unwrap_or_default()))),
        migstat: sight.migration.then_some(volume.migration_status),
        name_id: sight.migration.then_some(volume.name_id),
        provider_id: admin.then_some(None),
        cluster_name: admin.then_some(None),
        id: volume.id,
    }
}
