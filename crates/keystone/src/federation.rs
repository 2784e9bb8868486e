//! OS-FEDERATION as an installation without identity providers has it: nothing to list, nothing to find, nobody who could come from
//! elsewhere.

use kit::call::{Path, Query};
use kit::{Context, Error, Kind, Reply, Result};

use crate::{Keystone, fault, list};

/// `GET /v3/OS-FEDERATION/identity_providers`
pub async fn identity_providers(_: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    list::whole(&ctx, "/OS-FEDERATION/identity_providers", &query, "identity_providers", Vec::new())
}

/// `GET /v3/OS-FEDERATION/mappings`
pub async fn mappings(_: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    list::whole(&ctx, "/OS-FEDERATION/mappings", &query, "mappings", Vec::new())
}

/// `GET /v3/OS-FEDERATION/service_providers`
pub async fn service_providers(_: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    list::whole(&ctx, "/OS-FEDERATION/service_providers", &query, "service_providers", Vec::new())
}

/// `GET`, `PATCH`, `DELETE` of one that is not there.
pub async fn identity_provider(_: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    Err(fault::could_not_find("Identity Provider", &id))
}

pub async fn mapping(_: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    Err(fault::could_not_find("mapping", &id))
}

pub async fn service_provider(_: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    Err(fault::could_not_find("Service Provider", &id))
}

/// `PUT`: there is nobody who would use it.
pub async fn unsupported(_: Keystone, _: Context) -> Result<Reply> {
    Err(Error::new(Kind::NotImplemented, "This installation has no federated identity."))
}

/// `/OS-SIMPLE-CERT/*`, `/auth/tokens/OS-PKI/revoked`: tokens have not been certificates for long.
pub async fn gone(_: Keystone, _: Context) -> Result<Reply> {
    Err(Error::new(Kind::Gone, "PKI tokens are no longer supported."))
}
