//! Logging in: proof of who somebody is, by one or more methods, and the scope they ask for.
//!
//! Every way to fail answers the same 401 and takes as long as success, so that nobody learns who exists.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::EntityTrait;
use serde::Deserialize;
use serde_json::Value;

use super::claims::{Claims, Method, Scope, new_audit_id};
use super::validate::Standing;
use crate::{Keystone, application_credentials, projects, users};

/// The body of `POST /v3/auth/tokens`.
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

/// Who somebody has proved to be.
pub struct Proof {
    pub user: users::Model,
    pub methods: Vec<Method>,
    /// A token made from a token lives no longer than that.
    pub expires_at: Option<Timestamp>,
    /// The audit id at the head of the chain.
    pub audit_parent: Option<String>,
    pub application_credential: Option<application_credentials::Model>,
}

impl Proof {
    fn of(user: users::Model, method: Method) -> Proof {
        Proof { user, methods: vec![method], expires_at: None, audit_parent: None, application_credential: None }
    }

    /// Two methods must prove the same user.
    fn and(self, other: Proof) -> Result<Proof> {
        if self.user.id != other.user.id {
            return Err(Error::unauthorized());
        }
        let methods = self.methods.into_iter().chain(other.methods).collect();
        Ok(Proof {
            user: self.user,
            methods,
            expires_at: self.expires_at.or(other.expires_at),
            audit_parent: self.audit_parent.or(other.audit_parent),
            application_credential: self.application_credential.or(other.application_credential),
        })
    }
}

/// Checks all methods of a login and makes a token for the scope it asks for.
pub async fn log_in(keystone: &Keystone, auth: &Auth) -> Result<(String, Standing)> {
    let mut proof: Option<Proof> = None;
    for method in &auth.identity.methods {
        let next = prove(keystone, &auth.identity, method).await?;
        proof = Some(match proof {
            None => next,
            Some(before) => before.and(next)?,
        });
    }
    let proof = proof.ok_or_else(|| Error::bad_request("Invalid input for field 'identity/methods': [] is too short"))?;
    match (&proof.application_credential, &auth.scope) {
        (Some(credential), None) => {
            let scope = Scope::Project(credential.project_id.clone());
            grant(keystone, proof, scope).await
        }
        (Some(_), Some(_)) => Err(Error::unauthorized()),
        (None, Some(asked)) => {
            let scope = scope(keystone, asked).await?;
            grant(keystone, proof, scope).await
        }
        (None, None) => grant_default(keystone, proof).await,
    }
}

/// A token for what was proved.
pub async fn grant(keystone: &Keystone, proof: Proof, scope: Scope) -> Result<(String, Standing)> {
    super::issue(keystone, claims(keystone, &proof, scope)).await
}

/// Without a scope: the user's default project if that works, else none.
async fn grant_default(keystone: &Keystone, proof: Proof) -> Result<(String, Standing)> {
    if let Some(project) = &proof.user.default_project_id {
        let claims = claims(keystone, &proof, Scope::Project(project.clone()));
        match super::issue(keystone, claims).await {
            Err(error) if error.kind == kit::Kind::Unauthorized => {}
            outcome => return outcome,
        }
    }
    grant(keystone, proof, Scope::Unscoped).await
}

fn claims(keystone: &Keystone, proof: &Proof, scope: Scope) -> Claims {
    let now = Timestamp::now();
    // in one order, and each once, as the sealed form has them
    let methods = Method::ALL.into_iter().filter(|method| proof.methods.contains(method)).collect();
    Claims {
        user_id: proof.user.id.clone(),
        methods,
        scope,
        issued_at: now,
        expires_at: proof.expires_at.unwrap_or_else(|| now.plus(keystone.config.token_lifetime)),
        audit_ids: std::iter::once(new_audit_id()).chain(proof.audit_parent.clone()).collect(),
        application_credential_id: proof.application_credential.as_ref().map(|credential| credential.id.clone()),
    }
}

async fn prove(keystone: &Keystone, identity: &IdentityBody, method: &str) -> Result<Proof> {
    let missing = || Error::bad_request(format!("Expecting to find {method} in identity. The server could not comply with the request."));
    match method {
        "password" => {
            let user = &identity.password.as_ref().ok_or_else(missing)?.user;
            by_password(keystone, &user.who, &user.password).await
        }
        "token" => by_token(keystone, &identity.token.as_ref().ok_or_else(missing)?.id).await,
        "application_credential" => {
            by_application_credential(keystone, identity.application_credential.as_ref().ok_or_else(missing)?).await
        }
        _ => Err(Error::unauthorized()),
    }
}

/// The user has this password and is enabled (that the domain is too is checked with the token).
pub async fn by_password(keystone: &Keystone, who: &Reference, password: &str) -> Result<Proof> {
    let user = find_user(keystone, who).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
    let right = keystone.passwords.verify(password, hash).await?;
    match user {
        Some(user) if right && user.enabled => Ok(Proof::of(user, Method::Password)),
        Some(_) | None => Err(Error::unauthorized()),
    }
}

/// The user has a valid token, which the new one continues.
pub async fn by_token(keystone: &Keystone, token: &str) -> Result<Proof> {
    let standing = super::standing(keystone, token).await?.ok_or_else(Error::unauthorized)?;
    let claims = &standing.claims;
    if claims.application_credential_id.is_some() {
        return Err(crate::fault::refused("rescope a token of an application credential."));
    }
    let user = users::Entity::find_by_id(&claims.user_id).one(keystone.db.read()).await?.ok_or_else(Error::unauthorized)?;
    let methods = claims.methods.iter().copied().filter(|method| *method != Method::Token).collect::<Vec<_>>();
    Ok(Proof {
        user,
        methods: std::iter::once(Method::Token).chain(methods).collect(),
        expires_at: Some(claims.expires_at),
        audit_parent: claims.audit_ids.last().cloned(),
        application_credential: None,
    })
}

async fn by_application_credential(keystone: &Keystone, body: &ApplicationCredentialBody) -> Result<Proof> {
    let db = keystone.db.read();
    let credential = match (&body.id, &body.name, &body.user) {
        (Some(id), _, _) => application_credentials::Entity::find_by_id(id).one(db).await?,
        (None, Some(name), Some(user)) => match find_user(keystone, user).await? {
            Some(user) => application_credentials::store::by_name(db, &user.id, name).await?,
            None => None,
        },
        (None, _, _) => return Err(Error::bad_request("Expecting to find id, or name and user, in application_credential.")),
    };
    let hash = credential.as_ref().map(|credential| credential.secret_hash.as_str());
    let right = keystone.passwords.verify(&body.secret, hash).await?;
    let Some(credential) = credential.filter(|_| right) else { return Err(Error::unauthorized()) };
    let user = users::Entity::find_by_id(&credential.user_id).one(db).await?.ok_or_else(Error::unauthorized)?;
    let mut proof = Proof::of(user, Method::ApplicationCredential);
    proof.application_credential = Some(credential);
    Ok(proof)
}

async fn find_user(keystone: &Keystone, who: &Reference) -> Result<Option<users::Model>> {
    let db = keystone.db.read();
    match (&who.id, &who.name) {
        (Some(id), _) => Ok(users::Entity::find_by_id(id).one(db).await?),
        (None, Some(name)) => {
            let domain = who.domain.as_ref().ok_or_else(|| expecting("domain", "user"))?;
            match find_domain(keystone, domain).await? {
                Some(domain_id) => users::store::by_name(db, &domain_id, name).await,
                None => Ok(None),
            }
        }
        (None, None) => Err(expecting("id or name", "user")),
    }
}

/// The id of a domain that may not exist.
async fn find_domain(keystone: &Keystone, domain: &Reference) -> Result<Option<String>> {
    match (&domain.id, &domain.name) {
        (Some(id), _) => Ok(Some(id.clone())),
        (None, Some(name)) => Ok(projects::store::by_name(keystone.db.read(), "", name).await?.map(|domain| domain.id)),
        (None, None) => Err(expecting("id or name", "domain")),
    }
}

/// Reads `scope`: a project, a domain, the system, or none on purpose.
async fn scope(keystone: &Keystone, asked: &Value) -> Result<Scope> {
    let reference = |value: &Value| {
        Reference::deserialize(value).map_err(|error| Error::bad_request(format!("Invalid input for field 'scope': {error}")))
    };
    if asked == "unscoped" || asked.get("unscoped").is_some() {
        return Ok(Scope::Unscoped);
    }
    if let Some(project) = asked.get("project") {
        return find_project(keystone, &reference(project)?).await;
    }
    if let Some(domain) = asked.get("domain") {
        let id = find_domain(keystone, &reference(domain)?).await?;
        return id.map(Scope::Domain).ok_or_else(Error::unauthorized);
    }
    match asked.get("system") {
        Some(system) if system.get("all") == Some(&Value::Bool(true)) => Ok(Scope::System),
        Some(_) | None => Err(Error::bad_request("Expecting to find project, domain, system or OS-TRUST:trust in scope.")),
    }
}

async fn find_project(keystone: &Keystone, project: &Reference) -> Result<Scope> {
    let id = match (&project.id, &project.name) {
        (Some(id), _) => Some(id.clone()),
        (None, Some(name)) => {
            let domain = project.domain.as_ref().ok_or_else(|| expecting("domain", "project"))?;
            match find_domain(keystone, domain).await? {
                Some(domain_id) => projects::store::by_name(keystone.db.read(), &domain_id, name).await?.map(|project| project.id),
                None => None,
            }
        }
        (None, None) => return Err(expecting("id or name", "project")),
    };
    id.map(Scope::Project).ok_or_else(Error::unauthorized)
}

fn expecting(what: &str, place: &str) -> Error {
    Error::bad_request(format!(
        "Expecting to find {what} in {place}. The server could not comply with the request since it is either malformed or otherwise \
         incorrect. The client is assumed to be in error."
    ))
}
