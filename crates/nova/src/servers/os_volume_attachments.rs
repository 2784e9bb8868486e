//! `/servers/{id}/os-volume_attachments`: volumes given to a server while it exists.

use std::time::Duration;

use kit::microversion::Microversion;
use kit::{Context, Error, Json, Path, Reply, Result, ids};
use rpc::compute::{AttachVolume, compute_topic};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, Set};
use serde_json::{Value, json};

use super::block_devices::{self, ActiveModel, Column, Entity, Model};
use super::create::{refuse_unavailable, reserve, volume_device};
use super::states::{VOLUMES, VOLUMES_DETACH};
use super::store;
use crate::conductor::detach::Detach;
use crate::{Nova, instance_actions, validate};

/// How long the host may take to attach.
const DEADLINE: Duration = Duration::from_secs(60);

fn view(ctx: &Context, row: &Model) -> Value {
    let mut view = json!({"id": row.volume_id, "serverId": row.instance_id, "volumeId": row.volume_id, "device": row.device_name});
    if ctx.speaks(Microversion(2, 70)) {
        view["tag"] = json!(row.tag);
    }
    if ctx.speaks(Microversion(2, 79)) {
        view["delete_on_termination"] = json!(row.delete_on_termination);
    }
    view
}

async fn find(app: &Nova, server: &str, volume: &str) -> Result<Option<Model>> {
    let rows = Entity::find().filter(Column::InstanceId.eq(server)).filter(Column::VolumeId.eq(volume));
    Ok(rows.one(app.db.read()).await?)
}

/// `GET /servers/{id}/os-volume_attachments`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let rows = Entity::find().filter(Column::InstanceId.eq(&server.id)).filter(Column::VolumeId.is_not_null());
    let rows = rows.order_by_asc(Column::Position).all(app.db.read()).await?;
    Reply::ok(&json!({"volumeAttachments": rows.iter().map(|row| view(&ctx, row)).collect::<Vec<_>>()}))
}

/// `GET /servers/{id}/os-volume_attachments/{volume}`
pub async fn show(app: Nova, ctx: Context, Path((id, volume)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let row = find(&app, &server.id, &volume).await?;
    let row = row.ok_or_else(|| Error::not_found(format!("Volume {volume} is not attached to instance {}.", server.id)))?;
    Reply::ok(&json!({"volumeAttachment": view(&ctx, &row)}))
}

/// `POST /servers/{id}/os-volume_attachments`: reserve, record, then the host attaches; what fails is taken back.
pub async fn create(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let wanted = validate::only(body.0, "volumeAttachment", ctx.strict)?;
    let text = |key: &str| wanted.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let volume_id = text("volumeId").and_then(|id| ids::parse_uuid(&id));
    let volume_id = volume_id.ok_or_else(|| Error::bad_request("Invalid input for field/attribute volumeId. It is not a 'uuid'"))?;
    let server = store::fetch(&app, &ctx, &id.0).await?;
    VOLUMES.check(&server, ctx.is_admin())?;
    let volume = sdk::found(app.cloud.volume.show(&ctx.auth(), &volume_id).await)?;
    let volume = volume.ok_or_else(|| Error::not_found(format!("Volume {volume_id} could not be found.")))?;
    if find(&app, &server.id, &volume_id).await?.is_some() {
        return Err(Error::bad_request(format!("Invalid volume: volume {volume_id} already attached")));
    }
    refuse_unavailable(&volume)?;
    let host = server.host.clone().ok_or_else(|| Error::conflict(format!("Instance {} is not ready", server.id)))?;
    let attachment = reserve(&app, &ctx, &volume_id, &server.id).await?;
    let mut device = volume_device(&volume_id);
    device.bdm_id = ids::uuid();
    device.device_name = text("device");
    device.tag = text("tag");
    device.attachment_id = Some(attachment.clone());
    device.delete_on_termination =
        wanted.get("delete_on_termination").map_or(Ok(false), |v| validate::boolean("delete_on_termination", v))?;
    let (row, context, instance) = (block_devices::row(&server.id, 1000, &device), ctx.clone(), server.id.clone());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                Entity::insert(row).exec_without_returning(tx).await?;
                instance_actions::begin(tx, &context, &instance, "attach_volume").await
            })
        })
        .await?;
    let message = AttachVolume { caller: ctx.caller(), instance_id: server.id.clone(), bdm_id: device.bdm_id.clone() };
    match app.bus.call(&compute_topic(&host), message, DEADLINE).await {
        Ok(name) => {
            let change = ActiveModel { device_name: Set(Some(name)), ..Default::default() };
            let bdm = device.bdm_id.clone();
            app.db
                .write(move |tx| {
                    Box::pin(async move {
                        Entity::update_many().set(change).filter(Column::Id.eq(bdm)).exec(tx).await?;
                        Ok(())
                    })
                })
                .await?;
        }
        Err(error) => {
            undo(&app, &ctx, &device.bdm_id, &attachment).await;
            return Err(error);
        }
    }
    let row = find(&app, &server.id, &volume_id).await?;
    let row = row.ok_or_else(|| Error::not_found(format!("Volume {volume_id} is not attached to instance {}.", server.id)))?;
    Reply::ok(&json!({"volumeAttachment": view(&ctx, &row)}))
}

async fn undo(app: &Nova, ctx: &Context, bdm: &str, attachment: &str) {
    let bdm = bdm.to_owned();
    let forgotten = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_by_id(bdm).exec(tx).await?;
                Ok(())
            })
        })
        .await;
    let freed = sdk::found(app.cloud.volume.delete_attachment(&ctx.auth(), attachment).await);
    if forgotten.is_err() || freed.is_err() {
        tracing::error!(attachment, "an attachment that failed was not wholly taken back");
    }
}

/// `DELETE /servers/{id}/os-volume_attachments/{volume}`
pub async fn delete(app: Nova, ctx: Context, Path((id, volume)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    VOLUMES_DETACH.check(&server, ctx.is_admin())?;
    let row = find(&app, &server.id, &volume).await?;
    let row = row.ok_or_else(|| Error::not_found(format!("Volume {volume} is not attached to instance {}.", server.id)))?;
    if row.boot_index == Some(0) {
        return Err(Error::forbidden("Cannot detach a root device volume"));
    }
    app.cloud.volume.begin_detaching(&ctx.auth(), &volume).await.map_err(|error| match error.status {
        400 | 409 => Error::bad_request(format!("Invalid volume: {}", error.message)),
        _ => Error::from(error),
    })?;
    let (nova, context, instance) = (app.clone(), ctx.clone(), server.id.clone());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                instance_actions::begin(tx, &context, &instance, "detach_volume").await?;
                let flow = Detach::new(context.caller(), &instance, &row.id);
                nova.flows()?.insert(tx, &instance, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow);
    Ok(Reply::empty(http::StatusCode::ACCEPTED))
}
