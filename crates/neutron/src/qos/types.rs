//! `/qos/rule-types`: which kinds of rules hosts put into force.

use kit::{Context, Error, Path, Reply, Result};
use serde_json::{Value, json};

use super::rules::{BANDWIDTH_LIMIT, DSCP_MARKING, MINIMUM_BANDWIDTH, MINIMUM_PACKET_RATE, PACKET_RATE_LIMIT};
use crate::App;
use crate::fault::not_found;

/// Minimums are put into force by the choice of the host.
const TYPES: &[&str] = &[BANDWIDTH_LIMIT, DSCP_MARKING, MINIMUM_BANDWIDTH, MINIMUM_PACKET_RATE, PACKET_RATE_LIMIT];

/// `GET /qos/rule-types`: all that there are, are supported, so that `all_rules` and `all_supported` ask for the same.
pub async fn types(_: App, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"rule_types": TYPES.iter().map(|kind| json!({"type": kind})).collect::<Vec<Value>>()}))
}

/// `GET /qos/rule-types/{rule_type}`: with what puts it into force, which is for administrators.
pub async fn show_type(_: App, ctx: Context, kind: Path<String>) -> Result<Reply> {
    if !ctx.is_admin() {
        return Err(Error::forbidden("Not authorized.").code("NotAuthorized"));
    }
    let kind = TYPES.iter().find(|known| **known == kind.0).ok_or_else(|| not_found("QosRuleTypeNotFound", "QoS rule type", &kind.0))?;
    let most = 2_147_483_647_i64;
    let range = |name: &str, start: i64| json!({"parameter_name": name, "parameter_type": "range", "parameter_values": {"start": start, "end": most}});
    let choices = |name: &str, values: Value| json!({"parameter_name": name, "parameter_type": "choices", "parameter_values": values});
    let direction = choices("direction", json!(["egress", "ingress"]));
    let parameters = match *kind {
        BANDWIDTH_LIMIT => vec![range("max_kbps", 0), range("max_burst_kbps", 0), direction],
        MINIMUM_BANDWIDTH => vec![range("min_kbps", 0), direction],
        MINIMUM_PACKET_RATE => vec![range("min_kpps", 0), choices("direction", json!(["any", "egress", "ingress"]))],
        PACKET_RATE_LIMIT => vec![range("max_kpps", 0), range("max_burst_kpps", 0), direction],
        _ => vec![choices("dscp_mark", json!([0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 46, 48, 56]))],
    };
    let drivers = [json!({"name": "linuxbridge", "supported_parameters": parameters})];
    Reply::ok(&json!({"rule_type": {"type": kind, "drivers": drivers}}))
}
