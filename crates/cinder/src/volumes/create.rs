//! Making a volume: what is checked and promised before 202, and the flow that keeps the promise.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::flow::{Flow, Step};
use kit::{Context, Error, Reply, Result, Versioned, ids};
use rpc::volume::VolumeSource;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::store::{self, Kind};
use super::{ActiveModel, AttachStatus, Change, Column, Entity, Status, Volume, encryption, metadata, view};
use crate::body::{BodyAndHints, boolean, integer, text};
use crate::keys::{self, Key};
use crate::messages::{self, Action};
use crate::scheduler::{self, Wish};
use crate::{Cinder, backups, groups, hosts, quotas, services, snapshots, types};

/// An image may be large and glance slow; a repeated message would find the first one's work.
const PATIENCE: Duration = Duration::from_secs(3600);

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
    image_ref: Option<String>,
    image_id: Option<String>,
    snapshot_id: Option<String>,
    source_volid: Option<String>,
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
    backup_id: Option<String>,
}

impl Wrapper for NewVolume {
    const KEY: &'static str = "volume";
    const BESIDE: &'static [&'static str] = &["OS-SCH-HNT:scheduler_hints"];
}

/// What it will be made from, and how large that is.
struct Source {
    from: VolumeSource,
    /// Where it must be made.
    host: Option<String>,
    least: i64,
    bootable: bool,
    image: BTreeMap<String, String>,
    /// The type of a volume that names none.
    kind: Option<String>,
    /// Of an encrypted volume.
    key: Option<String>,
}

pub async fn create(app: Cinder, ctx: Context, BodyAndHints(body, hints): BodyAndHints<NewVolume>) -> Result<Reply> {
    let source = source(&app, &ctx, &body).await?;
    let size = size(&body, &source)?;
    let pairs = body.metadata.clone().unwrap_or_default();
    metadata::check(&pairs)?;
    let zone = body.availability_zone.clone().unwrap_or_else(|| app.zone().to_owned());
    if !services::store::zones(app.db().read()).await?.contains(&zone) && zone != app.zone() {
        return Err(Error::bad_request(format!("Availability zone '{zone}' is invalid.")));
    }
    let kind = types::store::find_for(app.db().read(), &ctx, body.volume_type.as_deref().or(source.kind.as_deref())).await?;
    let key = encryption::key_for(&app, ctx.project_id()?, &kind, &source.from, source.key.as_deref()).await?;
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
        multiattach: Set(kind.multiattach() || body.multiattach == Some(true)),
        readonly: Set(false),
        availability_zone: Set(zone.clone()),
        host: Set(None),
        type_id: Set(kind.id.clone()),
        snapshot_id: Set(body.snapshot_id),
        source_volid: Set(body.source_volid),
        group_id: Set(group),
        encryption_key_id: Set(key.as_ref().map(|key| key.id.clone())),
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

/// Looks the source up in the caller's name, so that nobody copies what they may not read.
async fn source(app: &Cinder, ctx: &Context, body: &NewVolume) -> Result<Source> {
    let image_id = body.image_ref.as_ref().or(body.image_id.as_ref()).filter(|id| !id.is_empty());
    let given = [image_id.is_some(), body.snapshot_id.is_some(), body.source_volid.is_some(), body.backup_id.is_some()]
        .iter()
        .filter(|given| **given)
        .count();
    if given > 1 {
        return Err(Error::bad_request("Invalid input received: Only one of snapshot, source volume, image or backup can be given."));
    }
    if let Some(id) = &body.backup_id {
        return from_backup(app, ctx, id).await;
    }
    if let Some(id) = image_id {
        return from_image(app, ctx, id).await;
    }
    if let Some(id) = &body.snapshot_id {
        let snapshot = snapshots::api::find_for(app, ctx, id, "volume:get_snapshot").await?;
        if snapshot.status != snapshots::Status::Available {
            return Err(Error::bad_request("Invalid snapshot: Originating snapshot status must be available."));
        }
        let volume = store::fetch(app.db().read(), &snapshot.volume_id).await?;
        let from = VolumeSource::Snapshot { volume_id: snapshot.volume_id, snapshot_id: snapshot.id };
        return copy(app, volume, from, snapshot.size).await;
    }
    if let Some(id) = &body.source_volid {
        let volume = super::api::find_for(app, ctx, id, "volume:get").await?;
        if volume.status != Status::Available {
            return Err(store::invalid(format!(
                "Volume status must be available to be copied, but current status is: {}.",
                volume.status.text()
            )));
        }
        let (from, size) = (VolumeSource::Volume { volume_id: volume.id.clone() }, volume.size);
        return copy(app, volume, from, size).await;
    }
    Ok(Source { from: VolumeSource::Blank, host: None, least: 1, bootable: false, image: BTreeMap::new(), kind: None, key: None })
}

async fn from_backup(app: &Cinder, ctx: &Context, id: &str) -> Result<Source> {
    let backup = backups::api::find_for(app, ctx, id, "backup:restore").await?;
    if backup.status != backups::Status::Available {
        return Err(Error::bad_request(format!("Invalid backup: Backup {id} is not available: its status is {}.", backup.status.text())));
    }
    let from = VolumeSource::Backup { backup_id: backup.data_id().to_owned() };
    let about = backup.about.map(|about| about.0).unwrap_or_default();
    Ok(Source {
        from,
        // what is in a bucket can be brought anywhere
        host: backup.bucket.is_none().then_some(backup.host),
        least: backup.size,
        bootable: about.bootable,
        image: about.image_metadata,
        kind: about.type_id,
        key: backup.encryption_key_id,
    })
}

async fn copy(app: &Cinder, volume: Volume, from: VolumeSource, least: i64) -> Result<Source> {
    let image = store::metadata(app.db().read(), &volume.id, Kind::Image).await?;
    let (kind, key) = (Some(volume.type_id), volume.encryption_key_id);
    Ok(Source { from, host: volume.host, least, bootable: volume.bootable, image, kind, key })
}

/// GiB that a volume needs to hold an image that the caller may use, in place of what it holds.
pub async fn image_size(app: &Cinder, ctx: &Context, id: &str) -> Result<i64> {
    let source = from_image(app, ctx, id).await?;
    match source.key {
        None => Ok(source.least),
        Some(_) => Err(Error::bad_request(format!("Invalid input received: Image {id} is of an encrypted volume: make a new one of it."))),
    }
}

async fn from_image(app: &Cinder, ctx: &Context, id: &str) -> Result<Source> {
    let image = match app.images().show(&ctx.auth(), id).await {
        Ok(image) => image,
        Err(error) if error.status == 404 => {
            return Err(Error::bad_request(format!("Invalid image identifier or unable to access requested image: {id}")));
        }
        Err(error) => return Err(error.into()),
    };
    if image.status != "active" {
        return Err(Error::bad_request(format!("Invalid input received: Image {id} is not active.")));
    }
    let mut properties = image.properties();
    let key = properties.remove(encryption::IMAGE_KEY);
    let bytes = image.virtual_size.max(image.size).unwrap_or_default();
    // what was encrypted is larger than what is in it
    let of_file = if key.is_some() { 0 } else { bytes.div_ceil(1 << 30) };
    let least = of_file.max(image.min_disk).max(1);
    let kind = properties.remove("cinder_img_volume_type");
    let from = VolumeSource::Image { image_id: image.id };
    let least = i64::try_from(least).unwrap_or(i64::MAX);
    Ok(Source { from, host: None, least, bootable: true, image: BTreeMap::new(), kind, key })
}

fn size(body: &NewVolume, source: &Source) -> Result<i64> {
    let size = match (body.size, &source.from) {
        (Some(size), _) => size,
        (None, VolumeSource::Volume { .. } | VolumeSource::Snapshot { .. } | VolumeSource::Backup { .. }) => source.least,
        (None, VolumeSource::Blank | VolumeSource::Image { .. }) => {
            return Err(Error::bad_request("Invalid input received: Volume size must be an integer greater than 0."));
        }
    };
    if size < 1 {
        return Err(Error::bad_request(format!("Invalid input received: Volume size '{size}' must be an integer and greater than 0")));
    }
    if size < source.least {
        return Err(Error::bad_request(format!(
            "Invalid input received: Volume size '{size}'GB cannot be smaller than what it is made from, {}GB.",
            source.least
        )));
    }
    Ok(size)
}

/// schedule -> build -> announce
#[derive(Serialize, Deserialize)]
pub struct CreateVolume {
    caller: rpc::Caller,
    volume_id: String,
    size: i64,
    zone: String,
    source: VolumeSource,
    /// Where it is made, once that is known.
    host: Option<String>,
    #[serde(default)]
    extra_specs: BTreeMap<String, String>,
    #[serde(default)]
    together: Vec<String>,
    #[serde(default)]
    apart: Vec<String>,
    /// The user knows that it failed.
    #[serde(default)]
    told: bool,
}

impl Flow for CreateVolume {
    type App = Cinder;
    const KIND: &'static str = "create_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: schedule / fail, build / destroy, announce]
    }
}

impl CreateVolume {
    /// For a volume that is a copy of one on the same host.
    pub fn on_host(caller: rpc::Caller, volume: &Volume, source: VolumeSource) -> CreateVolume {
        CreateVolume {
            caller,
            volume_id: volume.id.clone(),
            size: volume.size,
            zone: volume.availability_zone.clone(),
            source,
            host: volume.host.clone(),
            extra_specs: BTreeMap::new(),
            together: Vec::new(),
            apart: Vec::new(),
            told: false,
        }
    }

    async fn schedule(&mut self, app: &Cinder) -> Result<()> {
        let (id, given) = (self.volume_id.clone(), self.host.clone());
        let image = matches!(self.source, VolumeSource::Image { .. });
        let (size, zone, specs) = (self.size, self.zone.clone(), self.extra_specs.clone());
        let (together, apart) = (self.together.clone(), self.apart.clone());
        // chosen and written down in one transaction: of two at once, the second sees what the first took
        let choice = app.db().write(move |tx| {
            Box::pin(async move {
                let host = match given {
                    Some(host) => host,
                    None => {
                        let wish = Wish { size, zone: &zone, extra_specs: &specs, together: &together, apart: &apart };
                        let (hosts, promised) = (services::store::volume_hosts(tx).await?, store::promised(tx).await?);
                        scheduler::choose(&hosts, |host| promised.get(host).copied().unwrap_or_default(), &wish)?.host.clone()
                    }
                };
                let row = ActiveModel { host: Set(Some(host.clone())), ..Default::default() };
                Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                if image {
                    store::change(tx, &id, Change::Download).await?;
                }
                Ok(host)
            })
        });
        self.host = Some(choice.await?);
        Ok(())
    }

    /// The volume stays, in error, until its owner deletes it.
    async fn fail(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        self.tell(app, error).await;
        store::turn(app, &self.volume_id, Change::CreateFailed).await
    }

    /// Once, however many steps are undone.
    async fn tell(&mut self, app: &Cinder, error: &Error) {
        let action = match (&self.host, &self.source) {
            (None, _) => Action::Schedule,
            (Some(_), VolumeSource::Image { .. }) => Action::CopyImageToVolume,
            (Some(_), _) => Action::CreateVolume,
        };
        if !std::mem::replace(&mut self.told, true) {
            messages::tell(app, &self.caller, action, &self.volume_id, error).await;
        }
    }

    async fn build(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::CreateVolume {
            caller: self.caller.clone(),
            volume_id: self.volume_id.clone(),
            size: self.size.unsigned_abs(),
            source: self.source.clone(),
        };
        let created = hosts::call(app, self.host.as_deref(), message, PATIENCE).await?;
        let image = image_pairs(&created.image_metadata);
        if !image.is_empty() {
            metadata::write(app, &self.volume_id, Kind::Image, image, true).await?;
        }
        Ok(())
    }

    /// Says so first: a host that is gone must not keep the owner waiting.
    async fn destroy(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        self.fail(app, error).await?;
        let message = rpc::volume::DeleteVolume { volume_id: self.volume_id.clone() };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    /// A volume that was deleted by force meanwhile leaves nothing behind.
    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        store::turn(app, &self.volume_id, Change::Created).await?;
        match store::find(app.db().read(), &self.volume_id).await? {
            Some(volume) if volume.status != Status::Deleting => Ok(()),
            _ => {
                let message = rpc::volume::DeleteVolume { volume_id: self.volume_id.clone() };
                hosts::call(app, self.host.as_deref(), message, PATIENCE).await
            }
        }
    }
}

/// `volume_image_metadata` as a host tells it.
pub fn image_pairs(metadata: &Value) -> BTreeMap<String, String> {
    let pairs = metadata.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
