//! `/servers/{id}/os-interface`: the ports of a server.

use kit::{Context, Error, Json, Kind, Path, Reply, Result};
use rpc::compute::{NetworkInterface, RequestedNetwork};
use sdk::network::Port;
use serde_json::{Value, json};

use super::actions::accepted;
use super::begin::{self, host_of};
use super::create::{free_address, refuse_external};
use super::instance::Model;
use super::states::rules::{INTERFACES, INTERFACES_DETACH};
use super::store;
use crate::conductor::plug::Plug;
use crate::conductor::unplug::Unplug;
use crate::microversions::{ATTACHMENT_TAGS, DEVICE_TAGS};
use crate::{Nova, validate};

fn view(ctx: &Context, server: &Model, port: &Port) -> Value {
    let fixed: Vec<Value> = port.fixed_ips.iter().map(|ip| json!({"subnet_id": ip.subnet_id, "ip_address": ip.ip_address})).collect();
    let mut view = json!({
        "port_state": port.status, "port_id": port.id, "net_id": port.network_id, "mac_addr": port.mac_address, "fixed_ips": fixed,
    });
    if ctx.speaks(ATTACHMENT_TAGS) {
        let nic = server.network_info.0.iter().find(|nic| nic.port_id == port.id);
        view["tag"] = json!(nic.and_then(|nic| nic.tag.as_deref()));
    }
    view
}

/// `GET /servers/{id}/os-interface`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let ports = app.cloud.network.ports(&ctx.auth(), &[("device_id", &server.id)]).await?;
    Reply::ok(&json!({"interfaceAttachments": ports.iter().map(|port| view(&ctx, &server, port)).collect::<Vec<_>>()}))
}

/// `GET /servers/{id}/os-interface/{port}`
pub async fn show(app: Nova, ctx: Context, Path((id, port)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let found = app.cloud.network.port(&ctx.auth(), &port).await?.filter(|p| p.device_id == server.id);
    let found = found.ok_or_else(|| Error::not_found(format!("Instance {} does not have a port with id {port}", server.id)))?;
    Reply::ok(&json!({"interfaceAttachment": view(&ctx, &server, &found)}))
}

/// `POST /servers/{id}/os-interface`
pub async fn create(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let requested = read(&ctx, body.0)?;
    let port_id = requested.port_id.clone();
    let server = store::fetch(&app, &ctx, &id.0).await?;
    INTERFACES.check(&server, ctx.is_admin())?;
    if let Some(port) = &port_id {
        let found = app.cloud.network.port(&ctx.auth(), port).await?;
        let found = found.ok_or_else(|| Error::not_found(format!("Port id {port} could not be found.")))?;
        if !found.device_id.is_empty() {
            return Err(Error::conflict(format!("Port {port} is still in use.")));
        }
    }
    if let Some(network) = &requested.network_id {
        let found = app.cloud.network.network(&ctx.auth(), network).await?;
        refuse_external(&ctx, &found.ok_or_else(|| Error::not_found(format!("Network {network} could not be found.")))?)?;
        if let Some(address) = requested.fixed_ip {
            free_address(&app, &ctx, network, address).await?.map_err(Error::conflict)?;
        }
    }
    let nic = plug(&app, &ctx, &server, requested).await?;
    let port = app.cloud.network.port(&ctx.auth(), &nic.port_id).await?;
    let port = port.ok_or_else(|| Error::not_found(format!("Port id {} could not be found.", nic.port_id)))?;
    let server = store::fetch(&app, &ctx, &server.id).await?;
    Reply::ok(&json!({"interfaceAttachment": view(&ctx, &server, &port)}))
}

/// What is asked for: a port, or a network, or any.
fn read(ctx: &Context, body: Value) -> Result<RequestedNetwork> {
    let wanted = validate::only(body, "interfaceAttachment", ctx.strict)?;
    let known = |key: &str| matches!(key, "port_id" | "net_id" | "fixed_ips") || (key == "tag" && ctx.speaks(DEVICE_TAGS));
    if ctx.strict {
        kit::microversion::unexpected(&wanted.keys().map(String::as_str).filter(|key| !known(key)).collect::<Vec<_>>())?;
    }
    let uuid = |key: &str| match wanted.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let id = value.as_str().and_then(kit::ids::parse_uuid);
            id.map(Some).ok_or_else(|| validate::invalid(key, value, format!("{value} is not a 'uuid'")))
        }
    };
    let (port_id, network_id) = (uuid("port_id")?, uuid("net_id")?);
    if port_id.is_some() && network_id.is_some() {
        return Err(Error::bad_request("Must not input both network_id and port_id"));
    }
    let fixed_ip = match wanted.get("fixed_ips") {
        None | Some(Value::Null) => None,
        Some(Value::Array(ips)) if ips.len() == 1 => {
            let text = ips.first().and_then(|ip| ip.get("ip_address")).and_then(Value::as_str).unwrap_or_default();
            Some(text.parse().map_err(|_| validate::invalid("ip_address", text, format!("'{text}' is not a 'ipv4'")))?)
        }
        Some(other) => return Err(validate::invalid("fixed_ips", other, format!("{other} is not a list of one address"))),
    };
    if fixed_ip.is_some() && network_id.is_none() {
        return Err(Error::bad_request("Must input network_id when request IP address"));
    }
    let tag = wanted.get("tag").and_then(Value::as_str).map(str::to_owned);
    tag.iter().try_for_each(|tag| validate::tag("tag", tag))?;
    Ok(RequestedNetwork { network_id, port_id, fixed_ip, tag })
}

/// `DELETE /servers/{id}/os-interface/{port}`
pub async fn delete(app: Nova, ctx: Context, Path((id, port_id)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    INTERFACES_DETACH.check(&server, ctx.is_admin())?;
    if !server.network_info.0.iter().any(|nic| nic.port_id == port_id) {
        return Err(Error::not_found(format!("Instance {} does not have a port with id {port_id}", server.id)));
    }
    host_of(&server)?;
    unplug(&app, &ctx, &server.id, &port_id).await?;
    Ok(accepted())
}

/// Begins to take a port from a server.
pub async fn unplug(app: &Nova, ctx: &Context, server: &str, port: &str) -> Result<()> {
    begin::beside(app, ctx, server, INTERFACES_DETACH.record, Unplug::new(ctx.caller(), server, port)).await
}

/// Has the host plug a port; answers it once the guest has it.
pub async fn plug(app: &Nova, ctx: &Context, server: &Model, requested: RequestedNetwork) -> Result<NetworkInterface> {
    host_of(server)?;
    let flow = Plug::new(ctx.caller(), &server.id, requested);
    begin::reach(app, &server.id, flow, usize::MAX).await.map_err(|error| match error.kind {
        Kind::NotFound | Kind::Conflict => Error::bad_request(error.message),
        _ => error,
    })?;
    let server = store::fetch(app, ctx, &server.id).await?;
    let request_id = ctx.request_id.to_string();
    let nic = server.network_info.0.into_iter().find(|nic| nic.request_id.as_ref() == Some(&request_id));
    nic.ok_or_else(|| Error::bad_request(format!("Failed to attach an interface to instance {}.", server.id)))
}
