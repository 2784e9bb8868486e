//! `/servers/{id}/os-interface`: the ports of a server.

use std::time::Duration;

use kit::{Context, Error, Json, Kind, Path, Reply, Result};
use rpc::compute::{AttachInterface, DetachInterface, RequestedNetwork, compute_topic};
use sdk::network::Port;
use serde_json::{Value, json};

use super::states::{INTERFACES, INTERFACES_DETACH};
use super::store;
use crate::{Nova, instance_actions, validate};

/// How long the host may take to plug a port.
const DEADLINE: Duration = Duration::from_secs(60);

fn view(port: &Port) -> Value {
    let fixed: Vec<Value> = port.fixed_ips.iter().map(|ip| json!({"subnet_id": ip.subnet_id, "ip_address": ip.ip_address})).collect();
    json!({
        "port_state": port.status, "port_id": port.id, "net_id": port.network_id, "mac_addr": port.mac_address, "fixed_ips": fixed,
    })
}

/// `GET /servers/{id}/os-interface`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let ports = app.cloud.network.ports(&ctx.auth(), &[("device_id", &server.id)]).await?;
    Reply::ok(&json!({"interfaceAttachments": ports.iter().map(view).collect::<Vec<_>>()}))
}

/// `GET /servers/{id}/os-interface/{port}`
pub async fn show(app: Nova, ctx: Context, Path((id, port)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let found = app.cloud.network.port(&ctx.auth(), &port).await?.filter(|p| p.device_id == server.id);
    let found = found.ok_or_else(|| Error::not_found(format!("Instance {} does not have a port with id {port}", server.id)))?;
    Reply::ok(&json!({"interfaceAttachment": view(&found)}))
}

/// `POST /servers/{id}/os-interface`
pub async fn create(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let wanted = validate::only(body.0, "interfaceAttachment", ctx.strict)?;
    let text = |key: &str| wanted.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let (port_id, network_id) = (text("port_id"), text("net_id"));
    if port_id.is_some() && network_id.is_some() {
        return Err(Error::bad_request("Must not input both network_id and port_id"));
    }
    let address = wanted.get("fixed_ips").and_then(|ips| ips.get(0)).and_then(|ip| ip.get("ip_address")).and_then(Value::as_str);
    if address.is_some() && network_id.is_none() {
        return Err(Error::bad_request("Must input network_id when request IP address"));
    }
    let fixed_ip = match address {
        Some(text) => Some(text.parse().map_err(|_| validate::invalid("ip_address", text, format!("'{text}' is not a 'ipv4'")))?),
        None => None,
    };
    let server = store::fetch(&app, &ctx, &id.0).await?;
    INTERFACES.check(&server, ctx.is_admin())?;
    if let Some(port) = &port_id {
        let found = app.cloud.network.port(&ctx.auth(), port).await?;
        let found = found.ok_or_else(|| Error::not_found(format!("Port id {port} could not be found.")))?;
        if !found.device_id.is_empty() {
            return Err(Error::bad_request(format!("Port {port} is still in use.")));
        }
    }
    let host = server.host.clone().ok_or_else(|| store::missing(&server.id))?;
    let (context, instance) = (ctx.clone(), server.id.clone());
    app.db.write(move |tx| Box::pin(async move { instance_actions::begin(tx, &context, &instance, "attach_interface").await })).await?;
    let requested = RequestedNetwork { network_id, port_id, fixed_ip, tag: text("tag") };
    let message = AttachInterface { caller: ctx.caller(), instance_id: server.id.clone(), requested };
    let nic = app.bus.call(&compute_topic(&host), message, DEADLINE).await.map_err(|error| match error.kind {
        Kind::NotFound | Kind::Conflict => Error::bad_request(error.message),
        _ => error,
    })?;
    let port = app.cloud.network.port(&ctx.auth(), &nic.port_id).await?;
    let port = port.ok_or_else(|| Error::not_found(format!("Port id {} could not be found.", nic.port_id)))?;
    Reply::ok(&json!({"interfaceAttachment": view(&port)}))
}

/// `DELETE /servers/{id}/os-interface/{port}`
pub async fn delete(app: Nova, ctx: Context, Path((id, port_id)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    INTERFACES_DETACH.check(&server, ctx.is_admin())?;
    if !server.network_info.0.iter().any(|nic| nic.port_id == port_id) {
        return Err(Error::not_found(format!("Instance {} does not have a port with id {port_id}", server.id)));
    }
    let host = server.host.clone().ok_or_else(|| store::missing(&server.id))?;
    let (context, instance) = (ctx.clone(), server.id.clone());
    app.db.write(move |tx| Box::pin(async move { instance_actions::begin(tx, &context, &instance, "detach_interface").await })).await?;
    app.bus.cast(&compute_topic(&host), DetachInterface { caller: ctx.caller(), instance_id: server.id, port_id }).await?;
    Ok(Reply::empty(http::StatusCode::ACCEPTED))
}
