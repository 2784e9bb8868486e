//! What a login asks to act on: a project, a domain, the system, a trust, or nothing on purpose.

use kit::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Proof;
use super::body::Reference;
use crate::tokens::claims::Scope;
use crate::{Keystone, fault, projects, trusts};

/// A scope, and the trust through which it is had.
pub struct Asked {
    pub scope: Scope,
    pub trust: Option<trusts::Model>,
}

impl Asked {
    pub fn of(scope: Scope) -> Asked {
        Asked { scope, trust: None }
    }
}

/// What a scope can be.
const KINDS: [&str; 5] = ["system", "project", "domain", "OS-TRUST:trust", "unscoped"];

/// Checks that `scope` names one thing, before anybody's proof is looked at.
pub fn check(asked: &Value) -> Result<()> {
    match asked == "unscoped" || KINDS.iter().filter(|kind| asked.get(**kind).is_some()).count() == 1 {
        true => Ok(()),
        false => Err(fault::expecting("system, project, domain, OS-TRUST:trust or unscoped", "scope")),
    }
}

/// Reads a `scope` that was [checked](check).
pub async fn read(keystone: &Keystone, asked: &Value, proof: &Proof) -> Result<Asked> {
    let reference = |value: &Value| {
        Reference::deserialize(value).map_err(|error| Error::bad_request(format!("Invalid input for field 'scope': {error}")))
    };
    if asked == "unscoped" || asked.get("unscoped").is_some() {
        return Ok(Asked::of(Scope::Unscoped));
    }
    if let Some(trust) = asked.get("OS-TRUST:trust") {
        let id = reference(trust)?.id.ok_or_else(|| fault::expecting("id", "OS-TRUST:trust"))?;
        return by_trust(keystone, &id, proof).await;
    }
    if let Some(project) = asked.get("project") {
        return find_project(keystone, &reference(project)?).await.map(Asked::of);
    }
    if let Some(domain) = asked.get("domain") {
        let id = find_domain(keystone, &reference(domain)?).await?;
        return id.map(Scope::Domain).map(Asked::of).ok_or_else(Error::unauthorized);
    }
    match asked.get("system") {
        Some(system) if system.get("all") == Some(&Value::Bool(true)) => Ok(Asked::of(Scope::System)),
        Some(_) | None => Err(fault::expecting("all", "system")),
    }
}

/// Only the trustee may use a trust; for everybody else it is as if there were none.
async fn by_trust(keystone: &Keystone, id: &str, proof: &Proof) -> Result<Asked> {
    let trust = trusts::store::usable(keystone.db.read(), id).await?.ok_or_else(Error::unauthorized)?;
    if trust.trustee_user_id != proof.user.id {
        return Err(Error::unauthorized());
    }
    let scope = trust.project_id.clone().map_or(Scope::Unscoped, Scope::Project);
    Ok(Asked { scope, trust: Some(trust) })
}

async fn find_project(keystone: &Keystone, project: &Reference) -> Result<Scope> {
    let id = match (&project.id, &project.name) {
        (Some(id), _) => Some(id.clone()),
        (None, Some(name)) => {
            let domain = project.domain.as_ref().ok_or_else(|| fault::expecting("domain", "project"))?;
            match find_domain(keystone, domain).await? {
                Some(domain_id) => projects::store::by_name(keystone.db.read(), &domain_id, name).await?.map(|project| project.id),
                None => None,
            }
        }
        (None, None) => return Err(fault::expecting("id or name", "project")),
    };
    id.map(Scope::Project).ok_or_else(Error::unauthorized)
}

/// The id of a domain that may not exist.
pub async fn find_domain(keystone: &Keystone, domain: &Reference) -> Result<Option<String>> {
    match (&domain.id, &domain.name) {
        (Some(id), _) => Ok(Some(id.clone())),
        (None, Some(name)) => Ok(projects::store::by_name(keystone.db.read(), "", name).await?.map(|domain| domain.id)),
        (None, None) => Err(fault::expecting("id or name", "domain")),
    }
}
