//! `os-volume_upload_image`: an image of what the volume holds. The image is there when 202 is said; its file follows.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use kit::flow::{Flow, Step};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::store::{self, Kind};
use super::{Change, Volume, encryption};
use crate::body::{text, truth};
use crate::keys::{self, Key};
use crate::messages::{self, Action};
use crate::microversions::UPLOAD_VISIBILITY;
use crate::{Cinder, hosts, types};

/// A volume may be large and glance slow.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
const FORMATS: &[&str] = &["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx"];

pub async fn upload(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let wish = Wish::read(&ctx, &body)?;
    let key = key_of_image(&app, &ctx, &volume, &wish).await?;
    let key_id = key.as_ref().map(|key| key.id.clone());
    let change = if truth(&body["force"]) == Some(true) { Change::UploadInUse } else { Change::Upload };
    let properties = store::metadata(app.db().read(), &volume.id, Kind::Image).await?;
    let id = volume.id.clone();
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                store::change_or_refuse(tx, &id, change).await?;
                match key {
                    Some(key) => keys::insert(tx, key).await,
                    None => Ok(()),
                }
            })
        })
        .await?;
    // the image is made in the user's name; without one nothing has begun
    let mut fields = wish.fields(&properties);
    if let Some(key) = &key_id {
        fields.insert(encryption::IMAGE_KEY.into(), json!(key));
        fields.insert(encryption::IMAGE_KEY_POLICY.into(), json!("on_image_deletion"));
        // the file has room for the keys, too
        fields.insert("min_disk".into(), json!(volume.size));
    }
    let image = match app.images().create(&ctx.auth(), &fields).await {
        Ok(image) => image,
        Err(error) => {
            store::turn(&app, &volume.id, Change::Uploaded).await?;
            forget(&app, key_id).await?;
            return Err(error.into());
        }
    };
    let flow = UploadVolume {
        caller: ctx.caller(),
        volume_id: volume.id.clone(),
        host: volume.host.clone(),
        image_id: image.id.clone(),
        disk_format: wish.disk_format.clone(),
        key_id,
    };
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                if let Some(key) = &flow.key_id {
                    keys::keep_for_image(tx, key, &flow.image_id).await?;
                }
                flows.insert(tx, &flow.volume_id, &flow).await
            })
        })
        .await?;
    // told as it is now: the flow may be over in a moment
    let volume = store::fetch(app.db().read(), &volume.id).await?;
    app.flows()?.start(&flow_id);
    let answer = answer(&app, &ctx, &volume, &wish, &image.id).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"os-volume_upload_image": answer}))
}

/// A key for the image of an encrypted volume, which is encrypted as well.
async fn key_of_image(app: &Cinder, ctx: &Context, volume: &Volume, wish: &Wish) -> Result<Option<Key>> {
    match &volume.encryption_key_id {
        None => Ok(None),
        Some(_) if wish.disk_format != "raw" => Err(Error::bad_request(format!(
            "Invalid disk format '{}': an encrypted volume can be uploaded as 'raw' only.",
            wish.disk_format
        ))),
        Some(id) => keys::copy(app.db().read(), id, ctx.project_id()?).await.map(Some),
    }
}

async fn forget(app: &Cinder, key_id: Option<String>) -> Result<()> {
    let Some(id) = key_id else { return Ok(()) };
    app.db().write(move |tx| Box::pin(async move { keys::remove(tx, &id).await })).await
}

/// What the image shall be.
struct Wish {
    image_name: String,
    disk_format: String,
    container_format: String,
    visibility: Option<String>,
    protected: bool,
}

impl Wish {
    fn read(ctx: &Context, body: &Value) -> Result<Wish> {
        let given = |key: &str| body[key].as_str().map(str::to_owned);
        let name = text("image_name", given("image_name"))?.filter(|name| !name.is_empty());
        let image_name = name.ok_or_else(|| Error::bad_request("No image_name was specified in request."))?;
        let disk_format = given("disk_format").unwrap_or_else(|| "raw".into());
        if !FORMATS.contains(&disk_format.as_str()) {
            return Err(Error::bad_request(format!("Invalid disk format '{disk_format}': it is none of {FORMATS:?}.")));
        }
        let container_format = given("container_format").unwrap_or_else(|| "bare".into());
        if container_format != "bare" {
            return Err(Error::bad_request(format!("Invalid container format '{container_format}': images of volumes are bare.")));
        }
        let newer = ctx.speaks(UPLOAD_VISIBILITY);
        let visibility = newer.then(|| given("visibility").unwrap_or_else(|| "private".into()));
        match visibility.as_deref() {
            None | Some("private" | "shared" | "community") => {}
            Some("public") => ctx.enforce("volume_extension:volume_actions:upload_public", &Target::new())?,
            Some(other) => return Err(Error::bad_request(format!("Invalid visibility '{other}'."))),
        }
        Ok(Wish { image_name, disk_format, container_format, visibility, protected: newer && truth(&body["protected"]) == Some(true) })
    }

    /// As glance wants them: what is known of the image the volume came from goes along.
    fn fields(&self, properties: &BTreeMap<String, String>) -> Map<String, Value> {
        const OWN: &[&str] = &["image_id", "image_name", "checksum", "container_format", "disk_format", "size", "min_disk", "min_ram"];
        let kept = properties
            .iter()
            .filter(|(key, _)| !OWN.contains(&key.as_str()) && !key.starts_with("os_hash") && *key != "signature_verified");
        let mut fields: Map<String, Value> = kept.map(|(key, value)| (key.clone(), json!(value))).collect();
        for (key, value) in
            [("name", json!(self.image_name)), ("disk_format", json!(self.disk_format)), ("container_format", json!(self.container_format))]
        {
            fields.insert(key.into(), value);
        }
        for key in ["min_disk", "min_ram"] {
            if let Some(least) = properties.get(key).and_then(|value| value.parse::<u64>().ok()) {
                fields.insert(key.into(), json!(least));
            }
        }
        if let Some(visibility) = &self.visibility {
            fields.insert("visibility".into(), json!(visibility));
            fields.insert("protected".into(), json!(self.protected));
        }
        fields
    }
}

async fn answer(app: &Cinder, ctx: &Context, volume: &Volume, wish: &Wish, image_id: &str) -> Result<Value> {
    let kind = types::store::fetch(app.db().read(), &volume.type_id).await?;
    let mut answer = json!({
        "id": volume.id, "updated_at": volume.updated_at.map(|at| at.to_micros()), "status": volume.status.text(),
        "display_description": volume.description, "size": volume.size, "volume_type": types::api::view(ctx, &kind), "image_id": image_id,
        "container_format": wish.container_format, "disk_format": wish.disk_format, "image_name": wish.image_name,
    });
    if let Some(visibility) = &wish.visibility {
        answer["visibility"] = json!(visibility);
        answer["protected"] = json!(wish.protected);
    }
    Ok(answer)
}

/// send -> announce
#[derive(Serialize, Deserialize)]
pub struct UploadVolume {
    caller: rpc::Caller,
    volume_id: String,
    host: Option<String>,
    image_id: String,
    disk_format: String,
    /// Of the image of an encrypted volume.
    #[serde(default)]
    key_id: Option<String>,
}

impl Flow for UploadVolume {
    type App = Cinder;
    const KIND: &'static str = "upload_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: send / give_up, announce]
    }
}

impl UploadVolume {
    async fn send(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::UploadVolume {
            caller: self.caller.clone(),
            volume_id: store::data_id(app, &self.volume_id).await?,
            image_id: self.image_id.clone(),
            disk_format: self.disk_format.clone(),
        };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    /// The volume is as it was, and the image that has no file goes.
    async fn give_up(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        store::turn(app, &self.volume_id, Change::Uploaded).await?;
        messages::tell(app, &self.caller, Action::CopyVolumeToImage, &self.volume_id, error).await;
        let gone = app.images().delete(&app.session().on_behalf(&self.caller).await?, &self.image_id).await;
        if let Err(error) = gone {
            tracing::warn!(image = self.image_id, %error, "an image without a file is left behind");
        }
        forget(app, self.key_id.clone()).await
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        store::turn(app, &self.volume_id, Change::Uploaded).await
    }
}
