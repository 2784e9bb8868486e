//! The old actions that give a server one more address of a network, or take one away; since 2.44 clients change ports themselves.

use std::net::IpAddr;

use kit::{Error, Reply, Result};
use rpc::compute::RequestedNetwork;

use super::actions::{Action, accepted};
use super::begin::host_of;
use super::os_interface;
use super::states::rules::{INTERFACES, INTERFACES_DETACH};

/// `{"addFixedIp": {"networkId": "..."}}`: by one more port.
pub async fn add(action: Action) -> Result<Reply> {
    action.only(&["networkId"])?;
    let network = action.text("networkId")?;
    let network = kit::ids::parse_uuid(network).ok_or_else(|| {
        Error::bad_request(format!("Invalid input for field/attribute networkId. Value: {network}. '{network}' is not a 'uuid'"))
    })?;
    let Action { app, ctx, server, .. } = action;
    INTERFACES.check(&server, ctx.is_admin())?;
    if app.cloud.network.network(&ctx.auth(), &network).await?.is_none() {
        return Err(Error::bad_request(format!("Network {network} could not be found.")));
    }
    let requested = RequestedNetwork { network_id: Some(network), ..RequestedNetwork::default() };
    os_interface::plug(&app, &ctx, &server, requested).await?;
    Ok(accepted())
}

/// `{"removeFixedIp": {"address": "10.0.0.3"}}`: with the port that has it.
pub async fn remove(action: Action) -> Result<Reply> {
    action.only(&["address"])?;
    let text = action.text("address")?.to_owned();
    let address: IpAddr = text.parse().map_err(|_| {
        Error::bad_request(format!("Invalid input for field/attribute address. Value: {text}. '{text}' is not a 'ip-address'"))
    })?;
    let Action { app, ctx, server, .. } = action;
    INTERFACES_DETACH.check(&server, ctx.is_admin())?;
    host_of(&server)?;
    let port = server.network_info.0.iter().find(|nic| nic.fixed_ips.iter().any(|ip| ip.address == address));
    let port = port.ok_or_else(|| Error::bad_request(format!("Fixed IP {text} is not associated with instance {}.", server.id)))?;
    os_interface::unplug(&app, &ctx, &server.id, &port.port_id).await?;
    Ok(accepted())
}
