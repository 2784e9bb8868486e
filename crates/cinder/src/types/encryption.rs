//! `/types/{id}/encryption`: how volumes of a type are encrypted. The storage does it itself, with LUKS on its disks, wherever the control
//! location says it should be done: a guest sees the same clear disk whether the provider is `luks` or `plain`.

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result, Versioned, ids};
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{VolumeType, store};
use crate::body::{Body, integer, text};
use crate::{Cinder, volumes};

/// A row of `type_encryption`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "type_encryption")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub type_id: String,
    pub id: String,
    pub provider: String,
    pub cipher: Option<String>,
    pub key_size: Option<i64>,
    /// `front-end` or `back-end`
    pub control_location: String,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How volumes of a type are encrypted, if they are.
pub async fn of(db: &impl ConnectionTrait, type_id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(type_id).one(db).await?)
}

/// QEMU's name of the cipher. In XTS half of the key is for the tweak.
pub fn cipher(how: &Model) -> Result<&'static str> {
    let known = is_known(&how.provider);
    let xts = how.cipher.as_deref().is_none_or(|cipher| cipher.is_empty() || cipher.starts_with("aes-xts-plain"));
    match how.key_size {
        None | Some(0 | 512) if known && xts => Ok("aes-256"),
        Some(384) if known && xts => Ok("aes-192"),
        Some(256) if known && xts => Ok("aes-128"),
        _ => Err(Error::bad_request(format!(
            "Invalid volume type: no backend here encrypts with the provider {}, the cipher {} and a key of {} bits.",
            how.provider,
            how.cipher.as_deref().unwrap_or("aes-xts-plain64"),
            how.key_size.unwrap_or(512)
        ))),
    }
}

/// `luks`, `luks2` and `plain`, also by the names of nova's classes that they had before.
fn is_known(provider: &str) -> bool {
    let provider = provider.to_ascii_lowercase();
    provider == "plain" || provider.contains("luks") || provider.ends_with("cryptsetupencryptor")
}

/// Whether volumes of two types are encrypted in different ways, so that data must be written anew to go from one to the other.
pub async fn changes(db: &impl ConnectionTrait, old: &VolumeType, new: &VolumeType) -> Result<bool> {
    let how = |row: Option<Model>| row.map(|row| (row.provider, row.cipher, row.key_size, row.control_location));
    Ok(how(of(db, &old.id).await?) != how(of(db, &new.id).await?))
}

fn view(row: &Model) -> Value {
    json!({
        "volume_type_id": row.type_id, "encryption_id": row.id, "provider": row.provider, "cipher": row.cipher, "key_size": row.key_size,
        "control_location": row.control_location, "created_at": row.created_at.to_micros(),
        "updated_at": row.updated_at.map(|at| at.to_micros()), "deleted": false, "deleted_at": null,
    })
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    let row = Entity::find_by_id(&kind.id).one(app.db().read()).await?;
    Reply::ok(&row.as_ref().map_or_else(|| json!({}), view))
}

/// One of its fields.
pub async fn show_item(app: Cinder, ctx: Context, Path((id, key)): Path<(String, String)>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    let row = fetch(&app, &kind).await?;
    match view(&row).get(&key) {
        Some(value) => Reply::ok(&json!({key: value})),
        None => Err(Error::not_found(format!("Volume Type {id} has no encryption specs with key {key}."))),
    }
}

/// `POST`, and `PUT` of some of it.
#[derive(Deserialize, Versioned)]
pub struct Wish {
    provider: Option<String>,
    cipher: Option<String>,
    #[serde(default, deserialize_with = "integer")]
    key_size: Option<i64>,
    control_location: Option<String>,
}

impl Wrapper for Wish {
    const KEY: &'static str = "encryption";
}

impl Wish {
    fn check(&self) -> Result<()> {
        if self.control_location.as_deref().is_some_and(|place| !matches!(place, "front-end" | "back-end")) {
            return Err(Error::bad_request("Valid control location are: ['front-end', 'back-end']"));
        }
        if self.key_size.is_some_and(|size| size < 0) {
            return Err(Error::bad_request("Invalid input for field/attribute key_size. It is less than the minimum of 0"));
        }
        text("provider", self.provider.clone())?;
        text("cipher", self.cipher.clone()).map(drop)
    }
}

pub async fn create(app: Cinder, ctx: Context, Path(id): Path<String>, Body(wish): Body<Wish>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    wish.check()?;
    unused(&app, &kind, "create").await?;
    let provider = wish.provider.filter(|provider| !provider.is_empty());
    let row = Model {
        type_id: kind.id.clone(),
        id: ids::uuid(),
        provider: provider.ok_or_else(|| Error::bad_request("provider must be defined"))?,
        cipher: wish.cipher,
        key_size: wish.key_size,
        control_location: wish.control_location.unwrap_or_else(|| "front-end".into()),
        created_at: Timestamp::now(),
        updated_at: None,
    };
    let taken = Error::bad_request(format!("Volume type encryption for type {} already exists.", kind.id));
    let insert = ActiveModel::from(row.clone());
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let once = OnConflict::column(Column::TypeId).do_nothing().to_owned();
                match Entity::insert(insert).on_conflict(once).exec_without_returning(tx).await? {
                    0 => Err(taken),
                    _ => Ok(()),
                }
            })
        })
        .await?;
    let mut answer = view(&row);
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|key, _| !key.ends_with("_at") && key != "deleted");
    }
    Reply::ok(&json!({"encryption": answer}))
}

pub async fn update(app: Cinder, ctx: Context, Path((id, _)): Path<(String, String)>, Body(wish): Body<Wish>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    fetch(&app, &kind).await?;
    wish.check()?;
    unused(&app, &kind, "update").await?;
    let mut row = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    let mut answer = json!({});
    if let Some(provider) = wish.provider {
        answer["provider"] = json!(provider);
        row.provider = Set(provider);
    }
    if let Some(cipher) = wish.cipher {
        answer["cipher"] = json!(cipher);
        row.cipher = Set(Some(cipher));
    }
    if let Some(size) = wish.key_size {
        answer["key_size"] = json!(size);
        row.key_size = Set(Some(size));
    }
    if let Some(place) = wish.control_location {
        answer["control_location"] = json!(place);
        row.control_location = Set(place);
    }
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::TypeId.eq(kind.id)).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::ok(&json!({"encryption": answer}))
}

pub async fn delete(app: Cinder, ctx: Context, Path((id, _)): Path<(String, String)>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    fetch(&app, &kind).await?;
    unused(&app, &kind, "delete").await?;
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_by_id(kind.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

async fn fetch(app: &Cinder, kind: &VolumeType) -> Result<Model> {
    let row = Entity::find_by_id(&kind.id).one(app.db().read()).await?;
    row.ok_or_else(|| Error::not_found(format!("Volume type encryption for type {} does not exist.", kind.id)))
}

async fn unused(app: &Cinder, kind: &VolumeType, what: &str) -> Result<()> {
    if volumes::store::uses_type(app.db().read(), &kind.id).await? {
        return Err(Error::bad_request(format!("Cannot {what} encryption specs. Volume type in use.")));
    }
    Ok(())
}
