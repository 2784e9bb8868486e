//! `/extensions`: what clients may count on. Only what works is here.

use kit::{Context, Path, Reply, Result};
use serde_json::{Value, json};

use crate::App;
use crate::fault::not_found;

/// Alias and name.
const EXTENSIONS: &[(&str, &str)] = &[
    ("agent", "agent"),
    ("allowed-address-pairs", "Allowed Address Pairs"),
    ("availability_zone", "Availability Zone"),
    ("binding", "Port Binding"),
    ("external-net", "Neutron external network"),
    ("ext-gw-mode", "Neutron L3 Configurable external gateway mode"),
    ("extra_dhcp_opt", "Neutron Extra DHCP options"),
    ("extraroute", "Neutron Extra Route"),
    ("filter-validation", "Filter parameters validation"),
    ("fip-port-details", "Floating IP Port Details Extension"),
    ("ip-substring-filtering", "IP address substring filtering"),
    ("net-mtu", "Network MTU"),
    ("net-mtu-writable", "Network MTU (writable)"),
    ("network_availability_zone", "Network Availability Zone"),
    ("network-ip-availability", "Network IP Availability"),
    ("pagination", "Pagination support"),
    ("port-security", "Port Security"),
    ("project-id", "project_id field enabled"),
    ("provider", "Provider Network"),
    ("quota_details", "Quota details management support"),
    ("quotas", "Quota management support"),
    ("revision-if-match", "If-Match constraints based on revision_number"),
    ("router", "Neutron L3 Router"),
    ("router_availability_zone", "Router Availability Zone"),
    ("security-group", "security-group"),
    ("sorting", "Sorting support"),
    ("standard-attr-description", "standard-attr-description"),
    ("standard-attr-revisions", "standard-attr-revisions"),
    (
        "standard-attr-tag",
        "Tag support for resources with standard attribute: port, subnet, subnetpool, network, router, floatingip, security_group",
    ),
    ("standard-attr-timestamp", "standard-attr-timestamp"),
    ("stateful-security-group", "Stateful security group"),
    ("subnet-service-types", "Subnet service types"),
    ("tag", "Tag support"),
    ("tag-ext", "Tag support for resources: subnet, subnetpool, port, router"),
];

/// `GET /extensions`
pub async fn list(_: App, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"extensions": EXTENSIONS.iter().map(view).collect::<Vec<Value>>()}))
}

/// `GET /extensions/{alias}`
pub async fn show(_: App, _: Context, alias: Path<String>) -> Result<Reply> {
    match EXTENSIONS.iter().find(|(known, _)| *known == alias.0) {
        Some(extension) => Reply::ok(&json!({"extension": view(extension)})),
        None => Err(not_found("ExtensionNotFound", "Extension with alias", &alias.0)),
    }
}

fn view((alias, name): &(&str, &str)) -> Value {
    json!({"alias": alias, "name": name, "description": name, "updated": "2016-01-01T10:00:00-00:00", "links": []})
}
