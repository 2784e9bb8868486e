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
use kit::{Error, Result};
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
    /// 400 for a volume smaller or larger than the type allows.
    pub fn check_size(&self, size: i64) -> Result<()> {
        let bound = |key: &str| self.extra_specs.0.get(key).and_then(|value| value.trim().parse::<i64>().ok());
        let words = match (bound("provisioning:min_vol_size"), bound("provisioning:max_vol_size")) {
            (Some(least), _) if size < least => format!("less than the minimum required size of '{least}'"),
            (_, Some(most)) if size > most => format!("greater than the maximum allowable size of '{most}'"),
            _ => return Ok(()),
        };
        let sentence = format!("Specified volume size of '{size}' is {words} for volume type '{}'.", self.name);
        Err(Error::bad_request(format!("Invalid input received: {sentence}")))
    }

    /// The zones its volumes may be in, if not all.
    pub fn zones(&self) -> Option<Vec<&str>> {
        let zones = self.extra_specs.0.get("RESKEY:availability_zones")?;
        Some(zones.split(',').map(str::trim).filter(|zone| !zone.is_empty()).collect())
    }

    /// Its volumes may be attached to several servers at once.
    pub fn multiattach(&self) -> bool {
        self.extra_specs.0.get("multiattach").is_some_and(|value| value.trim() == "<is> True")
    }
}
