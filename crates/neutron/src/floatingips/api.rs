//! Create, associate, disassociate and delete floating IPs.

use std::net::IpAddr;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Error, Path, Reply, Result, ids};
use serde_json::json;

use super::{Model, port_forwardings, unreachable};
use crate::agents::Touched;
use crate::attributes::{Checked, IfMatch, Input};
use crate::fault::{bad_request, conflict, invalid_input};
use crate::ports::{self, FLOATING_IP, NOT_APPLICABLE};
use crate::resource::{Resource, changeable, fetch, insert, remove, save, seen, with};
use crate::{App, Tx, listing, networks, nova, qos, quotas, routers, sql};

/// `POST /floatingips`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut wishes = Vec::with_capacity(bodies.len());
    for body in bodies {
        let wish = Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?;
        wish.enforce(&ctx, "create", Model::KEY, Model::ATTRIBUTES, &Target::project(&wish.text("project_id")?))?;
        wishes.push(wish);
    }
    let by = ctx.clone();
    let made = app.write(move |tx| {
        Box::pin(async move {
            let on = wishes.iter().map(|wish| wish.text("floating_network_id")).collect::<Result<Vec<_>>>()?;
            networks::turn(&tx, on).await?;
            let mut made = Vec::with_capacity(wishes.len());
            for wish in wishes {
                made.push(make(&tx, &by, &wish).await?);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, made.await?, bulk).await
}

async fn make(tx: &Tx<'_>, ctx: &Context, wish: &Checked) -> Result<Model> {
    let network: networks::Model = seen(tx.db, ctx, &wish.text("floating_network_id")?).await?;
    if !network.external {
        let message = format!("Bad floatingip request: Network {} is not a valid external network.", network.id);
        return Err(bad_request("BadRequest", message));
    }
    let project = wish.text("project_id")?;
    quotas::spend(tx, &project, "floatingip", 1).await?;
    let id = ids::uuid();
    let port = own_port(tx, &network, &id, wish).await?;
    let Some(address) = port.fixed_ips.0.iter().find(|fixed| fixed.ip_address.is_ipv4()) else {
        return Err(bad_request(
            "ExternalIpAddressExhausted",
            format!("Unable to find any IP address on external network {}.", network.id),
        ));
    };
    let now = Timestamp::now();
    let mut floating = Model {
        id,
        project_id: project,
        description: wish.text("description")?,
        floating_network_id: network.id.clone(),
        floating_ip_address: address.ip_address.to_string(),
        floating_port_id: port.id.clone(),
        router_id: None,
        port_id: None,
        fixed_ip_address: None,
        status: ports::DOWN.into(),
        qos_policy_id: wish.get::<Option<String>>("qos_policy_id")?.flatten(),
        dns_name: wish.text("dns_name")?,
        dns_domain: wish.text("dns_domain")?,
        tags: Json(Vec::new()),
        revision_number: 0,
        created_at: now,
        updated_at: now,
    };
    qos::check_usable(tx, ctx, floating.qos_policy_id.as_ref()).await?;
    match (wish.get::<Option<String>>("port_id")?.flatten(), wish.get::<Option<IpAddr>>("fixed_ip_address")?.flatten()) {
        (Some(port), fixed) => associate(tx, ctx, &mut floating, &port, fixed).await?,
        (None, Some(_)) => return Err(no_port()),
        (None, None) => {}
    }
    insert(tx.db, &floating).await?;
    Ok(floating)
}

/// The port that holds the address; it belongs to no project.
async fn own_port(tx: &Tx<'_>, network: &networks::Model, id: &str, wish: &Checked) -> Result<ports::Model> {
    let mut port = ports::new(network, "");
    port.device_id = id.to_owned();
    port.device_owner = FLOATING_IP.into();
    port.status = NOT_APPLICABLE.into();
    port.port_security_enabled = false;
    let address = wish.get::<Option<IpAddr>>("floating_ip_address")?.flatten();
    let subnet = wish.get::<Option<String>>("subnet_id")?.flatten();
    let wanted = match (address, subnet) {
        (None, None) => None,
        (address, subnet) => Some(serde_json::from_value(json!([{"subnet_id": subnet, "ip_address": address}]))?),
    };
    ports::insert_with(tx, network, port, None, wanted).await.map_err(|error| match error.code.as_deref() {
        Some("IpAddressAlreadyAllocated") => {
            let address = address.map(|a| a.to_string()).unwrap_or_default();
            conflict("IpAddressAlreadyAllocated", format!("IP address {address} already allocated on external network {}", network.id))
        }
        _ => error,
    })
}

fn no_port() -> Error {
    bad_request("BadRequest", "Bad floatingip request: fixed_ip_address cannot be specified without a port_id.")
}

/// Leads the floating IP to a port. The caller saves it.
async fn associate(tx: &Tx<'_>, ctx: &Context, floating: &mut Model, port: &str, fixed: Option<IpAddr>) -> Result<()> {
    let port: ports::Model = seen(tx.db, ctx, port).await?;
    if port.project_id != floating.project_id && !ctx.is_admin() {
        let message = format!(
            "Bad floatingip request: Cannot process floating IP association with Port {}, since that port is owned by a different project.",
            port.id
        );
        return Err(bad_request("BadRequest", message));
    }
    let fixed = match fixed {
        Some(ip) if ip.is_ipv4() && port.fixed_ips.0.iter().any(|fixed| fixed.ip_address == ip) => ip,
        Some(ip) => {
            return Err(invalid_input(format!("Port {} does not have fixed ip {ip}", port.id)));
        }
        None => {
            let mut v4 = port.fixed_ips.0.iter().map(|fixed| fixed.ip_address).filter(IpAddr::is_ipv4);
            match (v4.next(), v4.next()) {
                (Some(only), None) => only,
                (None, _) => {
                    let message =
                        format!("Bad floatingip request: Cannot add floating IP to port {} that has no fixed IPv4 addresses.", port.id);
                    return Err(bad_request("BadRequest", message));
                }
                (Some(_), Some(_)) => {
                    let message = format!(
                        "Bad floatingip request: Port {} has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when assigning a floating IP.",
                        port.id
                    );
                    return Err(bad_request("BadRequest", message));
                }
            }
        }
    };
    let taken = "SELECT 1 FROM floatingips WHERE port_id = $1 AND fixed_ip_address = $2 AND id <> $3";
    if sql::exists(tx.db, taken, [port.id.as_str().into(), fixed.to_string().into(), floating.id.as_str().into()]).await? {
        let message = format!(
            "Cannot associate floating IP {} ({}) with port {} using fixed IP {fixed}, as that fixed IP already has a floating IP on external network {}.",
            floating.floating_ip_address, floating.id, port.id, floating.floating_network_id
        );
        return Err(conflict("FloatingIPPortAlreadyAssociated", message));
    }
    let Some(router) = routers::reaching(tx, &port, fixed, &floating.floating_network_id).await? else {
        return Err(unreachable(floating, &port, fixed));
    };
    // its router's host says when it leads there
    floating.status = ports::DOWN.into();
    floating.router_id = Some(router.id.clone());
    floating.port_id = Some(port.id.clone());
    floating.fixed_ip_address = Some(fixed.to_string());
    tx.touch(Touched::Router(router.id));
    if port.is_servers() {
        tx.tell_nova(nova::event("network-changed", &port));
    }
    Ok(())
}

/// `PUT /floatingips/{floatingip_id}`: associate, or with `port_id` null disassociate.
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let wish = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let by = ctx.clone();
    let floating = app.write(move |tx| {
        Box::pin(async move {
            let mut floating: Model = changeable(tx.db, &by, "update_floatingip", &id.0).await?;
            if_match.check(floating.revision_number)?;
            let before = floating.clone();
            wish.set("description", &mut floating.description)?;
            wish.set("qos_policy_id", &mut floating.qos_policy_id)?;
            if floating.qos_policy_id != before.qos_policy_id {
                qos::check_usable(&tx, &by, floating.qos_policy_id.as_ref()).await?;
                floating.router_id.iter().for_each(|router| tx.touch(Touched::Router(router.clone())));
            }
            // once there was nothing else to say of one: an empty update takes it off its port
            let port = if wish.0.is_empty() { Some(None) } else { wish.get::<Option<String>>("port_id")? };
            let fixed = wish.get::<Option<IpAddr>>("fixed_ip_address")?.flatten();
            match port {
                Some(Some(port)) => {
                    check_forwards_nothing(&tx, &floating).await?;
                    leave(&tx, &mut floating).await?;
                    associate(&tx, &by, &mut floating, &port, fixed).await?;
                }
                // one that forwards ports leads to none of its own
                Some(None) if floating.port_id.is_none() => {}
                Some(None) => leave(&tx, &mut floating).await?,
                None if fixed.is_some() => {
                    let port = floating.port_id.clone().ok_or_else(no_port)?;
                    leave(&tx, &mut floating).await?;
                    associate(&tx, &by, &mut floating, &port, fixed).await?;
                }
                None => {}
            }
            if floating != before {
                save(tx.db, &mut floating).await?;
            }
            Ok(floating)
        })
    });
    listing::updated(&app, &ctx, floating.await?).await
}

async fn check_forwards_nothing(tx: &Tx<'_>, floating: &Model) -> Result<()> {
    let forwardings: Vec<port_forwardings::Model> = with(tx.db, "floatingip_id", std::slice::from_ref(&floating.id)).await?;
    match forwardings.first() {
        Some(_) => {
            let message = format!("Floating IP {} in use by Port Forwarding resources.", floating.id);
            Err(conflict("FipInUseByPortForwarding", message))
        }
        None => Ok(()),
    }
}

async fn leave(tx: &Tx<'_>, floating: &mut Model) -> Result<()> {
    if let Some(port) = &floating.port_id
        && let Some(port) = fetch::<ports::Model, _>(tx.db, port).await?
        && port.is_servers()
    {
        tx.tell_nova(nova::event("network-changed", &port));
    }
    floating.disassociate(tx);
    Ok(())
}

/// `DELETE /floatingips/{floatingip_id}`
pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let network = fetch::<Model, _>(tx.db, &id.0).await?.map(|floating| floating.floating_network_id);
            networks::turn(&tx, network.into_iter().collect()).await?;
            let mut floating: Model = changeable(tx.db, &ctx, "delete_floatingip", &id.0).await?;
            if_match.check(floating.revision_number)?;
            check_forwards_nothing(&tx, &floating).await?;
            leave(&tx, &mut floating).await?;
            remove::<Model, _>(tx.db, &floating.id).await?;
            if let Some(port) = fetch::<ports::Model, _>(tx.db, &floating.floating_port_id).await? {
                ports::remove(&tx, &port).await?;
            }
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
