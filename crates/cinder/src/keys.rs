//! The key manager: the passphrases of encrypted volumes, sealed in the database with a master key that is not in it. A host that serves such
//! a volume asks for its passphrase; nobody else is told.
//!
//! A copy of a volume has a key of its own with the same passphrase, so that each goes with its volume.

use std::path::Path;

use fernet::Fernet;
use kit::clock::Timestamp;
use kit::files::make_private;
use kit::{Error, Result, ids};
use rpc::volume::Secret;
use sea_orm::entity::prelude::*;

use crate::{Cinder, volumes};

/// A row of `encryption_keys`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "encryption_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    /// As QEMU calls it: `aes-256`.
    pub cipher: String,
    pub sealed: String,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Key = Model;

/// What seals the keys.
pub struct MasterKey(Fernet);

impl MasterKey {
    /// Reads it from its file, or makes one. Processes that share a database share the file.
    pub fn open(path: &Path) -> Result<MasterKey> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_private(path, Fernet::generate_key().as_bytes())?;
                std::fs::read_to_string(path)?
            }
            other => other?,
        };
        let key = Fernet::new(text.trim()).ok_or_else(|| Error::internal(format!("{} holds no key", path.display())))?;
        Ok(MasterKey(key))
    }

    /// A new key, not yet in the database.
    pub fn new_key(&self, project: &str, cipher: &str) -> Key {
        let passphrase = format!("{}{}", ids::hex(), ids::hex());
        Key {
            id: ids::uuid(),
            project_id: project.to_owned(),
            cipher: cipher.to_owned(),
            sealed: self.0.encrypt(passphrase.as_bytes()),
            created_at: Timestamp::now(),
        }
    }

    fn reveal(&self, key: &Key) -> Result<Secret> {
        let bytes = self.0.decrypt(&key.sealed).map_err(|_| Error::internal("a key was sealed with another master key"))?;
        Ok(Secret { passphrase: String::from_utf8(bytes).map_err(Error::internal)?, cipher: key.cipher.clone() })
    }
}

/// The same passphrase for a copy of what the key is of.
pub async fn copy(db: &impl ConnectionTrait, id: &str, project: &str) -> Result<Key> {
    let key = Entity::find_by_id(id).one(db).await?.ok_or_else(|| Error::internal(format!("the key {id} is gone")))?;
    Ok(Key { id: ids::uuid(), project_id: project.to_owned(), created_at: Timestamp::now(), ..key })
}

pub async fn insert(tx: &impl ConnectionTrait, key: Key) -> Result<()> {
    Entity::insert(ActiveModel::from(key)).exec_without_returning(tx).await?;
    Ok(())
}

pub async fn remove(tx: &impl ConnectionTrait, id: &str) -> Result<()> {
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// The secret of a volume, for its host.
pub async fn secret_of(app: &Cinder, volume_id: &str) -> Result<Option<Secret>> {
    let volume = volumes::store::find(app.db().read(), volume_id).await?;
    let Some(id) = volume.and_then(|volume| volume.encryption_key_id) else { return Ok(None) };
    let key = Entity::find_by_id(&id).one(app.db().read()).await?;
    let key = key.ok_or_else(|| Error::internal(format!("the key {id} of the volume {volume_id} is gone")))?;
    app.master_key().reveal(&key).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sealed_with_the_key_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/master");
        let key = MasterKey::open(&path).unwrap().new_key("p", "aes-256");
        let secret = MasterKey::open(&path).unwrap().reveal(&key).unwrap();
        assert_eq!((secret.passphrase.len(), &*secret.cipher), (64, "aes-256"));
        assert!(!key.sealed.contains(&secret.passphrase) && !format!("{secret:?}").contains(&secret.passphrase));
        assert!(MasterKey::open(&dir.path().join("other")).unwrap().reveal(&key).is_err());
    }
}
