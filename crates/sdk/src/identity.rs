//! Identity v3: what services and tools ask of keystone.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Auth, Endpoint, Error, Result};

/// Keystone.
#[derive(Clone)]
pub struct Identity(pub Endpoint);

/// What keystone says about a token.
#[derive(Clone, Debug, Deserialize)]
pub struct Token {
    pub user: Named,
    #[serde(default)]
    pub project: Option<Named>,
    #[serde(default)]
    pub domain: Option<Named>,
    #[serde(default)]
    pub system: Option<Value>,
    #[serde(default)]
    pub roles: Vec<Role>,
    pub expires_at: String,
    #[serde(default)]
    pub is_domain: bool,
    #[serde(default)]
    pub catalog: Vec<Value>,
    #[serde(default)]
    pub application_credential: Option<ApplicationCredential>,
}

/// The application credential behind a token.
#[derive(Clone, Debug, Deserialize)]
pub struct ApplicationCredential {
    /// What it may call, when that is narrowed.
    #[serde(default)]
    pub access_rules: Option<Vec<AccessRule>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct AccessRule {
    pub id: String,
    pub service: String,
    pub path: String,
    pub method: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub domain: Option<Domain>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Domain {
    pub id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Role {
    pub id: String,
    pub name: String,
}

/// A service of the catalog.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub r#type: String,
    #[serde(default)]
    pub endpoints: Vec<Place>,
}

/// A service as keystone has it.
#[derive(Deserialize)]
struct Registered {
    id: String,
}

/// A registered limit, or a project's own.
#[derive(Deserialize)]
struct Limit {
    resource_name: String,
    #[serde(default)]
    default_limit: Option<i64>,
    #[serde(default)]
    resource_limit: Option<i64>,
    #[serde(default)]
    project_id: Option<String>,
}

/// Where a service answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Place {
    /// `public`, `internal` or `admin`.
    pub interface: String,
    #[serde(default)]
    pub region: Option<String>,
    pub url: String,
}

impl Identity {
    pub fn new(endpoint: Endpoint) -> Identity {
        Identity(endpoint)
    }

    /// What `subject` speaks for; 404 when it is no valid token.
    pub async fn validate(&self, auth: &Auth, subject: &str) -> Result<Token> {
        self.ask(auth, subject, "/v3/auth/tokens?nocatalog").await
    }

    /// The same, also for a token that ended not long ago; only services may ask so.
    pub async fn validate_expired(&self, auth: &Auth, subject: &str) -> Result<Token> {
        self.ask(auth, subject, "/v3/auth/tokens?nocatalog&allow_expired=1").await
    }

    /// What the caller's token may call, and where.
    pub async fn catalog(&self, auth: &Auth) -> Result<Vec<Service>> {
        self.0.get(auth, "/v3/auth/catalog").await?.take("catalog")
    }

    /// What a project may have of a service's resources: what is registered for all projects, and what is said of this one.
    pub async fn limits(&self, auth: &Auth, service_type: &str, project: &str) -> Result<BTreeMap<String, i64>> {
        let services: Vec<Registered> = self.0.get(auth, &format!("/v3/services?type={service_type}")).await?.take("services")?;
        let Some(service) = services.into_iter().next() else { return Ok(BTreeMap::new()) };
        let of_service = format!("service_id={}", service.id);
        let common: Vec<Limit> = self.0.get(auth, &format!("/v3/registered_limits?{of_service}")).await?.take("registered_limits")?;
        let own: Vec<Limit> = self.0.get(auth, &format!("/v3/limits?{of_service}&project_id={project}")).await?.take("limits")?;
        let mut limits = BTreeMap::new();
        for limit in common.into_iter().chain(own.into_iter().filter(|limit| limit.project_id.as_deref() == Some(project))) {
            if let Some(value) = limit.resource_limit.or(limit.default_limit) {
                limits.insert(limit.resource_name, value);
            }
        }
        Ok(limits)
    }

    async fn ask(&self, auth: &Auth, subject: &str, path: &str) -> Result<Token> {
        // keystone names tokens that are narrowed by access rules only to those who know such
        let headers = [("x-subject-token", subject), ("openstack-identity-access-rules", "1.0")];
        let answer = self.0.call_with(auth, http::Method::GET, path, None::<&Value>, &headers).await?;
        answer.take("token")
    }

    /// A token of a user of domain Default, scoped to a project of it.
    pub async fn login(&self, user: &str, password: &str, project: &str) -> Result<String> {
        let domain = json!({"id": "default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": password}}},
            "scope": {"project": {"name": project, "domain": domain}},
        }});
        let answer = self.0.post(&Auth::nobody(), "/v3/auth/tokens", &body).await?;
        answer.header("x-subject-token").map(str::to_owned).ok_or_else(|| Error::silent("keystone answered without a token"))
    }
}
