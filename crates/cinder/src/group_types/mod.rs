//! Group types: what groups of volumes promise together.

pub mod api;
pub mod specs;

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Error, Result};
use sea_orm::Condition;
use sea_orm::entity::prelude::*;

/// A row of `group_types`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "group_types")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub is_public: bool,
    pub group_specs: Json<BTreeMap<String, String>>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub type GroupType = Model;

/// The group type with this id or name.
pub async fn find(db: &impl ConnectionTrait, id_or_name: &str) -> Result<GroupType> {
    let named = Condition::any().add(Column::Id.eq(id_or_name)).add(Column::Name.eq(id_or_name));
    let found = Entity::find().filter(named).one(db).await?;
    found.ok_or_else(|| Error::not_found(format!("Group type {id_or_name} could not be found.")))
}
