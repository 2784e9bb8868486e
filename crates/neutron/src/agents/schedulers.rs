//! Which agent carries which router and serves which network. DHCP is served on every host that has a guest of the network, so networks are
//! only listed; a router can be moved.

use kit::{Context, Error, Path, Reply, Result};
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};

use super::api::{fetch as fetch_agent, on_hosts};
use crate::attributes::Input;
use crate::fault::{bad_request, conflict};
use crate::resource::{Resource, Seen, locked, seen, with};
use crate::{App, networks, routers, sql};

/// The host of an agent of a kind.
async fn host_of(app: &App, agent: &str, kind: &str) -> Result<String> {
    let agent = fetch_agent(app, agent).await?;
    if agent.get("agent_type").and_then(Value::as_str) != Some(kind) {
        let id = agent.get("id").and_then(Value::as_str).unwrap_or_default();
        let (code, what) = if kind == "L3 agent" { ("InvalidL3Agent", "a L3") } else { ("InvalidDHCPAgent", "a DHCP") };
        return Err(Error::conflict(format!("Agent {id} is not {what} Agent or has been disabled.")).code(code));
    }
    Ok(agent.get("host").and_then(Value::as_str).unwrap_or_default().to_owned())
}

async fn rendered<R: Resource>(db: &DatabaseConnection, ctx: &Context, ids: &[String]) -> Result<Reply> {
    let rows: Vec<R> = with(db, "id", ids).await?;
    Reply::ok(&json!({R::PLURAL: R::views(db, rows, &Seen::from(ctx)).await?}))
}

/// `GET /agents/{agent_id}/l3-routers`
pub async fn routers(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let host = host_of(&app, &id.0, "L3 agent").await?;
    let ids = "SELECT id FROM routers WHERE host = $1 UNION SELECT router_id FROM standby_routers WHERE host = $1";
    let ids = sql::texts(app.db().read(), ids, [host.into()]).await?;
    rendered::<routers::Model>(app.db().read(), &ctx, &ids).await
}

/// `POST /agents/{agent_id}/l3-routers`
pub async fn add_router(app: App, _: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let host = host_of(&app, &id.0, "L3 agent").await?;
    let body = input.into_body();
    let router = body.get("router_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    app.write(move |tx| {
        Box::pin(async move {
            let router: routers::Model = locked(tx.db, &router).await?;
            if !router.host.is_empty() && router.host != host {
                return Err(conflict(
                    "RouterHostedByL3Agent",
                    format!("The router {} has been already hosted by another L3 agent.", router.id),
                ));
            }
            routers::place(&tx, &router.id, &host).await
        })
    })
    .await?;
    Reply::created(&Value::Null)
}

/// `DELETE /agents/{agent_id}/l3-routers/{router_id}`: another host gets it, if there is another.
pub async fn remove_router(app: App, _: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (agent, router) = path.0;
    let host = host_of(&app, &agent, "L3 agent").await?;
    let on = app.clone();
    app.write(move |tx| {
        Box::pin(async move {
            let router: routers::Model = locked(tx.db, &router).await?;
            if router.host != host {
                let delete = "DELETE FROM standby_routers WHERE router_id = $1 AND host = $2";
                if sql::execute(tx.db, delete, [router.id.as_str().into(), host.into()]).await? > 0 {
                    tx.touch(super::Touched::Router(router.id));
                    return Ok(());
                }
                let message = format!("The router {} is not hosted by L3 agent {agent}.", router.id);
                return Err(bad_request("RouterNotHostedByL3Agent", message));
            }
            let next = super::l3_hosts(&on, tx.db).await?.into_iter().find(|other| *other != host).unwrap_or_default();
            routers::place(&tx, &router.id, &next).await
        })
    })
    .await?;
    Reply::no_content()
}

/// `GET /routers/{router_id}/l3-agents`
pub async fn l3_agents(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let router: routers::Model = seen(app.db().read(), &ctx, &id.0).await?;
    let standbys = routers::standbys(app.db().read(), &router.id).await?;
    let hosts: Vec<String> = std::iter::once(router.host.clone()).chain(standbys).filter(|host| !host.is_empty()).collect();
    let mut agents = on_hosts(&app, "L3 agent", &hosts).await?;
    for agent in &mut agents {
        let active = agent.get("host").and_then(Value::as_str) == Some(&router.host);
        let state = router.ha.then_some(if active { "active" } else { "standby" });
        agent.insert("ha_state".into(), json!(state));
    }
    Reply::ok(&json!({"agents": agents}))
}

/// `GET /agents/{agent_id}/dhcp-networks`
pub async fn networks(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let host = host_of(&app, &id.0, "DHCP agent").await?;
    let ids = "SELECT network_id FROM ports WHERE host_id = $1 AND device_owner = 'network:dhcp'";
    let ids = sql::texts(app.db().read(), ids, [host.into()]).await?;
    rendered::<networks::Model>(app.db().read(), &ctx, &ids).await
}

/// `GET /networks/{network_id}/dhcp-agents`
pub async fn dhcp_agents(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let network: networks::Model = seen(app.db().read(), &ctx, &id.0).await?;
    let hosts = "SELECT host_id FROM ports WHERE network_id = $1 AND device_owner = 'network:dhcp'";
    let hosts = sql::texts(app.db().read(), hosts, [network.id.into()]).await?;
    Reply::ok(&json!({"agents": on_hosts(&app, "DHCP agent", &hosts).await?}))
}
