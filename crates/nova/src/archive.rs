//! Deleted servers: moved out of the way into shadow tables, and from there out of the world. What `cumulo nova-manage db` does, and nova by
//! itself where the operator has set a time.

use kit::Result;
use kit::clock::Timestamp;
use kit::db::Db;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder, QuerySelect};

use crate::servers::instance::{Column, Entity};

/// Tables whose rows belong to a server, by the column that names it; the servers themselves last.
const TABLES: &[(&str, &str)] = &[
    ("block_devices", "instance_id"),
    ("action_events", "instance_id"),
    ("actions", "instance_id"),
    ("migrations", "instance_id"),
    ("instances", "id"),
];
/// Servers moved in one transaction.
const CHUNK: u64 = 500;

/// Rows moved or removed, by table.
pub type Rows = Vec<(&'static str, u64)>;

/// Moves servers that were deleted before `before`, at most `max` of them, into the shadow tables.
pub async fn archive(db: &Db, before: Timestamp, max: u64) -> Result<Rows> {
    let mut moved: Rows = TABLES.iter().map(|(table, _)| (*table, 0)).collect();
    let mut left = max;
    while left > 0 {
        let ids: Vec<String> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Deleted.eq(true))
            .filter(Column::DeletedAt.lt(before))
            .order_by_asc(Column::DeletedAt)
            .limit(left.min(CHUNK))
            .into_tuple()
            .all(db.read())
            .await?;
        if ids.is_empty() {
            break;
        }
        left -= ids.len() as u64;
        let counts = db.write(move |tx| Box::pin(async move { shift(tx, &ids).await })).await?;
        moved.iter_mut().zip(counts).for_each(|((_, sum), count)| *sum += count);
    }
    Ok(moved)
}

async fn shift(tx: &impl ConnectionTrait, ids: &[String]) -> Result<Vec<u64>> {
    // ids are ours, and uuids: nothing in them needs to be quoted
    let ids = ids.iter().filter_map(|id| kit::ids::parse_uuid(id)).map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let mut counts = Vec::new();
    for (table, column) in TABLES {
        let which = format!("{column} IN ({ids})");
        tx.execute_unprepared(&format!("INSERT INTO shadow_{table} SELECT * FROM {table} WHERE {which}")).await?;
        counts.push(tx.execute_unprepared(&format!("DELETE FROM {table} WHERE {which}")).await?.rows_affected());
    }
    Ok(counts)
}

/// Removes for good what was archived and had been deleted before `before`; all of it when there is no such time.
pub async fn purge(db: &Db, before: Option<Timestamp>) -> Result<Rows> {
    let condition = before.map_or("1 = 1".to_owned(), |before| format!("deleted_at < {}", before.0));
    db.write(move |tx| {
        Box::pin(async move {
            let mut removed = Rows::new();
            for (table, column) in TABLES {
                let which = format!("{column} IN (SELECT id FROM shadow_instances WHERE {condition})");
                let gone = tx.execute_unprepared(&format!("DELETE FROM shadow_{table} WHERE {which}")).await?;
                removed.push((*table, gone.rows_affected()));
            }
            Ok(removed)
        })
    })
    .await
}
