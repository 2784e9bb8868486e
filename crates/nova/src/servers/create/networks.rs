//! The networks a new server asks for: read from the body, and looked up in neutron with the user's token.

use std::net::IpAddr;

use kit::policy::Target;
use kit::{Context, Error, Result, ids};
use rpc::compute::{RequestedNetwork, RequestedNetworks};
use sdk::network::NetworkInfo;
use serde_json::Value;

use crate::Nova;
use crate::microversions::{NETWORKS_REQUIRED, PORT_RESOURCES};
use crate::validate::{self, invalid};

/// Reads `networks`. Until 2.37 nothing means automatic.
pub fn read(ctx: &Context, networks: Option<&Value>, count: i64) -> Result<RequestedNetworks> {
    let words = ctx.speaks(NETWORKS_REQUIRED);
    let Some(networks) = networks else {
        return if words && ctx.strict {
            Err(Error::bad_request("Invalid input for field/attribute server. 'networks' is a required property"))
        } else {
            Ok(RequestedNetworks::Auto)
        };
    };
    match networks {
        Value::String(word) if words && word == "auto" => Ok(RequestedNetworks::Allocate),
        Value::String(word) if words && word == "none" => Ok(RequestedNetworks::None),
        Value::Array(entries) => {
            // since there are several forms of it, it is told as a whole what fits none
            let unfit = |error| if words { validate::unfit("networks", networks) } else { error };
            entries.iter().enumerate().try_for_each(|(index, entry)| check_form(ctx, index, entry).map_err(unfit))?;
            match entries.is_empty() {
                true => Ok(RequestedNetworks::Auto),
                false => entries.iter().map(|entry| one(entry, count)).collect::<Result<_>>().map(RequestedNetworks::These),
            }
        }
        other if words => Err(validate::unfit("networks", other)),
        other => Err(validate::not_a("array", "networks", other)),
    }
}

/// Whether every field of an entry is what it may be.
fn check_form(ctx: &Context, index: usize, entry: &Value) -> Result<()> {
    let place = index.to_string();
    let object = entry.as_object().ok_or_else(|| validate::not_a("object", &place, entry))?;
    if ctx.strict {
        let known = |key: &str| matches!(key, "uuid" | "port" | "fixed_ip") || (key == "tag" && network_tags_exist(ctx));
        kit::microversion::only(&place, object, known)?;
    }
    for (key, value) in object {
        let key = key.as_str();
        match (key, value) {
            ("port", Value::Null) => {}
            ("uuid" | "port" | "fixed_ip" | "tag", Value::String(text)) => {
                let uuid = || ids::parse_uuid(text).is_some();
                match key {
                    "tag" => validate::tag(key, text)?,
                    "fixed_ip" if text.parse::<IpAddr>().is_err() => return Err(validate::unfit(key, value)),
                    "port" if !uuid() => return Err(invalid(key, text, format!("'{text}' is not a 'uuid'"))),
                    "uuid" if !uuid() => {
                        return Err(Error::bad_request(format!("Bad networks format: network uuid is not in proper format ({text})")));
                    }
                    _ => {}
                }
            }
            ("uuid" | "port" | "fixed_ip" | "tag", other) => return Err(validate::not_a("string", key, other)),
            _ => {}
        }
    }
    Ok(())
}

fn one(entry: &Value, count: i64) -> Result<RequestedNetwork> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let id = |key: &str| text(key).and_then(ids::parse_uuid);
    let (port_id, fixed_ip) = (id("port"), text("fixed_ip").and_then(|ip| ip.parse::<IpAddr>().ok()));
    // a port has a network of its own
    let network_id = id("uuid").filter(|_| port_id.is_none());
    if network_id.is_none() && port_id.is_none() {
        return Err(Error::bad_request("Bad network format: missing 'uuid'"));
    }
    if port_id.is_some() && count > 1 {
        return Err(Error::bad_request(
            "Unable to launch multiple instances with a single configured port ID. Please launch your instance one by one with different ports.",
        ));
    }
    if let (Some(port), Some(address)) = (&port_id, text("fixed_ip")) {
        return Err(Error::bad_request(format!(
            "Specified Fixed IP '{address}' cannot be used with port '{port}': the two cannot be specified together."
        )));
    }
    if fixed_ip.is_some() && count > 1 {
        return Err(Error::bad_request("max_count cannot be greater than 1 if an fixed_ip is specified."));
    }
    Ok(RequestedNetwork { network_id, port_id, fixed_ip, tag: text("tag").map(str::to_owned) })
}

/// The tags of networks were lost between 2.37 and 2.42.
fn network_tags_exist(ctx: &Context) -> bool {
    matches!(ctx.version.1, 32..=36 | 42..)
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
