//! `/manageable_snapshots` and `/os-snapshot-manage`, and the action `os-unmanage` of a snapshot.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Query, Reply, Result, Versioned, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{PATIENCE, host_of, reference};
use super::page;
use super::snapshot_flows::{ManageSnapshot, UnmanageSnapshot};
use crate::body::{Body, text};
use crate::snapshots::{self, ActiveModel, Change, Entity, Snapshot, Status, store, view};
use crate::volumes::{self, metadata};
use crate::{Cinder, hosts, quotas, types};

pub async fn list(app: Cinder, _: Context, query: Query) -> Result<Reply> {
    listed(app, query, false).await
}

pub async fn detail(app: Cinder, _: Context, query: Query) -> Result<Reply> {
    listed(app, query, true).await
}

/// `POST`: the reference is the storage's own name of the snapshot.
#[derive(Deserialize, Versioned)]
pub struct NewManaged {
    volume_id: String,
    #[serde(rename = "ref")]
    reference: Value,
    name: Option<String>,
    description: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
}

impl Wrapper for NewManaged {
    const KEY: &'static str = "snapshot";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewManaged>) -> Result<Reply> {
    let volume = volumes::api::find_for(&app, &ctx, &body.volume_id, "volume:get").await?;
    let reference = reference(&body.reference)?;
    let pairs = body.metadata.unwrap_or_default();
    metadata::check(&pairs)?;
    let snapshot = Snapshot {
        id: ids::uuid(),
        volume_id: volume.id.clone(),
        project_id: volume.project_id.clone(),
        user_id: ctx.user_id()?.to_owned(),
        name: text("name", body.name)?,
        description: text("description", body.description)?,
        size: volume.size,
        status: Status::Managing,
        metadata: DbJson(pairs),
        group_snapshot_id: None,
        progress: None,
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let answer = view::changed(&ctx, &snapshot)?;
    let (flows, type_id) = (app.flows()?.clone(), volume.type_id);
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let type_name = types::store::name(tx, &type_id).await?;
                quotas::store::charge(tx, &snapshot.project_id, &quotas::snapshot(snapshot.size, &type_name)).await?;
                let flow =
                    ManageSnapshot { snapshot_id: snapshot.id.clone(), volume_id: volume.id, host: volume.host, name: reference, size: 0 };
                Entity::insert(ActiveModel::from(snapshot)).exec_without_returning(tx).await?;
                flows.insert(tx, &flow.snapshot_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Reply::json(StatusCode::ACCEPTED, &json!({"snapshot": answer}))
}

/// `os-unmanage`
pub async fn unmanage(app: Cinder, snapshot: Snapshot) -> Result<Reply> {
    if let Some(group) = &snapshot.group_snapshot_id {
        return Err(Error::bad_request(format!("Invalid snapshot: Snapshot {} is part of the group snapshot {group}.", snapshot.id)));
    }
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                store::change_or_refuse(tx, &snapshot.id, Change::Unmanage).await?;
                let volume = volumes::store::fetch(tx, &snapshot.volume_id).await?;
                let type_name = types::store::name(tx, &volume.type_id).await?;
                let flow = UnmanageSnapshot { snapshot_id: snapshot.id, volume_id: volume.id, host: volume.host, type_name };
                flows.insert(tx, &flow.snapshot_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// What nobody manages, and what cinder does, which is not to be managed twice.
async fn listed(app: Cinder, query: Query, detailed: bool) -> Result<Reply> {
    let host = host_of(&app, &query).await?;
    let found = hosts::call(&app, Some(&host), rpc::volume::ListManageableSnapshots {}, PATIENCE).await?;
    let mut rows: Vec<Value> = found
        .iter()
        .map(|one| {
            json!({
                "reference": {"source-name": one.name}, "source_reference": {"source-name": format!("volume-{}", one.volume_id)},
                "size": one.size, "safe_to_manage": true, "reason_not_safe": null, "cinder_id": null, "extra_info": null,
            })
        })
        .collect();
    let volumes = volumes::store::on_host(app.db().read(), &host).await?;
    let ids: Vec<String> = volumes.into_iter().map(|volume| volume.id).collect();
    for snapshot in Entity::find().filter(snapshots::Column::VolumeId.is_in(ids)).all(app.db().read()).await? {
        rows.push(json!({
            "reference": {"source-name": format!("_snapshot-{}", snapshot.id)},
            "source_reference": {"source-name": format!("volume-{}", snapshot.volume_id)}, "size": snapshot.size,
            "safe_to_manage": false, "reason_not_safe": "already managed", "cinder_id": snapshot.id, "extra_info": null,
        }));
    }
    Reply::ok(&json!({"manageable-snapshots": page(rows, &query, detailed)?}))
}
