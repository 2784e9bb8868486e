//! The index of the API.

use kit::Routes;
use kit::policy::{ANY, PUBLIC};

use crate::agents::schedulers;
use crate::flavors::profiles;
use crate::floatingips::port_forwardings;
use crate::ports::bindings;
use crate::qos::policies;
use crate::qos::rules::{BandwidthLimit, DscpMarking, MinimumBandwidth, MinimumPacketRate, PacketRateLimit, RuleKind};
use crate::resource::Resource;
use crate::security_groups::{default_rules, default_statefulness, rules};
use crate::segments::ranges;
use crate::{
    App, address_groups, address_scopes, agents, auto_topology, availability, discovery, extensions, flavors, floatingips, listing,
    metering, networks, plain, ports, qos, quotas, rbac, routers, security_groups, segments, subnetpools, subnets, tags, trunks,
};

/// Without a token.
pub fn root() -> Routes<App> {
    Routes::new().get("/", PUBLIC, discovery::versions)
}

/// Below `/v2.0`.
pub fn api() -> Routes<App> {
    Routes::new().merge(layer2()).merge(layer3()).merge(security()).merge(quality()).merge(cloud()).merge(all_tags())
}

/// Networks, what is given out of them, and what is plugged into them.
#[rustfmt::skip]
fn layer2() -> Routes<App> {
    Routes::new()
        .get   ("/networks",                                   "get_network",                listing::list::<networks::Model>).kept()
        .post  ("/networks",                                   ANY,                          networks::create)
        .get   ("/networks/{network_id}",                      "get_network",                listing::show::<networks::Model>).kept()
        .put   ("/networks/{network_id}",                      ANY,                          networks::update)
        .delete("/networks/{network_id}",                      ANY,                          networks::delete)
        .get   ("/subnets",                                    "get_subnet",                 listing::list::<subnets::Model>).kept()
        .post  ("/subnets",                                    ANY,                          subnets::create)
        .get   ("/subnets/{subnet_id}",                        "get_subnet",                 listing::show::<subnets::Model>).kept()
        .put   ("/subnets/{subnet_id}",                        ANY,                          subnets::update)
        .delete("/subnets/{subnet_id}",                        ANY,                          subnets::delete)
        .get   ("/ports",                                      "get_port",                   listing::list::<ports::Model>).kept()
        .post  ("/ports",                                      ANY,                          ports::create)
        .get   ("/ports/{port_id}",                            "get_port",                   listing::show::<ports::Model>).kept()
        .put   ("/ports/{port_id}",                            ANY,                          ports::update)
        .delete("/ports/{port_id}",                            ANY,                          ports::delete)
        .put   ("/ports/{port_id}/add_allowed_address_pairs",    ANY,                        ports::pairs::add)
        .put   ("/ports/{port_id}/remove_allowed_address_pairs", ANY,                        ports::pairs::remove)
        .get   ("/networks/{network_id}/dhcp-agents",                    "get_dhcp-agents",                   schedulers::dhcp_agents)
        .get   ("/ports/{port_id}/bindings",                             "get_port_binding",                  bindings::list)
        .post  ("/ports/{port_id}/bindings",                             ANY,                                 bindings::create)
        .get   ("/ports/{port_id}/bindings/{host}",                      "get_port_binding",                  bindings::show)
        .put   ("/ports/{port_id}/bindings/{host}",                      ANY,                                 bindings::update)
        .delete("/ports/{port_id}/bindings/{host}",                      ANY,                                 bindings::delete)
        .put   ("/ports/{port_id}/bindings/{host}/activate",             ANY,                                 bindings::activate)
        .get   ("/subnetpools",                                          "get_subnetpool",                    listing::list::<subnetpools::Model>)
        .post  ("/subnetpools",                                          ANY,                                 plain::create::<subnetpools::Model>)
        .get   ("/subnetpools/{subnetpool_id}",                          "get_subnetpool",                    listing::show::<subnetpools::Model>)
        .put   ("/subnetpools/{subnetpool_id}",                          ANY,                                 plain::update::<subnetpools::Model>)
        .delete("/subnetpools/{subnetpool_id}",                          ANY,                                 plain::delete::<subnetpools::Model>)
        .put   ("/subnetpools/{subnetpool_id}/add_prefixes",             ANY,                                 subnetpools::add)
        .put   ("/subnetpools/{subnetpool_id}/remove_prefixes",          ANY,                                 subnetpools::remove)
        .put   ("/subnetpools/{subnetpool_id}/onboard_network_subnets",  ANY,                                 subnetpools::onboard)
        .get   ("/address-scopes",                                       "get_address_scope",                 listing::list::<address_scopes::Model>)
        .post  ("/address-scopes",                                       ANY,                                 plain::create::<address_scopes::Model>)
        .get   ("/address-scopes/{address_scope_id}",                    "get_address_scope",                 listing::show::<address_scopes::Model>)
        .put   ("/address-scopes/{address_scope_id}",                    ANY,                                 plain::update::<address_scopes::Model>)
        .delete("/address-scopes/{address_scope_id}",                    ANY,                                 plain::delete::<address_scopes::Model>)
        .get   ("/auto-allocated-topology/{project_id}",                 ANY,                                 auto_topology::show)
        .delete("/auto-allocated-topology/{project_id}",                 ANY,                                 auto_topology::delete)
        .get   ("/segments",                                             "get_segment",                       listing::list::<segments::Model>)
        .post  ("/segments",                                             ANY,                                 plain::create::<segments::Model>)
        .get   ("/segments/{segment_id}",                                "get_segment",                       listing::show::<segments::Model>)
        .put   ("/segments/{segment_id}",                                ANY,                                 plain::update::<segments::Model>)
        .delete("/segments/{segment_id}",                                ANY,                                 plain::delete::<segments::Model>)
        .merge(segment_ranges("/network_segment_ranges", "/network_segment_ranges/{range_id}"))
        // neutron takes dashes for underscores, and clients write these so, too
        .merge(segment_ranges("/network-segment-ranges", "/network-segment-ranges/{range_id}"))
        .get   ("/trunks",                                               "get_trunk",                         listing::list::<trunks::Model>)
        .post  ("/trunks",                                               ANY,                                 trunks::create)
        .get   ("/trunks/{trunk_id}",                                    "get_trunk",                         listing::show::<trunks::Model>)
        .put   ("/trunks/{trunk_id}",                                    ANY,                                 trunks::update)
        .delete("/trunks/{trunk_id}",                                    ANY,                                 trunks::delete)
        .put   ("/trunks/{trunk_id}/add_subports",                       ANY,                                 trunks::add)
        .put   ("/trunks/{trunk_id}/remove_subports",                    ANY,                                 trunks::remove)
        .get   ("/trunks/{trunk_id}/get_subports",                       "get_trunk",                         trunks::list_subports)
}

fn segment_ranges(all: &'static str, one: &'static str) -> Routes<App> {
    Routes::new()
        .get(all, "get_network_segment_range", listing::list::<ranges::Model>)
        .post(all, ANY, plain::create::<ranges::Model>)
        .get(one, "get_network_segment_range", listing::show::<ranges::Model>)
        .put(one, ANY, plain::update::<ranges::Model>)
        .delete(one, ANY, plain::delete::<ranges::Model>)
}

/// Routers and floating IPs.
#[rustfmt::skip]
fn layer3() -> Routes<App> {
    Routes::new()
        .get   ("/routers",                                    "get_router",                 listing::list::<routers::Model>).kept()
        .post  ("/routers",                                    ANY,                          routers::create)
        .get   ("/routers/{router_id}",                        "get_router",                 listing::show::<routers::Model>).kept()
        .put   ("/routers/{router_id}",                        ANY,                          routers::update)
        .delete("/routers/{router_id}",                        ANY,                          routers::delete)
        .put   ("/routers/{router_id}/add_router_interface",   ANY,                          routers::add)
        .put   ("/routers/{router_id}/remove_router_interface", ANY,                         routers::remove)
        .get   ("/floatingips",                                "get_floatingip",             listing::list::<floatingips::Model>).kept()
        .post  ("/floatingips",                                ANY,                          floatingips::create)
        .get   ("/floatingips/{floatingip_id}",                "get_floatingip",             listing::show::<floatingips::Model>).kept()
        .put   ("/floatingips/{floatingip_id}",                ANY,                          floatingips::update)
        .delete("/floatingips/{floatingip_id}",                ANY,                          floatingips::delete)
        .put   ("/routers/{router_id}/add_extraroutes",                  ANY,                                 routers::extraroutes::add)
        .put   ("/routers/{router_id}/remove_extraroutes",               ANY,                                 routers::extraroutes::remove)
        .get   ("/routers/{router_id}/l3-agents",                        "get_l3-agents",                     schedulers::l3_agents)
        .get   ("/floatingip_pools",                                     "get_floatingip_pool",               floatingips::pools::list)
        // neutron takes dashes for underscores, and clients write this one so
        .get   ("/floatingip-pools",                                     "get_floatingip_pool",               floatingips::pools::list)
        .get   ("/floatingips/{floatingip_id}/port_forwardings",         "get_floatingip",                    port_forwardings::list)
        .post  ("/floatingips/{floatingip_id}/port_forwardings",         ANY,                                 port_forwardings::create)
        .get   ("/floatingips/{floatingip_id}/port_forwardings/{id}",    "get_floatingip",                    port_forwardings::show)
        .put   ("/floatingips/{floatingip_id}/port_forwardings/{id}",    ANY,                                 port_forwardings::update)
        .delete("/floatingips/{floatingip_id}/port_forwardings/{id}",    ANY,                                 port_forwardings::delete)
}

/// Security groups, and with whom things are shared.
#[rustfmt::skip]
fn security() -> Routes<App> {
    Routes::new()
        .get   ("/security-groups",                            "get_security_group",         security_groups::list)
        .post  ("/security-groups",                            ANY,                          security_groups::create)
        .get   ("/security-groups/{security_group_id}",        "get_security_group",         listing::show::<security_groups::Model>).kept()
        .put   ("/security-groups/{security_group_id}",        ANY,                          security_groups::update)
        .delete("/security-groups/{security_group_id}",        ANY,                          security_groups::delete)
        .get   ("/security-group-rules",                       "get_security_group_rule",    listing::list::<rules::Model>)
        .post  ("/security-group-rules",                       ANY,                          rules::create)
        .get   ("/security-group-rules/{rule_id}",             "get_security_group_rule",    listing::show::<rules::Model>)
        .delete("/security-group-rules/{rule_id}",             ANY,                          rules::delete)
        .get   ("/default-security-group-rules",                         "get_default_security_group_rule",   listing::list::<default_rules::Model>)
        .post  ("/default-security-group-rules",                         ANY,                                 plain::create::<default_rules::Model>)
        .get   ("/default-security-group-rules/{rule_id}",               "get_default_security_group_rule",   listing::show::<default_rules::Model>)
        .delete("/default-security-group-rules/{rule_id}",               ANY,                                 plain::delete::<default_rules::Model>)
        .get   ("/security-groups-default-statefulness",      "get_security_groups_default_statefulness",     listing::list::<default_statefulness::Model>)
        .post  ("/security-groups-default-statefulness",      ANY,                                            default_statefulness::create)
        .get   ("/security-groups-default-statefulness/{id}", "get_security_groups_default_statefulness",     listing::show::<default_statefulness::Model>)
        .put   ("/security-groups-default-statefulness/{id}", ANY,                                            plain::update::<default_statefulness::Model>)
        .delete("/security-groups-default-statefulness/{id}", ANY,                                            plain::delete::<default_statefulness::Model>)
        .get   ("/address-groups",                                       "get_address_group",                 listing::list::<address_groups::Model>)
        .post  ("/address-groups",                                       ANY,                                 plain::create::<address_groups::Model>)
        .get   ("/address-groups/{address_group_id}",                    "get_address_group",                 listing::show::<address_groups::Model>)
        .put   ("/address-groups/{address_group_id}",                    ANY,                                 plain::update::<address_groups::Model>)
        .delete("/address-groups/{address_group_id}",                    ANY,                                 plain::delete::<address_groups::Model>)
        .put   ("/address-groups/{address_group_id}/add_addresses",      ANY,                                 address_groups::add)
        .put   ("/address-groups/{address_group_id}/remove_addresses",   ANY,                                 address_groups::remove)
        .get   ("/rbac-policies",                                        "get_rbac_policy",                   listing::list::<rbac::Model>)
        .post  ("/rbac-policies",                                        ANY,                                 rbac::create)
        .get   ("/rbac-policies/{rbac_policy_id}",                       "get_rbac_policy",                   listing::show::<rbac::Model>)
        .put   ("/rbac-policies/{rbac_policy_id}",                       ANY,                                 rbac::update)
        .delete("/rbac-policies/{rbac_policy_id}",                       ANY,                                 rbac::delete)
}

/// Quality of service and metering.
#[rustfmt::skip]
fn quality() -> Routes<App> {
    Routes::new()
        .get   ("/qos/policies",                                         "get_policy",                        listing::list::<policies::Model>)
        .post  ("/qos/policies",                                         ANY,                                 plain::create::<policies::Model>)
        .get   ("/qos/policies/{policy_id}",                             "get_policy",                        listing::show::<policies::Model>)
        .put   ("/qos/policies/{policy_id}",                             ANY,                                 plain::update::<policies::Model>)
        .delete("/qos/policies/{policy_id}",                             ANY,                                 plain::delete::<policies::Model>)
        .get   ("/qos/rule-types",                                       "get_rule_type",                     qos::types)
        .get   ("/qos/rule-types/{rule_type}",                           "get_rule_type",                     qos::show_type)
        .get   ("/metering/metering-labels",                             "get_metering_label",                listing::list::<metering::Model>)
        .post  ("/metering/metering-labels",                             ANY,                                 plain::create::<metering::Model>)
        .get   ("/metering/metering-labels/{label_id}",                  "get_metering_label",                listing::show::<metering::Model>)
        .delete("/metering/metering-labels/{label_id}",                  ANY,                                 plain::delete::<metering::Model>)
        .get   ("/metering/metering-label-rules",                        "get_metering_label_rule",           listing::list::<metering::rules::Model>)
        .post  ("/metering/metering-label-rules",                        ANY,                                 plain::create::<metering::rules::Model>)
        .get   ("/metering/metering-label-rules/{rule_id}",              "get_metering_label_rule",           listing::show::<metering::rules::Model>)
        .delete("/metering/metering-label-rules/{rule_id}",              ANY,                                 plain::delete::<metering::rules::Model>)
        .merge(rules_of::<BandwidthLimit>(
            "/qos/policies/{policy_id}/bandwidth_limit_rules",
            "/qos/policies/{policy_id}/bandwidth_limit_rules/{rule_id}",
            "/qos/alias-bandwidth-limit-rules/{rule_id}",
        ))
        .merge(rules_of::<DscpMarking>(
            "/qos/policies/{policy_id}/dscp_marking_rules",
            "/qos/policies/{policy_id}/dscp_marking_rules/{rule_id}",
            "/qos/alias-dscp-marking-rules/{rule_id}",
        ))
        .merge(rules_of::<MinimumBandwidth>(
            "/qos/policies/{policy_id}/minimum_bandwidth_rules",
            "/qos/policies/{policy_id}/minimum_bandwidth_rules/{rule_id}",
            "/qos/alias-minimum-bandwidth-rules/{rule_id}",
        ))
        .merge(rules_of::<MinimumPacketRate>(
            "/qos/policies/{policy_id}/minimum_packet_rate_rules",
            "/qos/policies/{policy_id}/minimum_packet_rate_rules/{rule_id}",
            "/qos/alias-minimum-packet-rate-rules/{rule_id}",
        ))
        .merge(rules_of::<PacketRateLimit>(
            "/qos/policies/{policy_id}/packet_rate_limit_rules",
            "/qos/policies/{policy_id}/packet_rate_limit_rules/{rule_id}",
            "/qos/alias-packet-rate-limit-rules/{rule_id}",
        ))
}

/// The cloud itself: what is here, how much of it, on which hosts.
#[rustfmt::skip]
fn cloud() -> Routes<App> {
    Routes::new()
        .get   ("/",                                           ANY,                          discovery::resources)
        .get   ("/extensions",                                 ANY,                          extensions::list)
        .get   ("/extensions/{alias}",                         ANY,                          extensions::show)
        .get   ("/quotas",                                     "get_quotas",                 quotas::list)
        .get   ("/quotas/tenant",                              ANY,                          quotas::own)
        .get   ("/quotas/project",                             ANY,                          quotas::own)
        .get   ("/quotas/{project_id}",                        ANY,                          quotas::show)
        .put   ("/quotas/{project_id}",                        "update_quota",               quotas::update)
        .delete("/quotas/{project_id}",                        "delete_quota",               quotas::delete)
        .get   ("/quotas/{project_id}/default",                ANY,                          quotas::show_default)
        .get   ("/quotas/{project_id}/details",                ANY,                          quotas::details)
        .get   ("/agents",                                     ANY,                          agents::list)
        .get   ("/agents/{agent_id}",                          "get_agent",                  agents::show)
        .put   ("/agents/{agent_id}",                          "update_agent",               agents::update)
        .delete("/agents/{agent_id}",                          "delete_agent",               agents::delete)
        .get   ("/availability_zones",                         "get_availability_zone",      availability::zones)
        .get   ("/network-ip-availabilities",                  ANY,                          availability::list)
        .get   ("/network-ip-availabilities/{network_id}",     ANY,                          availability::show)
        .get   ("/agents/{agent_id}/l3-routers",                         "get_agent",                         schedulers::routers)
        .post  ("/agents/{agent_id}/l3-routers",                         "create_l3-router",                  schedulers::add_router)
        .delete("/agents/{agent_id}/l3-routers/{router_id}",             "delete_l3-router",                  schedulers::remove_router)
        .get   ("/agents/{agent_id}/dhcp-networks",                      "get_agent",                         schedulers::networks)
        .post  ("/agents/{agent_id}/dhcp-networks",                      "create_dhcp-network",               schedulers::add_network)
        .delete("/agents/{agent_id}/dhcp-networks/{network_id}",         "delete_dhcp-network",               schedulers::remove_network)
        .get   ("/flavors",                                              "get_flavor",                        listing::list::<flavors::Model>)
        .post  ("/flavors",                                              ANY,                                 plain::create::<flavors::Model>)
        .get   ("/flavors/{flavor_id}",                                  "get_flavor",                        listing::show::<flavors::Model>)
        .put   ("/flavors/{flavor_id}",                                  ANY,                                 plain::update::<flavors::Model>)
        .delete("/flavors/{flavor_id}",                                  ANY,                                 plain::delete::<flavors::Model>)
        .post  ("/flavors/{flavor_id}/service_profiles",                 "create_flavor_service_profile",     flavors::bind)
        .delete("/flavors/{flavor_id}/service_profiles/{profile_id}",    "delete_flavor_service_profile",     flavors::unbind)
        .get   ("/service_profiles",                                     "get_service_profile",               listing::list::<profiles::Model>)
        .post  ("/service_profiles",                                     ANY,                                 plain::create::<profiles::Model>)
        .get   ("/service_profiles/{profile_id}",                        "get_service_profile",               listing::show::<profiles::Model>)
        .put   ("/service_profiles/{profile_id}",                        ANY,                                 plain::update::<profiles::Model>)
        .delete("/service_profiles/{profile_id}",                        ANY,                                 plain::delete::<profiles::Model>)
        .get   ("/service-providers",                                    "get_service_provider",              availability::providers)
}

fn all_tags() -> Routes<App> {
    Routes::new()
        .merge(tags_of::<networks::Model>("/networks/{id}/tags", "/networks/{id}/tags/{tag}"))
        .merge(tags_of::<subnets::Model>("/subnets/{id}/tags", "/subnets/{id}/tags/{tag}"))
        .merge(tags_of::<ports::Model>("/ports/{id}/tags", "/ports/{id}/tags/{tag}"))
        .merge(tags_of::<routers::Model>("/routers/{id}/tags", "/routers/{id}/tags/{tag}"))
        .merge(tags_of::<floatingips::Model>("/floatingips/{id}/tags", "/floatingips/{id}/tags/{tag}"))
        .merge(tags_of::<security_groups::Model>("/security-groups/{id}/tags", "/security-groups/{id}/tags/{tag}"))
        .merge(tags_of::<subnetpools::Model>("/subnetpools/{id}/tags", "/subnetpools/{id}/tags/{tag}"))
        .merge(tags_of::<trunks::Model>("/trunks/{id}/tags", "/trunks/{id}/tags/{tag}"))
        .merge(tags_of::<address_groups::Model>("/address-groups/{id}/tags", "/address-groups/{id}/tags/{tag}"))
        .merge(tags_of::<ranges::Model>("/network_segment_ranges/{id}/tags", "/network_segment_ranges/{id}/tags/{tag}"))
        .merge(tags_of::<ranges::Model>("/network-segment-ranges/{id}/tags", "/network-segment-ranges/{id}/tags/{tag}"))
        .merge(tags_of::<policies::Model>("/policies/{id}/tags", "/policies/{id}/tags/{tag}"))
}

/// A kind of QoS rule; `alias` is the path that does without the policy.
fn rules_of<K: RuleKind>(all: &'static str, one: &'static str, alias: &'static str) -> Routes<App> {
    use crate::qos::rules::{create, delete, delete_alias, list, show, show_alias, update, update_alias};
    Routes::new()
        .get(all, "get_policy", list::<K>)
        .post(all, ANY, create::<K>)
        .get(one, "get_policy", show::<K>)
        .put(one, ANY, update::<K>)
        .delete(one, ANY, delete::<K>)
        .get(alias, "get_policy", show_alias::<K>)
        .put(alias, ANY, update_alias::<K>)
        .delete(alias, ANY, delete_alias::<K>)
}

/// Handlers ask policy themselves, about the owner of what they change; so these rows need no more than a token.
fn tags_of<R: Resource>(all: &'static str, one: &'static str) -> Routes<App> {
    Routes::new()
        .get(all, ANY, tags::list::<R>)
        .post(all, ANY, tags::extend::<R>)
        .put(all, ANY, tags::replace::<R>)
        .delete(all, ANY, tags::clear::<R>)
        .get(one, ANY, tags::show::<R>)
        .put(one, ANY, tags::add::<R>)
        .delete(one, ANY, tags::remove::<R>)
}
