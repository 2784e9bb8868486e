//! `/allocation_candidates`: who could fulfil a request, and with which claim.
//!
//! A request without groups, in a cloud whose providers stand alone, is one query that stops at its limit ([`flat`]); the rest, with trees,
//! shared providers and groups, is worked out in memory over the providers that could matter ([`tree`]).

mod flat;
mod request;
mod tree;
mod view;
mod world;

use kit::{Context, Query, Reply, Result};

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
        let world = world::load(conn, &request).await?;
        tree::search(&world, &request, &kit::ids::uuid())
    };
    view::answer(&app, &ctx, &request, candidates).await
}
