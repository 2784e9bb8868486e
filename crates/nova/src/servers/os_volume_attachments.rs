//! `/servers/{id}/os-volume_attachments`: volumes given to a server while it exists.

use kit::call::{Wrapped, Wrapper};
use kit::collection::Page;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result, Versioned, ids};
use rpc::compute::BlockDevice;
use sdk::volume::Details;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::actions::accepted;
use super::begin::{self, host_of};
use super::block_devices::{self, ActiveModel, Column, Entity, Model};
use super::create::{refuse_multiattach, refuse_unavailable, volume_device};
use super::instance::Model as Server;
use super::states::VmState;
use super::states::rules::{VOLUMES, VOLUMES_DETACH, VOLUMES_DETACH_ON_A_HOST, VOLUMES_ON_A_HOST, VOLUMES_SWAP};
use super::store;
use crate::conductor::attach::Attach;
use crate::conductor::detach::{DETACHING, Detach};
use crate::conductor::swap::Swap;
use crate::microversions::{ATTACH_ACCEPTED, ATTACH_SHELVED, ATTACHMENT_ENDS, ATTACHMENT_IDS, ATTACHMENT_TAGS, ATTACHMENT_UPDATES, STRICT};
use crate::{Nova, validate};

/// What nova takes for the name of a device.
const DEVICE: &str = "(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$";

fn view(ctx: &Context, row: &Model) -> Value {
    let mut view = json!({"serverId": row.instance_id, "volumeId": row.volume_id});
    if let Some(device) = &row.device_name {
        view["device"] = json!(device);
    }
    if ctx.speaks(ATTACHMENT_IDS) {
        view["attachment_id"] = json!(row.attachment_id);
        view["bdm_uuid"] = json!(row.id);
    } else {
        view["id"] = json!(row.volume_id);
    }
    with_newer(ctx, row, view)
}

/// The attachment as its creation answers it, until 2.100: a change of 2.89 never came here.
fn view_created(ctx: &Context, row: &Model) -> Value {
    let view = json!({"id": row.volume_id, "serverId": row.instance_id, "volumeId": row.volume_id, "device": row.device_name});
    with_newer(ctx, row, view)
}

fn with_newer(ctx: &Context, row: &Model, mut view: Value) -> Value {
    if ctx.speaks(ATTACHMENT_TAGS) {
        view["tag"] = json!(row.tag);
    }
    if ctx.speaks(ATTACHMENT_ENDS) {
        view["delete_on_termination"] = json!(row.delete_on_termination);
    }
    view
}

async fn find(app: &Nova, server: &str, volume: &str) -> Result<Option<Model>> {
    let rows = Entity::find().filter(Column::InstanceId.eq(server)).filter(Column::VolumeId.eq(volume));
    Ok(rows.one(app.db.read()).await?)
}

/// `GET /servers/{id}/os-volume_attachments`
pub async fn list(app: Nova, ctx: Context, id: Path<String>, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["limit", "offset"])?;
    let page = Page::parse(&query, app.config.max_limit, app.config.max_limit)?;
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let rows = Entity::find().filter(Column::InstanceId.eq(&server.id)).filter(Column::VolumeId.is_not_null());
    let rows = rows.order_by_asc(Column::Position).offset(page.offset).limit(page.limit).all(app.db.read()).await?;
    Reply::ok(&json!({"volumeAttachments": rows.iter().map(|row| view(&ctx, row)).collect::<Vec<_>>()}))
}

/// `GET /servers/{id}/os-volume_attachments/{volume}`
pub async fn show(app: Nova, ctx: Context, Path((id, volume)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let row = find(&app, &server.id, &volume).await?;
    let row = row.ok_or_else(|| not_attached(&volume, &server.id))?;
    Reply::ok(&json!({"volumeAttachment": view(&ctx, &row)}))
}

/// The object under `volumeAttachment` of a new attachment.
#[derive(Deserialize, Serialize, Versioned)]
pub struct CreateAttachment {
    #[serde(rename = "volumeId")]
    pub volume_id: Option<String>,
    pub device: Option<Option<String>>,
    #[since(2.49)]
    pub tag: Option<String>,
    #[since(2.79)]
    pub delete_on_termination: Option<Value>,
}

impl Wrapper for CreateAttachment {
    const KEY: &'static str = "volumeAttachment";
    const EXACT: bool = true;
}

impl CreateAttachment {
    /// The volume, and the device as it is to be.
    fn read(self) -> Result<(String, BlockDevice)> {
        let missing = || Error::bad_request("Invalid input for field/attribute volumeAttachment. 'volumeId' is a required property");
        let volume = self.volume_id.ok_or_else(missing)?;
        let bad = || validate::invalid("volumeId", &volume, format!("'{volume}' is not a 'uuid'"));
        let volume = ids::parse_uuid(&volume).ok_or_else(bad)?;
        let mut device = volume_device(&volume);
        device.device_name = self.device.flatten().map(check_device).transpose()?;
        if let Some(tag) = self.tag {
            validate::tag("tag", &tag)?;
            device.tag = Some(tag);
        }
        device.delete_on_termination = self.delete_on_termination.map_or(Ok(false), |v| validate::boolean("delete_on_termination", &v))?;
        device.bdm_id = ids::uuid();
        Ok((volume, device))
    }
}

/// `/dev/vdb`, `/dev/sda1`
fn check_device(name: String) -> Result<String> {
    let letters = name.strip_prefix("/dev/").map(|plain| plain.trim_end_matches(|c: char| c.is_ascii_digit()));
    let good = letters.is_some_and(|letters| !letters.is_empty() && letters.chars().all(|c| c.is_ascii_lowercase()));
    if good { Ok(name) } else { Err(validate::invalid("device", &name, format!("'{name}' does not match '{DEVICE}'"))) }
}

/// `POST /servers/{id}/os-volume_attachments`: answered once the guest has the volume, or since 2.101 once nobody else can have it.
pub async fn create(app: Nova, ctx: Context, id: Path<String>, body: Wrapped<CreateAttachment>) -> Result<Reply> {
    let (volume_id, device) = body.inner.read()?;
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let rule = if ctx.speaks(ATTACH_SHELVED) { &VOLUMES } else { &VOLUMES_ON_A_HOST };
    rule.check(&server, ctx.is_admin())?;
    let volume = sdk::found(app.cloud.volume.show(&ctx.auth(), &volume_id).await)?;
    let volume = volume.ok_or_else(|| Error::not_found(format!("Volume {volume_id} could not be found.")))?;
    if find(&app, &server.id, &volume_id).await?.is_some() {
        return Err(Error::bad_request(format!("Invalid volume: volume {volume_id} already attached")));
    }
    refuse_multiattach(&ctx, &volume)?;
    refuse_unavailable(&volume)?;
    if server.host.is_none() && server.vm_state != VmState::ShelvedOffloaded.word() {
        return Err(Error::conflict(format!("Instance {} is not ready", server.id)));
    }
    let flow = Attach { caller: ctx.caller(), instance_id: server.id.clone(), volume_id: volume_id.clone(), device };
    let steps = if ctx.speaks(ATTACH_ACCEPTED) { Attach::RESERVED } else { usize::MAX };
    begin::reach(&app, &server.id, flow, steps).await?;
    if ctx.speaks(ATTACH_ACCEPTED) {
        return Ok(accepted());
    }
    let row = find(&app, &server.id, &volume_id).await?;
    let row = row.ok_or_else(|| not_attached(&volume_id, &server.id))?;
    Reply::ok(&json!({"volumeAttachment": view_created(&ctx, &row)}))
}

fn not_attached(volume: &str, server: &str) -> Error {
    Error::not_found(format!("Instance {server} is not attached to volume {volume}"))
}

/// `PUT /servers/{id}/os-volume_attachments/{volume}`: another volume in its place, or since 2.85 whether it ends with the server.
pub async fn update(app: Nova, ctx: Context, Path((id, volume)): Path<(String, String)>, body: Json<Value>) -> Result<Reply> {
    let wanted = validate::only(body.0, "volumeAttachment", ctx.strict)?;
    let more: &[&str] = if ctx.speaks(ATTACHMENT_UPDATES) {
        &["volumeId", "id", "serverId", "device", "tag", "delete_on_termination"]
    } else {
        &["volumeId"]
    };
    kit::microversion::unexpected(&wanted.keys().map(String::as_str).filter(|key| !more.contains(key)).collect::<Vec<_>>())?;
    let new = wanted.get("volumeId").and_then(Value::as_str).unwrap_or_default();
    let bad = || validate::invalid("volumeId", new, format!("'{new}' is not a 'uuid'"));
    let new = ids::parse_uuid(new).ok_or_else(bad)?;
    let server = store::fetch(&app, &ctx, &id).await?;
    let row = find(&app, &server.id, &volume).await?.ok_or_else(|| not_attached(&volume, &server.id))?;
    let swaps = new != volume || !ctx.speaks(ATTACHMENT_UPDATES);
    if swaps {
        ctx.enforce("os_compute_api:os-volumes-attachments:swap", &Target::project(&server.project_id))?;
    }
    if ctx.speaks(ATTACHMENT_UPDATES) {
        update_plain(&app, &wanted, &row).await?;
    }
    if swaps { swap(&app, &ctx, &server, row, &new).await } else { Ok(accepted()) }
}

/// Changes whether the volume ends with the server; what else an attachment shows may only be said as it is.
async fn update_plain(app: &Nova, wanted: &Map<String, Value>, row: &Model) -> Result<()> {
    let same = |key: &str, have: Option<&str>| match wanted.get(key) {
        Some(given) if given.as_str() != have => Err(Error::bad_request(format!("The {key} property is not mutable"))),
        _ => Ok(()),
    };
    same("id", row.volume_id.as_deref())?;
    same("serverId", Some(&row.instance_id))?;
    same("device", row.device_name.as_deref())?;
    same("tag", row.tag.as_deref())?;
    let Some(ends) = wanted.get("delete_on_termination") else { return Ok(()) };
    let ends = validate::boolean("delete_on_termination", ends)?;
    block_devices::change(app, &row.id, ActiveModel { delete_on_termination: Set(ends), ..Default::default() }).await
}

/// Begins to put a free volume in the place of one that is attached.
async fn swap(app: &Nova, ctx: &Context, server: &Server, row: Model, new: &str) -> Result<Reply> {
    VOLUMES_SWAP.check(server, ctx.is_admin())?;
    host_of(server)?;
    let auth = ctx.auth();
    let old = row.volume_id.clone().unwrap_or_default();
    let volume = sdk::found(app.cloud.volume.show(&auth, new).await)?;
    let volume = volume.ok_or_else(|| Error::bad_request(format!("Volume {new} could not be found.")))?;
    refuse_unavailable(&volume)?;
    let was = app.cloud.volume.show(&auth, &old).await?;
    if volume.size < was.size {
        return Err(Error::bad_request("Invalid volume: New volume must be the same size or larger."));
    }
    refuse_detaching(&was)?;
    begin::reach(app, &server.id, Swap::new(ctx.caller(), row, new), Swap::RESERVED).await?;
    Ok(accepted())
}

/// One that is about to go already cannot be taken away a second time.
fn refuse_detaching(volume: &Details) -> Result<()> {
    if volume.status != DETACHING {
        return Ok(());
    }
    let words = "Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach.";
    Err(Error::bad_request(format!("Invalid volume: {words}")))
}

/// `DELETE /servers/{id}/os-volume_attachments/{volume}`
pub async fn delete(app: Nova, ctx: Context, Path((id, volume)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let rule = if ctx.speaks(ATTACH_SHELVED) { &VOLUMES_DETACH } else { &VOLUMES_DETACH_ON_A_HOST };
    rule.check(&server, ctx.is_admin())?;
    let row = find(&app, &server.id, &volume).await?.ok_or_else(|| not_attached(&volume, &server.id))?;
    if row.boot_index == Some(0) {
        return Err(Error::bad_request("Cannot detach a root device volume"));
    }
    // a volume that is gone cannot be about to go
    if let Some(volume) = sdk::found(app.cloud.volume.show(&ctx.auth(), &volume).await)? {
        refuse_detaching(&volume)?;
    }
    begin::reach(&app, &server.id, Detach::new(ctx.caller(), &server.id, &row.id), Detach::BEGUN).await?;
    Ok(accepted())
}
