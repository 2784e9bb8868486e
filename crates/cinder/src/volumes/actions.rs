//! `POST /volumes/{id}/action`: the index of what can be done to a volume, each with its rule.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use http::StatusCode;
use kit::microversion::Microversion;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde_json::{Value, json};

use super::store::{self, Kind};
use super::{ActiveModel, Change, Status, Volume, api, delete, extend, metadata, migrate, reimage, reset, retype, revert, upload};
use crate::attachments::legacy;
use crate::manageable::api as manageable;
use crate::{Cinder, body};

type Run = fn(Cinder, Context, Volume, Value) -> BoxFuture<'static, Result<Reply>>;

/// One action.
pub struct Action {
    pub key: &'static str,
    pub rule: &'static str,
    pub since: Microversion,
    run: Run,
}

macro_rules! actions {
    ($($key:literal, $minor:literal, $rule:literal, $run:path;)+) => {
        &[$(Action { key: $key, rule: $rule, since: Microversion(3, $minor), run: |app, ctx, volume, body| Box::pin($run(app, ctx, volume, body)) }),+]
    };
}

/// Each with the minor version it began with.
pub const ACTIONS: &[Action] = actions! {
    "os-extend", 0, "volume:extend", extend::extend;
    "os-reserve", 0, "volume_extension:volume_actions:reserve", reserve;
    "os-unreserve", 0, "volume_extension:volume_actions:unreserve", unreserve;
    "os-begin_detaching", 0, "volume_extension:volume_actions:begin_detaching", begin_detaching;
    "os-roll_detaching", 0, "volume_extension:volume_actions:roll_detaching", roll_detaching;
    "os-attach", 0, "volume_extension:volume_actions:attach", legacy::attach;
    "os-detach", 0, "volume_extension:volume_actions:detach", legacy::detach;
    "os-force_detach", 0, "volume_extension:volume_admin_actions:force_detach", legacy::detach;
    "os-initialize_connection", 0, "volume_extension:volume_actions:initialize_connection", legacy::initialize;
    "os-terminate_connection", 0, "volume_extension:volume_actions:terminate_connection", legacy::terminate;
    "os-set_bootable", 0, "volume:update", set_bootable;
    "os-update_readonly_flag", 0, "volume:update_readonly_flag", set_readonly;
    "os-set_image_metadata", 0, "volume_extension:volume_image_metadata:set", set_image_metadata;
    "os-unset_image_metadata", 0, "volume_extension:volume_image_metadata:remove", unset_image_metadata;
    "os-show_image_metadata", 0, "volume_extension:volume_image_metadata:show", show_image_metadata;
    "os-volume_upload_image", 0, "volume_extension:volume_actions:upload_image", upload::upload;
    "os-retype", 0, "volume:retype", retype::retype;
    "revert", 40, "volume:revert_to_snapshot", revert::revert;
    "os-reimage", 68, "volume:reimage", reimage::reimage;
    "os-extend_volume_completion", 71, "volume_extension:volume_admin_actions:extend_volume_completion", extend::complete;
    "os-migrate_volume", 0, "volume_extension:volume_admin_actions:migrate_volume", migrate::migrate;
    "os-migrate_volume_completion", 0, "volume_extension:volume_admin_actions:migrate_volume_completion", migrate::complete;
    "os-unmanage", 0, "volume_extension:volume_unmanage", manageable::unmanage;
    "os-reset_status", 0, "volume_extension:volume_admin_actions:reset_status", reset::reset_status;
    "os-force_delete", 0, "volume_extension:volume_admin_actions:force_delete", force_delete;
};

pub async fn act(app: Cinder, ctx: Context, Path(id): Path<String>, Json(request): Json<Value>) -> Result<Reply> {
    let mut keys = request.as_object().into_iter().flatten();
    let (Some((key, fields)), None) = (keys.next(), keys.next()) else {
        return Err(Error::bad_request(
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ));
    };
    let action = ACTIONS.iter().find(|action| action.key == key && ctx.speaks(action.since));
    let action = action.ok_or_else(|| body::no_such_action(&request))?;
    let volume = api::find_for(&app, &ctx, &id, action.rule).await?;
    (action.run)(app, ctx, volume, fields.clone()).await
}

async fn reserve(app: Cinder, _: Context, volume: Volume, _: Value) -> Result<Reply> {
    if volume.multiattach && volume.status == Status::InUse {
        return accepted();
    }
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                if store::change(tx, &volume.id, Change::Reserve).await? {
                    return Ok(());
                }
                let status = store::fetch(tx, &volume.id).await?.status.text();
                let expected = if volume.multiattach { "available or in-use" } else { "available" };
                Err(store::invalid(format!("Volume status must be {expected} to reserve, but the status is {status}.")))
            })
        })
        .await?;
    accepted()
}

/// Back to what the attachments say, which with none is available.
async fn unreserve(app: Cinder, _: Context, volume: Volume, _: Value) -> Result<Reply> {
    let id = volume.id;
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                store::change(tx, &id, Change::Unreserve).await?;
                let volume = store::lock(tx, &id).await?;
                store::follow_attachments(tx, &volume).await
            })
        })
        .await?;
    accepted()
}

/// One that is on its way to another host is detached by compute on that way, which nobody is to see.
async fn begin_detaching(app: Cinder, _: Context, volume: Volume, _: Value) -> Result<Reply> {
    if migrate::is_migrating(&volume) {
        return accepted();
    }
    let begun = app.db().write(move |tx| Box::pin(async move { store::change(tx, &volume.id, Change::BeginDetaching).await })).await?;
    match begun {
        true => accepted(),
        false => {
            Err(store::invalid("Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach."))
        }
    }
}

/// What is not being detached stays as it is.
async fn roll_detaching(app: Cinder, _: Context, volume: Volume, _: Value) -> Result<Reply> {
    app.db().write(move |tx| Box::pin(async move { store::change(tx, &volume.id, Change::RollDetaching).await })).await?;
    accepted()
}

async fn set_bootable(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let bootable = flag(&body, "bootable")?;
    store::update(&app, &volume.id, ActiveModel { bootable: Set(bootable), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::OK))
}

async fn set_readonly(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let readonly = flag(&body, "readonly")?;
    if volume.status != Status::Available {
        return Err(store::invalid(format!(
            "Volume {} status must be available to update readonly flag, but current status is: {}.",
            volume.id,
            volume.status.text()
        )));
    }
    store::update(&app, &volume.id, ActiveModel { readonly: Set(readonly), ..Default::default() }).await?;
    metadata::write(&app, &volume.id, Kind::Admin, [("readonly".to_owned(), python(readonly).to_owned())].into(), false).await?;
    accepted()
}

async fn set_image_metadata(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let pairs: BTreeMap<String, String> = serde_json::from_value(body["metadata"].clone())
        .map_err(|_| Error::bad_request("Invalid input for field/attribute metadata. It is not an object of strings."))?;
    metadata::check(&pairs)?;
    metadata::write(&app, &volume.id, Kind::Image, pairs, false).await?;
    image_metadata(&app, &volume).await
}

async fn unset_image_metadata(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let key = body["key"].as_str().ok_or_else(|| Error::bad_request("The key cannot be None."))?;
    if !metadata::remove(&app, &volume.id, Kind::Image, key.to_owned()).await? {
        return Err(Error::not_found(format!("Volume {} has no glance metadata with key {key}.", volume.id)));
    }
    Ok(Reply::empty(StatusCode::OK))
}

async fn show_image_metadata(app: Cinder, _: Context, volume: Volume, _: Value) -> Result<Reply> {
    image_metadata(&app, &volume).await
}

async fn image_metadata(app: &Cinder, volume: &Volume) -> Result<Reply> {
    Reply::ok(&json!({"metadata": store::metadata(app.db().read(), &volume.id, Kind::Image).await?}))
}

async fn force_delete(app: Cinder, _: Context, volume: Volume, _: Value) -> Result<Reply> {
    delete::ask(&app, volume, true, false).await?;
    accepted()
}

fn accepted() -> Result<Reply> {
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

fn flag(request: &Value, key: &str) -> Result<bool> {
    let value = &request[key];
    body::truth(value)
        .ok_or_else(|| Error::bad_request(format!("Invalid input for field/attribute {key}. Value: {value}. It is not a boolean.")))
}

/// As cinder writes the flag into the metadata.
fn python(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
