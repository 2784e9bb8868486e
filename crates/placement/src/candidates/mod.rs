//! `/allocation_candidates`: who could fulfil a request, and with which claim.
//!
//! A request without groups, in a cloud whose providers stand alone, is one query that stops at its limit ([`flat`]); the rest, with trees,
//! shared providers and groups, is worked out in memory ([`tree`]), some of the trees that could matter at a time ([`world`]) until there are enough.

mod flat;
mod request;
mod tree;
mod view;
mod world;

use kit::{Context, Query, Reply, Result};
use sea_orm::ConnectionTrait;

use crate::{Placement, classes, traits};

/// Candidates an answer has, when the client sets no limit.
const LIMIT: usize = 1000;

/// Which providers fulfil which part of the request: the group's suffix, the provider, the resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub parts: Vec<Part>,
    /// The tree it is in, for the summaries.
    pub root: String,
}

/// One provider's part in a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub suffix: String,
    pub provider: String,
    /// Class and amount.
    pub resources: Vec<(String, i64)>,
}

pub async fn list(app: Placement, ctx: Context, query: Query) -> Result<Reply> {
    let request = request::Request::read(&ctx, &query)?;
    let conn = app.db.read();
    classes::check_known(conn, request.groups.iter().flat_map(|group| group.resources.keys())).await?;
    traits::check_known(conn, request.traits()).await?;
    let candidates = if request.is_plain() && flat::suffices(conn).await? {
        flat::search(conn, &request).await?
    } else {
        in_trees(conn, &request).await?
    };
    view::answer(&app, &ctx, &request, candidates).await
}

/// Tree by tree, beginning at a random one and going round: so that with a limit everybody gets a share of the load.
async fn in_trees(conn: &impl ConnectionTrait, request: &request::Request) -> Result<Vec<Candidate>> {
    let sharing = world::sharing(conn, request).await?;
    let begin = kit::ids::uuid();
    let mut found = Vec::new();
    for (after, until) in [(begin.as_str(), None), ("", Some(begin.as_str()))] {
        let mut after = after.to_owned();
        while found.len() < request.limit {
            let roots = world::roots(conn, request, &sharing, (&after, until)).await?;
            let Some(last) = roots.last() else { break };
            let world = world::load(conn, request, &roots, sharing.clone()).await?;
            found.extend(tree::search(&world, request, request.limit - found.len()));
            after = last.clone();
        }
    }
    Ok(found)
}
