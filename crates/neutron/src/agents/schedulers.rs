//! Which agent carries which router and serves which network, and what administrators say of it.

use kit::{Context, Error, Path, Reply, Result};
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};

use super::api::{fetch as fetch_agent, on_hosts};
use crate::attributes::Input;
use crate::fault::conflict;
use crate::resource::{Resource, Seen, locked, seen, with};
use crate::{App, networks, ports, routers, sql};

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
            if !router.ha && !router.host.is_empty() && router.host != host {
                return Err(conflict(
                    "RouterHostedByL3Agent",
                    format!("The router {} has been already hosted by another L3 agent.", router.id),
                ));
            }
            if router.host == host {
                return Ok(());
            }
            routers::put_on(&tx, &router, &host).await
        })
    })
    .await?;
    Reply::created(&Value::Null)
}

/// `DELETE /agents/{agent_id}/l3-routers/{router_id}`: it goes where an administrator puts it next.
pub async fn remove_router(app: App, _: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (agent, router) = path.0;
    let host = host_of(&app, &agent, "L3 agent").await?;
    app.write(move |tx| {
        Box::pin(async move {
            let router: routers::Model = locked(tx.db, &router).await?;
            if routers::take_off(&tx, &router.id, &host).await? {
                return Ok(());
            }
            let message = format!("The router {} is not hosted by L3 agent {agent}.", router.id);
            Err(conflict("RouterNotHostedByL3Agent", message))
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
    let ids = "SELECT network_id FROM ports WHERE host_id = $1 AND device_owner = 'network:dhcp' \
               UNION SELECT network_id FROM dhcp_servers WHERE host = $1 AND wanted";
    let ids = sql::texts(app.db().read(), ids, [host.into()]).await?;
    rendered::<networks::Model>(app.db().read(), &ctx, &ids).await
}

/// `POST /agents/{agent_id}/dhcp-networks`: served on that host also without guests.
pub async fn add_network(app: App, _: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let host = host_of(&app, &id.0, "DHCP agent").await?;
    let body = input.into_body();
    let network = body.get("network_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    app.write(move |tx| {
        Box::pin(async move {
            let network: networks::Model = locked(tx.db, &network).await?;
            if ports::is_served(&tx, &network.id, &host).await? {
                let message = format!("The network {} has been already hosted by the DHCP Agent {}.", network.id, id.0);
                return Err(conflict("NetworkHostedByDHCPAgent", message));
            }
            ports::say_served(&tx, &network, &host, true).await
        })
    })
    .await?;
    Reply::created(&Value::Null)
}

/// `DELETE /agents/{agent_id}/dhcp-networks/{network_id}`: no longer served there, guests or not.
pub async fn remove_network(app: App, _: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (agent, network) = path.0;
    let host = host_of(&app, &agent, "DHCP agent").await?;
    app.write(move |tx| {
        Box::pin(async move {
            let network: networks::Model = locked(tx.db, &network).await?;
            if !ports::is_served(&tx, &network.id, &host).await? {
                let message = format!("The network {} is not hosted by the DHCP agent {agent}.", network.id);
                return Err(conflict("NetworkNotHostedByDhcpAgent", message));
            }
            ports::say_served(&tx, &network, &host, false).await
        })
    })
    .await?;
    Reply::no_content()
}

/// `GET /networks/{network_id}/dhcp-agents`
pub async fn dhcp_agents(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let network: networks::Model = seen(app.db().read(), &ctx, &id.0).await?;
    let hosts = "SELECT host_id FROM ports WHERE network_id = $1 AND device_owner = 'network:dhcp' \
                 UNION SELECT host FROM dhcp_servers WHERE network_id = $1 AND wanted";
    let hosts = sql::texts(app.db().read(), hosts, [network.id.into()]).await?;
    Reply::ok(&json!({"agents": on_hosts(&app, "DHCP agent", &hosts).await?}))
}
