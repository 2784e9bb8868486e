//! The ports of an instance: asked of neutron in the user's name, bound to this host in nova's.
//!
//! Neutron's list of an instance's ports is the truth; one looks there before making another, so every step here can be repeated.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kit::{Error, Kind, Result};
use rpc::Caller;
use rpc::compute::{Instance, InterfaceAddress, NetworkInterface, RequestedNetwork, RequestedNetworks, tap_name};
use sdk::Auth;
use sdk::network::{CreatePort, NetworkInfo, Port, Subnet, UpdatePort, WantedIp};
use tokio::time::{Duration, Instant, timeout};

use crate::host::{Host, Slot};

/// How often neutron is asked whether a port is wired, in case its event got lost.
const LOOK: Duration = Duration::from_secs(3);
/// How long what neutron said of a network is believed.
const BELIEF: Duration = Duration::from_secs(1);

/// Ports for all networks the user asked for, bound to this host.
pub async fn allocate(host: &Host, caller: &Caller, instance: &Instance) -> Result<Vec<NetworkInterface>> {
    let user = host.session.on_behalf(caller).await?;
    let service = host.session.auth(&caller.request_id).await?;
    let mut unused = host.cloud.network.ports_of(&service, std::slice::from_ref(&instance.id)).await?;
    let mut ports = Vec::new();
    for wanted in requested(host, &user, instance, &unused).await? {
        let port = port(host, &user, instance, &wanted, &mut unused).await?;
        ports.push((bind(host, &service, port).await?, wanted));
    }
    describe(host, &service, ports).await
}

/// One more port for a guest that exists.
pub async fn allocate_one(host: &Host, caller: &Caller, instance: &Instance, wanted: RequestedNetwork) -> Result<NetworkInterface> {
    let user = host.session.on_behalf(caller).await?;
    let service = host.session.auth(&caller.request_id).await?;
    let mut unused = host.cloud.network.ports_of(&service, std::slice::from_ref(&instance.id)).await?;
    unused.retain(|port| instance.network_info.iter().all(|interface| interface.port_id != port.id));
    let made = port(host, &user, instance, &wanted, &mut unused).await?;
    let bound = bind(host, &service, made).await?;
    let described = describe(host, &service, vec![(bound, wanted)]).await?;
    let interface = described.into_iter().next().ok_or_else(|| Error::internal("a port vanished"))?;
    Ok(NetworkInterface { request_id: Some(caller.request_id.clone()), ..interface })
}

/// Binds the ports that an instance has to this host, whichever they were bound to.
pub async fn rebind(host: &Host, caller: &Caller, instance: &Instance) -> Result<Vec<NetworkInterface>> {
    let service = host.session.auth(&caller.request_id).await?;
    let mut ports = Vec::new();
    for known in &instance.network_info {
        let id = &known.port_id;
        let port = host.cloud.network.port(&service, id).await?;
        let port = port.ok_or_else(|| Error::not_found(format!("Port id {id} could not be found.")))?;
        let given = (!known.created_by_nova).then(|| id.clone());
        let wanted = RequestedNetwork { port_id: given, tag: known.tag.clone(), ..RequestedNetwork::default() };
        ports.push((bind(host, &service, port).await?, wanted));
    }
    let mut bound = describe(host, &service, ports).await?;
    let addresses = || instance.network_info.iter().flat_map(|interface| &interface.fixed_ips);
    for new in bound.iter_mut().flat_map(|interface| &mut interface.fixed_ips) {
        let old = addresses().find(|old| old.address == new.address);
        new.floating_ips = old.map(|old| old.floating_ips.clone()).unwrap_or_default();
    }
    Ok(bound)
}

/// Bindings of an instance's ports on this host, which wait for the guest to come.
pub async fn bind_ahead(host: &Host, request_id: &str, instance: &Instance) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    for interface in &instance.network_info {
        let id = &interface.port_id;
        let port = host.cloud.network.port(&service, id).await?;
        let port = port.ok_or_else(|| Error::not_found(format!("Port id {id} could not be found.")))?;
        host.cloud.network.bind_ahead(&service, &port, host.name()).await?;
    }
    Ok(())
}

/// The guest is here now: the bindings on this host are in force; those of where it was wait.
pub async fn activate(host: &Host, request_id: &str, instance: &Instance) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    let each = instance.network_info.iter().map(|interface| host.cloud.network.activate_binding(&service, &interface.port_id, host.name()));
    futures::future::try_join_all(each).await?;
    Ok(())
}

/// The guest stays here: the bindings on the other host are no more.
pub async fn leave_other(host: &Host, request_id: &str, instance: &Instance, other: &str) -> Result<()> {
    if other == host.name() {
        return Ok(());
    }
    let service = host.session.auth(request_id).await?;
    for interface in &instance.network_info {
        host.cloud.network.unbind_ahead(&service, &interface.port_id, other).await?;
    }
    Ok(())
}

/// Removes the bindings that waited on this host.
pub async fn unbind_ahead(host: &Host, request_id: &str, instance: &Instance) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    for interface in &instance.network_info {
        let port = host.cloud.network.port(&service, &interface.port_id).await?;
        if port.is_some_and(|port| port.host_id.as_deref() != Some(host.name())) {
            host.cloud.network.unbind_ahead(&service, &interface.port_id, host.name()).await?;
        }
    }
    Ok(())
}

/// Leaves an instance's ports bound to no host; they stay its own.
pub async fn unbind(host: &Host, request_id: &str, instance: &Instance) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    let nowhere = UpdatePort { host_id: Some(String::new()), ..UpdatePort::default() };
    for interface in &instance.network_info {
        sdk::found(host.cloud.network.update_port(&service, &interface.port_id, &nowhere).await)?;
    }
    Ok(())
}

/// Deletes the ports that nova made for an instance, and gives back those that the user gave.
pub async fn release(host: &Host, request_id: &str, instance: &Instance) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    for port in host.cloud.network.ports_of(&service, std::slice::from_ref(&instance.id)).await? {
        release_port(host, &service, &port.id, is_ours(instance, &port.id)).await?;
    }
    Ok(())
}

/// The same for one port.
pub async fn release_one(host: &Host, request_id: &str, instance: &Instance, port_id: &str) -> Result<()> {
    let service = host.session.auth(request_id).await?;
    release_port(host, &service, port_id, is_ours(instance, port_id)).await
}

/// Waits until neutron says that all ports are wired.
pub async fn wait_plugged(host: &Host, slot: &Arc<Slot>, request_id: &str, interfaces: &[NetworkInterface]) -> Result<()> {
    let mut plugged = slot.plugged.subscribe();
    let deadline = Instant::now() + host.config.vif_plugging_timeout;
    let mut missing: Vec<String> = interfaces.iter().map(|interface| interface.port_id.clone()).collect();
    loop {
        missing.retain(|port| !plugged.borrow_and_update().contains(port));
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            break;
        }
        // an event, or a while of silence; then neutron itself is asked
        if !matches!(timeout(LOOK, plugged.changed()).await, Ok(Ok(()))) {
            let service = host.session.auth(request_id).await?;
            let active = active_ports(host, &service, &missing).await;
            missing.retain(|port| !active.contains(port));
        }
    }
    let why = format!("The ports {} were not wired within {} s.", missing.join(", "), host.config.vif_plugging_timeout.as_secs());
    match host.config.vif_plugging_is_fatal {
        true => Err(Error::new(Kind::TimedOut, why)),
        false => {
            tracing::warn!(why, "the guest runs anyway");
            Ok(())
        }
    }
}

async fn active_ports(host: &Host, service: &Auth, ports: &[String]) -> Vec<String> {
    let mut active = Vec::new();
    for id in ports {
        match host.cloud.network.port(service, id).await {
            Ok(Some(port)) if port.is_active() => active.push(port.id),
            Ok(_) => {}
            Err(error) => tracing::debug!(port = id, %error, "neutron could not be asked about a port"),
        }
    }
    active
}

/// The networks to be on, where the user did not name them.
async fn requested(host: &Host, user: &Auth, instance: &Instance, existing: &[Port]) -> Result<Vec<RequestedNetwork>> {
    match &instance.requested_networks {
        RequestedNetworks::None => Ok(Vec::new()),
        RequestedNetworks::These(wanted) => Ok(wanted.clone()),
        RequestedNetworks::Auto | RequestedNetworks::Allocate => {
            let on = |network_id: String| vec![RequestedNetwork { network_id: Some(network_id), ..RequestedNetwork::default() }];
            if let Some(port) = existing.first() {
                return Ok(on(port.network_id.clone()));
            }
            let networks = host.cloud.network.usable_networks(user, &instance.project_id).await?;
            match networks.as_slice() {
                [] if instance.requested_networks == RequestedNetworks::Allocate => {
                    Ok(on(host.cloud.network.allocate_topology(user, &instance.project_id).await?))
                }
                [] => Ok(Vec::new()),
                [network] => Ok(on(network.id.clone())),
                _ => Err(Error::conflict("Multiple possible networks found, use a Network ID to be more specific.")),
            }
        }
    }
}

/// The user's port, a port made earlier for the same request, or a new one.
async fn port(host: &Host, user: &Auth, instance: &Instance, wanted: &RequestedNetwork, unused: &mut Vec<Port>) -> Result<Port> {
    let neutron = &host.cloud.network;
    let device_owner = format!("compute:{}", instance.availability_zone.as_deref().unwrap_or("nova"));
    if let Some(id) = &wanted.port_id {
        unused.retain(|port| port.id != *id);
        let port = neutron.port(user, id).await?.ok_or_else(|| Error::not_found(format!("Port id {id} could not be found.")))?;
        if port.device_id == instance.id {
            return Ok(port);
        }
        if !port.device_id.is_empty() {
            return Err(Error::conflict(format!("Port {id} is still in use.")));
        }
        let change = UpdatePort { device_id: Some(instance.id.clone()), device_owner: Some(device_owner), ..UpdatePort::default() };
        return Ok(neutron.update_port(user, id, &change).await?);
    }
    let network_id = wanted.network_id.clone().ok_or_else(|| Error::bad_request("A requested network names neither network nor port."))?;
    let fits = |port: &Port| {
        let address = wanted.fixed_ip.is_none_or(|ip| port.fixed_ips.iter().any(|fixed| fixed.ip_address == ip));
        port.network_id == network_id && address && is_ours(instance, &port.id)
    };
    if let Some(index) = unused.iter().position(fits) {
        return Ok(unused.remove(index));
    }
    let new = CreatePort {
        network_id,
        project_id: Some(instance.project_id.clone()),
        device_id: Some(instance.id.clone()),
        device_owner: Some(device_owner),
        fixed_ips: wanted.fixed_ip.map(|ip| vec![WantedIp { ip_address: Some(ip), ..WantedIp::default() }]),
        security_groups: security_groups(host, user, instance).await?,
        ..CreatePort::default()
    };
    let made = neutron.create_port(user, &new).await?;
    if made.resource_request.is_none() {
        return Ok(made);
    }
    // what it asks for was to be found before this host was chosen
    neutron.delete_port(user, &made.id).await?;
    let message = "Using networks with QoS policy is not supported for instance";
    Err(Error::bad_request(format!("{message} {}. (Network ID is {})", instance.id, made.network_id)))
}

/// Ids of the groups the user named; neutron takes the default one by itself.
async fn security_groups(host: &Host, user: &Auth, instance: &Instance) -> Result<Option<Vec<String>>> {
    if matches!(instance.security_groups.as_slice(), [] | [_]) && instance.security_groups.iter().all(|name| name == "default") {
        return Ok(None);
    }
    let mut ids = Vec::new();
    for name in &instance.security_groups {
        let found = host.cloud.network.security_groups_named(user, &instance.project_id, name).await?;
        match found.as_slice() {
            [group] => ids.push(group.id.clone()),
            [] => return Err(Error::not_found(format!("Security group {name} not found."))),
            _ => return Err(Error::conflict(format!("Multiple security groups found matching '{name}'. Use an ID to be more specific."))),
        }
    }
    Ok(Some(ids))
}

async fn bind(host: &Host, service: &Auth, port: Port) -> Result<Port> {
    if port.host_id.as_deref() == Some(host.name()) {
        return Ok(port);
    }
    let change = UpdatePort { host_id: Some(host.name().to_owned()), ..UpdatePort::default() };
    let bound = host.cloud.network.update_port(service, &port.id, &change).await?;
    if bound.vif_type.as_deref() == Some("binding_failed") {
        return Err(Error::unavailable(format!("Binding failed for port {}.", bound.id)));
    }
    Ok(bound)
}

async fn release_port(host: &Host, service: &Auth, port_id: &str, ours: bool) -> Result<()> {
    if ours {
        return Ok(host.cloud.network.delete_port(service, port_id).await?);
    }
    match sdk::found(host.cloud.network.update_port(service, port_id, &UpdatePort::unbind()).await) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether nova made a port of this instance. What the user named, at create or later, is the user's.
fn is_ours(instance: &Instance, port_id: &str) -> bool {
    let given = match &instance.requested_networks {
        RequestedNetworks::These(wanted) => wanted.iter().any(|wanted| wanted.port_id.as_deref() == Some(port_id)),
        RequestedNetworks::Auto | RequestedNetworks::Allocate | RequestedNetworks::None => false,
    };
    let told = instance.network_info.iter().find(|interface| interface.port_id == port_id);
    !given && told.is_none_or(|interface| interface.created_by_nova)
}

/// A network and its subnets.
type Described = Arc<(NetworkInfo, Vec<Subnet>)>;

/// What neutron said of networks a moment ago: many guests come to one network at once.
#[derive(Default)]
pub struct Known(Mutex<HashMap<String, (Instant, Described)>>);

impl Known {
    async fn network(&self, host: &Host, service: &Auth, id: &str) -> Result<Described> {
        if let Some((at, described)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id)
            && at.elapsed() < BELIEF
        {
            return Ok(described.clone());
        }
        let network = host.cloud.network.network(service, id).await?;
        let network = network.ok_or_else(|| Error::not_found(format!("Network {id} could not be found.")))?;
        let subnets = host.cloud.network.subnets(service, &[("network_id", id)]).await?;
        let described = Arc::new((network, subnets));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < BELIEF);
        known.insert(id.to_owned(), (Instant::now(), described.clone()));
        Ok(described)
    }
}

/// The ports as the network info cache keeps them.
async fn describe(host: &Host, service: &Auth, ports: Vec<(Port, RequestedNetwork)>) -> Result<Vec<NetworkInterface>> {
    let mut interfaces = Vec::with_capacity(ports.len());
    for (port, wanted) in ports {
        let described = host.networks.network(host, service, &port.network_id).await?;
        interfaces.push(interface(port, wanted, &described.0, &described.1));
    }
    Ok(interfaces)
}

fn interface(port: Port, wanted: RequestedNetwork, network: &NetworkInfo, subnets: &[Subnet]) -> NetworkInterface {
    let address = |fixed: &sdk::network::FixedIp| {
        let subnet = subnets.iter().find(|subnet| subnet.id == fixed.subnet_id)?;
        Some(InterfaceAddress {
            address: fixed.ip_address,
            subnet_id: subnet.id.clone(),
            cidr: subnet.cidr.clone(),
            gateway: subnet.gateway_ip,
            dns: subnet.dns_nameservers.clone(),
            routes: subnet.host_routes.iter().map(|route| (route.destination.clone(), route.nexthop)).collect(),
            dhcp: subnet.enable_dhcp,
            floating_ips: Vec::new(),
        })
    };
    NetworkInterface {
        device_name: tap_name(&port.id),
        network_id: network.id.clone(),
        network_name: network.name.clone(),
        mac_address: port.mac_address,
        mtu: network.mtu,
        fixed_ips: port.fixed_ips.iter().filter_map(address).collect(),
        created_by_nova: wanted.port_id.is_none(),
        tag: wanted.tag,
        port_id: port.id,
        request_id: None,
    }
}
