//! Volume types. `__DEFAULT__` is there from the start.

pub mod access;
pub mod api;
pub mod defaults;
pub mod encryption;
pub mod specs;
pub mod store;

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use sea_orm::entity::prelude::*;

/// The type of volumes that name none.
pub const DEFAULT: &str = "__DEFAULT__";

/// A row of `volume_types`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "volume_types")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub is_public: bool,
    pub extra_specs: Json<BTreeMap<String, String>>,
    pub qos_id: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type VolumeType = Model;

impl Model {
    /// Its volumes may be attached to several servers at once.
    pub fn multiattach(&self) -> bool {
        self.extra_specs.0.get("multiattach").is_some_and(|value| value.trim() == "<is> True")
    }
}
