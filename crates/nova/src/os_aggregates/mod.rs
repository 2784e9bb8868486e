//! Host aggregates, `os-aggregates`: hosts under a name, with metadata. One whose metadata names an `availability_zone` puts its hosts in it.

mod api;
mod store;

use std::collections::BTreeMap;

use kit::Routes;
use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;

use crate::Nova;

pub use self::store::{forget_host, membership};

/// A row of `aggregates`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "aggregates")]
pub struct Model {
    /// What clients call its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    /// Its uuid, shown since 2.41.
    pub id: String,
    pub name: String,
    pub metadata: Json<BTreeMap<String, String>>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub fn routes() -> Routes<Nova> {
    Routes::new()
        .get("/os-aggregates", "os_compute_api:os-aggregates:index", api::list)
        .post("/os-aggregates", "os_compute_api:os-aggregates:create", api::create)
        .get("/os-aggregates/{aggregate_id}", "os_compute_api:os-aggregates:show", api::show)
        .put("/os-aggregates/{aggregate_id}", "os_compute_api:os-aggregates:update", api::update)
        .delete("/os-aggregates/{aggregate_id}", "os_compute_api:os-aggregates:delete", api::delete)
        .post("/os-aggregates/{aggregate_id}/action", "os_compute_api:os-aggregates:set_metadata", api::action)
        .post("/os-aggregates/{aggregate_id}/images", "compute:aggregates:images", api::images)
        .since(2, 81)
}
