//! `/manageable_volumes` and `/os-volume-manage`, and the action `os-unmanage`.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::{Context, Error, Query, Reply, Result, Versioned, ids};
use sea_orm::EntityTrait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::flows::{ManageVolume, UnmanageVolume};
use super::page;
use crate::body::{Body, boolean, text};
use crate::messages::{self, Action};
use crate::volumes::store::{self, Kind};
use crate::volumes::{ActiveModel, AttachStatus, Change, Entity, Status, Volume, encryption, metadata, view};
use crate::{Cinder, attachments, hosts, quotas, services, snapshots, types};

pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub async fn list(app: Cinder, _: Context, query: Query) -> Result<Reply> {
    listed(app, query, false).await
}

pub async fn detail(app: Cinder, _: Context, query: Query) -> Result<Reply> {
    listed(app, query, true).await
}

/// `POST`: the reference is the storage's own name of the volume.
#[derive(Deserialize, Versioned)]
pub struct NewManaged {
    host: Option<String>,
    #[serde(rename = "ref")]
    reference: Value,
    name: Option<String>,
    description: Option<String>,
    volume_type: Option<String>,
    availability_zone: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "boolean")]
    bootable: Option<bool>,
    #[since(3.16)]
    cluster: Option<String>,
}

impl Wrapper for NewManaged {
    const KEY: &'static str = "volume";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewManaged>) -> Result<Reply> {
    if body.cluster.is_some() {
        return Err(Error::not_found("Cluster could not be found: the hosts of this cloud form none."));
    }
    let host = body.host.as_deref().and_then(|host| host.split('#').next()).unwrap_or_default().to_owned();
    let host = host_named(&app, &host).await?;
    let zone = match body.availability_zone {
        Some(zone) => zone,
        None => services::store::zone_of(&app, &host).await?,
    };
    let name = reference(&body.reference)?;
    let kind = types::store::find_for(app.db().read(), &ctx, body.volume_type.as_deref()).await?;
    let pairs = body.metadata.unwrap_or_default();
    metadata::check(&pairs)?;
    if types::encryption::of(app.db().read(), &kind.id).await?.is_some() {
        return Err(Error::bad_request(format!("Invalid volume type: {} is encrypted, and what is taken over is not.", kind.name)));
    }
    let volume = Volume {
        id: ids::uuid(),
        project_id: ctx.project_id()?.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        name: text("name", body.name)?,
        description: text("description", body.description)?,
        size: 0,
        status: Status::Managing,
        attach_status: AttachStatus::Detached,
        migration_status: None,
        bootable: body.bootable.unwrap_or(false),
        multiattach: kind.multiattach(),
        readonly: false,
        availability_zone: zone,
        host: Some(host.clone()),
        type_id: kind.id,
        snapshot_id: None,
        source_volid: None,
        group_id: None,
        encryption_key_id: None,
        name_id: None,
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let (flows, row) = (app.flows()?.clone(), volume.clone());
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                quotas::store::charge(tx, &row.project_id, &quotas::volume(0, &kind.name)).await?;
                let flow = ManageVolume { volume_id: row.id.clone(), host, name, size: 0 };
                Entity::insert(ActiveModel::from(row)).exec_without_returning(tx).await?;
                store::set_metadata(tx, &flow.volume_id, Kind::User, &pairs, true).await?;
                flows.insert(tx, &flow.volume_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Reply::json(StatusCode::ACCEPTED, &json!({"volume": view::changed(&app, &ctx, volume).await?}))
}

/// `os-unmanage`
pub async fn unmanage(app: Cinder, ctx: Context, volume: Volume, _: Value) -> Result<Reply> {
    if let Err(error) = encryption::refuse(&volume, "left behind without its key") {
        messages::tell(&app, &ctx.caller(), Action::UnmanageVolume, &volume.id, &error).await;
        return Err(error);
    }
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let volume = store::lock(tx, &volume.id).await?;
                if !attachments::store::of_volume(tx, &volume.id).await?.is_empty() {
                    return Err(store::invalid(format!("Volume {} is still attached, detach volume first.", volume.id)));
                }
                if !snapshots::store::of_volume(tx, &volume.id).await?.is_empty() {
                    return Err(store::invalid("Volume status must be available or error, and the volume without snapshots, to unmanage."));
                }
                store::change_or_refuse(tx, &volume.id, Change::Unmanage).await?;
                flows.insert(tx, &volume.id, &UnmanageVolume { volume_id: volume.id.clone(), host: volume.host }).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// What nobody manages, and what cinder does, which is not to be managed twice.
async fn listed(app: Cinder, query: Query, detailed: bool) -> Result<Reply> {
    let host = host_of(&app, &query).await?;
    let found = hosts::call(&app, Some(&host), rpc::volume::ListManageable {}, PATIENCE).await?;
    let mut rows: Vec<Value> = found
        .iter()
        .map(|one| {
            json!({
                "reference": {"source-name": one.name}, "size": one.size, "safe_to_manage": true, "reason_not_safe": null,
                "cinder_id": null, "extra_info": null,
            })
        })
        .collect();
    for volume in store::on_host(app.db().read(), &host).await? {
        rows.push(json!({
            "reference": {"source-name": format!("volume-{}", volume.data_id())}, "size": volume.size, "safe_to_manage": false,
            "reason_not_safe": "already managed", "cinder_id": volume.id, "extra_info": null,
        }));
    }
    Reply::ok(&json!({"manageable-volumes": page(rows, &query, detailed)?}))
}

/// The host whose storage a list is of.
pub async fn host_of(app: &Cinder, query: &Query) -> Result<String> {
    let host = query.get("host").ok_or_else(|| Error::bad_request("Host must be specified in query."))?;
    host_named(app, host.split('#').next().unwrap_or_default()).await
}

/// The storage's own name in a `ref`.
pub fn reference(reference: &Value) -> Result<String> {
    let name = reference["source-name"].as_str().or(reference["source-id"].as_str());
    let name = name.ok_or_else(|| Error::bad_request("The element 'source-name' or 'source-id' is required in 'ref'."))?;
    Ok(name.to_owned())
}

/// The host, if it keeps volumes and is alive.
pub async fn host_named(app: &Cinder, host: &str) -> Result<String> {
    let known = services::store::volume_hosts(app.db().read()).await?;
    let service = known.into_iter().find(|service| service.host == host);
    let service = service.ok_or_else(|| Error::bad_request(format!("Service {host} could not be found.")))?;
    match service.is_up() && !service.disabled {
        true => Ok(service.host),
        false => Err(Error::bad_request(format!("Service cinder-volume is unavailable at this time on {host}."))),
    }
}
