//! The hosts: who is alive, what each should have, and telling them what changed.

mod api;
mod publisher;
mod rpc_server;
mod state;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use kit::Result;
use kit::clock::Timestamp;
use sea_orm::ConnectionTrait;
use tokio_util::sync::CancellationToken;

pub use api::{delete, list, show, update};
pub use publisher::{Inbox, Publisher, channel, publish};
pub use rpc_server::serve;

use crate::{App, routers, sql};

/// How often routers without a host are looked for.
const SCHEDULE: Duration = Duration::from_secs(5);

/// What a change touched; hosts hear of what it is now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Touched {
    /// The network, its subnets, or a DHCP port of it.
    Network(String),
    Port(String),
    Router(String),
    Group(String),
    /// An address came to a group or left it.
    Member {
        group_id: String,
        address: IpAddr,
    },
}

/// The host of the first L3 agent that is alive.
pub async fn l3_host<C: ConnectionTrait>(app: &App, db: &C) -> Result<Option<String>> {
    let alive =
        "SELECT host FROM agents WHERE agent_type = 'L3 agent' AND admin_state_up AND heartbeat_at > $1 ORDER BY created_at, host LIMIT 1";
    let since = Timestamp::now().minus(app.config().agent_down_time);
    Ok(sql::texts(db, alive, [since.0.into()]).await?.pop())
}

/// Gives routers that have no host one, as soon as there is one.
pub async fn place_routers(app: &App) -> Result<()> {
    let homeless = sql::texts(app.db().read(), "SELECT id FROM routers WHERE host = '' LIMIT 100", []).await?;
    if homeless.is_empty() {
        return Ok(());
    }
    let Some(host) = l3_host(app, app.db().read()).await? else { return Ok(()) };
    app.write(move |tx| {
        Box::pin(async move {
            for router in homeless {
                routers::place(&tx, &router, &host).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Now and then, until `stop`.
pub fn schedule(app: App, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    kit::reconcile::every("l3-scheduler", SCHEDULE, stop, move || {
        let app = app.clone();
        async move { place_routers(&app).await }
    })
}

/// In the order they came, each once.
fn distinct(touched: Vec<Touched>) -> Vec<Touched> {
    let mut seen = HashSet::new();
    touched.into_iter().filter(|t| seen.insert(t.clone())).collect()
}
