//! Logging in: proof of who somebody is, by one or more methods ([`methods`]), and the scope they ask for ([`scope`]).
//!
//! Every way to fail answers the same 401 and takes as long as success, so that nobody learns who exists. Where a user's rules ask for
//! several methods, what was proved so far is kept in a receipt ([`receipt`]).

mod body;
pub mod methods;
pub mod receipt;
mod scope;

use kit::clock::Timestamp;
use kit::{Error, Result};

pub use body::{Auth, Login, Reference};
pub use scope::Asked;

use super::claims::{Claims, Method, Scope, new_audit_id};
use super::validate::Standing;
use crate::oauth1::signature::Signed;
use crate::{Keystone, application_credentials, oauth1, trusts, users};
use receipt::Receipt;

/// Who somebody has proved to be.
pub struct Proof {
    pub user: users::Model,
    pub methods: Vec<Method>,
    /// A token made from a token lives no longer than that.
    pub expires_at: Option<Timestamp>,
    /// The audit id at the head of the chain.
    pub audit_parent: Option<String>,
    pub application_credential: Option<application_credentials::Model>,
    pub access_token: Option<oauth1::access::Model>,
}

impl Proof {
    pub fn of(user: users::Model, method: Method) -> Proof {
        Proof { user, methods: vec![method], expires_at: None, audit_parent: None, application_credential: None, access_token: None }
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
            access_token: self.access_token.or(other.access_token),
        })
    }
}

/// How a login ended that was no failure.
pub enum LoggedIn {
    Whole(String, Box<Standing>),
    /// The user's rules ask for more methods.
    InPart(Box<Receipt>),
}

/// Checks all methods of a login and makes a token for the scope it asks for.
pub async fn log_in(keystone: &Keystone, auth: &Auth, signed: &Signed, receipt: Option<&str>) -> Result<LoggedIn> {
    auth.scope.iter().try_for_each(scope::check)?;
    let mut proof = prove_all(keystone, &auth.identity, signed).await?;
    if let Some(receipt) = receipt {
        proof.methods.extend(Receipt::open(keystone, receipt, &proof.user.id)?);
    }
    if let Some(receipt) = Receipt::if_needed(keystone, &proof) {
        return Ok(LoggedIn::InPart(Box::new(receipt)));
    }
    let of_credential = proof.application_credential.as_ref().map(|credential| &credential.project_id);
    let bound = of_credential.or(proof.access_token.as_ref().map(|token| &token.project_id)).cloned();
    let (token, standing) = match (bound, &auth.scope) {
        (Some(project), None) => grant(keystone, proof, Asked::of(Scope::Project(project))).await?,
        (Some(_), Some(_)) => return Err(Error::unauthorized()),
        (None, Some(asked)) => {
            let asked = scope::read(keystone, asked, &proof).await?;
            grant(keystone, proof, asked).await?
        }
        (None, None) => grant_default(keystone, proof).await?,
    };
    Ok(LoggedIn::Whole(token, Box::new(standing)))
}

async fn prove_all(keystone: &Keystone, identity: &body::IdentityBody, signed: &Signed) -> Result<Proof> {
    let mut proof: Option<Proof> = None;
    let mut done: Vec<&String> = Vec::new();
    for method in &identity.methods {
        if done.contains(&method) {
            continue;
        }
        done.push(method);
        let next = match method.as_str() {
            "oauth1" => oauth1::access::prove(keystone, signed).await?,
            _ => methods::prove(keystone, identity, method).await?,
        };
        proof = Some(match proof {
            None => next,
            Some(before) => before.and(next)?,
        });
    }
    proof.ok_or_else(|| Error::bad_request("Invalid input for field 'identity/methods': [] is too short"))
}

/// A token for what was proved.
pub async fn grant(keystone: &Keystone, proof: Proof, asked: Asked) -> Result<(String, Standing)> {
    let claims = claims(keystone, &proof, &asked);
    let standing = super::check(keystone, claims).await?;
    if let Some(trust) = asked.trust {
        keystone.write(move |tx| Box::pin(trusts::store::use_once(tx, trust))).await?;
    }
    Ok((keystone.keys.seal_token(&standing.claims), standing))
}

/// Without a scope: the user's default project if that works, else none.
async fn grant_default(keystone: &Keystone, proof: Proof) -> Result<(String, Standing)> {
    if let Some(project) = &proof.user.default_project_id {
        let claims = claims(keystone, &proof, &Asked::of(Scope::Project(project.clone())));
        match super::check(keystone, claims).await {
            Ok(standing) => return Ok((keystone.keys.seal_token(&standing.claims), standing)),
            Err(error) if error.kind == kit::Kind::Unauthorized => {}
            Err(error) => return Err(error),
        }
    }
    grant(keystone, proof, Asked::of(Scope::Unscoped)).await
}

fn claims(keystone: &Keystone, proof: &Proof, asked: &Asked) -> Claims {
    let now = Timestamp::now();
    // in one order, and each once, as the sealed form has them
    let methods = Method::ALL.into_iter().filter(|method| proof.methods.contains(method)).collect();
    let end = proof.expires_at.unwrap_or_else(|| now.plus(keystone.config.token_lifetime));
    let trust = asked.trust.as_ref();
    Claims {
        user_id: trust.map_or(&proof.user.id, trusts::Model::acting_user).clone(),
        methods,
        scope: asked.scope.clone(),
        issued_at: now,
        expires_at: trust.and_then(|trust| trust.expires_at).map_or(end, |trust_end| end.min(trust_end)),
        audit_ids: std::iter::once(new_audit_id()).chain(proof.audit_parent.clone()).collect(),
        application_credential_id: proof.application_credential.as_ref().map(|credential| credential.id.clone()),
        trust_id: trust.map(|trust| trust.id.clone()),
        access_token_id: proof.access_token.as_ref().map(|token| token.id.clone()),
    }
}
