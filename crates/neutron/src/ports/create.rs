//! `POST /ports`

use kit::clock::Timestamp;
use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Reply, Result, ids};
use serde_json::{Value, json};

use super::addresses::{Wanted, touch_membership};
use super::{AddressPair, DOWN, Model, choose, deferred, dhcp};
use crate::agents::Touched;
use crate::attributes::{Checked, Input};
use crate::fault::{bad_request, conflict, enforce};
use crate::resource::{Resource, insert};
use crate::values::random_mac;
use crate::{App, Tx, ipam, listing, networks, qos, quotas, security_groups, sql, subnets, tags};

/// How often another random MAC address is tried.
const MAC_ATTEMPTS: usize = 16;
/// Allowed address pairs a port may have.
const PAIRS: usize = 10;

pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut wishes = Vec::with_capacity(bodies.len());
    for mut body in bodies {
        // null is what is not said
        if body.get("security_groups").is_some_and(Value::is_null) {
            body.remove("security_groups");
        }
        wishes.push(Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?);
    }
    let by = ctx.clone();
    let ports = app.write(move |tx| {
        Box::pin(async move {
            let on = wishes.iter().map(|wish| wish.text("network_id")).collect::<Result<Vec<_>>>()?;
            networks::turn(&tx, on).await?;
            let mut made = Vec::with_capacity(wishes.len());
            for wish in wishes {
                made.push(make(&tx, &by, &wish).await?);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, ports.await?, bulk).await
}

async fn make(tx: &Tx<'_>, ctx: &Context, wish: &Checked) -> Result<Model> {
    let network = networks::usable(tx, ctx, &wish.text("network_id")?, "port").await?;
    let project = wish.text("project_id")?;
    check_rules(ctx, "create", wish, &project, &network)?;
    let mut port = new(&network, &project);
    wish.set("name", &mut port.name)?;
    wish.set("description", &mut port.description)?;
    wish.set("admin_state_up", &mut port.admin_state_up)?;
    wish.set("port_security_enabled", &mut port.port_security_enabled)?;
    wish.set("allowed_address_pairs", &mut port.allowed_address_pairs.0)?;
    dhcp::merge_options(&mut port.extra_dhcp_opts.0, wish.or("extra_dhcp_opts", Vec::new())?);
    wish.set("device_id", &mut port.device_id)?;
    wish.set("device_owner", &mut port.device_owner)?;
    wish.set("binding:host_id", &mut port.host_id)?;
    wish.set("binding:vnic_type", &mut port.vnic_type)?;
    wish.set("dns_name", &mut port.dns_name)?;
    wish.set("dns_domain", &mut port.dns_domain)?;
    wish.set("qos_policy_id", &mut port.qos_policy_id)?;
    wish.set("hints", &mut port.hints.0)?;
    wish.set("numa_affinity_policy", &mut port.numa_affinity_policy)?;
    wish.set("tags", &mut port.tags.0)?;
    tags::check_all(&port.tags.0)?;
    qos::check_usable(tx, ctx, port.qos_policy_id.as_ref()).await?;
    port.profile.0 = profile(wish)?.unwrap_or_else(|| json!({}));
    port.security_groups.0 = security_groups_of(tx, ctx, wish, &port).await?;
    if !port.port_security_enabled && !port.security_groups.0.is_empty() {
        let message = "Port security must be enabled and port must have an IP address in order to use security groups.";
        return Err(bad_request("PortSecurityAndIPRequiredForSecurityGroups", message));
    }
    check_security(&port)?;
    // the ports of the cloud's own parts are made elsewhere, and need no room in the quota
    quotas::spend(tx, &port.project_id, "port", 1).await?;
    let mac = wish.get::<Option<String>>("mac_address")?.flatten();
    insert_with(tx, &network, port, mac, wish.get::<Vec<Wanted>>("fixed_ips")?).await
}

/// A port of a network, with nothing chosen yet.
pub fn new(network: &networks::Model, project: &str) -> Model {
    let now = Timestamp::now();
    Model {
        id: ids::uuid(),
        project_id: project.to_owned(),
        network_id: network.id.clone(),
        name: String::new(),
        description: String::new(),
        admin_state_up: true,
        status: DOWN.into(),
        mac_address: String::new(),
        fixed_ips: Json(Vec::new()),
        security_groups: Json(Vec::new()),
        port_security_enabled: network.port_security_enabled,
        allowed_address_pairs: Json(Vec::new()),
        extra_dhcp_opts: Json(Vec::new()),
        device_id: String::new(),
        device_owner: String::new(),
        host_id: String::new(),
        vnic_type: "normal".into(),
        profile: Json(json!({})),
        dns_name: String::new(),
        dns_domain: String::new(),
        qos_policy_id: None,
        data_plane_status: None,
        hints: Json(Value::Null),
        numa_affinity_policy: None,
        deferred: false,
        tags: Json(Vec::new()),
        revision_number: 1,
        created_at: now,
        updated_at: now,
    }
}

/// Inserts a port with a MAC address, its addresses and its groups.
pub async fn insert_with(
    tx: &Tx<'_>,
    network: &networks::Model,
    mut port: Model,
    mac: Option<String>,
    ips: Option<Vec<Wanted>>,
) -> Result<Model> {
    networks::turn(tx, vec![network.id.clone()]).await?;
    port.mac_address = free_mac(tx, &network.id, mac).await?;
    let open = ips.is_none();
    port.fixed_ips.0 = choose(tx, network, &port, ips).await?;
    port.deferred = open && port.fixed_ips.0.is_empty() && deferred::waits(&port, &subnets::of(tx, &network.id).await?);
    if !insert(tx.db, &port).await? {
        return Err(mac_in_use(&network.id, &port.mac_address));
    }
    if port.device_owner.starts_with("network:") {
        quotas::forget(tx, &port.project_id, "port").await?;
    }
    ipam::record(tx, &port, &port.fixed_ips.0).await?;
    join_groups(tx, &port).await?;
    if port.is_bound_guest() {
        Box::pin(dhcp::ensure(tx, network, &port.host_id)).await?;
    }
    if !port.host_id.is_empty() {
        tx.touch(Touched::Port(port.id.clone()));
    }
    touch_membership(tx, &port);
    Ok(port)
}

/// The address asked for, or one that no other port of the network has.
pub async fn free_mac(tx: &Tx<'_>, network: &str, wanted: Option<String>) -> Result<String> {
    let used = "SELECT 1 FROM ports WHERE network_id = $1 AND mac_address = $2";
    if let Some(mac) = wanted {
        if sql::exists(tx.db, used, [network.into(), mac.as_str().into()]).await? {
            return Err(mac_in_use(network, &mac));
        }
        return Ok(mac);
    }
    for _ in 0..MAC_ATTEMPTS {
        let mac = random_mac();
        if !sql::exists(tx.db, used, [network.into(), mac.as_str().into()]).await? {
            return Ok(mac);
        }
    }
    Err(kit::Error::unavailable(format!("Unable to generate unique mac on network {network}.")).code("MacAddressGenerationFailure"))
}

pub fn mac_in_use(network: &str, mac: &str) -> kit::Error {
    conflict("MacAddressInUse", format!("Unable to complete operation for network {network}. The mac address {mac} is in use."))
}

/// Writes the index of the port's groups, and whether it brings more to them than its addresses.
pub async fn join_groups(tx: &Tx<'_>, port: &Model) -> Result<()> {
    for group in &port.security_groups.0 {
        let join = "INSERT INTO port_security_groups (port_id, security_group_id, paired) VALUES ($1, $2, $3)";
        let paired = !port.allowed_address_pairs.0.is_empty();
        sql::execute(tx.db, join, [port.id.as_str().into(), group.as_str().into(), paired.into()]).await?;
    }
    Ok(())
}

/// The rules of single attributes; some also let the owner of the network.
pub fn check_rules(ctx: &Context, verb: &str, wish: &Checked, project: &str, network: &networks::Model) -> Result<()> {
    let target = Target::project(project).with("network:project_id", &network.project_id);
    wish.enforce(ctx, verb, Model::KEY, Model::ATTRIBUTES, &target)?;
    if wish.text("device_owner")?.starts_with("network:") {
        enforce(ctx, &format!("{verb}_port:device_owner"), &target)?;
    }
    let certain = wish.get::<Vec<Wanted>>("fixed_ips")?.is_some_and(|ips| ips.iter().any(|ip| ip.ip_address.is_some()));
    if certain && network.project_id != project {
        enforce(ctx, &format!("{verb}_port:fixed_ips:ip_address"), &target)?;
    }
    Ok(())
}

pub fn profile(wish: &Checked) -> Result<Option<Value>> {
    Ok(wish.get::<Value>("binding:profile")?.map(|profile| if profile.is_null() { json!({}) } else { profile }))
}

/// The groups asked for, or the project's default one; none for parts of the cloud and ports without security.
async fn security_groups_of(tx: &Tx<'_>, ctx: &Context, wish: &Checked, port: &Model) -> Result<Vec<String>> {
    match wish.get::<Vec<String>>("security_groups")? {
        Some(groups) => {
            security_groups::check_usable(tx, ctx, &port.project_id, &groups).await?;
            Ok(groups)
        }
        None if !port.port_security_enabled || port.device_owner.starts_with("network:") => Ok(Vec::new()),
        None => Ok(vec![security_groups::default_of(tx, &port.project_id).await?]),
    }
}

/// Without port security there is nothing that groups and pairs could do.
pub fn check_security(port: &Model) -> Result<()> {
    if port.port_security_enabled {
        return check_pairs(port);
    }
    if !port.security_groups.0.is_empty() {
        let message = "Port has security group associated. Cannot disable port security or IP address until security group is removed.";
        return Err(conflict("PortSecurityPortHasSecurityGroup", message));
    }
    if !port.allowed_address_pairs.0.is_empty() {
        let message = "Port Security must be enabled in order to have allowed address pairs on a port.";
        return Err(conflict("AddressPairAndPortSecurityRequired", message));
    }
    Ok(())
}

/// Few pairs, each once; one without a MAC address has the port's.
fn check_pairs(port: &Model) -> Result<()> {
    let pairs = &port.allowed_address_pairs.0;
    if pairs.len() > PAIRS {
        let message = format!("The number of allowed address pair exceeds the maximum {PAIRS}.");
        return Err(bad_request("AllowedAddressPairExhausted", message));
    }
    let whole = |pair: &AddressPair| (pair.mac_address.clone().unwrap_or_else(|| port.mac_address.clone()), pair.ip_address.clone());
    for (index, pair) in pairs.iter().enumerate() {
        let (mac, ip) = whole(pair);
        if pairs.iter().take(index).any(|earlier| whole(earlier) == (mac.clone(), ip.clone())) {
            let message = format!("Request contains duplicate address pair: mac_address {mac} ip_address {ip}.");
            return Err(bad_request("DuplicateAddressPairInRequest", message));
        }
    }
    Ok(())
}
