//! What every handler knows of its request: who asks, with which token, at which version, under which request id.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::microversion::Microversion;
use crate::policy::{Policy, Target};
use crate::{Error, Result};

/// The request at hand. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// `req-<uuid>`, ours.
    pub request_id: Arc<str>,
    /// Who is calling; absent on routes that need no token.
    pub identity: Option<Arc<Identity>>,
    /// The caller's token as it came.
    pub token: Arc<str>,
    /// A service calls in the user's name: the service's own identity.
    pub service: Option<Arc<Identity>>,
    pub version: Microversion,
    /// False on paths of an older API generation that ignores what it does not know.
    pub strict: bool,
    /// `http://host:port` as the client sees it, for links.
    pub base_url: Arc<str>,
    /// The path before the resource: `/v2.1`, with the project segment if the request had one.
    pub prefix: Arc<str>,
    /// When the request came, and when keystone had said who it is from.
    pub arrived: Timestamp,
    pub identified: Timestamp,
    /// The policy rule of the route that was taken.
    pub rule: &'static str,
    pub(crate) policy: Arc<Policy>,
}

/// Who a token speaks for, as keystone said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub user: Named,
    /// The scope: at most one of these three.
    pub project: Option<Named>,
    pub domain: Option<Named>,
    pub system: bool,
    /// Names of the roles, implied ones included.
    pub roles: Vec<String>,
    pub role_ids: Vec<String>,
    pub expires_at: i64,
    /// The project is one that acts as a domain.
    pub is_domain: bool,
    /// What the token may call, when it comes from an application credential that is narrowed to that.
    #[serde(default)]
    pub access_rules: Option<Vec<AccessRule>>,
}

/// A request that an application credential is for: a service of the catalog, a method, and a path in which `*` is any one segment,
/// `**` any number of them, and `{name}` any one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    pub id: String,
    pub service: String,
    pub path: String,
    pub method: String,
}

/// A user, project or domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub id: String,
    pub name: String,
    /// The domain it is in; its own id for a domain.
    pub domain_id: String,
}

impl AccessRule {
    /// Whether a request is the one this rule is for.
    pub fn allows(&self, services: &[&str], method: &str, path: &str) -> bool {
        let (wanted, path): (Vec<&str>, Vec<&str>) = (self.path.split('/').collect(), path.split('/').collect());
        services.contains(&self.service.as_str()) && self.method == method && fits(&wanted, &path)
    }
}

/// Whether a path fits a pattern, segment by segment.
fn fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skip| path.get(skip..).is_some_and(|path| fits(rest, path))),
        (Some((first, pattern)), Some((segment, path))) => {
            let any = *first == "*" || (first.starts_with('{') && first.ends_with('}'));
            ((any && !segment.is_empty()) || first == segment) && fits(pattern, path)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

impl Identity {
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|have| have.eq_ignore_ascii_case(role))
    }
}

impl Context {
    /// The identity; 401 on a route without a token.
    pub fn identity(&self) -> Result<&Identity> {
        self.identity.as_deref().ok_or_else(Error::unauthorized)
    }

    /// The project the token is scoped to.
    pub fn project_id(&self) -> Result<&str> {
        let project = self.identity()?.project.as_ref();
        project.map(|p| p.id.as_str()).ok_or_else(|| Error::forbidden("This operation needs a token that is scoped to a project."))
    }

    pub fn user_id(&self) -> Result<&str> {
        Ok(&self.identity()?.user.id)
    }

    pub fn is_admin(&self) -> bool {
        self.identity.as_deref().is_some_and(|identity| identity.has_role("admin"))
    }

    /// An administrator, or a service on its own or in a user's name.
    pub fn is_service_or_admin(&self) -> bool {
        let service = |identity: &Option<Arc<Identity>>| identity.as_deref().is_some_and(|i| i.has_role("service"));
        self.is_admin() || service(&self.identity) || service(&self.service)
    }

    /// Whether the caller's version has what began at `since`.
    pub fn speaks(&self, since: Microversion) -> bool {
        self.version >= since
    }

    /// Whether `rule` lets the caller act on something that belongs to `target`.
    pub fn allows(&self, rule: &str, target: &Target) -> bool {
        self.identity.as_deref().is_some_and(|identity| self.policy.check(rule, identity, target))
    }

    /// 403 unless `rule` lets the caller act on `target`.
    pub fn enforce(&self, rule: &str, target: &Target) -> Result<()> {
        if self.allows(rule, target) {
            return Ok(());
        }
        Err(Error::forbidden(format!("Policy doesn't allow {rule} to be performed.")).code("PolicyNotAuthorized"))
    }

    /// 403 unless the rule of this route lets the caller act on `target`; for routes whose check is deferred to the handler.
    pub fn authorize(&self, target: &Target) -> Result<()> {
        self.identity()?;
        self.enforce(self.rule, target)
    }

    /// For whom messages on the bus are sent.
    pub fn caller(&self) -> rpc::Caller {
        let identity = self.identity.as_deref();
        rpc::Caller {
            request_id: self.request_id.to_string(),
            user_id: identity.map(|i| i.user.id.clone()).unwrap_or_default(),
            project_id: identity.and_then(|i| i.project.as_ref()).map(|p| p.id.clone()).unwrap_or_default(),
            token: self.token.to_string(),
        }
    }

    /// For calls to the other services in the caller's name.
    pub fn auth(&self) -> sdk::Auth {
        sdk::Auth::user(&self.token, &self.request_id)
    }

    /// A link below this API, as the client sees it: `http://host:8774/v2.1/servers/...`
    pub fn link(&self, path: &str) -> String {
        format!("{}{}{path}", self.base_url, self.prefix)
    }

    /// The same without the API's version, which compute calls a bookmark: `http://host:8774/servers/...`
    pub fn bookmark(&self, path: &str) -> String {
        let unversioned = self.prefix.trim_start_matches('/').split_once('/').map(|(_, rest)| format!("/{rest}")).unwrap_or_default();
        format!("{}{unversioned}{path}", self.base_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_rules_name_paths_with_gaps() {
        let rule = |path: &str| AccessRule { service: "compute".into(), path: path.into(), method: "GET".into(), id: String::new() };
        let allows = |pattern: &str, path: &str| rule(pattern).allows(&["compute"], "GET", path);
        assert!(allows("/v2.1/servers", "/v2.1/servers") && !allows("/v2.1/servers", "/v2.1/servers/1"));
        assert!(allows("/v2.1/servers/*", "/v2.1/servers/1") && !allows("/v2.1/servers/*", "/v2.1/servers/1/ips"));
        assert!(allows("/v2.1/{tenant}/servers", "/v2.1/x/servers") && !allows("/v2.1/{tenant}/servers", "/v2.1/servers"));
        assert!(allows("/v2.1/**", "/v2.1/servers/1/ips") && allows("/**/ips", "/v2.1/servers/1/ips"));
        assert!(!rule("/**").allows(&["image"], "GET", "/v2") && !rule("/**").allows(&["compute"], "POST", "/v2"));
    }
}
