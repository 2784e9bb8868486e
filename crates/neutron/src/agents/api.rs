//! `/agents`: the list administrators read.

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Path, Query, Reply, Result};
use sea_orm::QueryResult;
use serde_json::{Map, Value, json};

use super::configurations::{self, Carried};
use crate::attributes::{Attribute, Checked, ID, Input};
use crate::fault::{conflict, not_found};
use crate::listing::select_fields;
use crate::values::Kind;
use crate::{App, sql};

const SELECT: &str =
    "SELECT id, host, agent_type, admin_state_up, description, started_at, heartbeat_at, created_at, vtep, interface_mappings FROM agents";

/// What may be said of an agent.
const ATTRIBUTES: &[Attribute] =
    &[ID, Attribute::writable("admin_state_up", Kind::Bool), Attribute::writable("description", Kind::TextOrEmpty(255))];

/// `GET /agents`: empty for whoever may not see them.
pub async fn list(app: App, ctx: Context, query: Query) -> Result<Reply> {
    if !ctx.allows("get_agent", &Target::default()) {
        return Reply::ok(&json!({"agents": []}));
    }
    let rows = sql::query(app.db().read(), &format!("{SELECT} ORDER BY host, agent_type"), []).await?;
    let mut agents = views(&app, &rows, None).await?;
    for key in ["id", "host", "agent_type", "binary", "alive", "admin_state_up"] {
        let wanted: Vec<String> = query.all(key).map(str::to_lowercase).collect();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).to_lowercase();
        agents.retain(|agent| wanted.is_empty() || agent.get(key).is_some_and(|value| wanted.contains(&text(value))));
    }
    select_fields(&mut agents, &query);
    Reply::ok(&json!({"agents": agents}))
}

/// `GET /agents/{agent_id}`
pub async fn show(app: App, _: Context, id: Path<String>, query: Query) -> Result<Reply> {
    let mut agent = [fetch(&app, &id.0).await?];
    select_fields(&mut agent, &query);
    let [agent] = agent;
    Reply::ok(&json!({"agent": agent}))
}

/// `PUT /agents/{agent_id}`
pub async fn update(app: App, _: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let checked = Checked::update(ATTRIBUTES, input.one("agent")?)?;
    fetch(&app, &id.0).await?;
    let up = checked.get::<bool>("admin_state_up")?;
    let description = checked.get::<String>("description")?;
    let agent = id.0.clone();
    app.write(move |tx| {
        Box::pin(async move {
            if let Some(up) = up {
                sql::execute(tx.db, "UPDATE agents SET admin_state_up = $1 WHERE id = $2", [up.into(), agent.as_str().into()]).await?;
            }
            if let Some(description) = description {
                sql::execute(tx.db, "UPDATE agents SET description = $1 WHERE id = $2", [description.into(), agent.into()]).await?;
            }
            Ok(())
        })
    })
    .await?;
    show_of(&app, &id.0).await
}

async fn show_of(app: &App, id: &str) -> Result<Reply> {
    Reply::ok(&json!({"agent": fetch(app, id).await?}))
}

/// `DELETE /agents/{agent_id}`: of one that is gone.
pub async fn delete(app: App, _: Context, id: Path<String>) -> Result<Reply> {
    let agent = fetch(&app, &id.0).await?;
    if agent.get("alive") == Some(&json!(true)) {
        return Err(conflict("AgentInUse", format!("Agent {} is alive.", id.0)));
    }
    app.write(move |tx| Box::pin(async move { sql::execute(tx.db, "DELETE FROM agents WHERE id = $1", [id.0.into()]).await })).await?;
    Reply::no_content()
}

pub async fn fetch(app: &App, id: &str) -> Result<Map<String, Value>> {
    let rows = sql::query(app.db().read(), &format!("{SELECT} WHERE id = $1"), [id.into()]).await?;
    let host: Option<String> = rows.first().map(|row| row.try_get("", "host")).transpose()?;
    views(app, &rows, host.as_deref()).await?.pop().ok_or_else(|| not_found("AgentNotFound", "Agent", id))
}

/// The agents of a kind on some hosts.
pub async fn on_hosts(app: &App, kind: &str, hosts: &[String]) -> Result<Vec<Map<String, Value>>> {
    let rows = sql::query(app.db().read(), &format!("{SELECT} WHERE agent_type = $1 ORDER BY host"), [kind.into()]).await?;
    let agents = views(app, &rows, None).await?;
    let named = |agent: &Map<String, Value>| agent.get("host").and_then(Value::as_str).is_some_and(|host| hosts.iter().any(|h| h == host));
    Ok(agents.into_iter().filter(named).collect())
}

/// `host` is the one host whose agents they are, if it is one.
async fn views(app: &App, rows: &[QueryResult], host: Option<&str>) -> Result<Vec<Map<String, Value>>> {
    let carried = Carried::read(app.db().read(), host).await?;
    rows.iter().map(|row| view(app, row, &carried)).collect()
}

fn view(app: &App, row: &QueryResult, carried: &Carried) -> Result<Map<String, Value>> {
    let kind: String = row.try_get("", "agent_type")?;
    let time = |column: &str| -> Result<Timestamp> { Ok(Timestamp(row.try_get::<i64>("", column)?)) };
    let old = |time: Timestamp| time.to_micros().replace('T', " ").split('.').next().unwrap_or_default().to_owned();
    let heartbeat = time("heartbeat_at")?;
    let (binary, topic) = match kind.as_str() {
        "DHCP agent" => ("neutron-dhcp-agent", "dhcp_agent"),
        "L3 agent" => ("neutron-l3-agent", "l3_agent"),
        "Metadata agent" => ("neutron-metadata-agent", "N/A"),
        _ => ("neutron-linuxbridge-agent", "N/A"),
    };
    let zone = matches!(kind.as_str(), "DHCP agent" | "L3 agent").then_some("nova");
    let (host, vtep) = (row.try_get::<String>("", "host")?, row.try_get::<Option<String>>("", "vtep")?);
    let mappings = row.try_get::<Option<String>>("", "interface_mappings")?.unwrap_or_else(|| "{}".into());
    let configurations = configurations::of(&kind, &host, vtep.as_deref(), &serde_json::from_str(&mappings)?, carried);
    let view = json!({
        "id": row.try_get::<String>("", "id")?, "agent_type": kind, "binary": binary, "topic": topic,
        "host": host, "admin_state_up": row.try_get::<bool>("", "admin_state_up")?,
        "alive": Timestamp::now().since(heartbeat) < app.config().agent_down_time, "availability_zone": zone,
        "description": row.try_get::<String>("", "description")?, "created_at": old(time("created_at")?),
        "started_at": old(time("started_at")?), "heartbeat_timestamp": old(heartbeat), "configurations": configurations, "resources_synced": null,
    });
    Ok(if let Value::Object(view) = view { view } else { Map::new() })
}
