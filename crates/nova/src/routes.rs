//! The index of the API: one row for each operation.

use kit::Routes;
use kit::policy::{ANY, PUBLIC};

use crate::instance_actions::api as instance_actions;
use crate::os_services::api as services;
use crate::servers::{
    actions, api, create, diagnostics, ips, list, metadata, os_interface, os_volume_attachments, password, remote_consoles,
    security_groups, server_migrations, shares, tags, topology,
};
use crate::{
    Nova, assisted_volume_snapshots, availability_zones, discovery, extensions, external_events, flavors, hypervisors, keypairs, limits,
    migrations, notifications, os_aggregates, os_hosts, proxies, quotas, removed, server_groups, tenant_usage, usage_audit_log,
};

/// Which versions there are.
pub fn discovery() -> Routes<Nova> {
    Routes::new()
        .get("/", PUBLIC, discovery::versions)
        .get("/v2.1", PUBLIC, discovery::show_v2_1)
        .get("/v2", PUBLIC, discovery::show_v2)
        .get("/v2.1/versions/{id}", PUBLIC, discovery::show)
}

/// Everything else.
pub fn routes() -> Routes<Nova> {
    Routes::new()
        .exact()
        .bare_since(2, 102)
        .unmounted(discovery::choices)
        .merge(servers())
        .merge(below_servers())
        .merge(flavors())
        .merge(others())
        .merge(keypairs::routes())
        .merge(quotas::routes())
        .merge(os_aggregates::routes())
        .merge(hypervisors::routes())
        .merge(administration())
        .merge(os_hosts::routes())
        .merge(tenant_usage::routes())
        .merge(proxies::routes())
        .merge(removed::routes())
        .get("/cumulo/v1/events", "cumulo:events", notifications::api::follow)
        .apart()
}

/// A create body may carry user data and injected files.
const CREATE_BODY: usize = 4 << 20;

fn servers() -> Routes<Nova> {
    Routes::new()
        .get("/servers", "os_compute_api:servers:index", list::list)
        .kept()
        .post("/servers", "os_compute_api:servers:create", create::create)
        .limit(CREATE_BODY)
        .post("/os-volumes_boot", "os_compute_api:servers:create", create::create)
        .until(2, 102)
        .limit(CREATE_BODY)
        .get("/servers/detail", "os_compute_api:servers:detail", list::detail)
        .kept()
        .get("/servers/{server_id}", "os_compute_api:servers:show", api::show)
        .kept()
        .put("/servers/{server_id}", "os_compute_api:servers:update", api::update)
        .delete("/servers/{server_id}", "os_compute_api:servers:delete", api::delete)
        .post("/servers/{server_id}/action", ANY, actions::act)
}

fn below_servers() -> Routes<Nova> {
    Routes::new()
        .get("/servers/{server_id}/ips", "os_compute_api:ips:index", ips::list)
        .get("/servers/{server_id}/ips/{id}", "os_compute_api:ips:show", ips::show)
        .get("/servers/{server_id}/metadata", "os_compute_api:server-metadata:index", metadata::list)
        .post("/servers/{server_id}/metadata", "os_compute_api:server-metadata:create", metadata::merge)
        .put("/servers/{server_id}/metadata", "os_compute_api:server-metadata:update_all", metadata::replace)
        .get("/servers/{server_id}/metadata/{id}", "os_compute_api:server-metadata:show", metadata::show)
        .put("/servers/{server_id}/metadata/{id}", "os_compute_api:server-metadata:update", metadata::update)
        .delete("/servers/{server_id}/metadata/{id}", "os_compute_api:server-metadata:delete", metadata::delete)
        .get("/servers/{server_id}/tags", "os_compute_api:os-server-tags:index", tags::list)
        .since(2, 26)
        .put("/servers/{server_id}/tags", "os_compute_api:os-server-tags:update_all", tags::replace)
        .since(2, 26)
        .delete("/servers/{server_id}/tags", "os_compute_api:os-server-tags:delete_all", tags::delete_all)
        .since(2, 26)
        .get("/servers/{server_id}/tags/{id}", "os_compute_api:os-server-tags:show", tags::show)
        .since(2, 26)
        .put("/servers/{server_id}/tags/{id}", "os_compute_api:os-server-tags:update", tags::update)
        .since(2, 26)
        .delete("/servers/{server_id}/tags/{id}", "os_compute_api:os-server-tags:delete", tags::delete)
        .since(2, 26)
        .get("/servers/{server_id}/shares", "os_compute_api:os-server-shares:index", shares::list)
        .since(2, 97)
        .post("/servers/{server_id}/shares", "os_compute_api:os-server-shares:create", shares::create)
        .since(2, 97)
        .get("/servers/{server_id}/shares/{share_id}", "os_compute_api:os-server-shares:show", shares::show)
        .since(2, 97)
        .delete("/servers/{server_id}/shares/{share_id}", "os_compute_api:os-server-shares:delete", shares::delete)
        .since(2, 97)
        .get("/os-migrations", "os_compute_api:os-migrations:index", migrations::api::list)
        .get("/servers/{server_id}/migrations", "os_compute_api:servers:migrations:index", server_migrations::list)
        .since(2, 23)
        .get("/servers/{server_id}/migrations/{id}", "os_compute_api:servers:migrations:show", server_migrations::show)
        .since(2, 23)
        .delete("/servers/{server_id}/migrations/{id}", "os_compute_api:servers:migrations:delete", server_migrations::abort)
        .since(2, 24)
        .post("/servers/{server_id}/migrations/{id}/action", "os_compute_api:servers:migrations:force_complete", server_migrations::act)
        .since(2, 22)
        .get("/servers/{server_id}/diagnostics", "os_compute_api:os-server-diagnostics", diagnostics::show)
        .get("/servers/{server_id}/topology", "compute:server:topology:index", topology::show)
        .since(2, 78)
        .get("/servers/{server_id}/os-server-password", "os_compute_api:os-server-password:show", password::show)
        .delete("/servers/{server_id}/os-server-password", "os_compute_api:os-server-password:clear", password::clear)
        .post("/servers/{server_id}/remote-consoles", "os_compute_api:os-remote-consoles", remote_consoles::create)
        .since(2, 6)
        .get("/os-console-auth-tokens/{token}", "os_compute_api:os-console-auth-tokens", remote_consoles::token)
        .get("/servers/{server_id}/os-security-groups", "os_compute_api:os-security-groups:list", security_groups::list)
        .get("/servers/{server_id}/os-instance-actions", "os_compute_api:os-instance-actions:list", instance_actions::list)
        .get("/servers/{server_id}/os-instance-actions/{id}", "os_compute_api:os-instance-actions:show", instance_actions::show)
        .get(
            "/servers/{server_id}/os-instance-actions/{id}/timeline",
            "os_compute_api:os-instance-actions:show",
            instance_actions::timeline,
        )
        .get("/servers/{server_id}/os-interface", "os_compute_api:os-attach-interfaces:list", os_interface::list)
        .post("/servers/{server_id}/os-interface", "os_compute_api:os-attach-interfaces:create", os_interface::create)
        .get("/servers/{server_id}/os-interface/{id}", "os_compute_api:os-attach-interfaces:show", os_interface::show)
        .delete("/servers/{server_id}/os-interface/{id}", "os_compute_api:os-attach-interfaces:delete", os_interface::delete)
        .get("/servers/{server_id}/os-volume_attachments", "os_compute_api:os-volumes-attachments:index", os_volume_attachments::list)
        .post("/servers/{server_id}/os-volume_attachments", "os_compute_api:os-volumes-attachments:create", os_volume_attachments::create)
        .get("/servers/{server_id}/os-volume_attachments/{id}", "os_compute_api:os-volumes-attachments:show", os_volume_attachments::show)
        .put(
            "/servers/{server_id}/os-volume_attachments/{id}",
            "os_compute_api:os-volumes-attachments:update",
            os_volume_attachments::update,
        )
        .delete(
            "/servers/{server_id}/os-volume_attachments/{id}",
            "os_compute_api:os-volumes-attachments:delete",
            os_volume_attachments::delete,
        )
}

fn flavors() -> Routes<Nova> {
    use flavors::{access, api, extra_specs};
    Routes::new()
        .get("/flavors", ANY, api::list)
        .post("/flavors", "os_compute_api:os-flavor-manage:create", api::create)
        .get("/flavors/detail", ANY, api::detail)
        .get("/flavors/{id}", ANY, api::show)
        .put("/flavors/{id}", "os_compute_api:os-flavor-manage:update", api::update)
        .since(2, 55)
        .delete("/flavors/{id}", "os_compute_api:os-flavor-manage:delete", api::delete)
        .post("/flavors/{id}/action", ANY, access::act)
        .get("/flavors/{id}/os-flavor-access", "os_compute_api:os-flavor-access", access::list)
        .get("/flavors/{id}/os-extra_specs", "os_compute_api:os-flavor-extra-specs:index", extra_specs::list)
        .post("/flavors/{id}/os-extra_specs", "os_compute_api:os-flavor-extra-specs:create", extra_specs::create)
        .get("/flavors/{id}/os-extra_specs/{key}", "os_compute_api:os-flavor-extra-specs:show", extra_specs::show)
        .put("/flavors/{id}/os-extra_specs/{key}", "os_compute_api:os-flavor-extra-specs:update", extra_specs::update)
        .delete("/flavors/{id}/os-extra_specs/{key}", "os_compute_api:os-flavor-extra-specs:delete", extra_specs::delete)
}

fn others() -> Routes<Nova> {
    Routes::new()
        .get("/extensions", "os_compute_api:extensions", extensions::list)
        .get("/extensions/{alias}", "os_compute_api:extensions", extensions::show)
        .get("/limits", "os_compute_api:limits", limits::show)
        .get("/os-availability-zone", "os_compute_api:os-availability-zone:list", availability_zones::list)
        .get("/os-availability-zone/detail", "os_compute_api:os-availability-zone:detail", availability_zones::detail)
        .get("/os-server-groups", "os_compute_api:os-server-groups:index", server_groups::list)
        .post("/os-server-groups", "os_compute_api:os-server-groups:create", server_groups::create)
        .get("/os-server-groups/{id}", "os_compute_api:os-server-groups:show", server_groups::show)
        .delete("/os-server-groups/{id}", "os_compute_api:os-server-groups:delete", server_groups::delete)
}

fn administration() -> Routes<Nova> {
    Routes::new()
        .get("/os-services", "os_compute_api:os-services:list", services::list)
        .put("/os-services/{id}", "os_compute_api:os-services:update", services::update)
        .delete("/os-services/{id}", "os_compute_api:os-services:delete", services::delete)
        .get("/os-instance_usage_audit_log", "os_compute_api:os-instance-usage-audit-log:list", usage_audit_log::api::list)
        .get("/os-instance_usage_audit_log/{before}", "os_compute_api:os-instance-usage-audit-log:show", usage_audit_log::api::show)
        .post("/os-assisted-volume-snapshots", "os_compute_api:os-assisted-volume-snapshots:create", assisted_volume_snapshots::create)
        .delete(
            "/os-assisted-volume-snapshots/{id}",
            "os_compute_api:os-assisted-volume-snapshots:delete",
            assisted_volume_snapshots::delete,
        )
        .post("/os-server-external-events", "os_compute_api:os-server-external-events:create", external_events::create)
}

#[cfg(test)]
mod tests {
    /// That there is an answer to each of them is for the tests of the API, as far as it is nova's: what is apart is Cumulo's own.
    #[test]
    fn every_route_is_in_the_list_of_operations() {
        let routes = super::routes();
        let rows = routes.rows().iter().filter(|row| !row.apart).map(|row| (&row.method, row.path));
        let untold = testkit::authorization::untold(include_str!("../tests/operations.txt"), rows);
        assert!(untold.is_empty(), "{}", untold.join("\n"));
    }
}
