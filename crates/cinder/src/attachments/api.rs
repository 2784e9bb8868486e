//! `/attachments`. A connector is kept before its host exports the volume, and the attachment goes after the export has ended, so that a
//! crash in between leaves something that can be repeated.

use std::time::Duration;

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::db::Json as DbJson;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result, Versioned, ids};
use rpc::volume::{InitializeConnection, TerminateConnection};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ActiveModel, Attachment, Column, Entity, store, view};
use crate::body::{Body, no_such_action};
use crate::messages::{self, Action};
use crate::microversions::ATTACHMENT_MODE;
use crate::page::{self, Sorts};
use crate::volumes::{AttachStatus, Status, Volume, api as volumes, store as volume_store};
use crate::{Cinder, hosts, qos, types};

/// How long a host may take to export a volume, or to end that.
const PATIENCE: Duration = Duration::from_secs(60);

const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("created_at", Column::CreatedAt),
    ("attach_status", Column::Status),
    ("volume_id", Column::VolumeId),
    ("instance_uuid", Column::InstanceId),
];

/// `POST /attachments`
#[derive(Deserialize, Versioned)]
pub struct NewAttachment {
    volume_uuid: String,
    instance_uuid: Option<String>,
    connector: Option<Value>,
    #[since(3.54)]
    mode: Option<String>,
}

impl Wrapper for NewAttachment {
    const KEY: &'static str = "attachment";
}

/// `PUT /attachments/{id}`
#[derive(Deserialize, Versioned)]
pub struct UpdateAttachment {
    connector: Value,
}

impl Wrapper for UpdateAttachment {
    const KEY: &'static str = "attachment";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewAttachment>) -> Result<Reply> {
    let volume = volumes::find(&app, &ctx, &body.volume_uuid).await?;
    if volume.multiattach && volume.bootable && volume.status == Status::InUse {
        ctx.enforce("volume:multiattach_bootable_volume", &Target::project(&volume.project_id))?;
    }
    let connector = body.connector.filter(|connector| connector.as_object().is_some_and(|object| !object.is_empty()));
    let asked =
        body.mode.as_deref().filter(|_| ctx.speaks(ATTACHMENT_MODE)).or_else(|| connector.as_ref().and_then(|c| c["mode"].as_str()));
    let mode = mode(&volume, asked)?;
    let id = ids::uuid();
    let row = ActiveModel {
        id: Set(id.clone()),
        volume_id: Set(volume.id.clone()),
        project_id: Set(volume.project_id.clone()),
        instance_id: Set(body.instance_uuid),
        host: Set(None),
        mountpoint: Set(None),
        status: Set(AttachStatus::Reserved),
        mode: Set(mode),
        connector: Set(None),
        connection_info: Set(None),
        created_at: Set(Timestamp::now()),
        attached_at: Set(None),
    };
    let volume_id = volume.id.clone();
    app.db().write(move |tx| Box::pin(async move { store::add(tx, &volume_id, row).await })).await?;
    let mut attachment = store::fetch(app.db().read(), &id).await?;
    if let Some(connector) = connector {
        attachment = connect(&app, &volume, attachment, connector).await?;
    }
    Reply::ok(&json!({"attachment": view::detail(&attachment)}))
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<UpdateAttachment>) -> Result<Reply> {
    let (attachment, volume) = find(&app, &ctx, &id).await?;
    if body.connector.as_object().is_none_or(|connector| connector.is_empty()) {
        return Err(Error::bad_request("Invalid input received: the connector must be an object and not empty."));
    }
    let attachment = match connect(&app, &volume, attachment, body.connector).await {
        Ok(attachment) => attachment,
        Err(error) => {
            messages::tell(&app, &ctx.caller(), Action::UpdateAttachment, &volume.id, &error).await;
            return Err(error);
        }
    };
    Reply::ok(&json!({"attachment": view::detail(&attachment)}))
}

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let (attachment, volume) = find(&app, &ctx, &id).await?;
    refuse_behind_nova(&app, &ctx, &attachment).await?;
    disconnect(&app, &volume, &attachment).await?;
    let left = store::of_volume(app.db().read(), &volume.id).await?;
    Reply::ok(&json!({"attachments": left.iter().map(view::brief).collect::<Vec<_>>()}))
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let (attachment, _) = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"attachment": view::detail(&attachment)}))
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    listed(&app, &ctx, &query, "/attachments", view::brief).await
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    listed(&app, &ctx, &query, "/attachments/detail", view::detail).await
}

/// `{"os-complete": {}}`: the server has the volume.
pub async fn action(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    if body.as_object().is_none_or(|body| body.len() != 1 || !body.contains_key("os-complete")) {
        return Err(no_such_action(&body));
    }
    let (attachment, _) = find(&app, &ctx, &id).await?;
    match attachment.status {
        AttachStatus::Attaching => store::update(&app, &attachment, store::attached()).await?,
        // said twice is said once
        AttachStatus::Attached => {}
        AttachStatus::Reserved | AttachStatus::Detached => {
            return Err(Error::bad_request(format!("Invalid input received: attachment {id} has no connector and cannot be completed.")));
        }
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Keeps the connector, has the host export the volume, keeps what it answers.
pub async fn connect(app: &Cinder, volume: &Volume, attachment: Attachment, connector: Value) -> Result<Attachment> {
    let text = |key: &str| connector[key].as_str().map(str::to_owned);
    let begun = match attachment.status {
        AttachStatus::Attached => AttachStatus::Attached,
        AttachStatus::Reserved | AttachStatus::Attaching | AttachStatus::Detached => AttachStatus::Attaching,
    };
    let row = ActiveModel {
        host: Set(text("host")),
        mountpoint: Set(text("mountpoint").or(attachment.mountpoint.clone())),
        status: Set(begun),
        connector: Set(Some(DbJson(connector.clone()))),
        ..Default::default()
    };
    store::update(app, &attachment, row).await?;
    let message = InitializeConnection {
        volume_id: volume.data_id().to_owned(),
        attachment_id: attachment.id.clone(),
        connector,
        readonly: attachment.mode == "ro",
    };
    let mut info = hosts::call(app, volume.host.as_deref(), message, PATIENCE).await?;
    let kind = types::store::fetch(app.db().read(), &volume.type_id).await?;
    info["data"]["qos_specs"] = json!(qos::of_front_end(app.db().read(), kind.qos_id.as_deref()).await?);
    let row = ActiveModel { connection_info: Set(Some(DbJson(info))), ..Default::default() };
    store::update(app, &attachment, row).await?;
    store::fetch(app.db().read(), &attachment.id).await
}

/// Ends the export, then the attachment.
pub async fn disconnect(app: &Cinder, volume: &Volume, attachment: &Attachment) -> Result<()> {
    if attachment.connector.is_some() {
        let message = TerminateConnection { volume_id: volume.data_id().to_owned(), attachment_id: attachment.id.clone() };
        hosts::call(app, volume.host.as_deref(), message, PATIENCE).await?;
    }
    let attachment = attachment.clone();
    app.db().write(move |tx| Box::pin(async move { store::remove(tx, &attachment).await })).await
}

/// `rw` or `ro`: as asked, but never more than the volume allows.
pub fn mode(volume: &Volume, asked: Option<&str>) -> Result<String> {
    match (asked, volume.readonly) {
        (Some("rw"), true) => Err(volume_store::invalid(format!("Volume {} is read-only and cannot be attached rw.", volume.id))),
        (Some("ro"), _) | (None, true) => Ok("ro".into()),
        (Some("rw") | None, false) => Ok("rw".into()),
        (Some(other), _) => Err(Error::bad_request(format!("Invalid attachment mode: {other}"))),
    }
}

/// What a server uses must be detached through compute, which knows whether the guest has let go (CVE-2023-2088). What compute knows nothing
/// of is nobody's any more.
pub async fn refuse_behind_nova(app: &Cinder, ctx: &Context, attachment: &Attachment) -> Result<()> {
    let of_service = |identity: &Option<std::sync::Arc<kit::context::Identity>>| identity.as_ref().is_some_and(|i| i.has_role("service"));
    let Some(server) = attachment.instance_id.as_ref().filter(|_| attachment.connector.is_some()) else { return Ok(()) };
    if of_service(&ctx.service) || of_service(&ctx.identity) {
        return Ok(());
    }
    let used = app.compute().server_volume(&ctx.auth(), server, &attachment.volume_id).await?;
    match used.is_some_and(|used| used.attachment_id.is_none_or(|id| id == attachment.id)) {
        true => Err(Error::conflict(format!("Detach volume from instance {server} using the Compute API"))),
        false => Ok(()),
    }
}

/// The attachment and its volume, where the route's rule lets the caller act on them.
async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<(Attachment, Volume)> {
    let attachment = store::fetch(app.db().read(), id).await?;
    let target = Target::project(&attachment.project_id);
    if !ctx.allows("volume:get", &target) {
        return Err(store::not_found(id));
    }
    ctx.enforce(ctx.rule, &target)?;
    let volume = volume_store::fetch(app.db().read(), &attachment.volume_id).await?;
    Ok((attachment, volume))
}

async fn listed(app: &Cinder, ctx: &Context, query: &Query, path: &str, show: fn(&Attachment) -> Value) -> Result<Reply> {
    let mut select = Entity::find();
    if !(query.flag("all_tenants") && ctx.is_service_or_admin()) {
        select = select.filter(Column::ProjectId.eq(ctx.project_id()?));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "volume_id" => select.filter(Column::VolumeId.eq(value)),
            "instance_id" | "instance_uuid" => select.filter(Column::InstanceId.eq(value)),
            "status" | "attach_status" => select.filter(Column::Status.eq(AttachStatus::parse(value))),
            "id" => select.filter(Column::Id.eq(value)),
            _ => select,
        };
    }
    let rows = page::fetch(app.db().read(), ctx, query, select, SORTS).await?;
    rows.map(|row| show(&row)).reply(ctx, query, path, "attachments", "attachments_links")
}
