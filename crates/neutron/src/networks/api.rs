//! Create, update and delete networks.

use kit::clock::Timestamp;
use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Path, Reply, Result, ids};

use super::Model;
use crate::agents::Touched;
use crate::attributes::{Checked, IfMatch, Input};
use crate::availability::check_hints;
use crate::fault::{bad_request, conflict};
use crate::resource::{Resource, changeable, insert, remove, save, with};
use crate::segments::{self, Carrier};
use crate::{App, Tx, floatingips, listing, plain, ports, qos, quotas, rbac, security_groups, sql, subnets};

/// `POST /networks`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut networks = Vec::with_capacity(bodies.len());
    for body in bodies {
        let checked = Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?;
        let target = Target::project(&checked.text("project_id")?);
        checked.enforce(&ctx, "create", Model::KEY, Model::ATTRIBUTES, &target)?;
        let named = checked.0.contains_key("qos_policy_id");
        let (network, further) = wanted(&app, &checked)?;
        networks.push((network, further, checked.or("shared", false)?, named));
    }
    let by = ctx.clone();
    let networks = app.write(move |tx| {
        Box::pin(async move {
            let mut made = Vec::with_capacity(networks.len());
            for (mut network, further, shared, with_qos) in networks {
                qos::check_usable(&tx, &by, network.qos_policy_id.as_ref()).await?;
                if !with_qos {
                    network.qos_policy_id = qos::policies::default_of(&tx, &network.project_id).await?;
                }
                let network = make(&tx, network, &further).await?;
                plain::reshare(&tx, &network, Some(shared)).await?;
                made.push(network);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, networks.await?, bulk).await
}

/// The network, and what carries it beside its first segment.
fn wanted(app: &App, checked: &Checked) -> Result<(Model, Vec<Carrier>)> {
    let mut carriers = Carrier::wanted(app, checked)?;
    let mtu = segments::mtu(app, &carriers, checked.get("mtu")?)?;
    let mut network = Model {
        description: checked.text("description")?,
        admin_state_up: checked.or("admin_state_up", true)?,
        external: checked.or("router:external", false)?,
        is_default: checked.or("is_default", false)?,
        dns_domain: checked.text("dns_domain")?,
        port_security_enabled: checked.or("port_security_enabled", true)?,
        availability_zone_hints: Json(checked.or("availability_zone_hints", Vec::new())?),
        qos_policy_id: checked.get::<Option<String>>("qos_policy_id")?.flatten(),
        vlan_transparent: checked.get("vlan_transparent")?,
        mtu,
        ..tenant(app, &checked.text("project_id")?, &checked.text("name")?)
    };
    check_hints(&network.availability_zone_hints.0)?;
    if !carriers.is_empty() {
        network.carry_by(carriers.remove(0));
    }
    check_transparent(&network, &carriers)?;
    Ok((network, carriers))
}

/// Where frames leave as they are, a guest's tags would be other networks'.
fn check_transparent(network: &Model, further: &[Carrier]) -> Result<()> {
    let first = network.carrier();
    let leaves = std::iter::once(&first).chain(further).any(|carrier| matches!(carrier.network_type.as_str(), "flat" | "vlan"));
    if network.vlan_transparent == Some(true) && leaves {
        return Err(bad_request("VlanTransparencyDriverError", "Backend does not support VLAN Transparency."));
    }
    Ok(())
}

/// A network of a project as it is when nothing was said about it.
pub fn tenant(app: &App, project: &str, name: &str) -> Model {
    let now = Timestamp::now();
    Model {
        id: ids::uuid(),
        project_id: project.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        admin_state_up: true,
        external: false,
        is_default: false,
        mtu: segments::largest_mtu(app, segments::TENANT),
        network_type: segments::TENANT.into(),
        physical_network: None,
        segmentation_id: None,
        dns_domain: String::new(),
        port_security_enabled: true,
        availability_zone_hints: Json(Vec::new()),
        qos_policy_id: None,
        vlan_transparent: None,
        tags: Json(Vec::new()),
        revision_number: 1,
        created_at: now,
        updated_at: now,
    }
}

/// Inserts a network, within its project's quota, with `further` segments beside its first.
pub async fn make(tx: &Tx<'_>, mut network: Model, further: &[Carrier]) -> Result<Model> {
    quotas::spend(tx, &network.project_id, "network", 1).await?;
    security_groups::default_of(tx, &network.project_id).await?;
    check_default(tx, &network).await?;
    insert(tx.db, &network).await?;
    if network.external {
        rbac::share(tx, "network", &network.id, &network.project_id, rbac::EXTERNAL, true).await?;
    }
    segments::make(tx, &mut network, further).await?;
    Ok(network)
}

/// Inserts a network of the cloud's own, which needs no room in a quota; nothing when it is there.
pub async fn make_own(tx: &Tx<'_>, mut network: Model) -> Result<Option<Model>> {
    if !insert(tx.db, &network).await? {
        return Ok(None);
    }
    segments::make(tx, &mut network, &[]).await?;
    Ok(Some(network))
}

/// `PUT /networks/{network_id}`
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let checked = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let (on, by) = (app.clone(), ctx.clone());
    let network = app.write(move |tx| {
        Box::pin(async move {
            let mut network: Model = changeable(tx.db, &by, "update_network", &id.0).await?;
            if_match.check(network.revision_number)?;
            checked.enforce(&by, "update", Model::KEY, Model::ATTRIBUTES, &Target::project(&network.project_id))?;
            network.carrier().check_same(&checked)?;
            let before = network.clone();
            let carriers = segments::of(tx.db, std::slice::from_ref(&network.id)).await?.remove(&network.id).unwrap_or_default();
            let carriers: Vec<Carrier> = carriers.iter().map(segments::Model::carrier).collect();
            apply(&on, &checked, &mut network, &carriers)?;
            if network.mtu != before.mtu {
                for subnet in with::<subnets::Model, _>(tx.db, "network_id", std::slice::from_ref(&network.id)).await? {
                    check_mtu(&network, subnet.ip_version)?;
                }
            }
            check_external(&tx, &before, &network).await?;
            check_default(&tx, &network).await?;
            if network.qos_policy_id != before.qos_policy_id {
                qos::check_usable(&tx, &by, network.qos_policy_id.as_ref()).await?;
                qos::promises::check_network(&tx, &before, &network).await?;
                touch_ports(&tx, &network).await?;
            }
            let reshared = plain::reshare(&tx, &network, checked.get("shared")?).await?;
            if network != before || reshared {
                save(tx.db, &mut network).await?;
                tx.touch(Touched::Network(network.id.clone()));
            }
            Ok(network)
        })
    });
    listing::updated(&app, &ctx, network.await?).await
}

fn apply(app: &App, checked: &Checked, network: &mut Model, carriers: &[Carrier]) -> Result<()> {
    checked.set("name", &mut network.name)?;
    checked.set("description", &mut network.description)?;
    checked.set("admin_state_up", &mut network.admin_state_up)?;
    checked.set("qos_policy_id", &mut network.qos_policy_id)?;
    checked.set("router:external", &mut network.external)?;
    checked.set("is_default", &mut network.is_default)?;
    checked.set("dns_domain", &mut network.dns_domain)?;
    checked.set("port_security_enabled", &mut network.port_security_enabled)?;
    if let Some(mtu) = checked.get::<i64>("mtu")? {
        network.mtu = segments::mtu(app, carriers, Some(mtu))?;
    }
    Ok(())
}

/// Each version of IP has packets that are carried whole everywhere.
pub fn check_mtu(network: &Model, ip_version: i64) -> Result<()> {
    let least = if ip_version == 4 { 68 } else { 1280 };
    if network.mtu >= least {
        return Ok(());
    }
    let message = format!("Invalid MTU of {} for network {} with IPv{ip_version} subnets, minimum is {least}.", network.mtu, network.id);
    Err(conflict("NetworkMTUSubnetConflict", message))
}

/// A network that gateways use stays external.
async fn check_external(tx: &Tx<'_>, before: &Model, after: &Model) -> Result<()> {
    if before.external == after.external {
        return Ok(());
    }
    let gateways = "SELECT 1 FROM ports WHERE network_id = $1 AND device_owner IN ('network:router_gateway', 'network:floatingip') LIMIT 1";
    if before.external && sql::exists(tx.db, gateways, [before.id.as_str().into()]).await? {
        let message =
            format!("External network {} cannot be updated to be made non-external, since it has existing gateway ports.", before.id);
        return Err(conflict("ExternalNetworkInUse", message));
    }
    rbac::share(tx, "network", &after.id, &after.project_id, rbac::EXTERNAL, after.external).await
}

/// There is one default external network.
async fn check_default(tx: &Tx<'_>, network: &Model) -> Result<()> {
    let other = "SELECT id FROM networks WHERE is_default AND external AND id <> $1";
    if network.is_default
        && network.external
        && let Some(other) = sql::texts(tx.db, other, [network.id.as_str().into()]).await?.pop()
    {
        let message = format!("A default external network already exists: {other}.");
        return Err(conflict("DefaultExternalNetworkExists", message));
    }
    Ok(())
}

/// Ports without a policy of their own have the network's.
async fn touch_ports(tx: &Tx<'_>, network: &Model) -> Result<()> {
    let bound = "SELECT id FROM ports WHERE network_id = $1 AND host_id <> '' AND qos_policy_id IS NULL";
    for port in sql::texts(tx.db, bound, [network.id.as_str().into()]).await? {
        tx.touch(Touched::Port(port));
    }
    Ok(())
}

/// `DELETE /networks/{network_id}`: its subnets, DHCP ports and unused floating IPs go with it, other ports keep it.
pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let network: Model = changeable(tx.db, &ctx, "delete_network", &id.0).await?;
            if_match.check(network.revision_number)?;
            let ids = [network.id.clone()];
            floatingips::network_gone(&tx, &network.id).await?;
            let ports: Vec<ports::Model> = with(tx.db, "network_id", &ids).await?;
            let using: Vec<&str> = ports.iter().filter(|port| port.device_owner != ports::DHCP).map(|port| port.id.as_str()).collect();
            if !using.is_empty() {
                let message = format!(
                    "Unable to complete operation on network {}. There are one or more ports still in use on the network, id for these ports is {}.",
                    network.id,
                    using.join(",")
                );
                return Err(conflict("NetworkInUse", message));
            }
            for port in ports {
                ports::remove(&tx, &port).await?;
            }
            for subnet in with::<subnets::Model, _>(tx.db, "network_id", &ids).await? {
                remove::<subnets::Model, _>(tx.db, &subnet.id).await?;
            }
            remove::<Model, _>(tx.db, &network.id).await?;
            rbac::forget(&tx, &network.id).await?;
            tx.touch(Touched::Network(network.id));
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
