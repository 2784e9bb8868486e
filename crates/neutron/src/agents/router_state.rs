//! Routers in the words of the bus, with all that hangs on them, and what each host is to them.

use std::collections::{HashMap, HashSet};

use kit::Result;
use rpc::network as wire;
use sea_orm::DatabaseConnection;

use super::state::routes;
use crate::floatingips::{self, port_forwardings};
use crate::ports;
use crate::resource::with;
use crate::{metering, qos, routers, sql, subnetpools, subnets};

/// A router, and who carries it.
pub struct Carried {
    pub router: wire::Router,
    host: String,
    standbys: Vec<String>,
    /// By host.
    ha_ports: HashMap<String, String>,
}

impl Carried {
    /// As one host should know it; nothing when it does not carry it.
    pub fn on(&self, host: &str) -> Option<wire::Router> {
        let role = match host {
            _ if self.host == host => wire::RouterRole::Active,
            _ if self.standbys.iter().any(|standby| standby == host) => wire::RouterRole::Standby,
            _ => return None,
        };
        Some(wire::Router { role, ha_port_id: self.ha_ports.get(host).cloned(), ..self.router.clone() })
    }
}

/// All that routers need, read in a number of queries that does not grow with them.
struct Parts {
    ports: Vec<ports::Model>,
    subnets: HashMap<String, subnets::Model>,
    /// Address scopes, by subnet pool.
    scopes: HashMap<String, String>,
    floating: Vec<floatingips::Model>,
    forwardings: Vec<port_forwardings::Model>,
    labels: Vec<(metering::Model, Vec<metering::rules::Model>)>,
    effects: HashMap<String, wire::Qos>,
}

/// Routers by their ids; those that are gone are left out.
pub async fn read(db: &DatabaseConnection, ids: &[String]) -> Result<Vec<Carried>> {
    let rows: Vec<routers::Model> = with(db, "id", ids).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let parts = Parts::read(db, ids, &rows).await?;
    let mut carried = Vec::with_capacity(rows.len());
    for row in rows {
        let standbys = if row.ha { routers::standbys(db, &row.id).await? } else { Vec::new() };
        carried.push(Carried { host: row.host.clone(), standbys, ha_ports: parts.ha_ports(&row.id), router: parts.router(row) });
    }
    Ok(carried)
}

impl Parts {
    async fn read(db: &DatabaseConnection, ids: &[String], rows: &[routers::Model]) -> Result<Parts> {
        let ports: Vec<ports::Model> = with(db, "device_id", ids).await?;
        let on: HashSet<String> = ports.iter().flat_map(|port| port.fixed_ips.0.iter().map(|fixed| fixed.subnet_id.clone())).collect();
        let on: Vec<String> = on.into_iter().collect();
        let subnets: Vec<subnets::Model> = with(db, "id", &on).await?;
        let pools: HashSet<String> = subnets.iter().filter_map(|subnet| subnet.subnetpool_id.clone()).collect();
        let pools: Vec<subnetpools::Model> = with(db, "id", &pools.into_iter().collect::<Vec<_>>()).await?;
        let floating: Vec<floatingips::Model> = with(db, "router_id", ids).await?;
        let floating_ids: Vec<String> = floating.iter().map(|floating| floating.id.clone()).collect();
        let policies =
            rows.iter().filter_map(|row| row.qos_policy_id.clone()).chain(floating.iter().filter_map(|f| f.qos_policy_id.clone()));
        let policies: HashSet<String> = policies.collect();
        Ok(Parts {
            subnets: subnets.into_iter().map(|subnet| (subnet.id.clone(), subnet)).collect(),
            scopes: pools.into_iter().filter_map(|pool| Some((pool.id, pool.address_scope_id?))).collect(),
            forwardings: with(db, "floatingip_id", &floating_ids).await?,
            labels: labels(db, rows).await?,
            effects: qos::effects(db, &policies.into_iter().collect::<Vec<_>>()).await?,
            ports,
            floating,
        })
    }

    fn router(&self, router: routers::Model) -> wire::Router {
        let mut own: Vec<&ports::Model> = self.ports.iter().filter(|port| port.device_id == router.id).collect();
        own.sort_by(|a, b| a.id.cmp(&b.id));
        let interface = |port: &&ports::Model| wire::RouterInterface {
            port_id: port.id.clone(),
            network_id: port.network_id.clone(),
            mac_address: port.mac_address.clone(),
            addresses: self.addresses(port),
            address_scopes: self.address_scopes(port),
        };
        let (floating_ips, port_forwardings) = self.floating(&router.id);
        wire::Router {
            interfaces: own
                .iter()
                .filter(|port| port.device_owner == ports::ROUTER_INTERFACE && port.admin_state_up)
                .map(interface)
                .collect(),
            gateway: own
                .iter()
                .find(|port| port.device_owner == ports::ROUTER_GATEWAY && port.admin_state_up)
                .map(|port| self.gateway(&router, port)),
            floating_ips,
            routes: routes(&router.routes.0),
            port_forwardings,
            metering_labels: self.labels_of(&router.project_id),
            role: wire::RouterRole::Active,
            ha_port_id: None,
            id: router.id,
            project_id: router.project_id,
            admin_state_up: router.admin_state_up,
        }
    }

    fn ha_ports(&self, router: &str) -> HashMap<String, String> {
        let own = self.ports.iter().filter(|port| port.device_id == router && port.device_owner == routers::HA_INTERFACE);
        own.map(|port| (port.host_id.clone(), port.id.clone())).collect()
    }

    /// With the prefixes of their subnets.
    fn addresses(&self, port: &ports::Model) -> Vec<String> {
        port.fixed_ips.0.iter().filter_map(|fixed| Some(self.subnets.get(&fixed.subnet_id)?.with_prefix(fixed.ip_address))).collect()
    }

    /// Those of the pools that its subnets are out of.
    fn address_scopes(&self, port: &ports::Model) -> wire::AddressScopes {
        let of = |v4: bool| {
            let mut subnets = port.fixed_ips.0.iter().filter_map(|fixed| self.subnets.get(&fixed.subnet_id)).filter(|s| s.is_v4() == v4);
            subnets.find_map(|subnet| self.scopes.get(subnet.subnetpool_id.as_ref()?)).cloned()
        };
        wire::AddressScopes { ipv4: of(true), ipv6: of(false) }
    }

    fn gateway(&self, router: &routers::Model, port: &ports::Model) -> wire::RouterGateway {
        wire::RouterGateway {
            port_id: port.id.clone(),
            network_id: port.network_id.clone(),
            mac_address: port.mac_address.clone(),
            addresses: self.addresses(port),
            nexthops: port.fixed_ips.0.iter().filter_map(|fixed| self.subnets.get(&fixed.subnet_id)?.gateway()).collect(),
            enable_snat: router.enable_snat,
            address_scopes: self.address_scopes(port),
            qos: self.effect(router.qos_policy_id.as_ref()),
        }
    }

    fn floating(&self, router: &str) -> (Vec<wire::FloatingIp>, Vec<wire::PortForwarding>) {
        let own: Vec<&floatingips::Model> = self.floating.iter().filter(|floating| floating.router_id.as_deref() == Some(router)).collect();
        let one = |floating: &&floatingips::Model| {
            Some(wire::FloatingIp {
                id: floating.id.clone(),
                floating_ip_address: floating.address()?,
                fixed_ip_address: floating.fixed_address()?,
                port_id: floating.port_id.clone()?,
                qos: self.effect(floating.qos_policy_id.as_ref()),
            })
        };
        let mut floating_ips: Vec<wire::FloatingIp> = own.iter().filter_map(one).collect();
        floating_ips.sort_by(|a, b| a.id.cmp(&b.id));
        let forwarding = |row: &port_forwardings::Model| {
            let floating = own.iter().find(|floating| floating.id == row.floatingip_id)?;
            let port = |number: i64| u16::try_from(number).ok();
            Some(wire::PortForwarding {
                id: row.id.clone(),
                floatingip_id: row.floatingip_id.clone(),
                floating_ip_address: floating.address()?,
                protocol: row.protocol.clone(),
                external_ports: (port(row.external_first)?, port(row.external_last)?),
                internal_ip_address: row.internal_ip_address.parse().ok()?,
                internal_ports: (port(row.internal_first)?, port(row.internal_last)?),
            })
        };
        let mut forwardings: Vec<wire::PortForwarding> = self.forwardings.iter().filter_map(forwarding).collect();
        forwardings.sort_by(|a, b| a.id.cmp(&b.id));
        (floating_ips, forwardings)
    }

    fn effect(&self, policy: Option<&String>) -> wire::Qos {
        policy.and_then(|policy| self.effects.get(policy)).cloned().unwrap_or_default()
    }

    fn labels_of(&self, project: &str) -> Vec<wire::MeteringLabel> {
        let own = self.labels.iter().filter(|(label, _)| label.shared || label.project_id == project);
        own.map(|(label, rules)| wire::MeteringLabel { id: label.id.clone(), rules: rules.iter().map(rule).collect() }).collect()
    }
}

/// The labels that count at these routers, with their rules.
async fn labels(db: &DatabaseConnection, rows: &[routers::Model]) -> Result<Vec<(metering::Model, Vec<metering::rules::Model>)>> {
    let mut ids = sql::texts(db, "SELECT id FROM metering_labels WHERE shared", []).await?;
    let mut projects: Vec<String> = rows.iter().map(|row| row.project_id.clone()).collect();
    projects.sort_unstable();
    projects.dedup();
    ids.extend(with::<metering::Model, _>(db, "project_id", &projects).await?.into_iter().map(|label| label.id));
    ids.sort_unstable();
    ids.dedup();
    let labels: Vec<metering::Model> = with(db, "id", &ids).await?;
    let mut rules: Vec<metering::rules::Model> = with(db, "metering_label_id", &ids).await?;
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    let of = |label: &metering::Model| rules.iter().filter(|rule| rule.metering_label_id == label.id).cloned().collect();
    let mut labels: Vec<(metering::Model, Vec<metering::rules::Model>)> =
        labels.into_iter().map(|label| (label.clone(), of(&label))).collect();
    labels.sort_by(|a, b| a.0.id.cmp(&b.0.id));
    Ok(labels)
}

/// A rule with one remote prefix says the same as one with the end that is not ours.
fn rule(rule: &metering::rules::Model) -> wire::MeteringRule {
    let remote = |direction: &str| rule.remote_ip_prefix.clone().filter(|_| rule.direction == direction);
    wire::MeteringRule {
        id: rule.id.clone(),
        direction: rule.direction.clone(),
        excluded: rule.excluded,
        source_ip_prefix: rule.source_ip_prefix.clone().or_else(|| remote("ingress")),
        destination_ip_prefix: rule.destination_ip_prefix.clone().or_else(|| remote("egress")),
    }
}
