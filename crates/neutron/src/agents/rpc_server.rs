//! What agents say to the server.

use kit::bus::{Bus, Handlers};
use kit::clock::Timestamp;
use kit::{Result, ids};
use rpc::network::{FetchState, Heartbeat, PortsWired, SERVER_TOPIC};
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

async fn heartbeat(app: &App, message: Heartbeat) -> Result<()> {
    let host = message.host.clone();
    let means = Means { bandwidths: message.bandwidths.clone(), packets: message.packet_rate };
    let moved = app.write(move |tx| {
        Box::pin(async move {
            let now = Timestamp::now().0;
            let moved = move_vtep(&tx, &message).await?;
            let alive =
                sql::execute(tx.db, "UPDATE agents SET heartbeat_at = $1 WHERE host = $2", [now.into(), message.host.as_str().into()])
                    .await?;
            if alive >= message.agent_types.len() as u64 {
                return Ok(moved);
            }
            for kind in &message.agent_types {
                let insert = "INSERT INTO agents (id, host, agent_type, admin_state_up, description, started_at, heartbeat_at, created_at, vtep) \
                              VALUES ($1, $2, $3, TRUE, '', $4, $4, $4, $5) ON CONFLICT DO NOTHING";
                let vtep = message.vtep.map(|ip| ip.to_string());
                let values = [ids::uuid().into(), message.host.as_str().into(), kind.as_str().into(), now.into(), vtep.into()];
                sql::execute(tx.db, insert, values).await?;
            }
            Ok(message.vtep.is_some())
        })
    });
    if moved.await? {
        app.0.hosts.moved().await;
    }
    app.0.placement.heard(&host, means);
    app.0.hosts.heard(host).await;
    routers::reconcile(app).await
}

/// Notes where the host's tunnels end; true when that is elsewhere than before.
async fn move_vtep(tx: &Tx<'_>, message: &Heartbeat) -> Result<bool> {
    let vtep = message.vtep.map(|ip| ip.to_string());
    let update = "UPDATE agents SET vtep = $1 WHERE host = $2 AND COALESCE(vtep, '') <> $3";
    let values = [vtep.clone().into(), message.host.as_str().into(), vtep.unwrap_or_default().into()];
    Ok(sql::execute(tx.db, update, values).await? > 0)
}
