//! The `compute_nodes` table.

use kit::Result;
use kit::db::{Db, Json};
use rpc::conductor::HostInventory;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};

/// A row; its id is also its resource provider's in placement.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "compute_nodes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub service_id: String,
    /// What it was called before 2.53.
    pub number: i64,
    pub host: String,
    pub hypervisor_hostname: String,
    pub inventory: Json<HostInventory>,
    /// Builds that failed here since the last that did not.
    pub failed_builds: i64,
    /// How often `inventory` was written.
    pub version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A build ended on a host.
pub async fn count_build(db: &Db, host: &str, failed: bool) -> Result<()> {
    let host = host.to_owned();
    db.write(move |tx| {
        Box::pin(async move {
            let count = if failed { Expr::col(Column::FailedBuilds).add(1) } else { Expr::value(0) };
            Entity::update_many().col_expr(Column::FailedBuilds, count).filter(Column::Host.eq(host)).exec(tx).await?;
            Ok(())
        })
    })
    .await
}
