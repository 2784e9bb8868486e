//! Keypairs: public keys that guests are given, one set per user.

pub mod api;
mod keys;
pub mod store;
mod x509;

use kit::clock::Timestamp;
use kit::{Context, Error, Result, Routes};
use sea_orm::entity::prelude::*;

use crate::Nova;

/// A row of `keypairs`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "keypairs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub number: i64,
    pub public_key: String,
    pub fingerprint: String,
    /// `ssh` or `x509`
    pub key_type: String,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// As a guest is given it.
    pub fn to_rpc(&self) -> rpc::compute::KeyPair {
        rpc::compute::KeyPair { name: self.name.clone(), public_key: self.public_key.clone(), key_type: self.key_type.clone() }
    }
}

/// The key a new server is given: one of the caller's own.
pub async fn for_server(app: &Nova, ctx: &Context, name: &str) -> Result<rpc::compute::KeyPair> {
    let found = store::fetch(app.db.read(), ctx.user_id()?, name).await?;
    Ok(found.ok_or_else(|| Error::bad_request("Invalid key_name provided."))?.to_rpc())
}

pub fn routes() -> Routes<Nova> {
    Routes::new()
        .get("/os-keypairs", "os_compute_api:os-keypairs:index", api::list)
        .post("/os-keypairs", "os_compute_api:os-keypairs:create", api::create)
        .get("/os-keypairs/{name}", "os_compute_api:os-keypairs:show", api::show)
        .delete("/os-keypairs/{name}", "os_compute_api:os-keypairs:delete", api::delete)
}
