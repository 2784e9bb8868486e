//! Making a volume: what is checked and promised before 202, and the flow that keeps the promise.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::flow::{Flow, Step};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, Versioned, ids};
use rpc::volume::VolumeSource;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::source::Source;
use super::store::{self, Kind};
use super::{ActiveModel, AttachStatus, Change, Column, Entity, Status, Volume, encryption, metadata, source, view};
use crate::body::{BodyAndHints, boolean, integer, text};
use crate::keys::{self, Key};
use crate::messages::{self, Action};
use crate::scheduler::{self, Wish};
use crate::types::{self, VolumeType};
use crate::{Cinder, groups, hosts, quotas, services};

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
