//! Tokens: logging in ([`auth`]), what a token claims ([`claims`], sealed by [`fernet`]), whether that still holds ([`validate`]), what one that
//! stands for less than its user may not do ([`delegation`]), and how it is shown ([`view`]). [`api`] has the operations below `/v3/auth`.

pub mod api;
pub mod auth;
pub mod claims;
pub mod delegation;
pub mod fernet;
pub mod revoked;
pub mod scopes;
pub mod standings;
pub mod validate;
pub mod view;

use std::sync::Arc;

use futures::future::BoxFuture;
use kit::context::{Identity, Named};
use kit::{Error, Result};

use crate::Keystone;
use claims::{Claims, Scope};
use validate::Standing;

/// What a token stands for now; `None` when it is no token of ours, has expired or was revoked.
pub async fn standing(keystone: &Keystone, token: &str) -> Result<Option<Arc<Standing>>> {
    if let Some(known) = keystone.standings.get(token) {
        return Ok(Some(known));
    }
    let Some(claims) = keystone.keys.open_token(token) else { return Ok(None) };
    let generation = keystone.standings.generation();
    let Some(standing) = validate::stands(keystone, claims).await?.map(Arc::new) else { return Ok(None) };
    keystone.standings.keep(token, generation, &standing);
    Ok(Some(standing))
}

/// Keystone's own check of the caller's token.
pub fn identify(keystone: Keystone, token: String) -> BoxFuture<'static, Result<Identity>> {
    Box::pin(async move {
        let standing = standing(&keystone, &token).await?.ok_or_else(Error::unauthorized)?;
        Ok(identity(&standing))
    })
}

/// A standing as kit's layers know it.
pub fn identity(standing: &Standing) -> Identity {
    let named = |thing: &validate::Named| Named { id: thing.id.clone(), name: thing.name.clone(), domain_id: thing.domain_id.clone() };
    let target = standing.target.as_ref().map(named);
    let (project, domain, system) = match standing.claims.scope {
        Scope::Unscoped => (None, None, false),
        Scope::Project(_) => (target, None, false),
        Scope::Domain(_) => (None, target, false),
        Scope::System => (None, None, true),
    };
    Identity {
        user: named(&standing.user),
        project,
        domain,
        system,
        roles: standing.roles.iter().map(|role| role.name.clone()).collect(),
        role_ids: standing.roles.iter().map(|role| role.id.clone()).collect(),
        expires_at: standing.claims.expires_at.0,
        is_domain: standing.is_domain,
        access_rules: standing.application_credential.as_ref().and_then(|credential| credential.access_rules.clone()),
    }
}

/// What claims stand for, if they hold: the last check of every login.
pub async fn check(keystone: &Keystone, claims: Claims) -> Result<Standing> {
    validate::stands(keystone, claims).await?.ok_or_else(Error::unauthorized)
}
