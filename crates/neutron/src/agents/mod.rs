//! The hosts: who is alive, what each should have, and telling them what changed.

mod api;
mod configurations;
mod listening;
mod peers;
mod publisher;
mod reach;
mod relay;
mod router_state;
mod rpc_server;
pub mod schedulers;
mod state;
mod told;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use kit::Result;
use kit::clock::Timestamp;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use api::{delete, list, show, update};
pub use listening::Listening;
pub use publisher::{Inbox, Publisher, channel, publish};
pub use reach::Reach;
pub use relay::relay;
pub use rpc_server::serve;

use crate::{App, Tx, routers, sql};

/// How often routers without a host, or with a silent one, are looked for.
const SCHEDULE: Duration = Duration::from_secs(5);

/// What a change touched; hosts hear of what it is now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Touched {
    /// The network, its subnets, or a DHCP port of it.
    Network(String),
    /// What carries the network, and so on which hosts it is joined with which others.
    Segments(String),
    /// A port that is, or was, on a host.
    Port(String),
    Router(String),
    Group(String),
    AddressGroup(String),
    /// An address came to a group or left it.
    Member {
        group_id: String,
        address: IpAddr,
    },
}

/// Hosts with an L3 agent that is alive, those with the fewest routers first.
pub async fn l3_hosts<C: ConnectionTrait>(app: &App, db: &C) -> Result<Vec<String>> {
    let alive = "SELECT a.host FROM agents a LEFT JOIN routers r ON r.host = a.host \
                 WHERE a.agent_type = 'L3 agent' AND a.admin_state_up AND a.heartbeat_at > $1 \
                 GROUP BY a.host ORDER BY COUNT(r.id), MIN(a.created_at), a.host";
    let since = Timestamp::now().minus(app.config().agent_down_time);
    sql::texts(db, alive, [since.0.into()]).await
}

/// The host with a DHCP agent that is alive and serves the fewest networks.
pub async fn dhcp_host(tx: &Tx<'_>) -> Result<Option<String>> {
    let alive = "SELECT a.host FROM agents a LEFT JOIN ports p ON p.host_id = a.host AND p.device_owner = 'network:dhcp' \
                 WHERE a.agent_type = 'DHCP agent' AND a.admin_state_up AND a.heartbeat_at > $1 \
                 GROUP BY a.host ORDER BY COUNT(p.id), MIN(a.created_at), a.host LIMIT 1";
    let since = Timestamp::now().minus(tx.config().agent_down_time);
    Ok(sql::texts(tx.db, alive, [since.0.into()]).await?.pop())
}

/// Now and then, until `stop`.
pub fn schedule(app: App, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    kit::reconcile::every("l3-scheduler", SCHEDULE, stop, move || {
        let app = app.clone();
        async move { routers::reconcile(&app).await }
    })
}

/// In the order they came, each once.
fn distinct(touched: Vec<Touched>) -> Vec<Touched> {
    let mut seen = HashSet::new();
    touched.into_iter().filter(|t| seen.insert(t.clone())).collect()
}
