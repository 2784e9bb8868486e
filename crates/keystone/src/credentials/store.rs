//! Queries on credentials, and their sealing.

use kit::db::is_duplicate;
use kit::{Error, Result};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};
use sha2::{Digest, Sha256};

use super::{Column, Entity, Model, totp};
use crate::{Keystone, fault};

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("credential", id))
}

pub async fn insert(tx: &DatabaseTransaction, credential: Model) -> Result<Model> {
    let id = credential.id.clone();
    let taken = |error: sea_orm::DbErr| match is_duplicate(&error) {
        true => Error::conflict(format!("Conflict occurred attempting to store credential - Duplicate entry found with ID {id}.")),
        false => error.into(),
    };
    credential.into_active_model().insert(tx).await.map_err(taken)
}

/// Replaces the row.
pub async fn update(tx: &DatabaseTransaction, credential: Model) -> Result<Model> {
    Ok(credential.into_active_model().reset_all().update(tx).await?)
}

/// The secrets of a user's one-time password devices.
pub async fn totp_secrets(keystone: &Keystone, user_id: &str) -> Result<Vec<Vec<u8>>> {
    let rows = Entity::find().filter(Column::UserId.eq(user_id)).filter(Column::Type.eq("totp")).all(keystone.db.read()).await?;
    Ok(rows.iter().filter_map(|row| totp::secret(&open(keystone, row)?)).collect())
}

/// The id of an access key's credential.
pub fn ec2_id(access: &str) -> String {
    Sha256::digest(access.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn seal(keystone: &Keystone, blob: &str) -> String {
    keystone.credential_keys.seal(blob.as_bytes())
}

/// The blob; `None` when the key that sealed it is gone.
pub fn open(keystone: &Keystone, credential: &Model) -> Option<String> {
    String::from_utf8(keystone.credential_keys.unseal(&credential.sealed)?).ok()
}
