//! Guests that a host runs though they were made anew elsewhere meanwhile: it was cut off, not dead, and must end them. Only what was evacuated
//! from it counts; of a guest that conductor knows nothing of, nothing is said.

use std::collections::HashMap;

use kit::Result;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};

use crate::Nova;
use crate::migrations::{self, DONE, EVACUATION};
use crate::servers::instance;

/// Those of these guests that the host has no right to any more: the last of their moves that it had a part in took them from it.
pub async fn evacuated_from(app: &Nova, host: &str, guests: Vec<&str>) -> Result<Vec<String>> {
    use migrations::{Column, Entity};
    if guests.is_empty() {
        return Ok(Vec::new());
    }
    let part = Column::SourceHost.eq(host).or(Column::DestHost.eq(host));
    let moves = Entity::find().filter(Column::InstanceId.is_in(guests)).filter(part).order_by_asc(Column::Number);
    let last: HashMap<String, migrations::Model> =
        moves.all(app.db.read()).await?.into_iter().map(|row| (row.instance_id.clone(), row)).collect();
    let taken =
        |row: &&migrations::Model| row.migration_type == EVACUATION && row.status == DONE && row.source_host.as_deref() == Some(host);
    let taken: Vec<String> = last.values().filter(taken).map(|row| row.instance_id.clone()).collect();
    if taken.is_empty() {
        return Ok(taken);
    }
    // unshelved, say, it can be here again
    let here: Vec<String> = instance::Entity::find()
        .select_only()
        .column(instance::Column::Id)
        .filter(instance::Column::Id.is_in(&taken))
        .filter(instance::Column::Host.eq(host))
        .filter(instance::Column::Deleted.eq(false))
        .into_tuple()
        .all(app.db.read())
        .await?;
    Ok(taken.into_iter().filter(|id| !here.contains(id)).collect())
}
