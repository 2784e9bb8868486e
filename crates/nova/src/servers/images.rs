//! `createImage` and `createBackup`: an image of a server's disk. The image is made at once, `queued`, so that the caller can watch it; its data
//! is the host's to upload.

use std::collections::BTreeMap;

use kit::policy::Target;
use kit::{Context, Error, Kind, Reply, Result};
use sdk::image::ImageInfo;
use serde_json::{Map, Value, json};

use super::actions::Action;
use super::begin;
use super::instance::{ActiveModel, Model};
use super::states::rules;
use super::store;
use crate::conductor::snapshot::{Rotation, Snapshot};
use crate::conductor::volume_snapshot;
use crate::microversions::IMAGE_ID_ANSWERED;
use crate::{Nova, quotas, validate};

/// Properties of the image a server was made from that its snapshots do not have.
const NOT_INHERITED: &[&str] = &["cache_in_nova", "bittorrent", "img_signature", "img_signature_hash_method", "img_signature_key_type"];

/// `{"createImage": {"name": "snap", "metadata": {}}}`
pub async fn create_image(action: Action) -> Result<Reply> {
    action.only(&["name", "metadata"])?;
    let name = validate::relaxed_name(action.ctx.strict, "name", action.text("name")?)?;
    let metadata = metadata(&action).await?;
    let Action { app, ctx, server, .. } = action;
    rules::CREATE_IMAGE.check(&server, ctx.is_admin())?;
    if store::boots_from_volume(app.db.read(), &server.id).await? {
        ctx.enforce("os_compute_api:servers:create_image:allow_volume_backed", &Target::project(&server.project_id))?;
        let image = volume_snapshot::create(&app, &ctx, &server, &name, &metadata).await?;
        crate::instance_actions::done(&app, &ctx, &server.id, rules::CREATE_IMAGE.record).await?;
        return answer(&app, &ctx, &image);
    }
    begin::host_of(&server)?;
    let image = new_image(&app, &ctx, &server, &name, &[("image_type", "snapshot")], &metadata).await?;
    let flow = Snapshot::new(ctx.caller(), &server.id, &image, None);
    begin_or_discard(&app, &ctx, server, &rules::CREATE_IMAGE, flow, &image).await?;
    answer(&app, &ctx, &image)
}

/// `{"createBackup": {"name": "b", "backup_type": "daily", "rotation": 3}}`
pub async fn create_backup(action: Action) -> Result<Reply> {
    action.only(&["name", "backup_type", "rotation", "metadata"])?;
    let name = validate::relaxed_name(action.ctx.strict, "name", action.text("name")?)?;
    let backup_type = action.text("backup_type")?.to_owned();
    let rotation = action.body.get("rotation").ok_or_else(|| action.required("rotation"))?;
    let keep = validate::integer("rotation", rotation, 0, i64::from(i32::MAX))?;
    let metadata = metadata(&action).await?;
    let Action { app, ctx, server, .. } = action;
    rules::CREATE_BACKUP.check(&server, ctx.is_admin())?;
    if store::boots_from_volume(app.db.read(), &server.id).await? {
        return Err(Error::bad_request(format!("Backup is not supported for volume-backed instances: instance {}.", server.id)));
    }
    begin::host_of(&server)?;
    let kind = [("image_type", "backup"), ("backup_type", backup_type.as_str())];
    let image = new_image(&app, &ctx, &server, &name, &kind, &metadata).await?;
    let rotation = Rotation { backup_type: backup_type.clone(), keep: usize::try_from(keep).unwrap_or(usize::MAX) };
    let flow = Snapshot::new(ctx.caller(), &server.id, &image, Some(rotation));
    begin_or_discard(&app, &ctx, server, &rules::CREATE_BACKUP, flow, &image).await?;
    // of no backup at all there is nothing to tell
    if keep == 0 { Ok(super::actions::accepted()) } else { answer(&app, &ctx, &image) }
}

async fn metadata(action: &Action) -> Result<BTreeMap<String, String>> {
    let given = action.body.get("metadata");
    let metadata = given.map_or(Ok(BTreeMap::new()), |given| validate::texts("metadata", given))?;
    validate::metadata("metadata", &metadata)?;
    let most = quotas::limits::of(action.app.db.read(), action.ctx.project_id()?, "metadata_items").await?;
    if most >= 0 && metadata.len() as i64 > most {
        return Err(Error::forbidden("Image property count exceeds quota."));
    }
    Ok(metadata)
}

/// Of an action that did not begin, no image is left.
async fn begin_or_discard(app: &Nova, ctx: &Context, server: Model, rule: &'static rules::Rule, flow: Snapshot, image: &str) -> Result<()> {
    let told = Some(json!({"snapshot_image_id": image}));
    let begun = begin::promise_with(app, ctx, server, rule, <ActiveModel as Default>::default(), flow, told).await;
    if begun.is_err() {
        discard(app, ctx, image).await;
    }
    begun
}

/// Deletes an image that will get no data.
pub async fn discard(app: &Nova, ctx: &Context, image: &str) {
    if let Err(error) = sdk::found(app.cloud.image.delete(&ctx.auth(), image).await) {
        tracing::warn!(image, %error, "an image that nobody fills was left");
    }
}

/// An image without data, in the caller's name.
pub async fn new_image(
    app: &Nova,
    ctx: &Context,
    server: &Model,
    name: &str,
    kind: &[(&str, &str)],
    metadata: &BTreeMap<String, String>,
) -> Result<String> {
    let mut fields = properties(server, kind);
    fields.extend(metadata.iter().map(|(key, value)| (key.clone(), json!(value))));
    fields.extend([
        ("name".to_owned(), json!(name)),
        ("visibility".to_owned(), json!("private")),
        ("disk_format".to_owned(), json!("qcow2")),
        ("container_format".to_owned(), json!("bare")),
        ("min_disk".to_owned(), json!(server.flavor.0.root_gb)),
    ]);
    Ok(make(app, ctx, &fields).await?.id)
}

/// What an image inherits from the server's own, and where it is from.
pub fn properties(server: &Model, kind: &[(&str, &str)]) -> Map<String, Value> {
    let own = server.spec.0.image_properties.iter().filter(|(key, _)| !NOT_INHERITED.contains(&key.as_str()));
    let mut fields: Map<String, Value> = own.map(|(key, value)| (key.clone(), json!(value))).collect();
    for left in ["block_device_mapping", "bdm_v2", "root_device_name"] {
        fields.remove(left);
    }
    let from =
        [("instance_uuid", server.id.as_str()), ("user_id", server.user_id.as_str()), ("owner_project_id", server.project_id.as_str())];
    fields.extend(from.iter().chain(kind).map(|(key, value)| ((*key).to_owned(), json!(value))));
    if let Some(base) = &server.image_id {
        fields.insert("base_image_ref".to_owned(), json!(base));
    }
    fields
}

/// Asks glance for an image.
pub async fn make(app: &Nova, ctx: &Context, fields: &Map<String, Value>) -> Result<ImageInfo> {
    app.cloud.image.create(&ctx.auth(), fields).await.map_err(|error| match error.status {
        0 => Error::new(Kind::Unavailable, "The image service does not answer.").source(error),
        413 => Error::forbidden(error.message),
        _ => Error::from(error),
    })
}

/// `Location` until 2.44, `{"image_id"}` since.
fn answer(app: &Nova, ctx: &Context, image: &str) -> Result<Reply> {
    if ctx.speaks(IMAGE_ID_ANSWERED) {
        return Reply::accepted(&json!({"image_id": image}));
    }
    let location = format!("{}/v2/images/{image}", app.cloud.image.0.public_url());
    Ok(super::actions::accepted().header("location", &location))
}
