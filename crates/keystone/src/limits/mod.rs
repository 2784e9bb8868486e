//! Unified limits: how much of a resource a project or a domain may use. [`registered`] has the defaults for everybody, [`api`] the
//! exceptions.
//!
//! Keystone only keeps them; the services that own the resources enforce them. The model is flat: no limit depends on another's.

pub mod api;
pub mod registered;

use kit::{Error, Result};
use sea_orm::ConnectionTrait;
use sea_orm::entity::prelude::*;

use crate::{regions, services};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "limits")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Empty where the limit is a domain's, and the other way round.
    pub project_id: String,
    pub domain_id: String,
    pub service_id: String,
    /// Empty for no region.
    pub region_id: String,
    pub resource_name: String,
    pub resource_limit: i64,
    pub description: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a limit is about must exist; 400 rather than 404, as it is the body that is wrong.
async fn known(db: &impl ConnectionTrait, service_id: &str, region_id: &str) -> Result<()> {
    let as_bad = |error: Error| if error.is_not_found() { Error::bad_request(error.message) } else { error };
    services::fetch(db, service_id).await.map_err(as_bad)?;
    if region_id.is_empty() { Ok(()) } else { regions::fetch(db, region_id).await.map(drop).map_err(as_bad) }
}

/// An id, or null where there is none.
fn or_null(id: &str) -> Option<&str> {
    Some(id).filter(|id| !id.is_empty())
}
