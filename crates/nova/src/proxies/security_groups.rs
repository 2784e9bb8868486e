//! `/os-security-groups`, until 2.35: neutron's security groups, of whose rules nova shows the incoming ones.

use std::collections::HashMap;

use kit::{Context, Error, Json, Path, Query, Reply, Result};
use serde_json::{Value, json};

use super::{accepted, as_bad_request, gone, group_id, one, paged};
use crate::{Nova, validate};

/// `GET /os-security-groups`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let mut path = "/v2.0/security-groups".to_owned();
    if !(query.flag("all_tenants") && ctx.is_admin()) {
        path += &format!("?project_id={}", ctx.project_id()?);
    }
    let groups: Vec<Value> = app.cloud.network.0.get(&ctx.auth(), &path).await?.take("security_groups")?;
    let names = Names::of(&groups);
    let shown = groups.iter().map(|group| view(group, &names)).collect();
    Reply::ok(&json!({"security_groups": paged(&app, &query, shown)?}))
}

/// `GET /os-security-groups/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let group = fetch(&app, &ctx, &id.0).await?;
    answer(&app, &ctx, &group).await
}

/// `POST /os-security-groups`
pub async fn create(app: Nova, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let asked = read(&ctx, body.0)?;
    let group = app.cloud.network.0.post(&ctx.auth(), "/v2.0/security-groups", &json!({"security_group": asked})).await?;
    answer(&app, &ctx, &group.take("security_group")?).await
}

/// `PUT /os-security-groups/{id}`
pub async fn update(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let asked = read(&ctx, body.0)?;
    let changed = app.cloud.network.0.put(&ctx.auth(), &path(group_id(&id.0)?), &json!({"security_group": asked})).await;
    answer(&app, &ctx, &one(changed, "security_group", || missing(&id.0))?).await
}

/// `DELETE /os-security-groups/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    gone(as_bad_request(app.cloud.network.0.delete(&ctx.auth(), &path(group_id(&id.0)?)).await), || missing(&id.0))?;
    Ok(accepted())
}

/// A group as neutron has it.
pub async fn fetch(app: &Nova, ctx: &Context, id: &str) -> Result<Value> {
    one(app.cloud.network.0.get(&ctx.auth(), &path(group_id(id)?)).await, "security_group", || missing(id))
}

async fn answer(app: &Nova, ctx: &Context, group: &Value) -> Result<Reply> {
    Reply::ok(&json!({"security_group": view(group, &Names::beside(app, ctx, group).await?)}))
}

/// A name, and a description that may be empty.
fn read(ctx: &Context, body: Value) -> Result<Value> {
    let asked = validate::only(body, "security_group", ctx.strict)?;
    let text = |key: &str| match asked.get(key) {
        Some(Value::String(text)) if text.chars().count() <= 255 => Ok(text.clone()),
        Some(Value::String(_)) => Err(Error::bad_request(format!("Security group {key} should not be greater than 255 characters."))),
        _ => Err(Error::bad_request(format!("Security group {key} is not a string or unicode"))),
    };
    let (name, description) = (text("name")?, text("description")?);
    if name.trim().is_empty() {
        return Err(Error::bad_request("Security group name cannot be empty."));
    }
    Ok(json!({"name": name, "description": description}))
}

/// Groups that rules name: id to name and project.
#[derive(Default)]
pub struct Names(HashMap<String, (String, String)>);

impl Names {
    fn of(groups: &[Value]) -> Names {
        let text = |group: &Value, key: &str| group[key].as_str().unwrap_or_default().to_owned();
        Names(groups.iter().map(|group| (text(group, "id"), (text(group, "name"), text(group, "project_id")))).collect())
    }

    /// Those that the rules of one group name.
    pub async fn beside(app: &Nova, ctx: &Context, group: &Value) -> Result<Names> {
        let rules = group["security_group_rules"].as_array().map_or(&[][..], Vec::as_slice);
        let mut ids: Vec<&str> = rules.iter().filter_map(|rule| rule["remote_group_id"].as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Names::default());
        }
        let query: Vec<String> = ids.iter().map(|id| format!("id={id}")).collect();
        let path = format!("/v2.0/security-groups?{}", query.join("&"));
        Ok(Names::of(&app.cloud.network.0.get(&ctx.auth(), &path).await?.take::<Vec<Value>>("security_groups")?))
    }
}

fn view(group: &Value, names: &Names) -> Value {
    let rules = group["security_group_rules"].as_array().map_or(&[][..], Vec::as_slice);
    let incoming = rules.iter().filter(|rule| rule["direction"] == "ingress");
    json!({
        "id": group["id"], "name": group["name"], "description": group["description"], "tenant_id": group["project_id"],
        "rules": incoming.map(|rule| rule_view(rule, names)).collect::<Vec<_>>(),
    })
}

/// A rule in nova's form: no range of ports means all of them.
pub fn rule_view(rule: &Value, names: &Names) -> Value {
    let (from, to) = match (&rule["protocol"], &rule["port_range_min"], &rule["port_range_max"]) {
        (Value::String(protocol), Value::Null, Value::Null) => match protocol.to_ascii_lowercase().as_str() {
            "tcp" | "udp" => (json!(1), json!(65535)),
            _ => (json!(-1), json!(-1)),
        },
        (_, min, max) => (min.clone(), max.clone()),
    };
    let other = rule["remote_group_id"].as_str();
    let group = other.and_then(|id| names.0.get(id)).map_or(json!({}), |(name, project)| json!({"name": name, "tenant_id": project}));
    let everywhere = if rule["ethertype"] == "IPv6" { "::/0" } else { "0.0.0.0/0" };
    let range = if other.is_some() { json!({}) } else { json!({"cidr": rule["remote_ip_prefix"].as_str().unwrap_or(everywhere)}) };
    json!({
        "id": rule["id"], "parent_group_id": rule["security_group_id"], "ip_protocol": rule["protocol"],
        "from_port": from, "to_port": to, "group": group, "ip_range": range,
    })
}

fn path(id: &str) -> String {
    format!("/v2.0/security-groups/{}", kit::call::percent_encode(id))
}

fn missing(id: &str) -> String {
    format!("Security group {id} not found.")
}
