//! The API index: every operation of identity v3, with its policy rule, and what needs no version.
//!
//! `deferred` rows are those whose rule depends on whose user, project or token it is: the handler asks policy once it knows.

use kit::Routes;
use kit::policy::PUBLIC;

use crate::assignments::{grants, list as role_assignments};
use crate::projects::tags;
use crate::roles::implications;
use crate::{
    Keystone, application_credentials, discovery, domains, endpoints, groups, projects, regions, roles, services, tokens, users, v2,
};

/// Discovery, and v2.0 as it was.
pub fn unversioned() -> Routes<Keystone> {
    Routes::new()
        .get("/", PUBLIC, discovery::versions)
        .get("/v3", PUBLIC, discovery::v3)
        .get("/v2.0", PUBLIC, discovery::v2)
        .post("/v2.0/tokens", PUBLIC, v2::api::create)
        .get("/v2.0/tenants", PUBLIC, v2::api::tenants)
}

/// `/v3/...`
pub fn v3() -> Routes<Keystone> {
    auth().merge(people()).merge(places()).merge(permissions()).merge(grants()).merge(catalog())
}

#[rustfmt::skip]
fn auth() -> Routes<Keystone> {
    use tokens::api;
    Routes::new()
        .post  ("/auth/tokens", PUBLIC, api::create)
        .get   ("/auth/tokens", "identity:validate_token", api::show).deferred()
        .delete("/auth/tokens", "identity:revoke_token", api::delete).deferred()
        .get   ("/auth/catalog", "identity:get_auth_catalog", api::catalog)
        .get   ("/auth/projects", "identity:get_auth_projects", api::projects)
        .get   ("/auth/domains", "identity:get_auth_domains", api::domains)
        .get   ("/auth/system", "identity:get_auth_system", api::system)
}

#[rustfmt::skip]
fn people() -> Routes<Keystone> {
    use {application_credentials::api as credentials, groups::api as groups, users::api as users};
    Routes::new()
        .get   ("/users", "identity:list_users", users::list).deferred()
        .post  ("/users", "identity:create_user", users::create).deferred()
        .get   ("/users/{user_id}", "identity:get_user", users::show).deferred()
        .patch ("/users/{user_id}", "identity:update_user", users::update).deferred()
        .delete("/users/{user_id}", "identity:delete_user", users::delete).deferred()
        .post  ("/users/{user_id}/password", PUBLIC, users::change_password)
        .get   ("/users/{user_id}/projects", "identity:list_user_projects", users::projects).deferred()
        .get   ("/users/{user_id}/groups", "identity:list_groups_for_user", users::groups).deferred()
        .get   ("/users/{user_id}/application_credentials", "identity:list_application_credentials", credentials::list).deferred()
        .post  ("/users/{user_id}/application_credentials", "identity:create_application_credential", credentials::create).deferred()
        .get   ("/users/{user_id}/application_credentials/{id}", "identity:get_application_credential", credentials::show).deferred()
        .delete("/users/{user_id}/application_credentials/{id}", "identity:delete_application_credential", credentials::delete).deferred()
        .get   ("/groups", "identity:list_groups", groups::list).deferred()
        .post  ("/groups", "identity:create_group", groups::create).deferred()
        .get   ("/groups/{group_id}", "identity:get_group", groups::show).deferred()
        .patch ("/groups/{group_id}", "identity:update_group", groups::update).deferred()
        .delete("/groups/{group_id}", "identity:delete_group", groups::delete).deferred()
        .get   ("/groups/{group_id}/users", "identity:list_users_in_group", groups::users).deferred()
        .head  ("/groups/{group_id}/users/{user_id}", "identity:check_user_in_group", groups::check_user).deferred()
        .get   ("/groups/{group_id}/users/{user_id}", "identity:check_user_in_group", groups::check_user).deferred()
        .put   ("/groups/{group_id}/users/{user_id}", "identity:add_user_to_group", groups::add_user).deferred()
        .delete("/groups/{group_id}/users/{user_id}", "identity:remove_user_from_group", groups::remove_user).deferred()
}

#[rustfmt::skip]
fn places() -> Routes<Keystone> {
    use projects::api as projects;
    Routes::new()
        .get   ("/projects", "identity:list_projects", projects::list).deferred()
        .post  ("/projects", "identity:create_project", projects::create).deferred()
        .get   ("/projects/{project_id}", "identity:get_project", projects::show).deferred()
        .patch ("/projects/{project_id}", "identity:update_project", projects::update).deferred()
        .delete("/projects/{project_id}", "identity:delete_project", projects::delete).deferred()
        .get   ("/projects/{project_id}/tags", "identity:list_project_tags", tags::list).deferred()
        .put   ("/projects/{project_id}/tags", "identity:update_project_tags", tags::replace).deferred()
        .delete("/projects/{project_id}/tags", "identity:delete_project_tags", tags::clear).deferred()
        .get   ("/projects/{project_id}/tags/{tag}", "identity:get_project_tag", tags::show).deferred()
        .put   ("/projects/{project_id}/tags/{tag}", "identity:create_project_tag", tags::add).deferred()
        .delete("/projects/{project_id}/tags/{tag}", "identity:delete_project_tag", tags::remove).deferred()
        .get   ("/domains", "identity:list_domains", domains::list).deferred()
        .post  ("/domains", "identity:create_domain", domains::create)
        .get   ("/domains/{domain_id}", "identity:get_domain", domains::show).deferred()
        .patch ("/domains/{domain_id}", "identity:update_domain", domains::update)
        .delete("/domains/{domain_id}", "identity:delete_domain", domains::delete)
}

#[rustfmt::skip]
fn permissions() -> Routes<Keystone> {
    use roles::api as roles;
    Routes::new()
        .get   ("/roles", "identity:list_roles", roles::list)
        .post  ("/roles", "identity:create_role", roles::create)
        .get   ("/roles/{role_id}", "identity:get_role", roles::show)
        .patch ("/roles/{role_id}", "identity:update_role", roles::update)
        .delete("/roles/{role_id}", "identity:delete_role", roles::delete)
        .get   ("/role_inferences", "identity:list_role_inference_rules", implications::list_all)
        .get   ("/roles/{role_id}/implies", "identity:list_implied_roles", implications::list)
        .get   ("/roles/{role_id}/implies/{implied_role_id}", "identity:get_implied_role", implications::show)
        .head  ("/roles/{role_id}/implies/{implied_role_id}", "identity:check_implied_role", implications::check)
        .put   ("/roles/{role_id}/implies/{implied_role_id}", "identity:create_implied_role", implications::create)
        .delete("/roles/{role_id}/implies/{implied_role_id}", "identity:delete_implied_role", implications::delete)
        .get   ("/role_assignments", "identity:list_role_assignments", role_assignments::index).deferred()
}

/// Grants are the same operations for every kind of actor and target.
fn grants() -> Routes<Keystone> {
    let ordinary = ("identity:list_grants", "identity:check_grant", "identity:create_grant", "identity:revoke_grant");
    let system_user = (
        "identity:list_system_grants_for_user",
        "identity:check_system_grant_for_user",
        "identity:create_system_grant_for_user",
        "identity:revoke_system_grant_for_user",
    );
    let system_group = (
        "identity:list_system_grants_for_group",
        "identity:check_system_grant_for_group",
        "identity:create_system_grant_for_group",
        "identity:revoke_system_grant_for_group",
    );
    [
        ("/projects/{project_id}/users/{user_id}/roles", "/projects/{project_id}/users/{user_id}/roles/{role_id}", ordinary),
        ("/projects/{project_id}/groups/{group_id}/roles", "/projects/{project_id}/groups/{group_id}/roles/{role_id}", ordinary),
        ("/domains/{domain_id}/users/{user_id}/roles", "/domains/{domain_id}/users/{user_id}/roles/{role_id}", ordinary),
        ("/domains/{domain_id}/groups/{group_id}/roles", "/domains/{domain_id}/groups/{group_id}/roles/{role_id}", ordinary),
        ("/system/users/{user_id}/roles", "/system/users/{user_id}/roles/{role_id}", system_user),
        ("/system/groups/{group_id}/roles", "/system/groups/{group_id}/roles/{role_id}", system_group),
        (
            "/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects",
            "/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
            ordinary,
        ),
        (
            "/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects",
            "/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
            ordinary,
        ),
        (
            "/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects",
            "/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
            ordinary,
        ),
        (
            "/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects",
            "/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
            ordinary,
        ),
    ]
    .into_iter()
    .fold(Routes::new(), |routes, (all, one, (list, check, create, revoke))| {
        routes
            .get(all, list, grants::list)
            .deferred()
            .get(one, check, grants::check)
            .deferred()
            .put(one, create, grants::create)
            .deferred()
            .delete(one, revoke, grants::delete)
            .deferred()
    })
}

#[rustfmt::skip]
fn catalog() -> Routes<Keystone> {
    Routes::new()
        .get   ("/regions", "identity:list_regions", regions::list)
        .post  ("/regions", "identity:create_region", regions::create)
        .get   ("/regions/{region_id}", "identity:get_region", regions::show)
        .put   ("/regions/{region_id}", "identity:create_region", regions::create_named)
        .patch ("/regions/{region_id}", "identity:update_region", regions::update)
        .delete("/regions/{region_id}", "identity:delete_region", regions::delete)
        .get   ("/services", "identity:list_services", services::list)
        .post  ("/services", "identity:create_service", services::create)
        .get   ("/services/{service_id}", "identity:get_service", services::show)
        .patch ("/services/{service_id}", "identity:update_service", services::update)
        .delete("/services/{service_id}", "identity:delete_service", services::delete)
        .get   ("/endpoints", "identity:list_endpoints", endpoints::list)
        .post  ("/endpoints", "identity:create_endpoint", endpoints::create)
        .get   ("/endpoints/{endpoint_id}", "identity:get_endpoint", endpoints::show)
        .patch ("/endpoints/{endpoint_id}", "identity:update_endpoint", endpoints::update)
        .delete("/endpoints/{endpoint_id}", "identity:delete_endpoint", endpoints::delete)
}
