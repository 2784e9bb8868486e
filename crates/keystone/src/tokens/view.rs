//! A token as v3 shows it, and the catalog in it.

use kit::clock::Timestamp;
use serde_json::{Map, Value, json};

use super::claims::Scope;
use super::validate::{Named, Standing};

/// `{"token": {...}}`, with the catalog if it is wanted.
pub fn token(standing: &Standing, with_catalog: bool) -> Value {
    let claims = &standing.claims;
    let mut user = named(&standing.user);
    user.insert("password_expires_at".into(), standing.password_expires_at.map(Timestamp::to_micros).into());
    let mut token = Map::new();
    token.insert("methods".into(), claims.methods.iter().map(|method| method.name()).collect());
    token.insert("user".into(), user.into());
    token.insert("audit_ids".into(), claims.audit_ids.clone().into());
    token.insert("expires_at".into(), claims.expires_at.to_micros_z().into());
    token.insert("issued_at".into(), claims.issued_at.to_micros_z().into());
    match (&claims.scope, &standing.target) {
        (Scope::Project(_), Some(project)) => {
            token.insert("project".into(), named(project).into());
            token.insert("is_domain".into(), standing.is_domain.into());
        }
        (Scope::Domain(_), Some(domain)) => {
            token.insert("domain".into(), json!({"id": domain.id, "name": domain.name}));
        }
        (Scope::System, _) => {
            token.insert("system".into(), json!({"all": true}));
        }
        (Scope::Project(_) | Scope::Domain(_) | Scope::Unscoped, _) => {}
    }
    if let Some(credential) = &standing.application_credential {
        let mut shown = json!({"id": credential.id, "name": credential.name, "restricted": !credential.unrestricted});
        if let (Some(rules), Value::Object(map)) = (&credential.access_rules, &mut shown) {
            map.insert("access_rules".into(), json!(rules));
        }
        token.insert("application_credential".into(), shown);
    }
    if let Some(trust) = &standing.trust {
        let (trustor, trustee) = (json!({"id": trust.trustor_user_id}), json!({"id": trust.trustee_user_id}));
        let shown = json!({"id": trust.id, "impersonation": trust.impersonation, "trustor_user": trustor, "trustee_user": trustee});
        token.insert("OS-TRUST:trust".into(), shown);
    }
    if let Some(access) = &standing.access_token {
        token.insert("OS-OAUTH1".into(), json!({"access_token_id": access.id, "consumer_id": access.consumer_id}));
    }
    if !standing.reference.service_providers.is_empty() {
        token.insert("service_providers".into(), standing.reference.service_providers.clone().into());
    }
    if claims.scope != Scope::Unscoped {
        token.insert("roles".into(), standing.roles.iter().map(|role| json!({"id": role.id, "name": role.name})).collect());
        if with_catalog {
            token.insert("catalog".into(), catalog(standing).into());
        }
    }
    json!({"token": token})
}

/// The services that the token's holder can reach.
pub fn catalog(standing: &Standing) -> Vec<Value> {
    let services = standing.reference.catalog.iter();
    let project = project(standing).map(|project| project.id.as_str());
    services
        .map(|entry| {
            let seen = entry.endpoints.iter().filter(|endpoint| standing.reference.sees(project, &endpoint.id));
            let endpoints = seen.filter_map(|endpoint| {
                let url = fill(&endpoint.url, standing)?;
                Some(json!({
                    "id": endpoint.id, "interface": endpoint.interface, "region": endpoint.region_id, "region_id": endpoint.region_id, "url": url,
                }))
            });
            json!({
                "id": entry.service.id, "type": entry.service.r#type, "name": entry.service.name.as_deref().unwrap_or_default(),
                "endpoints": endpoints.collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// An endpoint's address with `$(project_id)s` and its like filled in; `None` when the token has no such thing.
pub fn fill(template: &str, standing: &Standing) -> Option<String> {
    let project = project(standing);
    let mut url = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = split_placeholder(rest) {
        let (name, after) = after.split_once(")s")?;
        url.push_str(before);
        url.push_str(match name {
            "project_id" | "tenant_id" => &project?.id,
            "user_id" => &standing.user.id,
            _ => return None,
        });
        rest = after;
    }
    url.push_str(rest);
    Some(url)
}

fn project(standing: &Standing) -> Option<&Named> {
    match standing.claims.scope {
        Scope::Project(_) => standing.target.as_ref(),
        Scope::Unscoped | Scope::Domain(_) | Scope::System => None,
    }
}

fn split_placeholder(text: &str) -> Option<(&str, &str)> {
    let at = text.find("$(").into_iter().chain(text.find("%(")).min()?;
    Some((text.get(..at)?, text.get(at + 2..)?))
}

fn named(thing: &Named) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("id".into(), thing.id.clone().into());
    map.insert("name".into(), thing.name.clone().into());
    map.insert("domain".into(), json!({"id": thing.domain_id, "name": thing.domain_name}));
    map
}
