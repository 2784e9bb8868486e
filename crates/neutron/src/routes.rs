//! The index of the API.

use kit::Routes;
use kit::policy::{ANY, PUBLIC};

use crate::resource::Resource;
use crate::security_groups::rules;
use crate::{
    App, agents, availability, discovery, extensions, floatingips, listing, networks, ports, quotas, routers, security_groups, subnets,
    tags,
};

/// Without a token.
pub fn root() -> Routes<App> {
    Routes::new().get("/", PUBLIC, discovery::versions)
}

/// Below `/v2.0`.
#[rustfmt::skip]
pub fn api() -> Routes<App> {
    Routes::new()
        .get   ("/",                                           ANY,                          discovery::resources)
        .get   ("/extensions",                                 ANY,                          extensions::list)
        .get   ("/extensions/{alias}",                         ANY,                          extensions::show)
        .get   ("/networks",                                   "get_network",                listing::list::<networks::Model>)
        .post  ("/networks",                                   ANY,                          networks::create)
        .get   ("/networks/{network_id}",                      "get_network",                listing::show::<networks::Model>)
        .put   ("/networks/{network_id}",                      ANY,                          networks::update)
        .delete("/networks/{network_id}",                      ANY,                          networks::delete)
        .get   ("/subnets",                                    "get_subnet",                 listing::list::<subnets::Model>)
        .post  ("/subnets",                                    ANY,                          subnets::create)
        .get   ("/subnets/{subnet_id}",                        "get_subnet",                 listing::show::<subnets::Model>)
        .put   ("/subnets/{subnet_id}",                        ANY,                          subnets::update)
        .delete("/subnets/{subnet_id}",                        ANY,                          subnets::delete)
        .get   ("/ports",                                      "get_port",                   listing::list::<ports::Model>)
        .post  ("/ports",                                      ANY,                          ports::create)
        .get   ("/ports/{port_id}",                            "get_port",                   listing::show::<ports::Model>)
        .put   ("/ports/{port_id}",                            ANY,                          ports::update)
        .delete("/ports/{port_id}",                            ANY,                          ports::delete)
        .get   ("/routers",                                    "get_router",                 listing::list::<routers::Model>)
        .post  ("/routers",                                    ANY,                          routers::create)
        .get   ("/routers/{router_id}",                        "get_router",                 listing::show::<routers::Model>)
        .put   ("/routers/{router_id}",                        ANY,                          routers::update)
        .delete("/routers/{router_id}",                        ANY,                          routers::delete)
        .put   ("/routers/{router_id}/add_router_interface",   ANY,                          routers::add)
        .put   ("/routers/{router_id}/remove_router_interface", ANY,                         routers::remove)
        .get   ("/floatingips",                                "get_floatingip",             listing::list::<floatingips::Model>)
        .post  ("/floatingips",                                ANY,                          floatingips::create)
        .get   ("/floatingips/{floatingip_id}",                "get_floatingip",             listing::show::<floatingips::Model>)
        .put   ("/floatingips/{floatingip_id}",                ANY,                          floatingips::update)
        .delete("/floatingips/{floatingip_id}",                ANY,                          floatingips::delete)
        .get   ("/security-groups",                            "get_security_group",         security_groups::list)
        .post  ("/security-groups",                            ANY,                          security_groups::create)
        .get   ("/security-groups/{security_group_id}",        "get_security_group",         listing::show::<security_groups::Model>)
        .put   ("/security-groups/{security_group_id}",        ANY,                          security_groups::update)
        .delete("/security-groups/{security_group_id}",        ANY,                          security_groups::delete)
        .get   ("/security-group-rules",                       "get_security_group_rule",    listing::list::<rules::Model>)
        .post  ("/security-group-rules",                       ANY,                          rules::create)
        .get   ("/security-group-rules/{rule_id}",             "get_security_group_rule",    listing::show::<rules::Model>)
        .delete("/security-group-rules/{rule_id}",             ANY,                          rules::delete)
        .get   ("/quotas",                                     "get_quotas",                 quotas::list)
        .get   ("/quotas/tenant",                              ANY,                          quotas::own)
        .get   ("/quotas/project",                             ANY,                          quotas::own)
        .get   ("/quotas/{project_id}",                        ANY,                          quotas::show)
        .put   ("/quotas/{project_id}",                        "update_quota",               quotas::update)
        .delete("/quotas/{project_id}",                        "delete_quota",               quotas::delete)
        .get   ("/quotas/{project_id}/default",                ANY,                          quotas::show_default)
        .get   ("/quotas/{project_id}/details",                ANY,                          quotas::details)
        .get   ("/agents",                                     "get_agent",                  agents::list)
        .get   ("/agents/{agent_id}",                          "get_agent",                  agents::show)
        .put   ("/agents/{agent_id}",                          "update_agent",               agents::update)
        .delete("/agents/{agent_id}",                          "delete_agent",               agents::delete)
        .get   ("/availability_zones",                         "get_availability_zone",      availability::zones)
        .get   ("/network-ip-availabilities",                  "get_network_ip_availability", availability::list)
        .get   ("/network-ip-availabilities/{network_id}",     "get_network_ip_availability", availability::show)
        .merge(tags_of::<networks::Model>("/networks/{id}/tags", "/networks/{id}/tags/{tag}"))
        .merge(tags_of::<subnets::Model>("/subnets/{id}/tags", "/subnets/{id}/tags/{tag}"))
        .merge(tags_of::<ports::Model>("/ports/{id}/tags", "/ports/{id}/tags/{tag}"))
        .merge(tags_of::<routers::Model>("/routers/{id}/tags", "/routers/{id}/tags/{tag}"))
        .merge(tags_of::<floatingips::Model>("/floatingips/{id}/tags", "/floatingips/{id}/tags/{tag}"))
        .merge(tags_of::<security_groups::Model>("/security-groups/{id}/tags", "/security-groups/{id}/tags/{tag}"))
}

/// Handlers ask policy themselves, about the owner of what they change; so these rows need no more than a token.
fn tags_of<R: Resource>(all: &'static str, one: &'static str) -> Routes<App> {
    Routes::new()
        .get(all, ANY, tags::list::<R>)
        .put(all, ANY, tags::replace::<R>)
        .delete(all, ANY, tags::clear::<R>)
        .get(one, ANY, tags::show::<R>)
        .put(one, ANY, tags::add::<R>)
        .delete(one, ANY, tags::remove::<R>)
}
