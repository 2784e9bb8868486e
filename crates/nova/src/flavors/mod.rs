//! Flavors: how large a server is.

pub mod access;
pub mod api;
pub mod extra_specs;
mod spec_rules;

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::{Db, Json};
use kit::{Context, Error, Result};
use rpc::compute::Flavor;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::Nova;

/// A row of `flavors`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "flavors")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub ram_mb: i64,
    pub vcpus: i64,
    pub root_gb: i64,
    pub ephemeral_gb: i64,
    pub swap_mb: i64,
    pub rxtx_factor: f64,
    pub is_public: bool,
    pub disabled: bool,
    pub extra_specs: Json<BTreeMap<String, String>>,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The flavors of a new cloud: id, name, MiB of memory, GiB of disk, vCPUs.
const FLAVORS: &[(&str, &str, i64, i64, i64)] = &[
    ("1", "m1.tiny", 512, 1, 1),
    ("2", "m1.small", 2048, 20, 1),
    ("3", "m1.medium", 4096, 40, 2),
    ("4", "m1.large", 8192, 80, 4),
    ("5", "m1.xlarge", 16_384, 160, 8),
    ("42", "m1.nano", 128, 1, 1),
];

/// Makes the flavors of a new cloud.
pub async fn bootstrap(db: &Db) -> Result<()> {
    db.write(|tx| {
        Box::pin(async move {
            for (id, name, ram_mb, root_gb, vcpus) in FLAVORS {
                let row = Model {
                    id: (*id).to_owned(),
                    name: (*name).to_owned(),
                    description: None,
                    ram_mb: *ram_mb,
                    vcpus: *vcpus,
                    root_gb: *root_gb,
                    ephemeral_gb: 0,
                    swap_mb: 0,
                    rxtx_factor: 1.0,
                    is_public: true,
                    disabled: false,
                    extra_specs: Json(BTreeMap::new()),
                    created_at: Timestamp::now(),
                };
                let exists = OnConflict::new().do_nothing().to_owned();
                Entity::insert(ActiveModel::from(row)).on_conflict(exists).exec_without_returning(tx).await?;
            }
            Ok(())
        })
    })
    .await
}

/// A flavor the caller may use.
pub async fn fetch(app: &Nova, ctx: &Context, id: &str) -> Result<Model> {
    let missing = || Error::not_found(format!("Flavor {id} could not be found."));
    let row = Entity::find_by_id(id).one(app.db.read()).await?.ok_or_else(missing)?;
    if row.is_public || ctx.is_admin() {
        return Ok(row);
    }
    let key = (id.to_owned(), ctx.project_id()?.to_owned());
    let may = access::Entity::find_by_id(key).one(app.db.read()).await?.is_some();
    if may { Ok(row) } else { Err(missing()) }
}

/// The flavor of a new server; what is not there is a bad request.
pub async fn for_server(app: &Nova, ctx: &Context, id: &str) -> Result<Flavor> {
    let row = fetch(app, ctx, id).await.map_err(|error| if error.is_not_found() { Error::bad_request(error.message) } else { error })?;
    let whole = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(Flavor {
        vcpus: u32::try_from(row.vcpus).unwrap_or(1),
        ram_mb: whole(row.ram_mb),
        root_gb: whole(row.root_gb),
        ephemeral_gb: whole(row.ephemeral_gb),
        swap_mb: whole(row.swap_mb),
        id: row.id,
        name: row.name,
        extra_specs: row.extra_specs.0,
    })
}
