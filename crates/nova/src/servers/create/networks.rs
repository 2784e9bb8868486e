//! The networks a new server asks for: read from the body, and looked up in neutron with the user's token.

use std::net::IpAddr;

use kit::policy::Target;
use kit::{Context, Error, Result};
use rpc::compute::{RequestedNetwork, RequestedNetworks};
use sdk::network::NetworkInfo;
use serde_json::Value;

use crate::Nova;
use crate::microversions::{NETWORKS_REQUIRED, PORT_RESOURCES};
use crate::validate::invalid;

/// Reads `networks`. Until 2.37 nothing means automatic.
pub fn read(ctx: &Context, networks: Option<&Value>, count: i64) -> Result<RequestedNetworks> {
    let words = ctx.speaks(NETWORKS_REQUIRED);
    match networks {
        None if words && ctx.strict => {
            Err(Error::bad_request("Invalid input for field/attribute server. 'networks' is a required property"))
        }
        None => Ok(RequestedNetworks::Auto),
        Some(Value::String(word)) if words && word == "auto" => Ok(RequestedNetworks::Allocate),
        Some(Value::String(word)) if words && word == "none" => Ok(RequestedNetworks::None),
        Some(Value::Array(entries)) if entries.is_empty() => Ok(RequestedNetworks::Auto),
        Some(Value::Array(entries)) => {
            entries.iter().map(|entry| one(ctx, entry, count)).collect::<Result<_>>().map(RequestedNetworks::These)
        }
        Some(other) => Err(invalid("networks", other, format!("{other} is not valid under any of the given schemas"))),
    }
}

fn one(ctx: &Context, entry: &Value, count: i64) -> Result<RequestedNetwork> {
    let Some(object) = entry.as_object() else {
        return Err(invalid("networks", entry, format!("{entry} is not of type 'object'")));
    };
    let known = |key: &str| matches!(key, "uuid" | "port" | "fixed_ip") || (key == "tag" && device_tags_exist(ctx));
    if ctx.strict {
        kit::microversion::unexpected(&object.keys().map(String::as_str).filter(|key| !known(key)).collect::<Vec<_>>())?;
    }
    let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    let uuid = |key: &str| match text(key) {
        None => Ok(None),
        Some(id) => {
            kit::ids::parse_uuid(id).map(Some).ok_or_else(|| invalid(&format!("networks.0.{key}"), id, format!("'{id}' is not a 'uuid'")))
        }
    };
    let fixed_ip = match text("fixed_ip") {
        None => None,
        Some(ip) => Some(ip.parse::<IpAddr>().map_err(|_| invalid("networks.0.fixed_ip", ip, format!("'{ip}' is not a 'ipv4'")))?),
    };
    let (network_id, port_id) = (uuid("uuid")?, uuid("port")?);
    if network_id.is_none() && port_id.is_none() {
        return Err(Error::bad_request("Bad network format: missing 'uuid'"));
    }
    if port_id.is_some() && count > 1 {
        return Err(Error::bad_request(
            "Unable to launch multiple instances with a single configured port ID. Please launch your instance one by one with different ports.",
        ));
    }
    if fixed_ip.is_some() && port_id.is_some() {
        let port = port_id.unwrap_or_default();
        return Err(Error::bad_request(format!(
            "Specified Fixed IP '{}' cannot be used with port '{port}': the two cannot be specified together.",
            text("fixed_ip").unwrap_or_default()
        )));
    }
    if fixed_ip.is_some() && count > 1 {
        return Err(Error::bad_request("max_count cannot be greater than 1 if an fixed_ip is specified."));
    }
    Ok(RequestedNetwork { network_id, port_id, fixed_ip, tag: text("tag").map(str::to_owned) })
}

/// Device tags were lost between 2.37 and 2.42.
pub fn device_tags_exist(ctx: &Context) -> bool {
    let minor = ctx.version.1;
    (32..=36).contains(&minor) || minor >= 42
}

/// Asks neutron whether all that exists and may be used.
pub async fn check(app: &Nova, ctx: &Context, requested: &RequestedNetworks) -> Result<()> {
    match requested {
        RequestedNetworks::None => Ok(()),
        RequestedNetworks::Auto | RequestedNetworks::Allocate => check_automatic(app, ctx, requested).await,
        RequestedNetworks::These(these) => {
            let networks: Vec<&str> = these.iter().filter(|r| r.port_id.is_none()).filter_map(|r| r.network_id.as_deref()).collect();
            check_networks(app, ctx, &networks).await?;
            for one in these {
                if let Some(port) = &one.port_id {
                    check_port(app, ctx, port).await?;
                }
                if let (Some(network), Some(address)) = (&one.network_id, one.fixed_ip) {
                    free_address(app, ctx, network, address).await?.map_err(Error::bad_request)?;
                }
            }
            Ok(())
        }
    }
}

async fn check_automatic(app: &Nova, ctx: &Context, requested: &RequestedNetworks) -> Result<()> {
    let project = ctx.project_id()?;
    let networks = app.cloud.network.usable_networks(&ctx.auth(), project).await?;
    let usable = networks.iter().filter(|n| !n.external).count();
    match usable {
        0 if *requested == RequestedNetworks::Allocate => match app.cloud.network.can_allocate_topology(&ctx.auth(), project).await? {
            true => Ok(()),
            false => Err(Error::bad_request(format!("Unable to automatically allocate a network for project {project}"))),
        },
        0 | 1 => Ok(()),
        _ => Err(Error::conflict("Multiple possible networks found, use a Network ID to be more specific.")),
    }
}

async fn check_networks(app: &Nova, ctx: &Context, ids: &[&str]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut wanted: Vec<&str> = ids.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let query: Vec<(&str, &str)> = wanted.iter().map(|id| ("id", *id)).collect();
    let found = app.cloud.network.networks(&ctx.auth(), &query).await?;
    let missing: Vec<&str> = wanted.iter().copied().filter(|id| !found.iter().any(|n| n.id == *id)).collect();
    if !missing.is_empty() {
        return Err(Error::bad_request(format!("Network {} could not be found.", missing.join(", "))));
    }
    for network in &found {
        if network.subnets.is_empty() {
            return Err(Error::bad_request(format!("Network {} requires a subnet in order to boot instances on.", network.id)));
        }
        refuse_external(ctx, network)?;
    }
    Ok(())
}

/// On a network that leads outside only routers have ports, unless the operator or its owner says otherwise.
pub fn refuse_external(ctx: &Context, network: &NetworkInfo) -> Result<()> {
    let may = !network.external || network.shared || ctx.allows("network:attach_external_network", &Target::project(ctx.project_id()?));
    if may { Ok(()) } else { Err(Error::forbidden(format!("It is not allowed to create an interface on external network {}", network.id))) }
}

async fn check_port(app: &Nova, ctx: &Context, id: &str) -> Result<()> {
    let port = app.cloud.network.port(&ctx.auth(), id).await?;
    let port = port.ok_or_else(|| Error::bad_request(format!("Port id {id} could not be found.")))?;
    if !port.device_id.is_empty() {
        return Err(Error::conflict(format!("Port {id} is still in use.")));
    }
    if port.fixed_ips.is_empty() && port.port_security_enabled != Some(false) {
        return Err(Error::bad_request(format!("Port {id} requires a FixedIP in order to be used.")));
    }
    if !ctx.speaks(PORT_RESOURCES) && asks_for_resources(app, ctx, id).await? {
        return Err(Error::bad_request(
            "Creating servers with ports having resource requests, like a port with a QoS minimum bandwidth policy, is not supported until \
             microversion 2.72.",
        ));
    }
    Ok(())
}

/// What a port asks of its host is told to services only.
async fn asks_for_resources(app: &Nova, ctx: &Context, port: &str) -> Result<bool> {
    let port = app.cloud.network.port(&app.session.auth(&ctx.request_id).await?, port).await?;
    Ok(port.is_some_and(|port| port.resource_request.is_some()))
}

/// Says whose an address is that is not free.
pub async fn free_address(app: &Nova, ctx: &Context, network: &str, address: IpAddr) -> Result<Result<(), String>> {
    let wanted = format!("ip_address={address}");
    let taken = app.cloud.network.ports(&ctx.auth(), &[("network_id", network), ("fixed_ips", &wanted)]).await?;
    Ok(match taken.first() {
        None => Ok(()),
        Some(port) => Err(format!("Fixed IP address {address} is already in use on instance {}.", port.device_id)),
    })
}

/// The security groups must exist, each of them once.
pub async fn check_security_groups(app: &Nova, ctx: &Context, names: &[String]) -> Result<()> {
    for name in names.iter().filter(|name| *name != "default") {
        let found = app.cloud.network.security_groups_named(&ctx.auth(), ctx.project_id()?, name).await?;
        match found.len() {
            0 => {
                return Err(Error::bad_request(format!("Security group {name} not found for project {}.", ctx.project_id()?)));
            }
            1 => {}
            _ => {
                return Err(Error::conflict(format!("Multiple security groups found matching '{name}'. Use an ID to be more specific.")));
            }
        }
    }
    Ok(())
}
