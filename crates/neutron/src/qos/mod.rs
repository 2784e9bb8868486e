//! Quality of service: policies, which ports, networks, floating IPs and gateways may have, and their rules.

pub mod claims;
pub mod policies;
pub mod promises;
pub mod rules;
mod types;

use std::collections::HashMap;

use kit::{Context, Result};
use rpc::network::{BandwidthLimit, MinimumBandwidth, PacketLimit, Qos};
use sea_orm::ConnectionTrait;

pub use types::{show_type, types};

use crate::agents::Touched;
use crate::resource::{seen, with};
use crate::{Tx, sql};

/// 404 unless the caller may use this policy.
pub async fn check_usable(tx: &Tx<'_>, ctx: &Context, policy: Option<&String>) -> Result<()> {
    match policy {
        Some(id) => seen::<policies::Model, _>(tx.db, ctx, id).await.map(drop),
        None => Ok(()),
    }
}

/// What policies come to, by their ids.
pub async fn effects<C: ConnectionTrait>(db: &C, policies: &[String]) -> Result<HashMap<String, Qos>> {
    let mut effects: HashMap<String, Qos> = HashMap::new();
    for rule in with::<rules::Model, _>(db, "policy_id", policies).await? {
        let qos = effects.entry(rule.policy_id.clone()).or_default();
        let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        match rule.rule_type.as_str() {
            rules::BANDWIDTH_LIMIT => qos.bandwidth_limits.push(BandwidthLimit {
                direction: rule.direction,
                max_kbps: number(rule.max_kbps),
                max_burst_kbps: number(rule.max_burst_kbps),
            }),
            rules::PACKET_RATE_LIMIT => qos.packet_limits.push(PacketLimit {
                direction: rule.direction,
                max_kpps: number(rule.max_kpps),
                max_burst_kpps: number(rule.max_burst_kpps),
            }),
            // by the choice of the host
            rules::MINIMUM_PACKET_RATE => {}
            rules::MINIMUM_BANDWIDTH => {
                qos.minimum_bandwidths.push(MinimumBandwidth { direction: rule.direction, min_kbps: number(rule.min_kbps) });
            }
            _ => qos.dscp_mark = rule.dscp_mark.and_then(|n| u8::try_from(n).ok()),
        }
    }
    for qos in effects.values_mut() {
        qos.bandwidth_limits.sort_by(|a, b| a.direction.cmp(&b.direction));
        qos.minimum_bandwidths.sort_by(|a, b| a.direction.cmp(&b.direction));
        qos.packet_limits.sort_by(|a, b| a.direction.cmp(&b.direction));
    }
    Ok(effects)
}

/// A policy's rules changed: who has it on a host hears of it.
async fn touch_users(tx: &Tx<'_>, policy: &str) -> Result<()> {
    let ports = "SELECT p.id FROM ports p JOIN networks n ON n.id = p.network_id \
                 WHERE p.host_id <> '' AND (p.qos_policy_id = $1 OR (p.qos_policy_id IS NULL AND n.qos_policy_id = $1))";
    for port in sql::texts(tx.db, ports, [policy.into()]).await? {
        tx.touch(Touched::Port(port));
    }
    let routers = "SELECT id FROM routers WHERE qos_policy_id = $1 \
                   UNION SELECT router_id FROM floatingips WHERE qos_policy_id = $1 AND router_id IS NOT NULL";
    for router in sql::texts(tx.db, routers, [policy.into()]).await? {
        tx.touch(Touched::Router(router));
    }
    Ok(())
}
