//! The tables, one entity each.

macro_rules! entity {
    ($name:ident, $table:literal, { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? }) => {
        pub mod $name {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model { $($(#[$attr])* pub $field: $type),* }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

entity!(provider, "resource_providers", {
    #[sea_orm(primary_key, auto_increment = false)]
    uuid: String,
    name: String,
    generation: i64,
    root_uuid: String,
    parent_uuid: Option<String>,
    created_at: kit::clock::Timestamp,
    updated_at: kit::clock::Timestamp,
});

entity!(inventory, "inventories", {
    #[sea_orm(primary_key, auto_increment = false)]
    provider_uuid: String,
    #[sea_orm(primary_key, auto_increment = false)]
    resource_class: String,
    total: i64,
    reserved: i64,
    min_unit: i64,
    max_unit: i64,
    step_size: i64,
    allocation_ratio: f64,
    capacity: i64,
    used: i64,
});

entity!(class, "resource_classes", {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
    created_at: kit::clock::Timestamp,
});

entity!(custom_trait, "traits", {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
    created_at: kit::clock::Timestamp,
});

entity!(provider_trait, "provider_traits", {
    #[sea_orm(primary_key, auto_increment = false)]
    provider_uuid: String,
    #[sea_orm(primary_key, auto_increment = false, column_name = "trait")]
    name: String,
});

entity!(provider_aggregate, "provider_aggregates", {
    #[sea_orm(primary_key, auto_increment = false)]
    provider_uuid: String,
    #[sea_orm(primary_key, auto_increment = false)]
    aggregate_uuid: String,
});

entity!(consumer, "consumers", {
    #[sea_orm(primary_key, auto_increment = false)]
    uuid: String,
    project_id: String,
    user_id: String,
    consumer_type: Option<String>,
    generation: i64,
    created_at: kit::clock::Timestamp,
    updated_at: kit::clock::Timestamp,
});

entity!(allocation, "allocations", {
    #[sea_orm(primary_key, auto_increment = false)]
    consumer_uuid: String,
    #[sea_orm(primary_key, auto_increment = false)]
    provider_uuid: String,
    #[sea_orm(primary_key, auto_increment = false)]
    resource_class: String,
    used: i64,
});
