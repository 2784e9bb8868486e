//! The methods of a login: password, token, application credential, time-based one-time password.

use kit::clock::Timestamp;
use kit::{Error, Kind, Result};
use sea_orm::EntityTrait;

use super::body::{ApplicationCredentialBody, IdentityBody, Reference};
use super::{Proof, scope};
use crate::tokens::claims::{Method, Scope};
use crate::{Keystone, application_credentials, credentials, fault, tokens, users};

/// One method of a login.
pub async fn prove(keystone: &Keystone, identity: &IdentityBody, method: &str) -> Result<Proof> {
    let missing = || Error::bad_request(format!("Expecting to find {method} in identity. The server could not comply with the request."));
    match method {
        "password" => {
            let user = &identity.password.as_ref().ok_or_else(missing)?.user;
            by_password(keystone, &user.who, &user.password).await
        }
        "token" => by_token(keystone, &identity.token.as_ref().ok_or_else(missing)?.id).await,
        "totp" => {
            let user = &identity.totp.as_ref().ok_or_else(missing)?.user;
            by_totp(keystone, &user.who, &user.passcode).await
        }
        "application_credential" => {
            by_application_credential(keystone, identity.application_credential.as_ref().ok_or_else(missing)?).await
        }
        _ => Err(Error::unauthorized()),
    }
}

/// The user has this password, which has not expired.
pub async fn by_password(keystone: &Keystone, who: &Reference, password: &str) -> Result<Proof> {
    let user = knows_password(keystone, who, password).await?;
    if user.password_expires_at.is_some_and(|end| end <= Timestamp::now()) {
        let words = format!("The password is expired and needs to be changed for user: {}.", user.id);
        return Err(Error::new(Kind::Unauthorized, words));
    }
    Ok(Proof::of(user, Method::Password))
}

/// The user has this password and is enabled and not locked (that the domain is enabled too is checked with the token).
pub async fn knows_password(keystone: &Keystone, who: &Reference, password: &str) -> Result<users::Model> {
    let account = who.account();
    keystone.attempts.check(&account)?;
    let user = find_user(keystone, who).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
    let right = keystone.passwords.verify(password, hash).await?;
    let security = &keystone.config.security;
    // others may have locked the account while this one's password was hashed
    let user = match user {
        Some(user) if security.lockout_failure_attempts > 0 => users::Entity::find_by_id(user.id).one(keystone.db.read()).await?,
        user => user,
    };
    match user {
        Some(user) if right && user.enabled && !security.is_locked(&user) && !security.is_inactive(&user) => {
            if user.failed_logins > 0 {
                let id = user.id.clone();
                keystone.db.write(move |tx| Box::pin(async move { users::store::forgive_failures(tx, &id).await })).await?;
            }
            if security.disable_user_account_days_inactive > 0 {
                let id = user.id.clone();
                keystone.db.write(move |tx| Box::pin(async move { users::store::note_active(tx, &id).await })).await?;
            }
            Ok(user)
        }
        user => {
            keystone.attempts.failed(&account);
            if security.lockout_failure_attempts > 0 {
                let (id, security) = (user.filter(|_| !right).map(|user| user.id), security.clone());
                // nothing that tokens stand for changes, so what is remembered of them stays
                keystone.db.write(move |tx| Box::pin(async move { users::store::count_failure(tx, id, &security).await })).await?;
            }
            Err(Error::unauthorized())
        }
    }
}

/// The user has a valid token, which the new one continues.
pub async fn by_token(keystone: &Keystone, token: &str) -> Result<Proof> {
    // to log in with what is no token is 404, as it is to ask about it
    let standing = tokens::standing(keystone, token).await?.ok_or_else(|| Error::not_found("Failed to validate token"))?;
    let claims = &standing.claims;
    if claims.application_credential_id.is_some() {
        return Err(fault::refused("rescope a token of an application credential."));
    }
    if claims.trust_id.is_some() {
        return Err(fault::refused("rescope a trust-scoped token."));
    }
    if claims.access_token_id.is_some() {
        return Err(fault::refused("Using OAuth-scoped token to create another token. Create a new OAuth-scoped token instead."));
    }
    if claims.is_by_key() {
        return Err(fault::refused("Using a delegated token to create another token is not allowed."));
    }
    if !keystone.config.allow_rescope_scoped_token && claims.scope != Scope::Unscoped {
        return Err(fault::refused("rescope a scoped token."));
    }
    let user = users::Entity::find_by_id(&claims.user_id).one(keystone.db.read()).await?.ok_or_else(Error::unauthorized)?;
    let methods = claims.methods.iter().copied().filter(|method| *method != Method::Token).collect::<Vec<_>>();
    Ok(Proof {
        user,
        methods: std::iter::once(Method::Token).chain(methods).collect(),
        expires_at: Some(claims.expires_at),
        audit_parent: claims.audit_ids.last().cloned(),
        application_credential: None,
        access_token: None,
    })
}

/// The user has a device that shows this code now.
async fn by_totp(keystone: &Keystone, who: &Reference, passcode: &str) -> Result<Proof> {
    let account = who.account();
    keystone.attempts.check(&account)?;
    let user = find_user(keystone, who).await?.filter(|user| user.enabled);
    let secrets = match &user {
        Some(user) => credentials::store::totp_secrets(keystone, &user.id).await?,
        None => Vec::new(),
    };
    let now = Timestamp::now().secs();
    match user {
        Some(user) if secrets.iter().any(|secret| credentials::totp::accepts(secret, passcode, now)) => Ok(Proof::of(user, Method::Totp)),
        _ => {
            keystone.attempts.failed(&account);
            Err(Error::unauthorized())
        }
    }
}

async fn by_application_credential(keystone: &Keystone, body: &ApplicationCredentialBody) -> Result<Proof> {
    let db = keystone.db.read();
    let account = format!("{:?} {:?} {:?}", body.id, body.name, body.user.as_ref().map(Reference::account));
    keystone.attempts.check(&account)?;
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
    let Some(credential) = credential.filter(|_| right) else {
        keystone.attempts.failed(&account);
        return Err(Error::unauthorized());
    };
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
            let domain = who.domain.as_ref().ok_or_else(|| fault::expecting("domain", "user"))?;
            match scope::find_domain(keystone, domain).await? {
                Some(domain_id) => users::store::by_name(db, &domain_id, name).await,
                None => Ok(None),
            }
        }
        (None, None) => Err(fault::expecting("id or name", "user")),
    }
}
