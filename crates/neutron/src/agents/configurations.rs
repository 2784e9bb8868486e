//! What an agent's `configurations` say, as those of neutron's agents do: how it works and how much it carries.

use std::collections::HashMap;

use kit::Result;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::sql;

/// By host; `$1` is one host, or empty for all.
const COUNTS: &[(&str, &str)] = &[
    (
        "devices",
        "SELECT host_id, COUNT(*) FROM ports WHERE host_id <> '' AND device_owner NOT LIKE 'network:%' AND ($1 = '' OR host_id = $1) \
         GROUP BY host_id",
    ),
    ("networks", "SELECT host_id, COUNT(*) FROM ports WHERE device_owner = 'network:dhcp' AND ($1 = '' OR host_id = $1) GROUP BY host_id"),
    (
        "subnets",
        "SELECT p.host_id, COUNT(DISTINCT a.subnet_id) FROM ports p JOIN ip_allocations a ON a.port_id = p.id \
         WHERE p.device_owner = 'network:dhcp' AND ($1 = '' OR p.host_id = $1) GROUP BY p.host_id",
    ),
    (
        "ports",
        "SELECT d.host_id, CAST(SUM(n.ports) AS BIGINT) FROM ports d \
         JOIN (SELECT network_id, COUNT(*) AS ports FROM ports GROUP BY network_id) n ON n.network_id = d.network_id \
         WHERE d.device_owner = 'network:dhcp' AND ($1 = '' OR d.host_id = $1) GROUP BY d.host_id",
    ),
    ("routers", "SELECT host, COUNT(*) FROM routers WHERE host <> '' AND ($1 = '' OR host = $1) GROUP BY host"),
    ("ex_gw_ports", "SELECT host, COUNT(gateway_port_id) FROM routers WHERE host <> '' AND ($1 = '' OR host = $1) GROUP BY host"),
    (
        "interfaces",
        "SELECT host_id, COUNT(*) FROM ports WHERE host_id <> '' AND device_owner = 'network:router_interface' \
         AND ($1 = '' OR host_id = $1) GROUP BY host_id",
    ),
    (
        "floating_ips",
        "SELECT r.host, COUNT(*) FROM floatingips f JOIN routers r ON r.id = f.router_id \
         WHERE r.host <> '' AND ($1 = '' OR r.host = $1) GROUP BY r.host",
    ),
];

/// How much hosts carry, by what and by host.
pub struct Carried(HashMap<&'static str, HashMap<String, i64>>);

impl Carried {
    /// Of one host, or of all.
    pub async fn read<C: ConnectionTrait>(db: &C, host: Option<&str>) -> Result<Carried> {
        let mut all = HashMap::new();
        for (what, count) in COUNTS {
            let mut by_host = HashMap::new();
            for row in sql::query(db, count, [host.unwrap_or_default().into()]).await? {
                by_host.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            }
            all.insert(*what, by_host);
        }
        Ok(Carried(all))
    }

    fn of(&self, what: &str, host: &str) -> i64 {
        self.0.get(what).and_then(|by_host| by_host.get(host)).copied().unwrap_or_default()
    }
}

/// The `configurations` of an agent of this type.
pub fn of(kind: &str, host: &str, vtep: Option<&str>, interface_mappings: &Value, carried: &Carried) -> Value {
    let count = |what| carried.of(what, host);
    match kind {
        "DHCP agent" => json!({
            "dhcp_driver": "neutron.agent.linux.dhcp.Dnsmasq", "dhcp_lease_duration": 86_400, "log_agent_heartbeats": false,
            "networks": count("networks"), "subnets": count("subnets"), "ports": count("ports"),
        }),
        "L3 agent" => json!({
            "agent_mode": "legacy", "handle_internal_only_routers": true, "interface_driver": "linuxbridge", "log_agent_heartbeats": false,
            "extensions": [], "routers": count("routers"), "ex_gw_ports": count("ex_gw_ports"), "interfaces": count("interfaces"),
            "floating_ips": count("floating_ips"),
        }),
        "Metadata agent" => json!({"log_agent_heartbeats": false}),
        _ => json!({
            "bridge_mappings": {}, "interface_mappings": interface_mappings, "tunneling_ip": vtep,
            "tunnel_types": vtep.map(|_| "vxlan").into_iter().collect::<Vec<_>>(), "l2_population": vtep.is_some(), "extensions": ["qos"],
            "devices": count("devices"),
        }),
    }
}
