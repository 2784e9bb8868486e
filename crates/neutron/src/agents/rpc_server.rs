//! What agents say to the server.

use kit::bus::{Bus, Handlers};
use kit::clock::Timestamp;
use kit::{Result, ids};
use rpc::network::{FetchState, Heartbeat, PortsWired, SERVER_TOPIC};
use tokio::task::JoinHandle;

use crate::{App, ports, sql};

/// Messages of agents handled at a time.
const CONCURRENCY: usize = 32;

pub fn serve(app: &App, bus: &Bus) -> JoinHandle<()> {
    let (fetch, beat, wire) = (app.clone(), app.clone(), app.clone());
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
        });
    bus.serve(SERVER_TOPIC, handlers, CONCURRENCY)
}

async fn heartbeat(app: &App, message: Heartbeat) -> Result<()> {
    let host = message.host.clone();
    app.write(move |tx| {
        Box::pin(async move {
            let now = Timestamp::now().0;
            let alive =
                sql::execute(tx.db, "UPDATE agents SET heartbeat_at = $1 WHERE host = $2", [now.into(), message.host.as_str().into()])
                    .await?;
            if alive >= message.agent_types.len() as u64 {
                return Ok(());
            }
            for kind in &message.agent_types {
                let insert = "INSERT INTO agents (id, host, agent_type, admin_state_up, description, started_at, heartbeat_at, created_at) \
                              VALUES ($1, $2, $3, TRUE, '', $4, $4, $4) ON CONFLICT DO NOTHING";
                let values = [ids::uuid().into(), message.host.as_str().into(), kind.as_str().into(), now.into()];
                sql::execute(tx.db, insert, values).await?;
            }
            Ok(())
        })
    })
    .await?;
    app.0.hosts.heard(host).await;
    super::place_routers(app).await
}
