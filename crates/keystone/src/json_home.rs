//! JSON home: every resource by the name of its relation, for clients that ask `Accept: application/json-home`. The document is made
//! of the route table, so that it names what there is; [`NAMES`] are the relations that OpenStack calls otherwise than their paths.

use http::{HeaderMap, StatusCode, header};
use kit::{Reply, Result};
use serde_json::{Map, Value, json};

use crate::routes;

const TYPE: &str = "application/json-home";
const DOCS: &str = "https://docs.openstack.org/api/openstack-identity/3";

/// Paths whose relation is not what [`relation`] makes of them.
const NAMES: &[(&str, &str)] = &[
    ("/users/{user_id}/password", "user_change_password"),
    ("/users/{user_id}/application_credentials", "application_credentials"),
    ("/users/{user_id}/application_credentials/{id}", "application_credential"),
    ("/users/{user_id}/access_rules", "access_rules"),
    ("/users/{user_id}/access_rules/{access_rule_id}", "access_rule"),
    ("/roles/{role_id}/implies", "implied_roles"),
    ("/roles/{role_id}/implies/{implied_role_id}", "implied_role"),
    ("/limits/model", "limit_model"),
    ("/domains/config/default", "domain_config_default"),
    ("/domains/config/{group}/default", "domain_config_default_group"),
    ("/domains/config/{group}/{option}/default", "domain_config_default_option"),
    ("/domains/{domain_id}/config/{group}", "domain_config_group"),
    ("/domains/{domain_id}/config/{group}/{option}", "domain_config_option"),
];

/// Whether the client prefers this to the list of versions.
pub fn wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|one| one.split(';').next().unwrap_or_default().trim() == TYPE)
}

/// The document, with addresses that begin with `prefix`.
pub fn document(prefix: &str) -> Result<Reply> {
    let mut resources = Map::new();
    for path in routes::v3().rows().iter().map(|row| row.path) {
        resources.entry(link(path)).or_insert_with(|| place(prefix, path));
    }
    Ok(Reply::json(StatusCode::OK, &json!({"resources": resources}))?.header("content-type", TYPE))
}

/// `{"href": "/users"}`, or how to make the address of variable parts.
fn place(prefix: &str, path: &str) -> Value {
    let variables: Map<String, Value> = path
        .split('/')
        .filter_map(|segment| Some(segment.strip_prefix('{')?.trim_end_matches('}')))
        .map(|name| (name.to_owned(), json!(format!("{DOCS}/param/{name}"))))
        .collect();
    if variables.is_empty() {
        return json!({"href": format!("{prefix}{path}")});
    }
    json!({"href-template": format!("{prefix}{path}"), "href-vars": variables})
}

/// The relation as a link: extensions have places of their own.
fn link(path: &str) -> String {
    let relation = NAMES.iter().find(|(known, _)| *known == path).map_or_else(|| relation(path), |(_, name)| (*name).to_owned());
    match path.split('/').find(|segment| segment.starts_with("OS-")) {
        Some(extension) => format!("{DOCS}/ext/{extension}/1.0/rel/{relation}"),
        None => format!("{DOCS}/rel/{relation}"),
    }
}

/// `/projects/{project_id}/users/{user_id}/roles` is `project_user_roles`: a word before a variable part is one thing of many.
fn relation(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty() && !segment.starts_with("OS-")).collect();
    let variable = |segment: &str| segment.starts_with('{');
    let words = segments.iter().enumerate().filter(|(_, segment)| !variable(segment)).map(|(index, segment)| {
        if segments.get(index + 1).is_some_and(|next| variable(next)) { singular(segment) } else { (*segment).to_owned() }
    });
    words.collect::<Vec<_>>().join("_")
}

fn singular(word: &str) -> String {
    match word.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_have_openstacks_names() {
        for (path, name) in [
            ("/users", "/rel/users"),
            ("/users/{user_id}", "/rel/user"),
            ("/projects/{project_id}/users/{user_id}/roles/{role_id}", "/rel/project_user_role"),
            ("/auth/tokens", "/rel/auth_tokens"),
            ("/policies/{policy_id}", "/rel/policy"),
            ("/users/{user_id}/password", "/rel/user_change_password"),
            ("/OS-TRUST/trusts/{trust_id}/roles", "/ext/OS-TRUST/1.0/rel/trust_roles"),
        ] {
            assert_eq!(link(path), format!("{DOCS}{name}"));
        }
        assert_eq!(place("/v3", "/users"), json!({"href": "/v3/users"}));
        let user = place("", "/users/{user_id}");
        assert_eq!(
            (&user["href-template"], &user["href-vars"]["user_id"]),
            (&json!("/users/{user_id}"), &json!(format!("{DOCS}/param/user_id")))
        );
    }
}
