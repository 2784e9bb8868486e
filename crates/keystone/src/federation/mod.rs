//! OS-FEDERATION: who vouches for people from elsewhere ([`identity_providers`], each with its [`protocols`]), what their words mean here
//! ([`mappings`]), and whom this installation vouches to ([`service_providers`]).
//!
//! All of it is kept as an operator sets it. The exchange itself needs a front end that speaks SAML or OIDC; without one nobody is proved,
//! which is what logging in this way answers.

pub mod identity_providers;
pub mod mappings;
pub mod protocols;
pub mod service_providers;

use kit::call::Path;
use kit::{Context, Error, Kind, Reply, Result};
use sea_orm::DbErr;

use crate::Keystone;

/// `GET` and `POST .../protocols/{protocol_id}/auth`: no front end has said who this is.
pub async fn authenticate(keystone: Keystone, _: Context, Path((idp, protocol)): Path<(String, String)>) -> Result<Reply> {
    protocols::fetch(keystone.db.read(), &idp, &protocol).await?;
    Err(Error::unauthorized())
}

/// `/OS-SIMPLE-CERT/*`, `/auth/tokens/OS-PKI/revoked`: tokens have not been certificates for long.
pub async fn gone(_: Keystone, _: Context) -> Result<Reply> {
    Err(Error::new(Kind::Gone, "PKI tokens are no longer supported."))
}

/// An id that the client chooses.
fn chosen_id(id: &str) -> Result<()> {
    if id.is_empty() || id.chars().count() > 64 {
        return Err(Error::bad_request(format!("Invalid input for field 'id': '{id}' must have 1 to 64 characters")));
    }
    Ok(())
}

/// 409 where the id is taken.
fn taken(error: DbErr, kind: &str, id: &str) -> Error {
    if kit::db::is_duplicate(&error) {
        return Error::conflict(format!("Conflict occurred attempting to store {kind} - Duplicate entry found with ID {id}."));
    }
    error.into()
}
