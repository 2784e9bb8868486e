//! Queries about volume types. Who may see a type: everybody a public one, its projects and administrators a private one.

use std::collections::{BTreeMap, HashMap};

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Error, Result, ids};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Set};

use super::{ActiveModel, Column, DEFAULT, Entity, VolumeType, access, defaults, encryption};
use crate::{Cinder, volumes};

/// Makes the default type if it is not there.
pub async fn ensure_default(app: &Cinder) -> Result<()> {
    let row = ActiveModel::from(VolumeType {
        id: ids::derived("cinder.volume_types", DEFAULT),
        name: DEFAULT.into(),
        description: Some("Default Volume Type".into()),
        is_public: true,
        extra_specs: Json(BTreeMap::new()),
        qos_id: None,
        created_at: Timestamp::now(),
        updated_at: None,
    });
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let insert = Entity::insert(row).on_conflict(OnConflict::column(Column::Name).do_nothing().to_owned());
                insert.exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await
}

/// The types a project sees beside the public ones.
pub fn seen_by(project: &str) -> Condition {
    let granted = access::Entity::find().select_only().column(access::Column::TypeId).filter(access::Column::ProjectId.eq(project));
    Condition::any().add(Column::IsPublic.eq(true)).add(Column::Id.in_subquery(granted.into_query()))
}

/// The type with this id or name, as far as the caller may see it.
pub async fn find(db: &impl ConnectionTrait, ctx: &Context, id_or_name: &str) -> Result<VolumeType> {
    let mut select = Entity::find().filter(Condition::any().add(Column::Id.eq(id_or_name)).add(Column::Name.eq(id_or_name)));
    if !ctx.is_service_or_admin() {
        select = select.filter(seen_by(ctx.project_id()?));
    }
    select.one(db).await?.ok_or_else(|| not_found(id_or_name))
}

/// The type with this id, whoever asks.
pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<VolumeType> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| not_found(id))
}

/// The type a new volume asks for, or its project's default, or the default of all.
pub async fn find_for(db: &impl ConnectionTrait, ctx: &Context, asked: Option<&str>) -> Result<VolumeType> {
    match asked.filter(|asked| !asked.is_empty()) {
        Some(asked) => find(db, ctx, asked).await,
        None => default_of(db, ctx.project_id()?).await,
    }
}

/// The type of a project's volumes that name none.
pub async fn default_of(db: &impl ConnectionTrait, project: &str) -> Result<VolumeType> {
    if let Some(own) = defaults::Entity::find_by_id(project).one(db).await? {
        return fetch(db, &own.type_id).await;
    }
    Entity::find().filter(Column::Name.eq(DEFAULT)).one(db).await?.ok_or_else(|| not_found(DEFAULT))
}

pub fn not_found(id_or_name: &str) -> Error {
    let named = if kit::ids::parse_uuid(id_or_name).is_some() { "" } else { "with name " };
    Error::not_found(format!("Volume type {named}{id_or_name} could not be found."))
}

/// All names by id.
pub async fn names(db: &impl ConnectionTrait) -> Result<HashMap<String, String>> {
    let pairs: Vec<(String, String)> = Entity::find().select_only().columns([Column::Id, Column::Name]).into_tuple().all(db).await?;
    Ok(pairs.into_iter().collect())
}

/// The name of one type; empty for one that is gone.
pub async fn name(db: &impl ConnectionTrait, id: &str) -> Result<String> {
    Ok(Entity::find_by_id(id).one(db).await?.map(|kind| kind.name).unwrap_or_default())
}

/// Changes columns of a type.
pub async fn update(app: &Cinder, id: &str, row: ActiveModel) -> Result<()> {
    let (id, row) = (id.to_owned(), ActiveModel { updated_at: Set(Some(Timestamp::now())), ..row });
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}

/// Removes a type with what belongs to it; 400 while a volume or a project's default is of it.
pub async fn remove(tx: &impl ConnectionTrait, id: &str) -> Result<()> {
    let default = defaults::Entity::find().filter(defaults::Column::TypeId.eq(id)).one(tx).await?;
    if default.is_some() {
        let sentence = "The volume type is the default volume type of a project and cannot be deleted";
        return Err(Error::bad_request(format!("{sentence}: {id}.")));
    }
    if volumes::store::uses_type(tx, id).await? {
        return Err(Error::bad_request("Target volume type is still in use."));
    }
    encryption::Entity::delete_by_id(id).exec(tx).await?;
    access::Entity::delete_many().filter(access::Column::TypeId.eq(id)).exec(tx).await?;
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}
