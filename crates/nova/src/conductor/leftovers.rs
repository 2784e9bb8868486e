//! Allocations that could not be given back when what they were for was over: noted, and given back as soon as placement answers.

use kit::Result;
use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, QuerySelect, Set};

use super::claims;
use crate::Nova;

/// Tried in one turn.
const SOME: u64 = 100;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "leftover_allocations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub consumer_id: String,
    pub since: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Remembers whose allocations are to be given back.
pub async fn note(tx: &impl ConnectionTrait, consumer_id: &str) -> Result<()> {
    let row = ActiveModel { consumer_id: Set(consumer_id.to_owned()), since: Set(Timestamp::now()) };
    let once = OnConflict::column(Column::ConsumerId).do_nothing().to_owned();
    Entity::insert(row).on_conflict(once).exec_without_returning(tx).await?;
    Ok(())
}

/// Gives them back; what placement refuses to hear of stays noted.
pub async fn give_back(app: &Nova) -> Result<()> {
    for row in Entity::find().limit(SOME).all(app.db.read()).await? {
        claims::release(app, &row.consumer_id).await?;
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    Entity::delete_by_id(row.consumer_id).exec(tx).await?;
                    Ok(())
                })
            })
            .await?;
    }
    Ok(())
}
