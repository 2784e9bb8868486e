//! Candidates among providers that stand alone.

use kit::{Result, ids};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::request::{Group, Request};
use super::{Candidate, Part};
use crate::entity::{provider, provider_trait};
use crate::providers::filters::has_room;

/// A provider with this trait serves the trees it shares an aggregate with.
pub const SHARES: &str = "MISC_SHARES_VIA_AGGREGATE";

/// Whether no provider is part of a tree or shared.
pub async fn suffices(conn: &impl ConnectionTrait) -> Result<bool> {
    let nested = provider::Entity::find().filter(provider::Column::ParentUuid.is_not_null()).limit(1).count(conn).await?;
    let shared = provider_trait::Entity::find().filter(provider_trait::Column::Name.eq(SHARES)).limit(1).count(conn).await?;
    Ok(nested + shared == 0)
}

/// The first providers with room, beginning at a random one and going round: so that with a limit everybody gets a share of the load, and
/// requests at the same time meet different hosts.
pub async fn search(conn: &impl ConnectionTrait, request: &Request) -> Result<Vec<Candidate>> {
    let Some(group) = request.groups.first() else { return Ok(Vec::new()) };
    let begin = ids::uuid();
    let mut found = scan(conn, group, provider::Column::Uuid.gte(begin.as_str()), request.limit).await?;
    if found.len() < request.limit {
        let rest = request.limit - found.len();
        found.extend(scan(conn, group, provider::Column::Uuid.lt(begin.as_str()), rest).await?);
    }
    let resources: Vec<(String, i64)> = group.resources.iter().map(|(class, amount)| (class.clone(), *amount)).collect();
    let candidate = |uuid: String| Candidate {
        root: uuid.clone(),
        parts: vec![Part { suffix: group.suffix.clone(), provider: uuid, resources: resources.clone() }],
    };
    Ok(found.into_iter().map(candidate).collect())
}

async fn scan(conn: &impl ConnectionTrait, group: &Group, span: Expr, limit: usize) -> Result<Vec<String>> {
    let mut condition = Condition::all().add(span).add(group.needs.condition());
    if let Some(root) = &group.in_tree {
        condition = condition.add(provider::Column::Uuid.eq(root));
    }
    for (class, amount) in &group.resources {
        condition = condition.add(has_room(class, *amount));
    }
    let rows = provider::Entity::find().select_only().column(provider::Column::Uuid).filter(condition);
    Ok(rows.order_by_asc(provider::Column::Uuid).limit(limit as u64).into_tuple::<String>().all(conn).await?)
}
