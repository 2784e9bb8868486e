//! The old actions that lead a floating IP to a server; since 2.44 clients ask neutron themselves.

use std::net::IpAddr;

use kit::{Error, Reply, Result};
use sdk::network::FloatingIp;

use super::actions::{Action, accepted};
use crate::conductor::reconcile;

/// `{"addFloatingIp": {"address": "172.24.4.3", "fixed_address": "10.0.0.3"}}`
pub async fn add(action: Action) -> Result<Reply> {
    let address = action.text("address")?.to_owned();
    let wanted: Option<IpAddr> = match action.body.get("fixed_address").and_then(serde_json::Value::as_str) {
        Some(text) => Some(text.parse().map_err(|_| Error::bad_request(format!("Invalid fixed_address {text}")))?),
        None => None,
    };
    let floating = find(&action, &address).await?;
    let nics = &action.server.network_info.0;
    if nics.iter().all(|nic| nic.fixed_ips.is_empty()) {
        return Err(Error::bad_request("No fixed IPs associated to instance"));
    }
    let fits = |ip: &IpAddr| wanted.map_or(ip.is_ipv4(), |wanted| wanted == *ip);
    let target = nics.iter().find_map(|nic| Some((nic, nic.fixed_ips.iter().find(|ip| fits(&ip.address))?.address)));
    let Some((nic, fixed)) = target else {
        return Err(Error::bad_request("Specified fixed address not assigned to instance"));
    };
    let network = &action.app.cloud.network;
    network.associate(&action.ctx.auth(), &floating.id, Some(&nic.port_id), Some(fixed)).await.map_err(|error| match error.status {
        404 => Error::not_found(error.message),
        _ => Error::bad_request(format!("Unable to associate floating IP {address} to fixed IP {fixed}. Error: {}", error.message)),
    })?;
    reconcile::refresh_addresses(&action.app, &action.server.id).await?;
    Ok(accepted())
}

/// `{"removeFloatingIp": {"address": "172.24.4.3"}}`
pub async fn remove(action: Action) -> Result<Reply> {
    let address = action.text("address")?.to_owned();
    let floating = find(&action, &address).await?;
    let ours = action.server.network_info.0.iter().any(|nic| Some(&nic.port_id) == floating.port_id.as_ref());
    if !ours {
        return Err(Error::conflict(format!("Floating IP {address} is not associated with instance {}.", action.server.id)));
    }
    action.app.cloud.network.associate(&action.ctx.auth(), &floating.id, None, None).await?;
    reconcile::refresh_addresses(&action.app, &action.server.id).await?;
    Ok(accepted())
}

async fn find(action: &Action, address: &str) -> Result<FloatingIp> {
    let mut found = action.app.cloud.network.floating_ips(&action.ctx.auth(), &[("floating_ip_address", address)]).await?;
    found.pop().ok_or_else(|| Error::not_found("floating IP not found"))
}
