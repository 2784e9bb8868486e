//! `/extensions`: what clients may count on. Only what works is here.

use kit::{Context, Error, Path, Reply, Result};
use serde_json::{Value, json};

use crate::App;

/// Alias and name.
const EXTENSIONS: &[(&str, &str)] = &[
    ("aap-reject-multicast", "Allowed address pairs reject multicast extension"),
    ("address-group", "Address group"),
    ("address-scope", "Address scope"),
    ("agent", "agent"),
    ("allowed-address-pairs", "Allowed Address Pairs"),
    ("auto-allocated-topology", "Auto Allocated Topology Services"),
    ("availability_zone", "Availability Zone"),
    ("availability_zone_filter", "Availability Zone Filter Extension"),
    ("binding", "Port Binding"),
    ("binding-extended", "Port Bindings Extended"),
    ("data-plane-status", "data-plane-status"),
    ("default-subnetpools", "Default Subnetpools"),
    ("dhcp_agent_scheduler", "DHCP Agent Scheduler"),
    ("dns-domain-ports", "dns_domain for ports"),
    ("dns-integration", "DNS Integration"),
    ("empty-string-filtering", "Empty String Filtering Extension"),
    ("expose-port-forwarding-in-fip", "Expose Floating IP port forwardings"),
    ("ext-gw-mode", "Neutron L3 Configurable external gateway mode"),
    ("external-net", "Neutron external network"),
    ("extra_dhcp_opt", "Neutron Extra DHCP options"),
    ("extraroute", "Neutron Extra Route"),
    ("extraroute-atomic", "Atomically add/remove extra routes"),
    ("filter-validation", "Filter parameters validation"),
    ("fip-port-details", "Floating IP Port Details Extension"),
    ("flavors", "Neutron Service Flavors"),
    ("floating-ip-port-forwarding", "Floating IP Port Forwarding"),
    ("floating-ip-port-forwarding-description", "Floating IP Port Forwarding support description"),
    ("floating-ip-port-forwarding-detail", "Floating IP port forwarding detail"),
    ("floating-ip-port-forwarding-port-ranges", "Floating IP Port Forwarding support port ranges"),
    ("floatingip-pools", "Floating IP Pools Extension"),
    ("ip-substring-filtering", "IP address substring filtering"),
    ("ip_allocation", "IP Allocation"),
    ("l3-ha", "HA Router extension"),
    ("l3_agent_scheduler", "L3 Agent Scheduler"),
    ("metering", "Neutron Metering"),
    ("metering_source_and_destination_fields", "Metering source and destination filters"),
    ("net-mtu", "Network MTU"),
    ("net-mtu-writable", "Network MTU (writable)"),
    ("network-ip-availability", "Network IP Availability"),
    ("network_availability_zone", "Network Availability Zone"),
    ("pagination", "Pagination support"),
    ("port-mac-address-regenerate", "Neutron Port MAC address regenerate"),
    ("port-resource-request", "Port Resource Request"),
    ("port-resource-request-groups", "Port Resource Request Groups"),
    ("port-security", "Port Security"),
    ("port-security-groups-filtering", "Port filtering on security groups"),
    ("project-id", "project_id field enabled"),
    ("provider", "Provider Network"),
    ("qos", "Quality of Service"),
    ("qos-bw-minimum-ingress", "Ingress direction for QoS minimum bandwidth rule"),
    ("qos-bw-limit-direction", "Direction for QoS bandwidth limit rule"),
    ("qos-default", "QoS default policy"),
    ("qos-fip", "Floating IP QoS"),
    ("qos-gateway-ip", "Gateway IP QoS"),
    ("qos-port-network-policy", "QoS port network policy"),
    ("qos-pps", "QoS packet rate limit"),
    ("qos-pps-minimum", "QoS Minimum Packet Rate Rules"),
    ("qos-pps-minimum-rule-alias", "Ability to modify QoS minimum packet rate rules without policy"),
    ("qos-pps-rule-alias", "Ability to modify QoS packet rate limit rules without policy"),
    ("qos-rule-type-details", "Details of QoS rule types"),
    ("qos-rules-alias", "Ability to modify QoS rules without policy"),
    ("quota-check-limit", "Quota engine limit check"),
    ("quota-check-limit-default", "Quota engine limit check by default"),
    ("quota_details", "Quota details management support"),
    ("quotas", "Quota management support"),
    ("rbac-address-group", "Add address_group type to RBAC"),
    ("rbac-address-scope", "Address scope RBAC"),
    ("rbac-policies", "RBAC Policies"),
    ("rbac-security-groups", "Add security_group type to network RBAC"),
    ("rbac-subnetpool", "Add subnetpool type to RBAC"),
    ("revision-if-match", "If-Match constraints based on revision_number"),
    ("router", "Neutron L3 Router"),
    ("router_availability_zone", "Router Availability Zone"),
    ("security-group", "security-group"),
    ("security-groups-default-rules", "Default rules for security groups"),
    ("security-groups-default-statefulness", "Security Groups Default Statefulness"),
    ("security-groups-normalized-cidr", "Normalized CIDR field for security group rules"),
    ("security-groups-remote-address-group", "Remote address group id field in security group rules"),
    ("security-groups-rules-belongs-to-default-sg", "Belongs-to-default-sg attribute for SG rules"),
    ("security-groups-shared-filtering", "Security group filtering on the shared field"),
    ("service-type", "Neutron Service Type Management"),
    ("sort-key-validation", "Sort keys validation"),
    ("sorting", "Sorting support"),
    ("standard-attr-description", "standard-attr-description"),
    ("standard-attr-revisions", "standard-attr-revisions"),
    ("standard-attr-tag", "Tag support for resources with standard attributes"),
    ("standard-attr-timestamp", "standard-attr-timestamp"),
    ("stateful-security-group", "Stateful security group"),
    ("subnet-external-network", "Subnet belongs to an external network"),
    ("subnet-service-types", "Subnet service types"),
    ("subnet_allocation", "Subnet Allocation"),
    ("subnet_onboard", "Subnet Onboard"),
    ("subnetpool-prefix-ops", "Subnetpool Prefix Operations"),
    ("tag", "Tag support"),
    ("tag-creation", "Tag creation support"),
    ("tag-ext", "Tag support for resources: subnet, subnetpool, port, router"),
    ("tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation"),
    ("trunk", "Trunk Extension"),
    ("trunk-details", "Trunk port details"),
];

/// `GET /extensions`
pub async fn list(_: App, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"extensions": EXTENSIONS.iter().map(view).collect::<Vec<Value>>()}))
}

/// `GET /extensions/{alias}`
pub async fn show(_: App, _: Context, alias: Path<String>) -> Result<Reply> {
    match EXTENSIONS.iter().find(|(known, _)| *known == alias.0) {
        Some(extension) => Reply::ok(&json!({"extension": view(extension)})),
        None => Err(Error::not_found(format!("Extension with alias {} does not exist", alias.0))),
    }
}

fn view((alias, name): &(&str, &str)) -> Value {
    json!({"alias": alias, "name": name, "description": name, "updated": "2016-01-01T10:00:00-00:00", "links": []})
}
