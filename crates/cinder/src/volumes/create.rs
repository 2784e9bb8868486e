//! Making a volume: what is checked and promised before 202. [`super::build`] is the flow that keeps the promise.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, Versioned, ids};
use rpc::volume::VolumeSource;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::Deserialize;
use serde_json::{Value, json};

use super::build::CreateVolume;
use super::source::Source;
use super::store::{self, Kind};
use super::{ActiveModel, AttachStatus, Column, Entity, Status, encryption, metadata, source, view};
use crate::body::{BodyAndHints, boolean, integer, text};
use crate::keys::{self, Key};
use crate::types::{self, VolumeType};
use crate::{Cinder, groups, quotas, services};

/// `POST /volumes`
#[derive(Deserialize, Versioned)]
pub struct NewVolume {
    #[serde(default, deserialize_with = "integer")]
    size: Option<i64>,
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    display_description: Option<String>,
    #[serde(rename = "imageRef")]
    pub(super) image_ref: Option<String>,
    pub(super) image_id: Option<String>,
    pub(super) snapshot_id: Option<String>,
    pub(super) source_volid: Option<String>,
    volume_type: Option<String>,
    availability_zone: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    #[until(3.49)]
    #[serde(default, deserialize_with = "boolean")]
    multiattach: Option<bool>,
    #[since(3.13)]
    group_id: Option<String>,
    consistencygroup_id: Option<String>,
    #[since(3.47)]
    pub(super) backup_id: Option<String>,
}

impl Wrapper for NewVolume {
    const KEY: &'static str = "volume";
    const BESIDE: &'static [&'static str] = &["OS-SCH-HNT:scheduler_hints"];
}

pub async fn create(app: Cinder, ctx: Context, BodyAndHints(body, hints): BodyAndHints<NewVolume>) -> Result<Reply> {
    let source = source::of(&app, &ctx, &body).await?;
    if matches!(source.from, VolumeSource::Image { .. }) {
        ctx.enforce("volume:create_from_image", &Target::project(ctx.project_id()?))?;
    }
    let size = source::size(body.size, &source)?;
    let pairs = body.metadata.clone().unwrap_or_default();
    metadata::check(&pairs)?;
    let kind = types::store::find_for(app.db().read(), &ctx, body.volume_type.as_deref().or(source.kind.as_deref())).await?;
    kind.check_size(size)?;
    let zone = zone(&app, body.availability_zone.clone(), &source, &kind).await?;
    let key = encryption::key_for(&app, ctx.project_id()?, &kind, &source.from, source.key.as_deref()).await?;
    let multiattach = kind.multiattach() || body.multiattach == Some(true);
    if multiattach {
        ctx.enforce("volume:multiattach", &Target::project(ctx.project_id()?))?;
    }
    if multiattach && key.is_some() {
        return Err(store::invalid("Multiattach cannot be used with encrypted volumes."));
    }
    let group = match body.group_id.as_ref().or(body.consistencygroup_id.as_ref()) {
        Some(group) => Some(group_for(&app, &ctx, group, &kind.id).await?),
        None => None,
    };
    let id = ids::uuid();
    let row = ActiveModel {
        id: Set(id.clone()),
        project_id: Set(ctx.project_id()?.to_owned()),
        user_id: Set(ctx.user_id()?.to_owned()),
        name: Set(text("name", body.name.or(body.display_name))?),
        description: Set(text("description", body.description.or(body.display_description))?),
        size: Set(size),
        status: Set(Status::Creating),
        attach_status: Set(AttachStatus::Detached),
        migration_status: Set(None),
        bootable: Set(source.bootable),
        multiattach: Set(multiattach),
        readonly: Set(false),
        availability_zone: Set(zone.clone()),
        host: Set(None),
        type_id: Set(kind.id.clone()),
        snapshot_id: Set(body.snapshot_id),
        source_volid: Set(body.source_volid),
        group_id: Set(group),
        encryption_key_id: Set(key.as_ref().map(|key| key.id.clone())),
        name_id: Set(None),
        created_at: Set(Timestamp::now()),
        updated_at: Set(None),
    };
    let flow = CreateVolume {
        caller: ctx.caller(),
        volume_id: id.clone(),
        size,
        zone,
        source: source.from,
        host: source.host,
        extra_specs: kind.extra_specs.0.clone(),
        together: hosts_of(&app, &hints["same_host"]).await?,
        apart: hosts_of(&app, &hints["different_host"]).await?,
        scheduled: false,
        attempts: 0,
        told: false,
    };
    promise(&app, &ctx, row, key, flow, &kind.name, (pairs, source.image)).await?;
    let volume = store::fetch(app.db().read(), &id).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"volume": view::changed(&app, &ctx, volume).await?}))
}

/// The row, its quota and the flow, in one transaction; then the flow begins.
async fn promise(
    app: &Cinder,
    ctx: &Context,
    row: ActiveModel,
    key: Option<Key>,
    flow: CreateVolume,
    type_name: &str,
    (pairs, image): (BTreeMap<String, String>, BTreeMap<String, String>),
) -> Result<()> {
    let (flows, project) = (app.flows()?.clone(), ctx.project_id()?.to_owned());
    let charges = quotas::volume(flow.size, type_name);
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                quotas::store::check_volume_size(tx, &project, flow.size).await?;
                quotas::store::charge(tx, &project, &charges).await?;
                Entity::insert(row).exec_without_returning(tx).await?;
                if let Some(key) = key {
                    keys::insert(tx, key).await?;
                }
                store::set_metadata(tx, &flow.volume_id, Kind::User, &pairs, true).await?;
                store::set_metadata(tx, &flow.volume_id, Kind::Image, &image, true).await?;
                flows.insert(tx, &flow.volume_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(())
}

/// Where it shall be: as asked, where its source is, where the type says, or where volumes are.
async fn zone(app: &Cinder, asked: Option<String>, source: &Source, kind: &VolumeType) -> Result<String> {
    if let Some(zone) = &asked {
        services::store::check_zone(app, zone).await?;
    }
    if asked.is_some() && source.zone.is_some() && asked != source.zone {
        return Err(Error::bad_request(format!(
            "Invalid input received: Volume must be in the same availability zone as the {}",
            source.word()
        )));
    }
    let wanted = asked.or_else(|| source.zone.clone());
    let Some(own) = kind.zones() else { return Ok(wanted.unwrap_or_else(|| app.zone().to_owned())) };
    let known = services::store::zones(app.db().read()).await?;
    let chosen = match wanted {
        Some(zone) => own.contains(&&*zone).then_some(zone),
        None => own.iter().find(|zone| known.contains(**zone)).map(|zone| (*zone).to_owned()),
    };
    let sentence = "Volume type is only supported in these availability zones";
    chosen.ok_or_else(|| Error::bad_request(format!("{sentence}: {}", own.join(", "))))
}

/// The group a volume may be born into.
async fn group_for(app: &Cinder, ctx: &Context, id: &str, type_id: &String) -> Result<String> {
    let group = groups::api::find_for(app, ctx, id, "group:get").await?;
    if group.status != groups::Status::Available {
        return Err(groups::store::invalid(format!("Group status must be available, but current status is: {}.", group.status.text())));
    }
    if !group.volume_types.0.contains(type_id) {
        return Err(Error::bad_request(format!("Invalid input received: the volume type is not one of the group {id}'s.")));
    }
    Ok(group.id)
}

/// Where the volumes of a scheduler hint are: an id, or a list of them.
async fn hosts_of(app: &Cinder, hint: &Value) -> Result<Vec<String>> {
    let ids: Vec<&str> = match hint {
        Value::String(id) => vec![id],
        Value::Array(ids) => ids.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(Vec::new()),
    };
    let volumes = Entity::find().filter(Column::Id.is_in(ids)).all(app.db().read()).await?;
    Ok(volumes.into_iter().filter_map(|volume| volume.host).collect())
}
