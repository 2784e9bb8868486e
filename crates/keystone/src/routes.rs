//! The API index: every operation of identity v3, with its policy rule, and what needs no version.
//!
//! `deferred` rows are those whose rule depends on whose user, project or token it is: the handler asks policy once it knows.

use kit::Routes;
use kit::policy::PUBLIC;

use crate::application_credentials::access_rules;
use crate::assignments::{grants, list as role_assignments};
use crate::credentials::{api as credentials, ec2};
use crate::endpoint_filter::{groups as endpoint_groups, projects as project_endpoints};
use crate::limits::{api as limits, registered};
use crate::oauth1::{access, exchange};
use crate::policies::associations;
use crate::projects::tags;
use crate::roles::implications;
use crate::trusts::api as trusts;
use crate::{
    Keystone, application_credentials, consumers, discovery, domain_config, domains, endpoints, fault, federation, groups, policies,
    projects, regions, roles, services, tokens, users, v2,
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
    [
        people(),
        secrets(),
        places(),
        configuration(),
        permissions(),
        grants(),
        catalog(),
        endpoint_filter(),
        quotas(),
        elsewhere(),
        federation(),
    ]
    .into_iter()
    .fold(auth(), Routes::merge)
    .nowhere(fault::nowhere)
}

#[rustfmt::skip]
fn auth() -> Routes<Keystone> {
    use tokens::api;
    Routes::new()
        .post  ("/auth/tokens", PUBLIC, api::create)
        .get   ("/auth/tokens", "identity:validate_token", api::show).deferred().kept_by(api::ASKED_BY)
        .delete("/auth/tokens", "identity:revoke_token", api::delete).deferred()
        .get   ("/auth/catalog", "identity:get_auth_catalog", api::catalog)
        .get   ("/auth/projects", "identity:get_auth_projects", api::projects)
        .get   ("/auth/domains", "identity:get_auth_domains", api::domains)
        .get   ("/auth/system", "identity:get_auth_system", api::system)
        .get   ("/auth/tokens/OS-PKI/revoked", PUBLIC, federation::gone)
        .get   ("/OS-SIMPLE-CERT/ca", PUBLIC, federation::gone)
        .get   ("/OS-SIMPLE-CERT/certificates", PUBLIC, federation::gone)
        .get   ("/OS-REVOKE/events", "identity:list_revoke_events", tokens::revoked::events)
        .post  ("/ec2tokens", "identity:ec2tokens_validate", ec2::ec2_token)
        .post  ("/s3tokens", "identity:s3tokens_validate", ec2::s3_token)
}

#[rustfmt::skip]
fn people() -> Routes<Keystone> {
    use {application_credentials::api as applications, groups::api as groups, users::api as users};
    Routes::new()
        .get   ("/users", "identity:list_users", users::list).deferred()
        .post  ("/users", "identity:create_user", users::create).deferred()
        .get   ("/users/{user_id}", "identity:get_user", users::show).deferred()
        .patch ("/users/{user_id}", "identity:update_user", users::update).deferred()
        .delete("/users/{user_id}", "identity:delete_user", users::delete).deferred()
        .post  ("/users/{user_id}/password", PUBLIC, users::change_password)
        .get   ("/users/{user_id}/projects", "identity:list_user_projects", users::projects).deferred()
        .get   ("/users/{user_id}/groups", "identity:list_groups_for_user", users::groups).deferred()
        .get   ("/users/{user_id}/application_credentials", "identity:list_application_credentials", applications::list).deferred()
        .post  ("/users/{user_id}/application_credentials", "identity:create_application_credential", applications::create).deferred()
        .get   ("/users/{user_id}/application_credentials/{id}", "identity:get_application_credential", applications::show).deferred()
        .delete("/users/{user_id}/application_credentials/{id}", "identity:delete_application_credential", applications::delete).deferred()
        .get   ("/users/{user_id}/access_rules", "identity:list_access_rules", access_rules::list).deferred()
        .get   ("/users/{user_id}/access_rules/{access_rule_id}", "identity:get_access_rule", access_rules::show).deferred()
        .delete("/users/{user_id}/access_rules/{access_rule_id}", "identity:delete_access_rule", access_rules::delete).deferred()
        .get   ("/users/{user_id}/credentials/OS-EC2", "identity:ec2_list_credentials", ec2::list).deferred()
        .post  ("/users/{user_id}/credentials/OS-EC2", "identity:ec2_create_credential", ec2::create).deferred()
        .get   ("/users/{user_id}/credentials/OS-EC2/{credential_id}", "identity:ec2_get_credential", ec2::show).deferred()
        .delete("/users/{user_id}/credentials/OS-EC2/{credential_id}", "identity:ec2_delete_credential", ec2::delete).deferred()
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
        .patch ("/domains/{domain_id}", "identity:update_domain", domains::update).deferred()
        .delete("/domains/{domain_id}", "identity:delete_domain", domains::delete)
}

#[rustfmt::skip]
fn permissions() -> Routes<Keystone> {
    use roles::api as roles;
    Routes::new()
        .get   ("/roles", "identity:list_roles", roles::list).deferred()
        .post  ("/roles", "identity:create_role", roles::create)
        .get   ("/roles/{role_id}", "identity:get_role", roles::show).deferred()
        .patch ("/roles/{role_id}", "identity:update_role", roles::update).deferred()
        .delete("/roles/{role_id}", "identity:delete_role", roles::delete).deferred()
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

#[rustfmt::skip]
fn secrets() -> Routes<Keystone> {
    Routes::new()
        .get   ("/credentials", "identity:list_credentials", credentials::list).deferred()
        .post  ("/credentials", "identity:create_credential", credentials::create).deferred()
        .get   ("/credentials/{credential_id}", "identity:get_credential", credentials::show).deferred()
        .patch ("/credentials/{credential_id}", "identity:update_credential", credentials::update).deferred()
        .delete("/credentials/{credential_id}", "identity:delete_credential", credentials::delete).deferred()
        .get   ("/OS-TRUST/trusts", "identity:list_trusts", trusts::list).deferred()
        .post  ("/OS-TRUST/trusts", "identity:create_trust", trusts::create).deferred()
        .get   ("/OS-TRUST/trusts/{trust_id}", "identity:get_trust", trusts::show).deferred()
        .delete("/OS-TRUST/trusts/{trust_id}", "identity:delete_trust", trusts::delete).deferred()
        .get   ("/OS-TRUST/trusts/{trust_id}/roles", "identity:list_roles_for_trust", trusts::roles).deferred()
        .get   ("/OS-TRUST/trusts/{trust_id}/roles/{role_id}", "identity:get_role_for_trust", trusts::role).deferred()
}

#[rustfmt::skip]
fn configuration() -> Routes<Keystone> {
    use domain_config as config;
    Routes::new()
        .get   ("/domains/config/default", "identity:get_domain_config_default", config::default)
        .get   ("/domains/config/{group}/default", "identity:get_domain_config_default", config::default_group)
        .get   ("/domains/config/{group}/{option}/default", "identity:get_domain_config_default", config::default_option)
        .get   ("/domains/{domain_id}/config", "identity:get_domain_config", config::show)
        .put   ("/domains/{domain_id}/config", "identity:create_domain_config", config::create)
        .patch ("/domains/{domain_id}/config", "identity:update_domain_config", config::update)
        .delete("/domains/{domain_id}/config", "identity:delete_domain_config", config::delete)
        .get   ("/domains/{domain_id}/config/{group}", "identity:get_domain_config", config::show_group).deferred()
        .patch ("/domains/{domain_id}/config/{group}", "identity:update_domain_config", config::update_group)
        .delete("/domains/{domain_id}/config/{group}", "identity:delete_domain_config", config::delete_group)
        .get   ("/domains/{domain_id}/config/{group}/{option}", "identity:get_domain_config", config::show_option).deferred()
        .patch ("/domains/{domain_id}/config/{group}/{option}", "identity:update_domain_config", config::update_option)
        .delete("/domains/{domain_id}/config/{group}/{option}", "identity:delete_domain_config", config::delete_option)
}

#[rustfmt::skip]
fn endpoint_filter() -> Routes<Keystone> {
    use {endpoint_groups as groups, project_endpoints as projects};
    Routes::new()
        .get   ("/OS-EP-FILTER/projects/{project_id}/endpoints", "identity:list_endpoints_for_project", projects::endpoints)
        .get   ("/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}", "identity:check_endpoint_in_project", projects::check)
        .put   ("/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}", "identity:add_endpoint_to_project", projects::create)
        .delete("/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}", "identity:remove_endpoint_from_project", projects::delete)
        .get   ("/OS-EP-FILTER/endpoints/{endpoint_id}/projects", "identity:list_projects_for_endpoint", projects::projects)
        .get   ("/OS-EP-FILTER/projects/{project_id}/endpoint_groups", "identity:list_endpoint_groups_for_project", groups::of_project)
        .get   ("/OS-EP-FILTER/endpoint_groups", "identity:list_endpoint_groups", groups::list)
        .post  ("/OS-EP-FILTER/endpoint_groups", "identity:create_endpoint_group", groups::create)
        .get   ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}", "identity:get_endpoint_group", groups::show)
        .patch ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}", "identity:update_endpoint_group", groups::update)
        .delete("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}", "identity:delete_endpoint_group", groups::delete)
        .get   ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints", "identity:list_endpoints_associated_with_endpoint_group", groups::endpoints)
        .get   ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects", "identity:list_projects_associated_with_endpoint_group", groups::projects)
        .get   ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}", "identity:get_endpoint_group_in_project", groups::project)
        .put   ("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}", "identity:add_endpoint_group_to_project", groups::add_project)
        .delete("/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}", "identity:remove_endpoint_group_from_project", groups::remove_project)
}

#[rustfmt::skip]
fn quotas() -> Routes<Keystone> {
    Routes::new()
        .get   ("/registered_limits", "identity:list_registered_limits", registered::list)
        .post  ("/registered_limits", "identity:create_registered_limits", registered::create)
        .get   ("/registered_limits/{registered_limit_id}", "identity:get_registered_limit", registered::show)
        .patch ("/registered_limits/{registered_limit_id}", "identity:update_registered_limit", registered::update)
        .delete("/registered_limits/{registered_limit_id}", "identity:delete_registered_limit", registered::delete)
        .get   ("/limits/model", "identity:get_limit_model", limits::model)
        .get   ("/limits", "identity:list_limits", limits::list)
        .post  ("/limits", "identity:create_limits", limits::create)
        .get   ("/limits/{limit_id}", "identity:get_limit", limits::show).deferred()
        .patch ("/limits/{limit_id}", "identity:update_limit", limits::update)
        .delete("/limits/{limit_id}", "identity:delete_limit", limits::delete)
}

/// What keystone only keeps for others.
#[rustfmt::skip]
fn elsewhere() -> Routes<Keystone> {
    let policies = Routes::new()
        .get   ("/policies", "identity:list_policies", policies::list)
        .post  ("/policies", "identity:create_policy", policies::create)
        .get   ("/policies/{policy_id}", "identity:get_policy", policies::show)
        .patch ("/policies/{policy_id}", "identity:update_policy", policies::update)
        .delete("/policies/{policy_id}", "identity:delete_policy", policies::delete)
        .get   ("/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints", "identity:list_endpoints_for_policy", associations::endpoints)
        .get   ("/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy", "identity:get_policy_for_endpoint", associations::policy);
    let policies = [
        "/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}",
        "/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}",
        "/policies/{policy_id}/OS-ENDPOINT-POLICY/services/{service_id}/regions/{region_id}",
    ].into_iter().fold(policies, |routes, path| routes
        .get   (path, "identity:check_policy_association", associations::check)
        .put   (path, "identity:create_policy_association", associations::create)
        .delete(path, "identity:delete_policy_association", associations::delete));
    policies
        .get   ("/OS-OAUTH1/consumers", "identity:list_consumers", consumers::list)
        .post  ("/OS-OAUTH1/consumers", "identity:create_consumer", consumers::create)
        .get   ("/OS-OAUTH1/consumers/{consumer_id}", "identity:get_consumer", consumers::show)
        .patch ("/OS-OAUTH1/consumers/{consumer_id}", "identity:update_consumer", consumers::update)
        .delete("/OS-OAUTH1/consumers/{consumer_id}", "identity:delete_consumer", consumers::delete)
        .post  ("/OS-OAUTH1/request_token", PUBLIC, exchange::request_token)
        .put   ("/OS-OAUTH1/authorize/{request_token_id}", "identity:authorize_request_token", exchange::authorize)
        .post  ("/OS-OAUTH1/access_token", PUBLIC, exchange::access_token)
        .get   ("/users/{user_id}/OS-OAUTH1/access_tokens", "identity:list_access_tokens", access::list)
        .get   ("/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}", "identity:get_access_token", access::show)
        .delete("/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}", "identity:delete_access_token", access::delete)
        .get   ("/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles", "identity:list_access_token_roles", access::list_roles)
        .get   ("/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles/{role_id}", "identity:get_access_token_role", access::show_role)
}

#[rustfmt::skip]
fn federation() -> Routes<Keystone> {
    use federation::{identity_providers as providers, mappings, protocols, service_providers as services};
    Routes::new()
        .get   ("/OS-FEDERATION/identity_providers", "identity:list_identity_providers", providers::list)
        .get   ("/OS-FEDERATION/identity_providers/{idp_id}", "identity:get_identity_provider", providers::show)
        .put   ("/OS-FEDERATION/identity_providers/{idp_id}", "identity:create_identity_provider", providers::create)
        .patch ("/OS-FEDERATION/identity_providers/{idp_id}", "identity:update_identity_provider", providers::update)
        .delete("/OS-FEDERATION/identity_providers/{idp_id}", "identity:delete_identity_provider", providers::delete)
        .get   ("/OS-FEDERATION/identity_providers/{idp_id}/protocols", "identity:list_protocols", protocols::list)
        .get   ("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}", "identity:get_protocol", protocols::show)
        .put   ("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}", "identity:create_protocol", protocols::create)
        .patch ("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}", "identity:update_protocol", protocols::update)
        .delete("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}", "identity:delete_protocol", protocols::delete)
        .get   ("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth", PUBLIC, federation::authenticate)
        .post  ("/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth", PUBLIC, federation::authenticate)
        .get   ("/OS-FEDERATION/mappings", "identity:list_mappings", mappings::list)
        .get   ("/OS-FEDERATION/mappings/{mapping_id}", "identity:get_mapping", mappings::show)
        .put   ("/OS-FEDERATION/mappings/{mapping_id}", "identity:create_mapping", mappings::create)
        .patch ("/OS-FEDERATION/mappings/{mapping_id}", "identity:update_mapping", mappings::update)
        .delete("/OS-FEDERATION/mappings/{mapping_id}", "identity:delete_mapping", mappings::delete)
        .get   ("/OS-FEDERATION/service_providers", "identity:list_service_providers", services::list)
        .get   ("/OS-FEDERATION/service_providers/{sp_id}", "identity:get_service_provider", services::show)
        .put   ("/OS-FEDERATION/service_providers/{sp_id}", "identity:create_service_provider", services::create)
        .patch ("/OS-FEDERATION/service_providers/{sp_id}", "identity:update_service_provider", services::update)
        .delete("/OS-FEDERATION/service_providers/{sp_id}", "identity:delete_service_provider", services::delete)
        .get   ("/OS-FEDERATION/projects", "identity:get_auth_projects", tokens::api::projects)
        .get   ("/OS-FEDERATION/domains", "identity:get_auth_domains", tokens::api::domains)
}

#[cfg(test)]
mod tests {
    use testkit::authorization::{differences, operations};

    /// That everybody may what that list says is for the tests of the API.
    #[test]
    fn the_list_of_who_may_what_is_of_these_routes() {
        let list = operations(include_str!("../tests/api/authorization.txt"));
        let routes = super::v3();
        let differences = differences(&list, routes.rows().iter().map(|row| (&row.method, row.path)));
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}
