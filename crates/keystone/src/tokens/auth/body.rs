//! The body of `POST /v3/auth/tokens`.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub struct Login {
    pub auth: Auth,
}

#[derive(Deserialize)]
pub struct Auth {
    pub identity: IdentityBody,
    #[serde(default)]
    pub scope: Option<Value>,
}

#[derive(Deserialize)]
pub struct IdentityBody {
    pub methods: Vec<String>,
    #[serde(default)]
    pub password: Option<PasswordBody>,
    #[serde(default)]
    pub token: Option<TokenBody>,
    #[serde(default)]
    pub totp: Option<TotpBody>,
    #[serde(default)]
    pub application_credential: Option<ApplicationCredentialBody>,
}

#[derive(Deserialize)]
pub struct PasswordBody {
    pub user: UserBody,
}

#[derive(Deserialize)]
pub struct UserBody {
    #[serde(flatten)]
    pub who: Reference,
    pub password: String,
}

#[derive(Deserialize)]
pub struct TokenBody {
    pub id: String,
}

#[derive(Deserialize)]
pub struct TotpBody {
    pub user: TotpUserBody,
}

#[derive(Deserialize)]
pub struct TotpUserBody {
    #[serde(flatten)]
    pub who: Reference,
    pub passcode: String,
}

#[derive(Deserialize)]
pub struct ApplicationCredentialBody {
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub user: Option<Reference>,
    pub secret: String,
}

/// A user or project by id, or by name in a domain; a domain by id or name.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reference {
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub domain: Option<Box<Reference>>,
}

impl Reference {
    /// The same text for the same reference: by what failed logins are counted.
    pub fn account(&self) -> String {
        let domain = self.domain.as_ref().map(|domain| (domain.id.as_deref(), domain.name.as_deref()));
        format!("{:?} {:?} {domain:?}", self.id, self.name)
    }
}
