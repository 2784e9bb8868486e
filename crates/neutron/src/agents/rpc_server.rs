//! What agents say to the server.

use std::collections::HashMap;

use kit::bus::{Bus, Handlers};
use kit::clock::Timestamp;
use kit::{Result, ids};
use rpc::network::{FetchState, Heartbeat, PortsWired, SERVER_TOPIC};
use sea_orm::Value;
use tokio::task::JoinHandle;

use super::relay::Relayed;
use crate::placement::Means;
use crate::{App, Tx, ports, routers, sql};

/// Messages of agents handled at a time.
const CONCURRENCY: usize = 32;

pub fn serve(app: &App, bus: &Bus) -> JoinHandle<()> {
    let (fetch, beat, wire, relayed) = (app.clone(), app.clone(), app.clone(), app.clone());
    let handlers = Handlers::new()
        .on(move |m: FetchState| {
            let app = fetch.clone();
            async move { app.0.hosts.fetch(m.host).await }
        })
        .on(move |m: Heartbeat| {
            let app = beat.clone();
            async move { heartbeat(&app, m).await }
        })
        .on(move |m: PortsWired| {
            let app = wire.clone();
            async move { ports::wired(&app, m.host, m.up, m.down).await }
        })
        .on(move |m: Relayed| {
            let app = relayed.clone();
            async move {
                for touched in m.touched {
                    app.0.hosts.touched(touched).await;
                }
                Ok(())
            }
        });
    bus.serve(SERVER_TOPIC, handlers, CONCURRENCY)
}

/// An agent says that it lives, alone or with many others. Routers that wait for a host get one at once.
async fn heartbeat(app: &App, message: Heartbeat) -> Result<()> {
    app.0.beats.go(message, |messages| heard(app, messages)).await
}

async fn heard(app: &App, messages: Vec<Heartbeat>) -> Result<Vec<()>> {
    let means = |message: &Heartbeat| Means { bandwidths: message.bandwidths.clone(), packets: message.packet_rate };
    let all: Vec<(String, Means)> = messages.iter().map(|message| (message.host.clone(), means(message))).collect();
    if app.write(move |tx| Box::pin(async move { note(&tx, &messages).await })).await? {
        app.0.hosts.moved().await;
    }
    let answers = vec![(); all.len()];
    for (host, means) in all {
        app.0.placement.heard(&host, means);
        app.0.hosts.heard(host).await;
    }
    app.listening().heard(app.config().ha_takeover_time);
    routers::reconcile(app).await?;
    Ok(answers)
}

/// How a host is joined to others: where its tunnels end, and by which links it is on which physical networks, and on which it is.
type Joined = (Option<String>, String, String);

/// Notes that the agents live, and how their hosts are joined; true when a host's are other than before.
async fn note(tx: &Tx<'_>, messages: &[Heartbeat]) -> Result<bool> {
    let now = Timestamp::now().0;
    let mut moved = false;
    for some in messages.chunks(CONCURRENCY) {
        let hosts: Vec<Value> = some.iter().map(|message| message.host.as_str().into()).collect();
        let known = "SELECT host, vtep, COALESCE(interface_mappings, ''), COALESCE(physical_networks, '') FROM agents WHERE host IN";
        let mut agents: HashMap<String, Vec<Joined>> = HashMap::new();
        for row in sql::query(tx.db, &format!("{known} ({})", sql::parameters(1, hosts.len())), hosts.clone()).await? {
            agents.entry(row.try_get_by_index(0)?).or_default().push((
                row.try_get_by_index(1)?,
                row.try_get_by_index(2)?,
                row.try_get_by_index(3)?,
            ));
        }
        let beat = format!("UPDATE agents SET heartbeat_at = $1 WHERE host IN ({})", sql::parameters(2, hosts.len()));
        sql::execute(tx.db, &beat, std::iter::once(now.into()).chain(hosts)).await?;
        for message in some {
            let vtep = message.vtep.map(|ip| ip.to_string());
            let physical = serde_json::to_string(&message.physical_networks)?;
            let joined = (vtep, serde_json::to_string(&message.interface_mappings)?, physical);
            let agents = agents.get(&message.host).map(Vec::as_slice).unwrap_or_default();
            if agents.iter().any(|known| *known != joined) {
                let update = "UPDATE agents SET vtep = $1, interface_mappings = $2, physical_networks = $3 WHERE host = $4";
                let (vtep, mappings, physical) = joined.clone();
                sql::execute(tx.db, update, [vtep.into(), mappings.into(), physical.into(), message.host.as_str().into()]).await?;
                moved |= agents.iter().any(|known| known.0 != joined.0 || known.2 != joined.2);
            }
            if agents.len() < message.agent_types.len() {
                enrol(tx, message, &joined, now).await?;
                moved |= message.vtep.is_some();
            }
        }
    }
    Ok(moved)
}

/// Agents that were never heard of.
async fn enrol(tx: &Tx<'_>, message: &Heartbeat, (vtep, mappings, physical): &Joined, now: i64) -> Result<()> {
    for kind in &message.agent_types {
        let insert = "INSERT INTO agents (id, host, agent_type, admin_state_up, description, started_at, heartbeat_at, created_at, vtep, \
                      interface_mappings, physical_networks) VALUES ($1, $2, $3, TRUE, '', $4, $4, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        let host = message.host.as_str();
        let values = [
            ids::uuid().into(),
            host.into(),
            kind.as_str().into(),
            now.into(),
            vtep.clone().into(),
            mappings.as_str().into(),
            physical.as_str().into(),
        ];
        sql::execute(tx.db, insert, values).await?;
    }
    Ok(())
}
