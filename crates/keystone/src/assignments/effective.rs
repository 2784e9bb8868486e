//! What assignments amount to: groups become their members, inherited ones reach the projects below, roles bring those they imply.

use std::collections::HashMap;

use kit::Result;
use sea_orm::DatabaseConnection;

use super::Model;
use crate::reference::Reference;
use crate::{groups, list, projects};

/// One way in which somebody has a role.
#[derive(Clone, Debug)]
pub struct Effective {
    pub row: Model,
    /// The group that brings it.
    pub through_group: Option<String>,
    /// The role that implies it.
    pub implied_by: Option<String>,
}

impl Effective {
    /// An assignment as it was made.
    pub fn plain(row: Model) -> Effective {
        Effective { row, through_group: None, implied_by: None }
    }
}

/// Expands assignments to what users effectively have.
pub async fn expand(db: &DatabaseConnection, reference: &Reference, rows: Vec<Model>) -> Result<Vec<Effective>> {
    let found = members(db, rows).await?;
    let found = inherit(db, found).await?;
    Ok(found.into_iter().flat_map(|one| imply(reference, one)).collect())
}

async fn members(db: &DatabaseConnection, rows: Vec<Model>) -> Result<Vec<Effective>> {
    let group_ids = rows.iter().filter(|row| row.actor_kind == "group").map(|row| row.actor_id.clone());
    let mut of_group: HashMap<String, Vec<String>> = HashMap::new();
    for member in list::with_any::<groups::members::Entity>(db, groups::members::Column::GroupId, group_ids).await? {
        of_group.entry(member.group_id).or_default().push(member.user_id);
    }
    let mut found = Vec::new();
    for row in rows {
        if row.actor_kind != "group" {
            found.push(Effective::plain(row));
            continue;
        }
        for user in of_group.get(&row.actor_id).into_iter().flatten() {
            let of_user = Model { actor_kind: "user".into(), actor_id: user.clone(), ..row.clone() };
            found.push(Effective { row: of_user, through_group: Some(row.actor_id.clone()), implied_by: None });
        }
    }
    Ok(found)
}

/// An inherited assignment holds on each project below its target.
async fn inherit(db: &DatabaseConnection, found: Vec<Effective>) -> Result<Vec<Effective>> {
    let mut below: HashMap<String, Vec<String>> = HashMap::new();
    let mut all = Vec::new();
    for one in found {
        if !one.row.inherited {
            all.push(one);
            continue;
        }
        if !below.contains_key(&one.row.target_id) {
            let ids = projects::tree::below(db, &one.row.target_id).await?.into_iter().map(|project| project.id).collect();
            below.insert(one.row.target_id.clone(), ids);
        }
        for project in below.get(&one.row.target_id).into_iter().flatten() {
            // `inherited` stays set: it says where the role comes from
            let row = Model { target_kind: "project".into(), target_id: project.clone(), ..one.row.clone() };
            all.push(Effective { row, ..one.clone() });
        }
    }
    Ok(all)
}

/// The role itself, and each that it brings along.
fn imply(reference: &Reference, one: Effective) -> Vec<Effective> {
    let mut all = vec![one.clone()];
    let mut seen = vec![one.row.role_id.clone()];
    let mut waiting = vec![one.row.role_id.clone()];
    while let Some(prior) = waiting.pop() {
        for role in reference.implied_by(&prior) {
            if !seen.contains(role) {
                seen.push(role.clone());
                waiting.push(role.clone());
                let row = Model { role_id: role.clone(), ..one.row.clone() };
                all.push(Effective { row, implied_by: Some(prior.clone()), ..one.clone() });
            }
        }
    }
    all
}
