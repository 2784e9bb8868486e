//! Minimums of bandwidth and packets: what a port asks of its host in placement's words, and that what a bound port was promised stays. How
//! much there is of it on a host, placement knows.

use std::collections::{BTreeMap, HashMap};

use kit::{Error, Kind, Result, ids};
use sea_orm::ConnectionTrait;
use serde::Deserialize;
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

/// What one provider of a host's tree gives a port.
struct Group<'p> {
    id: String,
    required: Vec<String>,
    resources: &'p BTreeMap<&'static str, i64>,
}

impl Promise {
    /// Who gives it: bandwidth is the physical network's, and nobody counts that of tunnels; packets are the host's.
    fn groups(&self, port: &str, physical: Option<&str>) -> Vec<Group<'_>> {
        let bandwidth = physical.filter(|_| !self.bandwidth.is_empty()).map(|physical| Group {
            id: ids::derived("bandwidth of port", port),
            required: traits(Some(physical)),
            resources: &self.bandwidth,
        });
        let packets = (!self.packets.is_empty()).then(|| Group {
            id: ids::derived("packets of port", port),
            required: traits(None),
            resources: &self.packets,
        });
        bandwidth.into_iter().chain(packets).collect()
    }

    fn request(&self, port: &str, physical: Option<&str>) -> Option<Value> {
        let groups = self.groups(port, physical);
        let same: Vec<&str> = groups.iter().map(|group| &*group.id).collect();
        let request = |group: &Group<'_>| json!({"id": group.id, "required": group.required, "resources": group.resources});
        let requests: Vec<Value> = groups.iter().map(request).collect();
        (!groups.is_empty()).then(|| json!({"request_groups": requests, "same_subtree": same}))
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

/// By provider and resource class, how much more is taken; less where it is negative.
pub type More = BTreeMap<String, BTreeMap<&'static str, i64>>;

/// How what a server has of placement changes with the policy of its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub server: String,
    pub more: More,
    /// Who gives the port what, afterwards: group to provider.
    allocation: BTreeMap<String, String>,
}

/// What another policy changes for a bound port. One that has nothing of placement gets nothing later either, and what it has is of the same
/// providers for as long as it is bound.
pub async fn change<C: ConnectionTrait>(
    db: &C,
    network: &networks::Model,
    port: &ports::Model,
    policy: Option<&String>,
) -> Result<Option<Change>> {
    let of_network = network.qos_policy_id.as_ref();
    let (before, after) = (port.qos_policy_id.as_ref().or(of_network), policy.or(of_network));
    let given = port.profile.0.get("allocation").and_then(|given| BTreeMap::<String, String>::deserialize(given).ok()).unwrap_or_default();
    if before == after || given.is_empty() || port.host_id.is_empty() || !port.is_servers() {
        return Ok(None);
    }
    let promises = promises(db, &[before, after].into_iter().flatten().cloned().collect::<Vec<_>>()).await?;
    let nothing = Promise::default();
    let groups = |policy: Option<&String>| {
        let promise = policy.and_then(|id| promises.get(id)).unwrap_or(&nothing);
        promise.groups(&port.id, network.physical_network.as_deref())
    };
    Ok(difference(given, &groups(before), &groups(after)).map(|(more, allocation)| Change {
        server: port.device_id.clone(),
        more,
        allocation,
    }))
}

/// How much more each provider gives, and who still gives something.
fn difference(given: BTreeMap<String, String>, before: &[Group<'_>], after: &[Group<'_>]) -> Option<(More, BTreeMap<String, String>)> {
    let mut more = More::new();
    let mut allocation = given.clone();
    for (group, provider) in given {
        for (groups, times) in [(before, -1_i64), (after, 1)] {
            let resources = groups.iter().find(|have| have.id == group).into_iter().flat_map(|have| have.resources);
            for (class, amount) in resources {
                *more.entry(provider.clone()).or_default().entry(*class).or_default() += times * amount;
            }
        }
        if !after.iter().any(|have| have.id == group) {
            allocation.remove(&group);
        }
    }
    more.retain(|_, resources| {
        resources.retain(|_, amount| *amount != 0);
        !resources.is_empty()
    });
    (!more.is_empty()).then_some((more, allocation))
}

/// Writes down who gives a bound port what. Whoever changed the port or its policies since that was claimed came first.
pub async fn follow(
    tx: &Tx<'_>,
    network: &networks::Model,
    before: &ports::Model,
    port: &mut ports::Model,
    claimed: Option<&Change>,
) -> Result<()> {
    let change = change(tx.db, network, before, port.qos_policy_id.as_ref()).await?;
    if change.as_ref() != claimed {
        return Err(promised("port", &port.id));
    }
    if let (Some(change), Some(profile)) = (change, port.profile.0.as_object_mut()) {
        profile.remove("allocation");
        if !change.allocation.is_empty() {
            profile.insert("allocation".into(), json!(change.allocation));
        }
    }
    Ok(())
}

/// Ports on a host that have their network's policy keep what they were promised.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(bandwidth: &[(&'static str, i64)], packets: &[(&'static str, i64)]) -> Promise {
        Promise { bandwidth: bandwidth.iter().copied().collect(), packets: packets.iter().copied().collect() }
    }

    #[test]
    fn what_changes_is_the_difference_of_what_is_given_already() {
        let (less, more) = (promise(&[(INGRESS, 10)], &[]), promise(&[(EGRESS, 30)], &[(PACKETS, 5)]));
        let groups = |promise: &'_ Promise| promise.groups("p", Some("public")).into_iter().map(|group| group.id).collect::<Vec<_>>();
        let given = BTreeMap::from([(groups(&less)[0].clone(), "link".to_owned())]);
        let change = |before: &Promise, after: &Promise| {
            difference(given.clone(), &before.groups("p", Some("public")), &after.groups("p", Some("public")))
        };
        let of_link = |amounts: &[(&'static str, i64)]| More::from([("link".to_owned(), amounts.iter().copied().collect())]);
        assert_eq!(change(&less, &more), Some((of_link(&[(INGRESS, -10), (EGRESS, 30)]), given.clone())), "packets come too late");
        assert_eq!(change(&less, &Promise::default()), Some((of_link(&[(INGRESS, -10)]), BTreeMap::new())));
        assert_eq!(change(&less, &promise(&[(INGRESS, 10)], &[])), None);
    }
}
