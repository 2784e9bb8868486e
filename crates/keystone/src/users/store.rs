//! Queries on users.

use kit::clock::Timestamp;
use kit::db::is_duplicate;
use kit::{Error, Result};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect,
};

use super::{Column, Entity, Model};
use crate::list::BUNCH;
use crate::passwords::rules::SecurityCompliance;
use crate::{application_credentials, assignments, credentials, fault, groups, oauth1, trusts};

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("user", id))
}

pub async fn by_name(db: &impl ConnectionTrait, domain_id: &str, name: &str) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::DomainId.eq(domain_id)).filter(Column::Name.eq(name)).one(db).await?)
}

pub async fn insert(tx: &DatabaseTransaction, user: Model) -> Result<Model> {
    let (name, domain) = (user.name.clone(), user.domain_id.clone());
    user.into_active_model().insert(tx).await.map_err(|error| taken(error, &name, &domain))
}

/// Replaces the row.
pub async fn update(tx: &DatabaseTransaction, user: Model) -> Result<Model> {
    let (name, domain) = (user.name.clone(), user.domain_id.clone());
    user.into_active_model().reset_all().update(tx).await.map_err(|error| taken(error, &name, &domain))
}

/// Removes users with all that is theirs.
pub async fn delete(tx: &DatabaseTransaction, ids: &[String]) -> Result<()> {
    for ids in ids.chunks(BUNCH) {
        delete_bunch(tx, ids).await?;
    }
    Ok(())
}

async fn delete_bunch(tx: &DatabaseTransaction, ids: &[String]) -> Result<()> {
    assignments::Entity::delete_many().filter(assignments::Column::ActorId.is_in(ids)).exec(tx).await?;
    groups::members::Entity::delete_many().filter(groups::members::Column::UserId.is_in(ids)).exec(tx).await?;
    let credentials = application_credentials::Column::UserId.is_in(ids);
    application_credentials::Entity::delete_many().filter(credentials).exec(tx).await?;
    let rules = application_credentials::access_rules::Column::UserId.is_in(ids);
    application_credentials::access_rules::Entity::delete_many().filter(rules).exec(tx).await?;
    credentials::Entity::delete_many().filter(credentials::Column::UserId.is_in(ids)).exec(tx).await?;
    let of_users = trusts::Column::TrustorUserId.is_in(ids).or(trusts::Column::TrusteeUserId.is_in(ids));
    trusts::store::delete_of(tx, Condition::all().add(of_users)).await?;
    oauth1::delete_of(tx, ids, &[], &[]).await?;
    Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?;
    Ok(())
}

/// Counts a wrong password. Where there is nothing to count, as nobody has that name or the account is locked already, it takes as long.
pub async fn count_failure(tx: &DatabaseTransaction, id: Option<String>, security: &SecurityCompliance) -> Result<()> {
    let user = match id {
        Some(id) => Entity::find_by_id(id).lock_exclusive().one(tx).await?,
        None => None,
    };
    let Some(user) = user.filter(|user| security.counts_failures(user) && !security.is_locked(user)) else {
        tx.execute_unprepared("UPDATE reference_version SET value = value WHERE id = 1").await?;
        return Ok(());
    };
    // an earlier lock that is over starts a new count
    let earlier = if user.failed_logins >= i64::from(security.lockout_failure_attempts) { 0 } else { user.failed_logins };
    Entity::update_many()
        .col_expr(Column::FailedLogins, Expr::value(earlier + 1))
        .col_expr(Column::FailedLoginAt, Expr::value(Timestamp::now()))
        .filter(Column::Id.eq(user.id))
        .exec(tx)
        .await?;
    Ok(())
}

/// The right password: those before it count no more.
pub async fn forgive_failures(tx: &DatabaseTransaction, id: &str) -> Result<()> {
    Entity::update_many().col_expr(Column::FailedLogins, Expr::value(0i64)).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// Keeps that the user has logged in just now.
pub async fn note_active(tx: &DatabaseTransaction, id: &str) -> Result<()> {
    Entity::update_many().col_expr(Column::LastActiveAt, Expr::value(Timestamp::now())).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

fn taken(error: sea_orm::DbErr, name: &str, domain: &str) -> Error {
    if is_duplicate(&error) { fault::duplicate("user", name, domain) } else { error.into() }
}
