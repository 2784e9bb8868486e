//! What a port shows beside its own row: the policy of its network, the trunk it carries, the names of its addresses, what it asks of hosts.

use std::collections::HashMap;

use kit::Result;
use sea_orm::DatabaseConnection;
use serde_json::{Map, Value, json};

use super::Model;
use crate::resource::{Resource, Seen, with};
use crate::{networks, qos, trunks};

/// Views of many ports.
pub async fn views(db: &DatabaseConnection, rows: Vec<Model>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
    let mut networks: Vec<String> = rows.iter().map(|port| port.network_id.clone()).collect();
    networks.sort_unstable();
    networks.dedup();
    let networks: HashMap<String, networks::Model> =
        with(db, "id", &networks).await?.into_iter().map(|network: networks::Model| (network.id.clone(), network)).collect();
    let ids: Vec<String> = rows.iter().map(|port| port.id.clone()).collect();
    let mut trunks = trunks::details(db, &ids).await?;
    let mut requests = if seen.admin { qos::promises::requests(db, &rows, &networks).await? } else { HashMap::new() };
    let whole = |port: &Model| {
        let mut view = port.view(seen);
        if let Some(network) = networks.get(&port.network_id) {
            view.insert("qos_network_policy_id".into(), json!(network.qos_policy_id));
            view.insert("dns_assignment".into(), assignments(port, network));
        }
        if seen.admin {
            view.insert("resource_request".into(), json!(requests.remove(&port.id)));
        }
        if let Some(trunk) = trunks.remove(&port.id) {
            view.insert("trunk_details".into(), trunk);
        }
        view
    };
    Ok(rows.iter().map(whole).collect())
}

/// The name of each address, in full.
fn assignments(port: &Model, network: &networks::Model) -> Value {
    let domain = if port.dns_domain.is_empty() { network.domain() } else { &port.dns_domain };
    let one = |fixed: &super::FixedIp| {
        let hostname = match port.dns_name.as_str() {
            "" => format!("host-{}", fixed.ip_address.to_string().replace(['.', ':'], "-")),
            name => name.to_owned(),
        };
        let fqdn = if hostname.ends_with('.') { hostname.clone() } else { format!("{hostname}.{domain}") };
        json!({"ip_address": fixed.ip_address, "hostname": hostname, "fqdn": fqdn})
    };
    port.fixed_ips.0.iter().map(one).collect()
}
