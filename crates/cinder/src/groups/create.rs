//! Making a group: empty, or of the volumes of another group or of a group's snapshot.

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::{Context, Error, Reply, Result, Versioned, ids};
use rpc::volume::VolumeSource;
use sea_orm::EntityTrait;
use serde::Deserialize;
use serde_json::json;

use super::flows::MakeGroup;
use super::{ActiveModel, Entity, Group, Status, api, store, view};
use crate::body::{Body, text};
use crate::volumes::build::CreateVolume;
use crate::volumes::store::Kind;
use crate::volumes::{self, Volume};
use crate::{Cinder, group_snapshots, group_types, keys, quotas, services, types};

/// `POST /groups`
#[derive(Deserialize, Versioned)]
pub struct NewGroup {
    pub name: Option<String>,
    pub description: Option<String>,
    pub group_type: String,
    pub volume_types: Vec<String>,
    pub availability_zone: Option<String>,
}

impl Wrapper for NewGroup {
    const KEY: &'static str = "group";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewGroup>) -> Result<Reply> {
    let group = make(&app, &ctx, body).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"group": view::brief(&group)}))
}

/// An empty group.
pub async fn make(app: &Cinder, ctx: &Context, body: NewGroup) -> Result<Group> {
    let kind = group_types::find(app.db().read(), &body.group_type).await?;
    if body.volume_types.is_empty() {
        return Err(Error::bad_request("Invalid input for field/attribute volume_types. [] is too short"));
    }
    let mut volume_types = Vec::new();
    for name in &body.volume_types {
        let found = types::store::find(app.db().read(), ctx, name).await?.id;
        if !volume_types.contains(&found) {
            volume_types.push(found);
        }
    }
    let availability_zone = body.availability_zone.unwrap_or_else(|| app.zone().to_owned());
    services::store::check_zone(app, &availability_zone).await?;
    let group = Group {
        id: ids::uuid(),
        project_id: ctx.project_id()?.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        name: text("name", body.name)?,
        description: text("description", body.description)?,
        type_id: kind.id,
        volume_types: DbJson(volume_types),
        availability_zone,
        // nothing on any host has to be made for it
        status: Status::Available,
        group_snapshot_id: None,
        source_group_id: None,
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let made = group.clone();
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                quotas::store::charge(tx, &group.project_id, &quotas::group()).await?;
                Entity::insert(ActiveModel::from(group)).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(made)
}

/// `POST /groups/action`
#[derive(Deserialize, Versioned)]
pub struct FromSource {
    pub name: Option<String>,
    pub description: Option<String>,
    pub group_snapshot_id: Option<String>,
    pub source_group_id: Option<String>,
}

impl Wrapper for FromSource {
    const KEY: &'static str = "create-from-src";
}

/// A volume to be, and what of.
type Copy = (Volume, VolumeSource);

pub async fn create_from_source(app: Cinder, ctx: Context, Body(body): Body<FromSource>) -> Result<Reply> {
    let group = copy(&app, &ctx, body).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"group": view::brief(&group)}))
}

/// A group with copies of what another group, or a group's snapshot, holds.
pub async fn copy(app: &Cinder, ctx: &Context, body: FromSource) -> Result<Group> {
    let (origin, copies) = match (&body.group_snapshot_id, &body.source_group_id) {
        (Some(snapshot), None) => of_snapshot(app, ctx, snapshot).await?,
        (None, Some(group)) => of_group(app, ctx, group).await?,
        (Some(_), Some(_)) => return Err(Error::bad_request("Both 'group_snapshot_id' and 'source_group_id' cannot be provided.")),
        (None, None) => return Err(Error::bad_request("Either 'group_snapshot_id' or 'source_group_id' must be provided.")),
    };
    if copies.is_empty() {
        return Err(store::invalid("Source Group is empty. No group will be created."));
    }
    let group = Group {
        id: ids::uuid(),
        project_id: ctx.project_id()?.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        name: text("name", body.name)?,
        description: text("description", body.description)?,
        status: Status::Creating,
        group_snapshot_id: body.group_snapshot_id,
        source_group_id: body.source_group_id,
        created_at: Timestamp::now(),
        updated_at: None,
        ..origin
    };
    promise(app, ctx, group.clone(), copies).await?;
    Ok(group)
}

async fn of_snapshot(app: &Cinder, ctx: &Context, id: &str) -> Result<(Group, Vec<Copy>)> {
    let whole = group_snapshots::api::find_for(app, ctx, id, "group:get_group_snapshot").await?;
    if whole.status != Status::Available {
        return Err(Error::bad_request(format!("Invalid GroupSnapshot: it must be available, but is {}.", whole.status.text())));
    }
    let mut copies = Vec::new();
    for snapshot in group_snapshots::store::snapshots_of(app.db().read(), id).await? {
        let volume = volumes::store::fetch(app.db().read(), &snapshot.volume_id).await?;
        let source = VolumeSource::Snapshot { volume_id: volume.data_id().to_owned(), snapshot_id: snapshot.id.clone() };
        copies.push((Volume { size: snapshot.size, snapshot_id: Some(snapshot.id), source_volid: None, ..volume }, source));
    }
    Ok((store::fetch(app.db().read(), &whole.group_id).await?, copies))
}

async fn of_group(app: &Cinder, ctx: &Context, id: &str) -> Result<(Group, Vec<Copy>)> {
    let group = api::find_for(app, ctx, id, "group:get").await?;
    let copy = |volume: Volume| {
        let source = VolumeSource::Volume { volume_id: volume.data_id().to_owned() };
        (Volume { source_volid: Some(volume.id.clone()), snapshot_id: None, ..volume }, source)
    };
    let volumes = store::volumes_of(app.db().read(), id).await?;
    if let Some(busy) = volumes.iter().find(|volume| volume.status != volumes::Status::Available) {
        return Err(store::invalid(format!("Volume {} of the group must be available, but is {}.", busy.id, busy.status.text())));
    }
    Ok((group, volumes.into_iter().map(copy).collect()))
}

/// The group, its volumes, their quota and a flow for each, and one that waits for all of them.
async fn promise(app: &Cinder, ctx: &Context, group: Group, copies: Vec<Copy>) -> Result<()> {
    let (flows, caller) = (app.flows()?.clone(), ctx.caller());
    let started = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                quotas::store::charge(tx, &group.project_id, &quotas::group()).await?;
                let mut started = vec![flows.insert(tx, &group.id, &MakeGroup { group_id: group.id.clone() }).await?];
                for (model, source) in copies {
                    let image = volumes::store::metadata(tx, source_id(&model), Kind::Image).await?;
                    let key = match &model.encryption_key_id {
                        Some(key) => Some(keys::copy(tx, key, &group.project_id).await?),
                        None => None,
                    };
                    let volume = Volume {
                        id: ids::uuid(),
                        encryption_key_id: key.as_ref().map(|key| key.id.clone()),
                        project_id: group.project_id.clone(),
                        user_id: group.user_id.clone(),
                        status: volumes::Status::Creating,
                        attach_status: volumes::AttachStatus::Detached,
                        migration_status: None,
                        name_id: None,
                        group_id: Some(group.id.clone()),
                        created_at: Timestamp::now(),
                        updated_at: None,
                        ..model
                    };
                    if let Some(key) = key {
                        keys::insert(tx, key).await?;
                    }
                    let type_name = types::store::name(tx, &volume.type_id).await?;
                    quotas::store::charge(tx, &group.project_id, &quotas::volume(volume.size, &type_name)).await?;
                    let flow = CreateVolume::on_host(caller.clone(), &volume, source);
                    volumes::store::set_metadata(tx, &volume.id, Kind::Image, &image, true).await?;
                    started.push(flows.insert(tx, &volume.id, &flow).await?);
                    volumes::Entity::insert(volumes::ActiveModel::from(volume)).exec_without_returning(tx).await?;
                }
                Entity::insert(ActiveModel::from(group)).exec_without_returning(tx).await?;
                Ok(started)
            })
        })
        .await?;
    for flow in &started {
        app.flows()?.start(flow);
    }
    Ok(())
}

/// The volume that a copy is of; of a snapshot, the model itself is that volume.
fn source_id(model: &Volume) -> &str {
    model.source_volid.as_deref().unwrap_or(&model.id)
}
