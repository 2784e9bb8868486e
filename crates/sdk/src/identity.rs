//! Identity v3: what services and tools ask of keystone.

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

impl Identity {
    pub fn new(endpoint: Endpoint) -> Identity {
        Identity(endpoint)
    }

    /// What `subject` speaks for; 404 when it is no valid token.
    pub async fn validate(&self, auth: &Auth, subject: &str) -> Result<Token> {
        let path = "/v3/auth/tokens?nocatalog";
        let answer = self.0.call_with(auth, http::Method::GET, path, None::<&Value>, &[("x-subject-token", subject)]).await?;
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
