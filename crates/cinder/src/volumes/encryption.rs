//! A volume's encryption: which key a new volume gets, what is refused of an encrypted one, and `GET /volumes/{id}/encryption`.

use kit::{Context, Error, Path, Reply, Result};
use rpc::volume::VolumeSource;
use serde_json::{Value, json};

use super::{Volume, api, store};
use crate::Cinder;
use crate::keys::{self, Key};
use crate::types::{VolumeType, encryption};

/// What an image of an encrypted volume says of its key.
pub const IMAGE_KEY: &str = "cinder_encryption_key_id";
pub const IMAGE_KEY_POLICY: &str = "cinder_encryption_key_deletion_policy";

/// The key of a volume to be made of `source`, whose own key is `source_key`.
pub async fn key_for(
    app: &Cinder,
    project: &str,
    kind: &VolumeType,
    source: &VolumeSource,
    source_key: Option<&str>,
) -> Result<Option<Key>> {
    let wanted = encryption::of(app.db().read(), &kind.id).await?;
    match (source, wanted, source_key) {
        (_, None, None) => Ok(None),
        // a host reads a backup with the backup's key and writes the volume with its own
        (VolumeSource::Blank | VolumeSource::Image { .. }, Some(how), None) | (VolumeSource::Backup { .. }, Some(how), _) => {
            app.master_key().new_key(project, encryption::cipher(&how)?).map(Some)
        }
        (VolumeSource::Image { .. }, Some(_), Some(key)) => keys::copy_own(app.db().read(), key, project).await.map(Some),
        // what is below a copy has the source's passphrase, so the copy has it too
        (_, Some(_), Some(key)) => keys::copy(app.db().read(), key, project).await.map(Some),
        (_, None, Some(_)) | (_, Some(_), None) => Err(Error::bad_request(format!(
            "Invalid volume_type {} provided (requested type is not compatible; either match source volume, or omit type argument).",
            kind.name
        ))),
    }
}

/// 400 for what would take an encrypted volume's data into the clear.
pub fn refuse(volume: &Volume, what: &str) -> Result<()> {
    match volume.encryption_key_id {
        None => Ok(()),
        Some(_) => Err(store::invalid(format!("Volume {} is encrypted and cannot be {what}.", volume.id))),
    }
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    Reply::ok(&view(&app, &api::find(&app, &ctx, &id).await?).await?)
}

/// One of its fields.
pub async fn show_item(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let view = view(&app, &api::find(&app, &ctx, &id).await?).await?;
    Reply::ok(&json!({&key: view.get(&key)}))
}

async fn view(app: &Cinder, volume: &Volume) -> Result<Value> {
    let Some(key) = &volume.encryption_key_id else { return Ok(json!({})) };
    let how = encryption::of(app.db().read(), &volume.type_id).await?;
    Ok(how.map_or_else(
        || json!({"encryption_key_id": key}),
        |how| {
            json!({
                "encryption_key_id": key, "provider": how.provider, "cipher": how.cipher, "key_size": how.key_size,
                "control_location": how.control_location,
            })
        },
    ))
}
