//! What neutron has: ports of servers, routers and floating IPs, each of somebody that there is, and on the host where that is.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, number};
use super::nova::Nova;
use super::{Findings, Outcome};

/// Resources that are counted, and their tables.
const COUNTED: [(&str, &str); 10] = [
    ("network", "networks"),
    ("subnet", "subnets"),
    ("port", "ports"),
    ("router", "routers"),
    ("floatingip", "floatingips"),
    ("security_group", "security_groups"),
    ("security_group_rule", "security_group_rules"),
    ("subnetpool", "subnetpools"),
    ("rbac_policy", "rbac_policies"),
    ("trunk", "trunks"),
];

pub struct Port {
    pub device: String,
    pub owner: String,
    pub host: String,
}

pub struct Neutron {
    pub ports: BTreeMap<String, Port>,
    pub networks: BTreeSet<String>,
    pub routers: BTreeSet<String>,
    /// Ports with hosts they may go to.
    pub bindings: Vec<[String; 2]>,
    /// Id, own port, the port it leads to.
    floating: Vec<[String; 3]>,
    /// Project, resource, how much of it is counted and how much there is, where that is more.
    miscounted: Vec<[String; 4]>,
}

impl Port {
    pub fn is_of_server(&self) -> bool {
        self.owner.starts_with("compute:")
    }
}

impl Neutron {
    pub async fn read(book: &Book) -> Outcome<Neutron> {
        let ports = book.rows::<4>("SELECT id, device_id, device_owner, host_id FROM ports").await?;
        Ok(Neutron {
            ports: ports.into_iter().map(|[id, device, owner, host]| (id, Port { device, owner, host })).collect(),
            networks: book.column("SELECT id FROM networks").await?,
            routers: book.column("SELECT id FROM routers").await?,
            bindings: book.rows("SELECT port_id, host FROM inactive_bindings").await?,
            floating: book.rows("SELECT id, floating_port_id, port_id FROM floatingips").await?,
            miscounted: miscounted(book).await?,
        })
    }

    pub fn check(&self, nova: &Nova, findings: &mut Findings) {
        for (id, port) in &self.ports {
            self.check_port(id, port, nova, findings);
        }
        for (id, server) in nova.servers.iter().filter(|(id, _)| nova.is_settled(id)) {
            for port in server.ports.iter().filter(|port| !self.ports.contains_key(*port)) {
                findings.say(format!("neutron: server {id} has a port {port}, which there is not"));
            }
        }
        for [id, own, to] in &self.floating {
            for port in [own, to].into_iter().filter(|port| !port.is_empty() && !self.ports.contains_key(*port)) {
                findings.say(format!("neutron: floating IP {id} has a port {port}, which there is not"));
            }
        }
        for [port, host] in &self.bindings {
            let device = self.ports.get(port).map_or("", |port| &port.device);
            if !nova.servers.contains_key(device) || nova.is_settled(device) {
                findings.say(format!("neutron: port {port} waits to go to {host}, but its server {device} does not move"));
            }
        }
        for [project, resource, counted, are] in &self.miscounted {
            findings.say(format!("neutron: project {project} is counted with {counted} of the resource {resource}, and has {are}"));
        }
    }

    fn check_port(&self, id: &str, port: &Port, nova: &Nova, findings: &mut Findings) {
        let Port { device, owner, host } = port;
        let of_nobody = match owner.as_str() {
            "network:floatingip" => !self.floating.iter().any(|[floating, ..]| floating == device),
            owner if owner.starts_with("network:router") => !self.routers.contains(device),
            _ if port.is_of_server() => !nova.servers.contains_key(device),
            _ => false,
        };
        if of_nobody {
            return findings.say(format!("neutron: port {id} ({owner}) is of {device}, which there is not"));
        }
        let Some(server) = nova.servers.get(device).filter(|_| port.is_of_server() && nova.is_settled(device)) else { return };
        if !server.ports.iter().any(|known| known == id) && server.vm_state != "error" {
            findings.say(format!("neutron: port {id} is of server {device}, which does not know it"));
        }
        if !server.host.is_empty() && *host != server.host {
            findings.say(format!("neutron: port {id} is bound to {host:?}; its server {device} is on {}", server.host));
        }
    }
}

/// Counts may be too high, for what was deleted is only found when there seems to be no room; never too low.
async fn miscounted(book: &Book) -> Outcome<Vec<[String; 4]>> {
    let mut wrong = Vec::new();
    for (resource, table) in COUNTED {
        let sql = format!(
            "SELECT u.project_id, u.resource, CAST(u.used AS TEXT), CAST((SELECT COUNT(*) FROM {table} t WHERE t.project_id = u.project_id) \
             AS TEXT) FROM quota_usages u WHERE u.resource = '{resource}'"
        );
        wrong.extend(book.rows::<4>(&sql).await?.into_iter().filter(|[_, _, counted, are]| number(counted) < number(are)));
    }
    Ok(wrong)
}
