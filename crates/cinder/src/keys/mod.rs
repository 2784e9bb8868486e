//! The key manager: the passphrases of encrypted volumes, sealed in the database with a [`MasterKey`] that is not in it. A host that serves
//! such a volume asks for its passphrase; nobody else is told.
//!
//! A copy of a volume has a key of its own with the same passphrase, so that each goes with its volume; so do a volume's image and backups.

mod master;

use std::path::Path;
use std::time::Duration;

use kit::clock::Timestamp;
use kit::db::{Db, Location};
use kit::{Error, Result, ids};
use rpc::volume::Secret;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect, Set};

pub use master::MasterKey;

use crate::{Cinder, backups, volumes};

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
    /// The image it is kept for; others go with their volume or backup.
    pub image_id: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type Key = Model;

/// An image's key is looked after once its upload is surely over.
const YOUNG: Duration = Duration::from_secs(24 * 3600);
/// Keys looked at in one round.
const ROUND: u64 = 100;

/// The same passphrase for a copy of what the key is of.
pub async fn copy(db: &impl ConnectionTrait, id: &str, project: &str) -> Result<Key> {
    let key = Entity::find_by_id(id).one(db).await?.ok_or_else(|| Error::internal(format!("the key {id} is gone")))?;
    Ok(Key { id: ids::uuid(), project_id: project.to_owned(), created_at: Timestamp::now(), image_id: None, ..key })
}

/// The same where a user names the key: it must be one of the project's.
pub async fn copy_own(db: &impl ConnectionTrait, id: &str, project: &str) -> Result<Key> {
    let own = Entity::find_by_id(id).filter(Column::ProjectId.eq(project)).one(db).await?;
    match own {
        Some(_) => copy(db, id, project).await,
        None => Err(Error::bad_request(format!("Invalid input received: the key {id} of the image is not known."))),
    }
}

pub async fn insert(tx: &impl ConnectionTrait, key: Key) -> Result<()> {
    Entity::insert(ActiveModel::from(key)).exec_without_returning(tx).await?;
    Ok(())
}

pub async fn remove(tx: &impl ConnectionTrait, id: &str) -> Result<()> {
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// Says which image a key is kept for.
pub async fn keep_for_image(tx: &impl ConnectionTrait, id: &str, image_id: &str) -> Result<()> {
    let row = ActiveModel { image_id: Set(Some(image_id.to_owned())), ..Default::default() };
    Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// The secret of a volume or a backup, for its host.
pub async fn secret_of(app: &Cinder, id: &str) -> Result<Option<Secret>> {
    let db = app.db().read();
    let key_id = match volumes::store::of_data(db, id).await? {
        Some(volume) => volume.encryption_key_id,
        None => backups::store::key_of(db, id).await?,
    };
    let Some(key_id) = key_id else { return Ok(None) };
    let key = Entity::find_by_id(&key_id).one(db).await?;
    let key = key.ok_or_else(|| Error::internal(format!("the key {key_id} of {id} is gone")))?;
    app.master_key().reveal(&key).map(Some)
}

/// A new master key for new keys and for those there are; answers how many. The one before stays known until the next time, for what is
/// sealed with it meanwhile.
pub async fn rotate(location: &Location, master_key: &Path) -> Result<usize> {
    let db = Db::open(location, crate::app::MIGRATIONS).await?;
    let master = MasterKey::open(master_key)?;
    reseal(&db, &master).await?;
    master.begin_new()?;
    reseal(&db, &master).await
}

/// Seals every key with the newest master key.
async fn reseal(db: &Db, master: &MasterKey) -> Result<usize> {
    let rows = Entity::find().order_by_asc(Column::Id).all(db.read()).await?;
    let count = rows.len();
    for row in rows {
        let sealed = master.seal(&master.reveal(&row)?.passphrase)?;
        db.write(move |tx| {
            Box::pin(async move {
                let new = ActiveModel { sealed: Set(sealed), ..Default::default() };
                Entity::update_many().set(new).filter(Column::Id.eq(row.id)).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    }
    Ok(count)
}

/// The keys of images that are gone go too.
pub async fn forget_of_gone_images(app: &Cinder) -> Result<()> {
    let old = Column::ImageId.is_not_null().and(Column::CreatedAt.lt(Timestamp::now().minus(YOUNG)));
    let keys = Entity::find().filter(old).order_by_asc(Column::Id).limit(ROUND).all(app.db().read()).await?;
    for key in keys {
        let Some(image) = &key.image_id else { continue };
        match app.images().show(&app.session().auth(&ids::request()).await?, image).await {
            Err(error) if error.status == 404 => {
                tracing::info!(key = key.id, image, "its image is gone");
                app.db().write(move |tx| Box::pin(async move { remove(tx, &key.id).await })).await?;
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
    }
    Ok(())
}
