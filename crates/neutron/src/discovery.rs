//! `/` and `/v2.0/`: what is here.

use kit::{Context, Reply, Result};
use serde_json::{Value, json};

use crate::App;

/// Resource and collection.
const RESOURCES: &[(&str, &str)] = &[
    ("network", "networks"),
    ("subnet", "subnets"),
    ("port", "ports"),
    ("router", "routers"),
    ("floatingip", "floatingips"),
    ("security_group", "security-groups"),
    ("security_group_rule", "security-group-rules"),
    ("default_security_group_rule", "default-security-group-rules"),
    ("address_group", "address-groups"),
    ("address_scope", "address-scopes"),
    ("subnetpool", "subnetpools"),
    ("rbac_policy", "rbac-policies"),
    ("trunk", "trunks"),
    ("policy", "qos/policies"),
    ("rule_type", "qos/rule-types"),
    ("metering_label", "metering/metering-labels"),
    ("metering_label_rule", "metering/metering-label-rules"),
    ("flavor", "flavors"),
    ("service_profile", "service_profiles"),
    ("auto_allocated_topology", "auto-allocated-topology"),
    ("service_provider", "service-providers"),
    ("quota", "quotas"),
    ("agent", "agents"),
    ("availability_zone", "availability_zones"),
    ("network_ip_availability", "network-ip-availabilities"),
    ("floatingip_pool", "floatingip_pools"),
    ("segment", "segments"),
    ("network_segment_range", "network_segment_ranges"),
    ("extension", "extensions"),
];

/// `GET /`
pub async fn versions(_: App, ctx: Context) -> Result<Reply> {
    let links = [json!({"rel": "self", "href": format!("{}/v2.0/", ctx.base_url)})];
    Reply::ok(&json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}))
}

/// `GET /v2.0/`
pub async fn resources(_: App, ctx: Context) -> Result<Reply> {
    let resource = |(name, collection): &(&str, &str)| json!({"name": name, "collection": collection, "links": [{"rel": "self", "href": ctx.link(&format!("/{collection}"))}]});
    Reply::ok(&json!({"resources": RESOURCES.iter().map(resource).collect::<Vec<Value>>()}))
}
