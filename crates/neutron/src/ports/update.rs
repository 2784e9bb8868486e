//! `PUT /ports/{port_id}`: among it binding, which is how nova puts a port on a host.

use kit::{Context, Error, Path, Reply, Result};

use super::addresses::{Wanted, choose, touch_membership};
use super::create::{check_rules, check_security, free_mac, join_groups, profile};
use super::{DHCP, DOWN, DhcpOption, FixedIp, Model, deferred, dhcp, turn};
use crate::agents::Touched;
use crate::attributes::{Checked, IfMatch, Input};
use crate::fault::conflict;
use crate::qos::promises::Change;
use crate::resource::{Resource, changeable, save};
use crate::{App, Tx, floatingips, ipam, listing, networks, nova, qos, security_groups, sql, trunks};

pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let wish = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let (on, by) = (app.clone(), ctx.clone());
    // what is claimed is kept or given back, also when the caller goes away meanwhile
    let port = tokio::spawn(async move { claim_and_change(&on, &by, id.0, if_match, wish).await });
    listing::updated(&app, &ctx, port.await.map_err(Error::internal)??).await
}

/// Another policy may promise another bandwidth: a bound port's server has it of placement first.
async fn claim_and_change(app: &App, ctx: &Context, id: String, if_match: IfMatch, wish: Checked) -> Result<Model> {
    let claim = qos::claims::claim(app, ctx, &id, &wish).await?;
    let (by, claimed) = (ctx.clone(), claim.clone());
    let port = app.write(move |tx| {
        Box::pin(async move {
            turn(&tx, vec![id.clone()]).await?;
            let port: Model = changeable(tx.db, &by, "update_port", &id).await?;
            if_match.check(port.revision_number)?;
            change(&tx, &by, &wish, port, claimed.as_ref()).await
        })
    });
    let port = port.await;
    if let (Err(_), Some(claim)) = (&port, claim) {
        app.claims().give_back(&ctx.request_id, &claim).await;
    }
    port
}

pub(super) async fn change(tx: &Tx<'_>, ctx: &Context, wish: &Checked, before: Model, claimed: Option<&Change>) -> Result<Model> {
    let network: networks::Model = crate::resource::fetch(tx.db, &before.network_id)
        .await?
        .ok_or_else(|| crate::resource::missing::<networks::Model>(&before.network_id))?;
    check_rules(ctx, "update", wish, &before.project_id, &network)?;
    let mut port = before.clone();
    apply(wish, &mut port)?;
    if let Some(groups) = wish.get::<Vec<String>>("security_groups")? {
        security_groups::check_usable(tx, ctx, &port.project_id, &groups).await?;
        port.security_groups.0 = groups;
    }
    if port.qos_policy_id != before.qos_policy_id {
        qos::check_usable(tx, ctx, port.qos_policy_id.as_ref()).await?;
    }
    qos::promises::follow(tx, &network, &before, &mut port, claimed).await?;
    check_security(&port)?;
    change_mac(tx, wish, &before, &mut port).await?;
    if let Some(wanted) = wish.get::<Vec<Wanted>>("fixed_ips")? {
        change_addresses(tx, &network, &mut port, wanted).await?;
    }
    deferred::settle(tx, &network, &before, &mut port).await?;
    if port == before {
        return Ok(port);
    }
    if port.host_id != before.host_id {
        port.status = DOWN.into();
    } else if port.is_clouds() && port.admin_state_up != before.admin_state_up {
        port.status = DOWN.into();
        follow_state(tx, &port);
    }
    save(tx.db, &mut port).await?;
    settle(tx, &network, &before, &port).await?;
    Ok(port)
}

/// A part of the cloud that is shut down is taken off its host. What serves a network needs no more than that its port is touched.
fn follow_state(tx: &Tx<'_>, port: &Model) {
    if port.device_owner != DHCP {
        tx.touch(Touched::Router(port.device_id.clone()));
    }
}

fn apply(wish: &Checked, port: &mut Model) -> Result<()> {
    wish.set("name", &mut port.name)?;
    wish.set("description", &mut port.description)?;
    wish.set("admin_state_up", &mut port.admin_state_up)?;
    wish.set("port_security_enabled", &mut port.port_security_enabled)?;
    wish.set("allowed_address_pairs", &mut port.allowed_address_pairs.0)?;
    if let Some(options) = wish.get::<Vec<DhcpOption>>("extra_dhcp_opts")? {
        dhcp::merge_options(&mut port.extra_dhcp_opts.0, options);
    }
    wish.set("device_id", &mut port.device_id)?;
    wish.set("device_owner", &mut port.device_owner)?;
    wish.set("binding:host_id", &mut port.host_id)?;
    wish.set("binding:vnic_type", &mut port.vnic_type)?;
    wish.set("dns_name", &mut port.dns_name)?;
    wish.set("dns_domain", &mut port.dns_domain)?;
    wish.set("qos_policy_id", &mut port.qos_policy_id)?;
    wish.set("data_plane_status", &mut port.data_plane_status)?;
    wish.set("hints", &mut port.hints.0)?;
    wish.set("numa_affinity_policy", &mut port.numa_affinity_policy)?;
    if let Some(profile) = profile(wish)? {
        port.profile.0 = profile;
    }
    Ok(())
}

async fn change_mac(tx: &Tx<'_>, wish: &Checked, before: &Model, port: &mut Model) -> Result<()> {
    let wanted = wish.get::<Option<String>>("mac_address")?.filter(|mac| mac.as_ref() != Some(&before.mac_address));
    let Some(wanted) = wanted else { return Ok(()) };
    port.mac_address = free_mac(tx, &port.network_id, wanted).await?;
    if !before.host_id.is_empty() {
        let message = format!(
            "Unable to complete operation on port {}, port is already bound, port type: bridge, old_mac {}, new_mac {}.",
            port.id, before.mac_address, port.mac_address
        );
        return Err(conflict("PortBound", message));
    }
    Ok(())
}

/// Keeps addresses that are wished for again, gives the others back and takes what is new.
async fn change_addresses(tx: &Tx<'_>, network: &networks::Model, port: &mut Model, mut wanted: Vec<Wanted>) -> Result<()> {
    let mut kept: Vec<FixedIp> = Vec::new();
    let mut free = port.fixed_ips.0.clone();
    // certain addresses first, then "any of this subnet", which an address the port has already fulfils
    for certain in [true, false] {
        wanted.retain(|wish| {
            let fits = |fixed: &FixedIp| {
                wish.ip_address.is_some() == certain
                    && wish.ip_address.is_none_or(|ip| ip == fixed.ip_address)
                    && wish.subnet_id.as_ref().is_none_or(|subnet| *subnet == fixed.subnet_id)
            };
            match free.iter().position(fits) {
                Some(index) => {
                    kept.push(free.remove(index));
                    false
                }
                None => true,
            }
        });
    }
    ipam::release(tx, port, &free).await?;
    let new = if wanted.is_empty() { Vec::new() } else { choose(tx, network, port, Some(wanted)).await? };
    ipam::record(tx, port, &new).await?;
    kept.extend(new);
    port.fixed_ips.0 = kept;
    Ok(())
}

/// What follows from the change: groups, floating IPs, DHCP ports, and who hears of it.
pub async fn settle(tx: &Tx<'_>, network: &networks::Model, before: &Model, port: &Model) -> Result<()> {
    let paired = |port: &Model| !port.allowed_address_pairs.0.is_empty();
    if port.security_groups != before.security_groups || paired(port) != paired(before) {
        sql::execute(tx.db, "DELETE FROM port_security_groups WHERE port_id = $1", [port.id.as_str().into()]).await?;
        join_groups(tx, port).await?;
    }
    let brings = |port: &Model| (port.security_groups.clone(), port.fixed_ips.clone(), port.allowed_address_pairs.clone());
    if brings(port) != brings(before) {
        touch_membership(tx, before);
        touch_membership(tx, port);
    }
    if port.fixed_ips != before.fixed_ips {
        floatingips::addresses_changed(tx, port).await?;
        if port.is_servers() {
            tx.tell_nova(nova::event("network-changed", port));
        }
        if port.is_routers() {
            tx.touch(Touched::Router(port.device_id.clone()));
        }
    }
    if port.is_bound_guest() && (port.host_id != before.host_id || !before.is_bound_guest()) {
        dhcp::ensure(tx, network, &port.host_id).await?;
    }
    if before.is_bound_guest() && (port.host_id != before.host_id || !port.is_bound_guest()) {
        dhcp::prune(tx, &network.id, &before.host_id).await?;
    }
    if port.host_id != before.host_id {
        trunks::parent_moved(tx, port).await?;
    }
    tx.touch(Touched::Port(port.id.clone()));
    Ok(())
}
