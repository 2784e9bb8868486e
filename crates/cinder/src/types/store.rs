//! Queries about volume types.

use std::collections::{BTreeMap, HashMap};

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Error, Result, ids};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use super::{ActiveModel, Column, DEFAULT, Entity, VolumeType};
use crate::Cinder;

/// Makes the default type if it is not there.
pub async fn ensure_default(app: &Cinder) -> Result<()> {
    let row = ActiveModel::from(VolumeType {
        id: ids::derived("cinder.volume_types", DEFAULT),
        name: DEFAULT.into(),
        description: Some("Default Volume Type".into()),
        is_public: true,
        extra_specs: Json(BTreeMap::new()),
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

/// The type with this id or name, as far as the caller may see it.
pub async fn find(db: &impl ConnectionTrait, ctx: &Context, id_or_name: &str) -> Result<VolumeType> {
    let named = Condition::any().add(Column::Id.eq(id_or_name)).add(Column::Name.eq(id_or_name));
    let found = Entity::find().filter(named).one(db).await?;
    found.filter(|kind| kind.is_public || ctx.is_admin()).ok_or_else(|| not_found(id_or_name))
}

/// The type a new volume asks for, or the default.
pub async fn find_for(db: &impl ConnectionTrait, ctx: &Context, asked: Option<&str>) -> Result<VolumeType> {
    find(db, ctx, asked.filter(|asked| !asked.is_empty()).unwrap_or(DEFAULT)).await
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("Volume type {id} could not be found."))
}

/// All names by id.
pub async fn names(db: &impl ConnectionTrait) -> Result<HashMap<String, String>> {
    let pairs: Vec<(String, String)> = Entity::find().select_only().columns([Column::Id, Column::Name]).into_tuple().all(db).await?;
    Ok(pairs.into_iter().collect())
}
