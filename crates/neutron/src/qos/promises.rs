//! Minimums of bandwidth and packets: what a port asks of its host in placement's words, and that what a bound port was promised stays. How
//! much there is of it on a host, placement knows.

use std::collections::{BTreeMap, HashMap};

use kit::{Error, Kind, Result, ids};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::rules::{self, MINIMUM_BANDWIDTH, MINIMUM_PACKET_RATE};
use crate::fault::conflict;
use crate::placement::{EGRESS, INGRESS, PACKETS, PACKETS_EGRESS, PACKETS_INGRESS, traits};
use crate::resource::with;
use crate::{Tx, networks, ports, sql};

/// What a policy promises, by resource class: bandwidth in kbit/s, packets in thousands a second.
#[derive(Debug, Default, PartialEq, Eq)]
struct Promise {
    bandwidth: BTreeMap<&'static str, i64>,
    packets: BTreeMap<&'static str, i64>,
}

/// The promises of policies, by policy.
async fn promises<C: ConnectionTrait>(db: &C, policies: &[String]) -> Result<HashMap<String, Promise>> {
    let mut promises: HashMap<String, Promise> = HashMap::new();
    for rule in with::<rules::Model, _>(db, "policy_id", policies).await? {
        match rule.rule_type.as_str() {
            MINIMUM_BANDWIDTH => {
                let class = if rule.direction == "ingress" { INGRESS } else { EGRESS };
                promises.entry(rule.policy_id).or_default().bandwidth.insert(class, rule.min_kbps.unwrap_or_default());
            }
            MINIMUM_PACKET_RATE => {
                let class = match rule.direction.as_str() {
                    "ingress" => PACKETS_INGRESS,
                    "egress" => PACKETS_EGRESS,
                    _ => PACKETS,
                };
                promises.entry(rule.policy_id).or_default().packets.insert(class, rule.min_kpps.unwrap_or_default());
            }
            _ => {}
        }
    }
    Ok(promises)
}

impl Promise {
    /// As groups of a request: bandwidth is the physical network's, and nobody counts that of tunnels; packets are the host's.
    fn request(&self, port: &str, physical: Option<&str>) -> Option<Value> {
        let mut groups = Vec::new();
        if let (Some(physical), false) = (physical, self.bandwidth.is_empty()) {
            let id = ids::derived("bandwidth of port", port);
            groups.push(json!({"id": id, "required": traits(Some(physical)), "resources": self.bandwidth}));
        }
        if !self.packets.is_empty() {
            let id = ids::derived("packets of port", port);
            groups.push(json!({"id": id, "required": traits(None), "resources": self.packets}));
        }
        let same: Vec<Value> = groups.iter().filter_map(|group| group.get("id").cloned()).collect();
        (!groups.is_empty()).then(|| json!({"request_groups": groups, "same_subtree": same}))
    }
}

/// `resource_request` of ports, by port: of their own policies, or of their networks'.
pub async fn requests<C: ConnectionTrait>(
    db: &C,
    rows: &[ports::Model],
    networks: &HashMap<String, networks::Model>,
) -> Result<HashMap<String, Value>> {
    let policy = |port: &ports::Model| port.qos_policy_id.clone().or_else(|| networks.get(&port.network_id)?.qos_policy_id.clone());
    let mut policies: Vec<String> = rows.iter().filter_map(policy).collect();
    policies.sort_unstable();
    policies.dedup();
    let promises = promises(db, &policies).await?;
    let request = |port: &ports::Model| {
        let physical = networks.get(&port.network_id)?.physical_network.as_deref();
        Some((port.id.clone(), promises.get(&policy(port)?)?.request(&port.id, physical)?))
    };
    Ok(rows.iter().filter_map(request).collect())
}

/// A port on a host has what it was promised; another promise would need another claim.
pub async fn check_port(tx: &Tx<'_>, network: &networks::Model, before: &ports::Model, after: &ports::Model) -> Result<()> {
    let policy = |port: &ports::Model| port.qos_policy_id.clone().or_else(|| network.qos_policy_id.clone());
    if before.host_id.is_empty() || same(tx, policy(before), policy(after)).await? {
        return Ok(());
    }
    Err(promised("port", &after.id))
}

/// The same of ports that have their network's policy.
pub async fn check_network(tx: &Tx<'_>, before: &networks::Model, after: &networks::Model) -> Result<()> {
    let bound = "SELECT 1 FROM ports WHERE network_id = $1 AND qos_policy_id IS NULL AND host_id <> '' AND device_owner NOT LIKE 'network:%' LIMIT 1";
    if same(tx, before.qos_policy_id.clone(), after.qos_policy_id.clone()).await?
        || !sql::exists(tx.db, bound, [before.id.as_str().into()]).await?
    {
        return Ok(());
    }
    Err(promised("network", &after.id))
}

/// Whether two policies promise the same.
async fn same(tx: &Tx<'_>, before: Option<String>, after: Option<String>) -> Result<bool> {
    let policies: Vec<String> = [&before, &after].into_iter().flatten().cloned().collect();
    let promises = promises(tx.db, &policies).await?;
    let of = |policy: Option<String>| policy.and_then(|policy| promises.get(&policy));
    Ok(of(before) == of(after))
}

fn promised(what: &str, id: &str) -> Error {
    let message = format!("Cannot change the minimums of {what} {id}: placement has an allocation for what is bound there.");
    conflict("QosPlacementAllocationUpdateConflict", message)
}

/// 501 while a port on a host has a policy: its promise stays as it is.
pub async fn check_unkept(tx: &Tx<'_>, policy: &str) -> Result<()> {
    let kept = "SELECT p.id FROM ports p JOIN networks n ON n.id = p.network_id WHERE p.host_id <> '' \
                AND p.device_owner NOT LIKE 'network:%' \
                AND (p.qos_policy_id = $1 OR (p.qos_policy_id IS NULL AND n.qos_policy_id = $1)) LIMIT 1";
    match sql::texts(tx.db, kept, [policy.into()]).await?.first() {
        None => Ok(()),
        Some(port) => {
            let message = format!("A minimum of policy {policy} cannot be changed: port {port} is bound with it.");
            Err(Error::new(Kind::NotImplemented, message).code("NotImplementedError"))
        }
    }
}
