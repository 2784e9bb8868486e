//! Tokens that stand for less than their user: by a trust, an application credential, a program's access token or a signed request. What
//! would let them outlive or outgrow what they were given is refused them, as keystone does.

use std::sync::Arc;

use kit::{Context, Error, Result};

use super::claims::{Claims, Method};
use super::validate::Standing;
use crate::{Keystone, fault};

impl Claims {
    /// Whether the token is a program's, or came of a signed request.
    pub fn is_by_key(&self) -> bool {
        self.access_token_id.is_some() || self.methods.contains(&Method::Ec2)
    }

    fn is_delegated(&self) -> bool {
        self.is_by_key() || self.trust_id.is_some() || self.application_credential_id.is_some()
    }
}

/// Only a user's own login reads or makes secrets: a key made by less would open all that the user may.
pub async fn no_secrets(keystone: &Keystone, ctx: &Context) -> Result<()> {
    if caller(keystone, ctx).await?.claims.is_delegated() {
        return Err(fault::refused("Delegated tokens cannot access credentials directly."));
    }
    Ok(())
}

/// Application credentials are managed by a user's own login, or by one of them that is unrestricted: a leaked one would renew itself.
pub async fn no_application_credentials(keystone: &Keystone, ctx: &Context) -> Result<()> {
    let caller = caller(keystone, ctx).await?;
    unrestricted(&caller)?;
    if caller.claims.is_by_key() || caller.claims.trust_id.is_some() {
        return Err(Error::forbidden("Cannot manage application credentials with a token issued via delegation."));
    }
    Ok(())
}

/// Trusts are passed on by trusts, but made by nothing else that stands for less.
pub async fn no_trusts(keystone: &Keystone, ctx: &Context) -> Result<()> {
    let caller = caller(keystone, ctx).await?;
    unrestricted(&caller)?;
    if caller.claims.is_by_key() {
        return Err(fault::refused("Delegated tokens cannot manage trusts."));
    }
    Ok(())
}

async fn caller(keystone: &Keystone, ctx: &Context) -> Result<Arc<Standing>> {
    super::standing(keystone, &ctx.token).await?.ok_or_else(Error::unauthorized)
}

fn unrestricted(caller: &Standing) -> Result<()> {
    match &caller.application_credential {
        Some(credential) if !credential.unrestricted => {
            Err(fault::refused("manage application credentials with a restricted application credential."))
        }
        Some(_) | None => Ok(()),
    }
}
