//! Limits and what is in use.

use std::collections::HashMap;

use kit::{Error, Kind, Result};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};

use super::{Charge, DEFAULTS};

/// `quota_limits`: of a project, or of a class (`class:default`).
pub mod limits {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "quota_limits")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub owner: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub resource: String,
        pub hard_limit: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `quota_usages`
pub mod usages {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "quota_usages")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub project_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub resource: String,
        pub in_use: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The owner under which a class keeps its limits.
pub fn class(name: &str) -> String {
    format!("class:{name}")
}

/// What `owner` itself has set.
pub async fn set_by(db: &impl ConnectionTrait, owner: &str) -> Result<HashMap<String, i64>> {
    let rows = limits::Entity::find().filter(limits::Column::Owner.eq(owner)).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.resource, row.hard_limit)).collect())
}

/// The limits that hold for every project that has none of its own.
pub async fn defaults(db: &impl ConnectionTrait) -> Result<HashMap<String, i64>> {
    let mut all: HashMap<String, i64> = DEFAULTS.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect();
    all.extend(set_by(db, &class("default")).await?);
    Ok(all)
}

/// The limits that hold for a project.
pub async fn limits_of(db: &impl ConnectionTrait, project: &str) -> Result<HashMap<String, i64>> {
    let mut all = defaults(db).await?;
    all.extend(set_by(db, project).await?);
    Ok(all)
}

pub async fn in_use(db: &impl ConnectionTrait, project: &str) -> Result<HashMap<String, i64>> {
    let rows = usages::Entity::find().filter(usages::Column::ProjectId.eq(project)).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.resource, row.in_use)).collect())
}

pub async fn set_limit(tx: &impl ConnectionTrait, owner: &str, resource: &str, limit: i64) -> Result<()> {
    let row = limits::ActiveModel { owner: Set(owner.to_owned()), resource: Set(resource.to_owned()), hard_limit: Set(limit) };
    let key = [limits::Column::Owner, limits::Column::Resource];
    let insert = limits::Entity::insert(row).on_conflict(OnConflict::columns(key).update_column(limits::Column::HardLimit).to_owned());
    insert.exec_without_returning(tx).await?;
    Ok(())
}

pub async fn forget_limits(tx: &impl ConnectionTrait, owner: &str) -> Result<()> {
    limits::Entity::delete_many().filter(limits::Column::Owner.eq(owner)).exec(tx).await?;
    Ok(())
}

/// Takes an amount of each resource, or none of any: 413 at the first that would go over its limit.
pub async fn charge(tx: &impl ConnectionTrait, project: &str, charges: &[Charge]) -> Result<()> {
    let limits = limits_of(tx, project).await?;
    for (resource, amount) in charges {
        let row = usages::ActiveModel { project_id: Set(project.to_owned()), resource: Set(resource.clone()), in_use: Set(0) };
        let key = [usages::Column::ProjectId, usages::Column::Resource];
        let insert = usages::Entity::insert(row).on_conflict(OnConflict::columns(key).do_nothing().to_owned());
        insert.exec_without_returning(tx).await?;
        let limit = limits.get(resource).copied().filter(|limit| *limit >= 0);
        let mut update = add(project, resource, *amount);
        if let Some(limit) = limit {
            update = update.filter(usages::Column::InUse.lte(limit.saturating_sub(*amount)));
        }
        if update.exec(tx).await?.rows_affected == 0 {
            let used = in_use(tx, project).await?.get(resource).copied().unwrap_or_default();
            return Err(over(resource, *amount, limit.unwrap_or_default(), used));
        }
    }
    Ok(())
}

/// Takes an amount of each resource whatever the limit, of what is there already.
pub async fn add_anyway(tx: &impl ConnectionTrait, project: &str, charges: &[Charge]) -> Result<()> {
    for (resource, amount) in charges {
        add(project, resource, *amount).exec(tx).await?;
    }
    Ok(())
}

/// Gives back what was taken.
pub async fn release(tx: &impl ConnectionTrait, project: &str, charges: &[Charge]) -> Result<()> {
    for (resource, amount) in charges {
        add(project, resource, -amount).exec(tx).await?;
    }
    Ok(())
}

/// A type has another name: what is counted and limited by it goes by the new one.
pub async fn rename_type(tx: &impl ConnectionTrait, old: &str, new: &str) -> Result<()> {
    for what in ["volumes", "snapshots", "gigabytes"] {
        let (from, to) = (format!("{what}_{old}"), format!("{what}_{new}"));
        let usages = usages::Entity::update_many().col_expr(usages::Column::Resource, Expr::value(to.clone()));
        usages.filter(usages::Column::Resource.eq(&from)).exec(tx).await?;
        let limits = limits::Entity::update_many().col_expr(limits::Column::Resource, Expr::value(to));
        limits.filter(limits::Column::Resource.eq(&from)).exec(tx).await?;
    }
    Ok(())
}

/// 413 for a single volume beyond what any may have.
pub async fn check_volume_size(tx: &impl ConnectionTrait, project: &str, size: i64) -> Result<()> {
    let limit = limits_of(tx, project).await?.get("per_volume_gigabytes").copied().unwrap_or(-1);
    if limit >= 0 && size > limit {
        let sentence = "VolumeSizeExceedsLimit: Requested volume size";
        return Err(Error::too_large(format!("{sentence} {size}G is larger than maximum allowed limit {limit}G.")));
    }
    Ok(())
}

fn add(project: &str, resource: &str, amount: i64) -> sea_orm::UpdateMany<usages::Entity> {
    usages::Entity::update_many()
        .filter(usages::Column::ProjectId.eq(project))
        .filter(usages::Column::Resource.eq(resource))
        .col_expr(usages::Column::InUse, Expr::col(usages::Column::InUse).add(amount))
}

fn over(resource: &str, amount: i64, limit: i64, used: i64) -> Error {
    let message = match resource.split('_').next().unwrap_or_default() {
        "gigabytes" => format!(
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed {resource} quota. Requested {amount}G, quota is {limit}G and {used}G has been consumed."
        ),
        "backup" => format!(
            "VolumeBackupSizeExceedsAvailableQuota: Requested backup exceeds allowed Backup gigabytes quota. Requested {amount}G, quota is {limit}G and {used}G has been consumed."
        ),
        "backups" => format!("BackupLimitExceeded: Maximum number of backups allowed ({limit}) exceeded"),
        "groups" => format!("GroupLimitExceeded: Maximum number of groups allowed ({limit}) exceeded"),
        "snapshots" => format!("SnapshotLimitExceeded: Maximum number of snapshots allowed ({limit}) exceeded"),
        _ => format!("VolumeLimitExceeded: Maximum number of volumes allowed ({limit}) exceeded for quota '{resource}'."),
    };
    Error::new(Kind::TooLarge, message)
}
