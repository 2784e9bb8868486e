//! Queries on assignments.

use kit::Result;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};

use super::{Column, Entity, Model};

/// Grants a role, which the actor may already have.
pub async fn insert(tx: &DatabaseTransaction, grant: Model) -> Result<()> {
    let key = [Column::ActorId, Column::TargetKind, Column::TargetId, Column::RoleId, Column::Inherited];
    let there = OnConflict::columns(key).do_nothing().to_owned();
    Entity::insert(grant.into_active_model()).on_conflict(there).exec_without_returning(tx).await?;
    Ok(())
}

/// False when there was no such grant.
pub async fn delete(tx: &DatabaseTransaction, grant: &Model) -> Result<bool> {
    Ok(Entity::delete_many().filter(same(grant)).exec(tx).await?.rows_affected > 0)
}

pub async fn exists(db: &impl ConnectionTrait, grant: &Model) -> Result<bool> {
    Ok(Entity::find().filter(same(grant)).one(db).await?.is_some())
}

fn same(grant: &Model) -> Condition {
    Condition::all()
        .add(Column::ActorKind.eq(&grant.actor_kind))
        .add(Column::ActorId.eq(&grant.actor_id))
        .add(Column::TargetKind.eq(&grant.target_kind))
        .add(Column::TargetId.eq(&grant.target_id))
        .add(Column::RoleId.eq(&grant.role_id))
        .add(Column::Inherited.eq(grant.inherited))
}
