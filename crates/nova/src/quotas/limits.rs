//! The limits themselves: a project's own, else the class `default`'s, else the ones nova comes with. -1 is without limit.

use std::collections::BTreeMap;

use kit::Result;
use kit::microversion::Microversion;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, Set};

/// The scope of the class that all projects fall back to.
pub const DEFAULT_CLASS: &str = "class:default";

/// Something that has a limit.
pub struct Resource {
    pub name: &'static str,
    pub default: i64,
    /// The last version that shows it in quota sets.
    pub until: Microversion,
    /// The first version that shows it in quota classes.
    pub class_since: Microversion,
}

const ALWAYS: Microversion = Microversion::MAX;
const FROM_START: Microversion = Microversion::NONE;
/// Networks are neutron's alone after this.
const NETWORK: Microversion = Microversion(2, 35);
/// Files are no longer injected after this.
const FILES: Microversion = Microversion(2, 56);

pub const RESOURCES: &[Resource] = &[
    Resource { name: "instances", default: 10, until: ALWAYS, class_since: FROM_START },
    Resource { name: "cores", default: 20, until: ALWAYS, class_since: FROM_START },
    Resource { name: "ram", default: 51200, until: ALWAYS, class_since: FROM_START },
    Resource { name: "key_pairs", default: 100, until: ALWAYS, class_since: FROM_START },
    Resource { name: "metadata_items", default: 128, until: ALWAYS, class_since: FROM_START },
    Resource { name: "server_groups", default: 10, until: ALWAYS, class_since: Microversion(2, 50) },
    Resource { name: "server_group_members", default: 10, until: ALWAYS, class_since: Microversion(2, 50) },
    Resource { name: "injected_files", default: 5, until: FILES, class_since: FROM_START },
    Resource { name: "injected_file_content_bytes", default: 10240, until: FILES, class_since: FROM_START },
    Resource { name: "injected_file_path_bytes", default: 255, until: FILES, class_since: FROM_START },
    Resource { name: "fixed_ips", default: -1, until: NETWORK, class_since: FROM_START },
    Resource { name: "floating_ips", default: 10, until: NETWORK, class_since: FROM_START },
    Resource { name: "security_groups", default: 10, until: NETWORK, class_since: FROM_START },
    Resource { name: "security_group_rules", default: 20, until: NETWORK, class_since: FROM_START },
];

/// A row of `quota_limits`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "quota_limits")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub scope: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub resource: String,
    pub amount: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// All limits of a scope: a project's id, or [`DEFAULT_CLASS`].
pub async fn all(db: &impl ConnectionTrait, scope: &str) -> Result<BTreeMap<&'static str, i64>> {
    let mut limits: BTreeMap<&'static str, i64> = RESOURCES.iter().map(|resource| (resource.name, resource.default)).collect();
    let rows = Entity::find().filter(Column::Scope.is_in([DEFAULT_CLASS, scope])).all(db).await?;
    // the class first, so that the project's own goes on top
    for of_class in [true, false] {
        for row in rows.iter().filter(|row| (row.scope == DEFAULT_CLASS) == of_class) {
            if let Some(resource) = RESOURCES.iter().find(|resource| resource.name == row.resource) {
                limits.insert(resource.name, row.amount);
            }
        }
    }
    Ok(limits)
}

/// The scope of what one user may have of a project's.
pub fn user_scope(project_id: &str, user_id: &str) -> String {
    format!("user:{project_id}:{user_id}")
}

/// What one user may have: the user's own limits on top of the project's.
pub async fn of_user(db: &impl ConnectionTrait, project_id: &str, user_id: &str) -> Result<BTreeMap<&'static str, i64>> {
    let mut limits = all(db, project_id).await?;
    for row in Entity::find().filter(Column::Scope.eq(user_scope(project_id, user_id))).all(db).await? {
        if let Some(resource) = RESOURCES.iter().find(|resource| resource.name == row.resource) {
            limits.insert(resource.name, row.amount);
        }
    }
    Ok(limits)
}

/// The limits that a request meets.
pub struct Limits {
    pub project: BTreeMap<&'static str, i64>,
    /// Of a user who has some of their own.
    pub user: Option<BTreeMap<&'static str, i64>>,
}

/// What a user of a project may have, read at once.
pub async fn of_request(db: &impl ConnectionTrait, project_id: &str, user_id: &str) -> Result<Limits> {
    let own = user_scope(project_id, user_id);
    let rows = Entity::find().filter(Column::Scope.is_in([DEFAULT_CLASS, project_id, own.as_str()])).all(db).await?;
    let on_top = |mut limits: BTreeMap<&'static str, i64>, scope: &str| {
        let known =
            |row: &Model| RESOURCES.iter().find(|resource| resource.name == row.resource).map(|resource| (resource.name, row.amount));
        limits.extend(rows.iter().filter(|row| row.scope == scope).filter_map(known));
        limits
    };
    let defaults = RESOURCES.iter().map(|resource| (resource.name, resource.default)).collect();
    let project = on_top(on_top(defaults, DEFAULT_CLASS), project_id);
    let has_own = rows.iter().any(|row| row.scope == own);
    Ok(Limits { user: has_own.then(|| on_top(project.clone(), &own)), project })
}

/// One limit of a project.
pub async fn of(db: &impl ConnectionTrait, project_id: &str, resource: &str) -> Result<i64> {
    Ok(all(db, project_id).await?.get(resource).copied().unwrap_or(-1))
}

/// Sets limits of a scope.
pub async fn set(tx: &impl ConnectionTrait, scope: &str, limits: &[(&'static str, i64)]) -> Result<()> {
    for (resource, amount) in limits {
        let row = ActiveModel { scope: Set(scope.to_owned()), resource: Set((*resource).to_owned()), amount: Set(*amount) };
        let replace = OnConflict::columns([Column::Scope, Column::Resource]).update_column(Column::Amount).to_owned();
        Entity::insert(row).on_conflict(replace).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Forgets a scope's own limits.
pub async fn reset(tx: &impl ConnectionTrait, scope: &str) -> Result<()> {
    Entity::delete_many().filter(Column::Scope.eq(scope)).exec(tx).await?;
    Ok(())
}

/// The same with those of its users.
pub async fn reset_project(tx: &impl ConnectionTrait, project_id: &str) -> Result<()> {
    reset(tx, project_id).await?;
    Entity::delete_many().filter(Column::Scope.starts_with(user_scope(project_id, ""))).exec(tx).await?;
    Ok(())
}
