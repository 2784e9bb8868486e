//! `GET /servers/{id}/ips`: addresses, without their kind.

use kit::{Context, Error, Path, Reply, Result};
use serde::Serialize;

use super::store;
use super::view::Addresses;
use crate::Nova;

#[derive(Serialize)]
struct All<'a> {
    addresses: Addresses<'a>,
}

/// `GET /servers/{id}/ips`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    Reply::ok(&All { addresses: Addresses(&server.network_info.0, false) })
}

/// `GET /servers/{id}/ips/{network}`
pub async fn show(app: Nova, ctx: Context, Path((id, network)): Path<(String, String)>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id).await?;
    let nics: Vec<_> = server.network_info.0.into_iter().filter(|nic| nic.network_name == network).collect();
    if nics.is_empty() {
        return Err(Error::not_found("Instance is not a member of specified network"));
    }
    Reply::ok(&Addresses(&nics, false))
}
