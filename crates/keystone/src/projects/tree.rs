//! What is above and below a project: `parents_as_list`, `subtree_as_list`, each with its limits if wanted, and the same as ids.

use kit::call::Query;
use kit::{Context, Error, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder};
use serde_json::{Map, Value, json};

use super::{Column, Entity, Model, store, view};
use crate::limits;

/// Adds `parents` and `subtree` to a project's view where the query asks for them.
pub async fn add(db: &DatabaseConnection, ctx: &Context, query: &Query, project: &Model, object: &mut Value) -> Result<()> {
    let Value::Object(map) = object else { return Ok(()) };
    for (list, ids) in [("parents_as_list", "parents_as_ids"), ("subtree_as_list", "subtree_as_ids")] {
        if query.has(list) && query.has(ids) {
            return Err(Error::bad_request(format!("Cannot use {list} and {ids} query params at the same time.")));
        }
    }
    let limits = match query.has("include_limits") {
        true => Some(limits::Entity::find().all(db).await?),
        false => None,
    };
    let one = |row: &Model| {
        let mut project = view::project(ctx, row);
        if let Some(limits) = &limits {
            project["limits"] =
                limits.iter().filter(|limit| limit.project_id == row.id).map(|limit| limits::api::view(ctx, limit)).collect();
        }
        json!({"project": project})
    };
    let wrapped = |rows: &[Model]| -> Value { rows.iter().map(one).collect() };
    if query.has("parents_as_list") || query.has("parents_as_ids") {
        let parents = parents(db, project).await?;
        let as_ids = parents.iter().rev().fold(Value::Null, |inner, parent| json!({&parent.id: inner}));
        map.insert("parents".into(), if query.has("parents_as_list") { wrapped(&parents) } else { as_ids });
    }
    if query.has("subtree_as_list") || query.has("subtree_as_ids") {
        let below = below(db, &project.id).await?;
        map.insert("subtree".into(), if query.has("subtree_as_list") { wrapped(&below) } else { ids_below(&below, &project.id) });
    }
    Ok(())
}

/// The nearest parent first; a domain is not among them.
async fn parents(db: &DatabaseConnection, project: &Model) -> Result<Vec<Model>> {
    let mut parents: Vec<Model> = Vec::new();
    let mut next = project.parent_id.clone();
    while let Some(id) = next {
        let parent = Entity::find_by_id(id).filter(Column::IsDomain.eq(false)).one(db).await?;
        next = parent.as_ref().and_then(|parent| parent.parent_id.clone());
        parents.extend(parent);
    }
    Ok(parents)
}

/// How deep below its domain a project may be.
pub const DEEPEST: usize = 5;

/// How deep below its domain a project is; a domain is not below itself.
pub async fn depth(db: &impl ConnectionTrait, project: &Model) -> Result<usize> {
    let (mut depth, mut next) = (0, project.parent_id.clone());
    while let Some(id) = next {
        depth += 1;
        next = Entity::find_by_id(id).one(db).await?.and_then(|parent| parent.parent_id);
    }
    Ok(depth)
}

/// A project is not enabled below a disabled one, nor disabled above an enabled one.
pub async fn can_turn(db: &impl ConnectionTrait, project: &Model) -> Result<()> {
    let (id, mut level) = (&project.id, vec![project.id.clone()]);
    if project.enabled {
        let mut next = project.parent_id.clone();
        while let Some(parent) = next {
            let parent = store::fetch(db, &parent).await?;
            if !parent.enabled && !parent.is_domain {
                return Err(Error::forbidden(format!("Cannot enable project {id} since it has disabled parents")));
            }
            next = parent.parent_id;
        }
        return Ok(());
    }
    while !level.is_empty() {
        let rows = Entity::find().filter(Column::ParentId.is_in(level)).all(db).await?;
        if rows.iter().any(|row| row.enabled) {
            return Err(Error::forbidden(format!("Cannot disable project {id} since its subtree contains enabled projects.")));
        }
        level = rows.into_iter().map(|row| row.id).collect();
    }
    Ok(())
}

/// Everything below a project, level by level.
pub async fn below(db: &DatabaseConnection, id: &str) -> Result<Vec<Model>> {
    let mut found = Vec::new();
    let mut level = vec![id.to_owned()];
    while !level.is_empty() {
        let rows = Entity::find().filter(Column::ParentId.is_in(level)).order_by_asc(Column::Id).all(db).await?;
        level = rows.iter().map(|row| row.id.clone()).collect();
        found.extend(rows);
    }
    Ok(found)
}

/// `{"child": {"grandchild": null}}`
fn ids_below(rows: &[Model], id: &str) -> Value {
    let children = rows.iter().filter(|row| row.parent_id.as_deref() == Some(id));
    let map: Map<String, Value> = children.map(|child| (child.id.clone(), ids_below(rows, &child.id))).collect();
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}
