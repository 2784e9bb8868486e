//! `/os-floating-ips` and `/os-floating-ip-pools`, until 2.35: neutron's floating IPs; a pool is an external network.

use std::collections::HashMap;

use kit::{Context, Error, Path, Raw, Reply, Result};
use sdk::network::{FloatingIp, NetworkInfo};
use serde_json::{Value, json};

use super::{accepted, gone, one};
use crate::Nova;

/// A body of this API is a few words.
const BODY: usize = 64 << 10;

/// `GET /os-floating-ip-pools`
pub async fn pools(app: Nova, ctx: Context) -> Result<Reply> {
    let pools = external(&app, &ctx).await?;
    Reply::ok(&json!({"floating_ip_pools": pools.iter().map(|network| json!({"name": network.name})).collect::<Vec<_>>()}))
}

/// `GET /os-floating-ips`
pub async fn list(app: Nova, ctx: Context) -> Result<Reply> {
    let all = app.cloud.network.floating_ips(&ctx.auth(), &[("project_id", ctx.project_id()?)]).await?;
    Reply::ok(&json!({"floating_ips": views(&app, &ctx, &all).await?}))
}

/// `GET /os-floating-ips/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let found = app.cloud.network.floating_ips(&ctx.auth(), &[("id", &id.0)]).await?;
    let shown = views(&app, &ctx, &found).await?.pop().ok_or_else(|| Error::not_found(missing(&id.0)))?;
    Reply::ok(&json!({"floating_ip": shown}))
}

/// `POST /os-floating-ips`: from a pool, or from the first one.
pub async fn create(app: Nova, ctx: Context, raw: Raw) -> Result<Reply> {
    let bytes = axum::body::to_bytes(raw.body, BODY).await.map_err(|_| Error::bad_request("The request body ended early."))?;
    let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).map_err(|_| malformed())? };
    let wanted = match &body["pool"] {
        Value::Null => None,
        Value::String(name) => Some(name.clone()),
        _ => return Err(malformed()),
    };
    let pools = external(&app, &ctx).await?;
    let pool = pools.iter().find(|pool| wanted.as_ref().is_none_or(|wanted| pool.name == *wanted || pool.id == *wanted));
    let pool = pool.ok_or_else(|| Error::not_found("Floating IP pool not found."))?;
    let asked = json!({"floatingip": {"floating_network_id": pool.id, "project_id": ctx.project_id()?}});
    let made = app.cloud.network.0.post(&ctx.auth(), "/v2.0/floatingips", &asked).await?.take::<FloatingIp>("floatingip")?;
    Reply::ok(&json!({"floating_ip": view(&made, &pool.name, None)}))
}

/// `DELETE /os-floating-ips/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let path = format!("/v2.0/floatingips/{}", kit::call::percent_encode(&id.0));
    gone(app.cloud.network.0.delete(&ctx.auth(), &path).await, || missing(&id.0))?;
    Ok(accepted())
}

async fn external(app: &Nova, ctx: &Context) -> Result<Vec<NetworkInfo>> {
    Ok(app.cloud.network.networks(&ctx.auth(), &[("router:external", "True")]).await?)
}

async fn views(app: &Nova, ctx: &Context, all: &[FloatingIp]) -> Result<Vec<Value>> {
    let pools: HashMap<String, String> = external(app, ctx).await?.into_iter().map(|network| (network.id, network.name)).collect();
    let mut shown = Vec::new();
    for ip in all {
        let server = match &ip.port_id {
            Some(port) => {
                let path = format!("/v2.0/ports/{}", kit::call::percent_encode(port));
                let port = one(app.cloud.network.0.get(&ctx.auth(), &path).await, "port", String::new);
                port.ok().and_then(|port| port["device_id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned))
            }
            None => None,
        };
        let pool = pools.get(&ip.floating_network_id).map_or(ip.floating_network_id.as_str(), String::as_str);
        shown.push(view(ip, pool, server));
    }
    Ok(shown)
}

fn view(ip: &FloatingIp, pool: &str, server: Option<String>) -> Value {
    json!({"id": ip.id, "ip": ip.floating_ip_address, "fixed_ip": ip.fixed_ip_address, "pool": pool, "instance_id": server})
}

fn missing(id: &str) -> String {
    format!("Floating IP not found for ID {id}")
}

fn malformed() -> Error {
    Error::bad_request("The server could not comply with the request since it is either malformed or otherwise incorrect.")
}
