//! Attaching as it was before attachments were a resource: actions of the volume.

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result, ids};
use rpc::volume::{InitializeConnection, TerminateConnection};
use sea_orm::Set;
use serde_json::{Value, json};

use super::{ActiveModel, Attachment, api, store};
use crate::volumes::{AttachStatus, Change, Volume, store as volumes};
use crate::{Cinder, hosts};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// `os-attach`: it is attached already; cinder is told.
pub async fn attach(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    if text("mountpoint").is_none() {
        return Err(Error::bad_request("Invalid input for field/attribute os-attach. 'mountpoint' is a required property"));
    }
    let row = ActiveModel {
        id: Set(ids::uuid()),
        volume_id: Set(volume.id.clone()),
        project_id: Set(volume.project_id.clone()),
        instance_id: Set(text("instance_uuid")),
        host: Set(text("host_name")),
        mountpoint: Set(text("mountpoint")),
        status: Set(AttachStatus::Attached),
        mode: Set(api::mode(&volume, body["mode"].as_str())?),
        connector: Set(None),
        connection_info: Set(None),
        created_at: Set(Timestamp::now()),
        attached_at: Set(Some(Timestamp::now())),
    };
    let volume_id = volume.id.clone();
    app.db().write(move |tx| Box::pin(async move { store::add(tx, &volume_id, row).await })).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// `os-detach`, and `os-force_detach`: the attachment named, or the only one.
pub async fn detach(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let all = store::of_volume(app.db().read(), &volume.id).await?;
    let named = body["attachment_id"].as_str();
    let wanted: Vec<&Attachment> = all.iter().filter(|attachment| named.is_none_or(|id| attachment.id == id)).collect();
    match wanted.as_slice() {
        [attachment] => {
            api::refuse_behind_nova(&app, &ctx, attachment).await?;
            api::disconnect(&app, &volume, attachment).await?;
            app.db().write(move |tx| Box::pin(async move { volumes::finish(tx, &volume.id, Change::Detached).await })).await?;
        }
        // what is not attached is detached
        [] => {}
        _ => return Err(Error::bad_request("Invalid volume: Volume is attached more than once; name the attachment.")),
    }
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// `os-initialize_connection`: an export of the volume, known by the volume's own id.
pub async fn initialize(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let connector = body["connector"].clone();
    if !connector.is_object() {
        return Err(Error::bad_request("Invalid input for field/attribute connector. It is not of type 'object'"));
    }
    let (volume_id, readonly) = (volume.data_id().to_owned(), volume.readonly);
    let message = InitializeConnection { attachment_id: volume.id.clone(), volume_id, connector, readonly };
    let info = hosts::call(&app, volume.host.as_deref(), message, PATIENCE).await?;
    Reply::ok(&json!({"connection_info": info}))
}

/// `os-terminate_connection`
pub async fn terminate(app: Cinder, ctx: Context, volume: Volume, _: Value) -> Result<Reply> {
    for attachment in store::of_volume(app.db().read(), &volume.id).await? {
        api::refuse_behind_nova(&app, &ctx, &attachment).await?;
    }
    let message = TerminateConnection { attachment_id: volume.id.clone(), volume_id: volume.data_id().to_owned() };
    hosts::call(&app, volume.host.as_deref(), message, PATIENCE).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
