//! QoS specs: limits that volume types share, enforced by the guest's side (`front-end`), the storage (`back-end`) or both.

pub mod api;
pub mod associations;

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Error, Result};
use sea_orm::entity::prelude::*;

/// A row of `qos_specs`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "qos_specs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    /// `front-end`, `back-end` or `both`
    pub consumer: String,
    pub specs: Json<BTreeMap<String, String>>,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type QosSpecs = Model;

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<QosSpecs> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| Error::not_found(format!("No such qos spec {id}.")))
}

/// What the guest's side is to keep to, for `connection_info`.
pub async fn of_front_end(db: &impl ConnectionTrait, id: Option<&str>) -> Result<Option<BTreeMap<String, String>>> {
    let Some(id) = id else { return Ok(None) };
    let found = Entity::find_by_id(id).one(db).await?;
    Ok(found.filter(|qos| qos.consumer != "back-end").map(|qos| qos.specs.0))
}
