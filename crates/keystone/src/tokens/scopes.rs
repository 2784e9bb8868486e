//! Where a user may act: the projects, domains and system roles that a token could be scoped to.

use std::collections::BTreeSet;

use kit::Result;
use sea_orm::{DatabaseConnection, EntityTrait};

use crate::{assignments, groups, list, projects};

/// The user's own assignments and those of the user's groups.
pub async fn assignments_of(db: &DatabaseConnection, user_id: &str) -> Result<Vec<assignments::Model>> {
    let mut actors = groups::store::ids_of_user(db, user_id).await?;
    actors.push(user_id.to_owned());
    list::with_any::<assignments::Entity>(db, assignments::Column::ActorId, actors).await
}

/// Projects in which the user has a role, directly or from above; only enabled ones unless `disabled_too`.
pub async fn projects(db: &DatabaseConnection, user_id: &str, disabled_too: bool) -> Result<Vec<projects::Model>> {
    let assigned = assignments_of(db, user_id).await?;
    let direct = assigned.iter().filter(|a| a.target_kind == "project" && !a.inherited).map(|a| a.target_id.clone());
    let mut found = list::with_any::<projects::Entity>(db, projects::Column::Id, direct).await?;
    let above: BTreeSet<&String> = assigned.iter().filter(|a| a.inherited).map(|a| &a.target_id).collect();
    for id in above {
        found.extend(projects::tree::below(db, id).await?);
    }
    found.retain(|project| disabled_too || project.enabled);
    found.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    found.dedup_by(|a, b| a.id == b.id);
    Ok(found)
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
    let ids = assigned.into_iter().filter(|a| a.target_kind == "domain" && !a.inherited).map(|a| a.target_id);
    let mut found = list::with_any::<projects::Entity>(db, projects::Column::Id, ids).await?;
    found.retain(|domain| domain.enabled);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether the user has a role on the system.
pub async fn system(db: &DatabaseConnection, user_id: &str) -> Result<bool> {
    Ok(assignments_of(db, user_id).await?.iter().any(|a| a.target_kind == "system"))
}
