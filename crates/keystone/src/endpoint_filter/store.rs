//! What was chosen for which project, and what that amounts to.

use std::collections::{HashMap, HashSet};

use kit::Result;
use sea_orm::{ConnectionTrait, EntityTrait};

use super::{groups, projects};
use crate::endpoints;

/// The ids of endpoints by the projects for which they were chosen.
pub async fn chosen(db: &impl ConnectionTrait, all: &[endpoints::Model]) -> Result<HashMap<String, HashSet<String>>> {
    let mut chosen: HashMap<String, HashSet<String>> = HashMap::new();
    for row in projects::Entity::find().all(db).await? {
        chosen.entry(row.project_id).or_default().insert(row.endpoint_id);
    }
    let of_projects = groups::members::Entity::find().all(db).await?;
    if of_projects.is_empty() {
        return Ok(chosen);
    }
    let known: HashMap<String, groups::Model> =
        groups::Entity::find().all(db).await?.into_iter().map(|group| (group.id.clone(), group)).collect();
    for row in of_projects {
        let Some(group) = known.get(&row.endpoint_group_id) else { continue };
        let inside = all.iter().filter(|endpoint| group.has(endpoint)).map(|endpoint| endpoint.id.clone());
        chosen.entry(row.project_id).or_default().extend(inside);
    }
    Ok(chosen)
}
