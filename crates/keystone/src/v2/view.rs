//! A token and its catalog as v2.0 shows them. The catalog leads clients of that time to the APIs they speak: identity v2.0, compute v2.

use serde_json::{Map, Value, json};

use crate::tokens::validate::Standing;
use crate::tokens::view::fill;
use crate::{Config, projects};

/// `{"access": {...}}`
pub fn access(config: &Config, token: &str, standing: &Standing, tenant: Option<&projects::Model>) -> Value {
    let claims = &standing.claims;
    let mut shown = Map::new();
    shown.insert("issued_at".into(), claims.issued_at.to_micros().into());
    shown.insert("expires".into(), claims.expires_at.to_seconds_z().into());
    shown.insert("id".into(), token.into());
    if let Some(row) = tenant {
        shown.insert("tenant".into(), self::tenant(row));
    }
    shown.insert("audit_ids".into(), claims.audit_ids.clone().into());
    let roles: Vec<Value> = standing.roles.iter().map(|role| json!({"name": role.name})).collect();
    let role_ids: Vec<&str> = standing.roles.iter().map(|role| role.id.as_str()).collect();
    let catalog = tenant.map(|tenant| catalog(config, standing, &tenant.id)).unwrap_or_default();
    json!({"access": {
        "token": shown,
        "serviceCatalog": catalog,
        "user": {
            "username": standing.user.name, "roles_links": [], "id": standing.user.id, "name": standing.user.name, "roles": roles,
        },
        "metadata": {"is_admin": 0, "roles": role_ids},
    }})
}

/// A project as v2.0 shows it.
pub fn tenant(project: &projects::Model) -> Value {
    json!({"enabled": project.enabled, "description": project.description, "name": project.name, "id": project.id})
}

fn catalog(config: &Config, standing: &Standing, tenant_id: &str) -> Vec<Value> {
    let services = standing.reference.catalog.iter();
    services
        .map(|entry| {
            let kind = entry.service.r#type.as_str();
            // an endpoint of v2.0 is all interfaces of a region at once
            let mut regions: Vec<(String, Map<String, Value>)> = Vec::new();
            for endpoint in entry.endpoints.iter().filter(|endpoint| standing.reference.sees(Some(tenant_id), &endpoint.id)) {
                let Some(url) = fill(&endpoint.url, standing) else { continue };
                let region = endpoint.region_id.clone().unwrap_or_default();
                let at = regions.iter().position(|(known, _)| *known == region).unwrap_or(regions.len());
                if at == regions.len() {
                    let id = json!({"id": endpoint.id, "region": region});
                    regions.push((region, id.as_object().cloned().unwrap_or_default()));
                }
                if let Some((_, map)) = regions.get_mut(at) {
                    map.insert(format!("{}URL", endpoint.interface), address(config, kind, &endpoint.interface, &url, tenant_id).into());
                }
            }
            let endpoints: Vec<Value> = regions.into_iter().map(|(_, map)| Value::Object(map)).collect();
            json!({"endpoints": endpoints, "endpoints_links": [], "type": kind, "name": entry.service.name.as_deref().unwrap_or_default()})
        })
        .collect()
}

/// Where a client of v2.0's time finds a service.
fn address(config: &Config, kind: &str, interface: &str, url: &str, tenant_id: &str) -> String {
    match kind {
        "identity" if interface == "admin" => format!("{}/v2.0", config.admin_url.trim_end_matches('/')),
        "identity" => format!("{}/v2.0", url.trim_end_matches('/').trim_end_matches("/v3")),
        "compute" => match url.split_once("/v2.1") {
            Some((host, _)) => format!("{host}/v2/{tenant_id}"),
            None => url.to_owned(),
        },
        _ => url.to_owned(),
    }
}
