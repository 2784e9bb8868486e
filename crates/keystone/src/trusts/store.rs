//! Queries on trusts.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};

use super::{Column, Entity, Model};
use crate::{fault, projects, users};

/// One that can be seen: neither deleted, nor over, nor used up.
pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    let found = Entity::find_by_id(id).filter(current()).filter(left()).one(db).await?;
    found.ok_or_else(|| fault::could_not_find("trust", id))
}

/// One with which somebody can log in.
pub async fn usable(db: &impl ConnectionTrait, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).filter(current()).filter(left()).one(db).await?)
}

/// One whose tokens still hold: both its users, and their domains, are enabled. Uses only count when logging in.
pub async fn standing(db: &impl ConnectionTrait, id: &str) -> Result<Option<Model>> {
    let Some(trust) = Entity::find_by_id(id).filter(current()).one(db).await? else { return Ok(None) };
    let both = [trust.trustor_user_id.clone(), trust.trustee_user_id.clone()];
    let users = users::Entity::find().filter(users::Column::Id.is_in(both.clone())).filter(users::Column::Enabled.eq(true)).all(db).await?;
    let domains: Vec<String> = users.iter().map(|user| user.domain_id.clone()).collect();
    let off = projects::Entity::find().filter(projects::Column::Id.is_in(domains)).filter(projects::Column::Enabled.eq(false));
    let there = both.iter().all(|id| users.iter().any(|user| user.id == *id));
    Ok(if there && off.one(db).await?.is_none() { Some(trust) } else { None })
}

pub async fn insert(tx: &DatabaseTransaction, trust: Model) -> Result<Model> {
    Ok(trust.into_active_model().insert(tx).await?)
}

/// Counts a login; two at once cannot both have the last use.
pub async fn use_once(tx: &DatabaseTransaction, trust: Model) -> Result<()> {
    if trust.remaining_uses.is_none() {
        return Ok(());
    }
    let fewer = Entity::update_many()
        .col_expr(Column::RemainingUses, Expr::col(Column::RemainingUses).sub(1))
        .filter(Column::Id.eq(&trust.id))
        .filter(Column::RemainingUses.gt(0));
    if fewer.exec(tx).await?.rows_affected == 0 { Err(Error::unauthorized()) } else { Ok(()) }
}

/// Ends trusts, and those that pass them on.
pub async fn end(tx: &DatabaseTransaction, ids: Vec<String>) -> Result<()> {
    let mut ending = ids;
    while !ending.is_empty() {
        let end = Entity::update_many().col_expr(Column::DeletedAt, Expr::value(Timestamp::now()));
        end.filter(Column::Id.is_in(ending.clone())).exec(tx).await?;
        let passed_on = Entity::find().filter(Column::RedelegatedTrustId.is_in(ending)).filter(Column::DeletedAt.is_null()).all(tx).await?;
        ending = passed_on.into_iter().map(|trust| trust.id).collect();
    }
    Ok(())
}

/// Removes the trusts of users or projects that are removed.
pub async fn delete_of(tx: &DatabaseTransaction, of: Condition) -> Result<()> {
    let ids = Entity::find().filter(of).all(tx).await?.into_iter().map(|trust| trust.id).collect();
    end(tx, ids).await
}

/// Neither deleted nor over.
pub fn current() -> Condition {
    let not_over = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(Timestamp::now()));
    Condition::all().add(Column::DeletedAt.is_null()).add(not_over)
}

fn left() -> Condition {
    Condition::any().add(Column::RemainingUses.is_null()).add(Column::RemainingUses.gt(0))
}
