//! Minimum bandwidths: what a port asks of its host in placement's words, and that no promise is made that nobody keeps. Only a port of a
//! physical network can ask; how much there is of one on a host, placement knows.

use std::collections::{BTreeMap, HashMap};

use kit::{Error, Kind, Result, ids};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::rules::{self, MINIMUM_BANDWIDTH};
use crate::fault::conflict;
use crate::placement::{EGRESS, INGRESS, traits};
use crate::resource::with;
use crate::{Tx, networks, ports, sql};

/// Resource class to kbit/s.
type Promise = BTreeMap<&'static str, i64>;

/// The promises of policies, by policy.
async fn promises<C: ConnectionTrait>(db: &C, policies: &[String]) -> Result<HashMap<String, Promise>> {
    let mut promises: HashMap<String, Promise> = HashMap::new();
    for rule in with::<rules::Model, _>(db, "policy_id", policies).await?.into_iter().filter(|rule| rule.rule_type == MINIMUM_BANDWIDTH) {
        let class = if rule.direction == "ingress" { INGRESS } else { EGRESS };
        promises.entry(rule.policy_id).or_default().insert(class, rule.min_kbps.unwrap_or_default());
    }
    Ok(promises)
}

/// `resource_request` of ports, by port.
pub async fn requests<C: ConnectionTrait>(
    db: &C,
    rows: &[ports::Model],
    networks: &HashMap<String, networks::Model>,
) -> Result<HashMap<String, Value>> {
    let mut policies: Vec<String> = rows.iter().filter_map(|port| port.qos_policy_id.clone()).collect();
    policies.sort_unstable();
    policies.dedup();
    let promises = promises(db, &policies).await?;
    let request = |port: &ports::Model| {
        let promise = promises.get(port.qos_policy_id.as_ref()?)?;
        let physical = networks.get(&port.network_id)?.physical_network.as_ref()?;
        let id = ids::derived("bandwidth of port", &port.id);
        let group = json!({"id": id, "required": traits(physical), "resources": promise});
        Some((port.id.clone(), json!({"request_groups": [group], "same_subtree": [id]})))
    };
    Ok(rows.iter().filter_map(request).collect())
}

/// A port on a host has what it was promised; another promise would need another claim.
pub async fn check_same(tx: &Tx<'_>, before: &ports::Model, after: &ports::Model) -> Result<()> {
    let policies: Vec<String> = [&before.qos_policy_id, &after.qos_policy_id].into_iter().flatten().cloned().collect();
    let promises = promises(tx.db, &policies).await?;
    let of = |port: &ports::Model| port.qos_policy_id.as_ref().and_then(|policy| promises.get(policy));
    if before.host_id.is_empty() || of(before) == of(after) {
        return Ok(());
    }
    let message =
        format!("Cannot change the minimum bandwidth of port {}: its allocation in placement is that of the bound port.", after.id);
    Err(conflict("QosPlacementAllocationUpdateConflict", message))
}

/// 501 while a port on a host has a policy: its promise stays as it is.
pub async fn check_unkept(tx: &Tx<'_>, policy: &str) -> Result<()> {
    let kept = "SELECT id FROM ports WHERE qos_policy_id = $1 AND host_id <> '' LIMIT 1";
    match sql::texts(tx.db, kept, [policy.into()]).await?.first() {
        None => Ok(()),
        Some(port) => {
            let message = format!("A minimum_bandwidth rule of policy {policy} cannot be changed: port {port} is bound with it.");
            Err(Error::new(Kind::NotImplemented, message).code("NotImplementedError"))
        }
    }
}
