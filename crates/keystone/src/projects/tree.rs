//! What is above and below a project: `parents_as_list`, `subtree_as_list`, each with its limits if wanted, and the same as ids.

use std::collections::{BTreeSet, HashMap};

use kit::call::Query;
use kit::{Context, Error, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter};
use serde_json::{Map, Value, json};

use super::{Column, Entity, Model, store, view};
use crate::{limits, list};

/// Adds `parents` and `subtree` to a project's view where the query asks for them.
pub async fn add(db: &DatabaseConnection, ctx: &Context, query: &Query, project: &Model, object: &mut Value) -> Result<()> {
    let Value::Object(map) = object else { return Ok(()) };
    for (list, ids) in [("parents_as_list", "parents_as_ids"), ("subtree_as_list", "subtree_as_ids")] {
        if query.has(list) && query.has(ids) {
            return Err(Error::bad_request(format!("Cannot use {list} and {ids} query params at the same time.")));
        }
    }
    if query.has("parents_as_list") || query.has("parents_as_ids") {
        let parents = parents(db, project).await?;
        let as_ids = parents.iter().rev().fold(Value::Null, |inner, parent| json!({&parent.id: inner}));
        let parents = if query.has("parents_as_list") { wrapped(db, ctx, query, &parents).await? } else { as_ids };
        map.insert("parents".into(), parents);
    }
    if query.has("subtree_as_list") || query.has("subtree_as_ids") {
        let below = below(db, &project.id).await?;
        let subtree = if query.has("subtree_as_list") { wrapped(db, ctx, query, &below).await? } else { ids_below(&below, &project.id) };
        map.insert("subtree".into(), subtree);
    }
    Ok(())
}

/// Projects as lists of parents and children have them, with their limits where the query asks for those.
async fn wrapped(db: &DatabaseConnection, ctx: &Context, query: &Query, rows: &[Model]) -> Result<Value> {
    let mut limits: HashMap<String, Vec<Value>> = HashMap::new();
    if query.has("include_limits") {
        let ids = rows.iter().map(|row| row.id.clone());
        for limit in list::with_any::<limits::Entity>(db, limits::Column::ProjectId, ids).await? {
            limits.entry(limit.project_id.clone()).or_default().push(limits::api::view(ctx, &limit));
        }
    }
    let one = |row: &Model| {
        let mut project = view::project(ctx, row);
        if query.has("include_limits") {
            project["limits"] = limits.get(&row.id).cloned().unwrap_or_default().into();
        }
        json!({"project": project})
    };
    Ok(rows.iter().map(one).collect())
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
        let rows = list::with_any::<Entity>(db, Column::ParentId, level).await?;
        if rows.iter().any(|row| row.enabled) {
            return Err(Error::forbidden(format!("Cannot disable project {id} since its subtree contains enabled projects.")));
        }
        level = rows.into_iter().map(|row| row.id).collect();
    }
    Ok(())
}

/// Projects or domains with everything above them.
pub async fn above(db: &DatabaseConnection, ids: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut all = ids.clone();
    let mut level: Vec<String> = ids.iter().cloned().collect();
    while !level.is_empty() {
        let rows = list::with_any::<Entity>(db, Column::Id, level).await?;
        level = rows.into_iter().filter_map(|row| row.parent_id).filter(|parent| all.insert(parent.clone())).collect();
    }
    Ok(all)
}

/// Everything below a project, level by level.
pub async fn below(db: &DatabaseConnection, id: &str) -> Result<Vec<Model>> {
    let mut found = Vec::new();
    let mut level = vec![id.to_owned()];
    while !level.is_empty() {
        let mut rows = list::with_any::<Entity>(db, Column::ParentId, level).await?;
        rows.sort_by(|a, b| a.id.cmp(&b.id));
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
