//! Where a user may act: the projects, domains and system roles that a token could be scoped to.

use std::collections::HashSet;

use kit::Result;
use sea_orm::{ColumnTrait, Condition, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder};

use crate::{assignments, groups, projects};

/// The user's own assignments and those of the user's groups.
pub async fn assignments_of(db: &DatabaseConnection, user_id: &str) -> Result<Vec<assignments::Model>> {
    let mut actors = groups::store::ids_of_user(db, user_id).await?;
    actors.push(user_id.to_owned());
    Ok(assignments::Entity::find().filter(assignments::Column::ActorId.is_in(actors)).all(db).await?)
}

/// Projects in which the user has a role, directly or from above; only enabled ones unless `disabled_too`.
pub async fn projects(db: &DatabaseConnection, user_id: &str, disabled_too: bool) -> Result<Vec<projects::Model>> {
    let assigned = assignments_of(db, user_id).await?;
    let direct = assigned.iter().filter(|a| a.target_kind == "project" && !a.inherited).map(|a| a.target_id.clone());
    let mut ids: HashSet<String> = direct.collect();
    let mut above: Vec<String> = assigned.iter().filter(|a| a.inherited).map(|a| a.target_id.clone()).collect();
    while !above.is_empty() {
        let below = projects::Entity::find().filter(projects::Column::ParentId.is_in(above)).all(db).await?;
        above = below.into_iter().map(|project| project.id).filter(|id| ids.insert(id.clone())).collect();
    }
    let mut wanted = Condition::all().add(projects::Column::Id.is_in(ids));
    if !disabled_too {
        wanted = wanted.add(projects::Column::Enabled.eq(true));
    }
    Ok(projects::Entity::find().filter(wanted).order_by_asc(projects::Column::Name).all(db).await?)
}

/// Ids of the roles a user has on a project, directly, through groups or from above.
pub async fn role_ids(db: &DatabaseConnection, user_id: &str, project_id: &str) -> Result<Vec<String>> {
    let mut above = Vec::new();
    let mut next = Some(project_id.to_owned());
    while let Some(id) = next {
        next = projects::Entity::find_by_id(&id).one(db).await?.and_then(|project| project.parent_id);
        above.push(id);
    }
    let counts = |a: &assignments::Model| match a.inherited {
        true => a.target_id != project_id && above.contains(&a.target_id),
        false => a.target_id == project_id && a.target_kind == "project",
    };
    Ok(assignments_of(db, user_id).await?.into_iter().filter(counts).map(|a| a.role_id).collect())
}

/// Enabled domains in which the user has a role.
pub async fn domains(db: &DatabaseConnection, user_id: &str) -> Result<Vec<projects::Model>> {
    let assigned = assignments_of(db, user_id).await?;
    let ids: Vec<String> = assigned.into_iter().filter(|a| a.target_kind == "domain" && !a.inherited).map(|a| a.target_id).collect();
    let wanted = Condition::all().add(projects::Column::Id.is_in(ids)).add(projects::Column::Enabled.eq(true));
    Ok(projects::Entity::find().filter(wanted).order_by_asc(projects::Column::Name).all(db).await?)
}

/// Whether the user has a role on the system.
pub async fn system(db: &DatabaseConnection, user_id: &str) -> Result<bool> {
    Ok(assignments_of(db, user_id).await?.iter().any(|a| a.target_kind == "system"))
}
