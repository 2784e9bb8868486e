//! Deleted servers: moved out of the way into shadow tables, and from there out of the world. What `cumulo nova-manage db` does, and nova by
//! itself where the operator has set a time.

use kit::Result;
use kit::clock::Timestamp;
use kit::db::Db;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder, QuerySelect, Statement};

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
    let mut moved = none();
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
        add(&mut moved, db.write(move |tx| Box::pin(async move { shift(tx, &ids).await })).await?);
    }
    Ok(moved)
}

async fn shift(tx: &impl ConnectionTrait, ids: &[String]) -> Result<Vec<u64>> {
    let ids = quoted(ids);
    let mut counts = Vec::new();
    for (table, column) in TABLES {
        let which = format!("{column} IN ({ids})");
        tx.execute_unprepared(&format!("INSERT INTO shadow_{table} SELECT * FROM {table} WHERE {which}")).await?;
        counts.push(tx.execute_unprepared(&format!("DELETE FROM {table} WHERE {which}")).await?.rows_affected());
    }
    Ok(counts)
}

/// Removes for good what was archived and had been deleted before `before`, of `max` servers at most; of all when there is no such time.
pub async fn purge(db: &Db, before: Option<Timestamp>, max: u64) -> Result<Rows> {
    let mut removed = none();
    let mut left = max;
    while left > 0 {
        let condition = before.map_or("1 = 1".to_owned(), |before| format!("deleted_at < {}", before.0));
        let oldest = format!("SELECT id FROM shadow_instances WHERE {condition} ORDER BY deleted_at LIMIT {}", left.min(CHUNK));
        let rows = db.read().query_all_raw(Statement::from_string(db.read().get_database_backend(), oldest)).await?;
        let ids = rows.iter().map(|row| row.try_get_by_index(0)).collect::<std::result::Result<Vec<String>, _>>()?;
        if ids.is_empty() {
            break;
        }
        left -= ids.len() as u64;
        add(&mut removed, db.write(move |tx| Box::pin(async move { remove(tx, &ids).await })).await?);
    }
    Ok(removed)
}

async fn remove(tx: &impl ConnectionTrait, ids: &[String]) -> Result<Vec<u64>> {
    let ids = quoted(ids);
    let mut counts = Vec::new();
    for (table, column) in TABLES {
        counts.push(tx.execute_unprepared(&format!("DELETE FROM shadow_{table} WHERE {column} IN ({ids})")).await?.rows_affected());
    }
    Ok(counts)
}

/// Ids are ours, and uuids: nothing in them needs to be quoted.
fn quoted(ids: &[String]) -> String {
    ids.iter().filter_map(|id| kit::ids::parse_uuid(id)).map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",")
}

fn none() -> Rows {
    TABLES.iter().map(|(table, _)| (*table, 0)).collect()
}

fn add(rows: &mut Rows, counts: Vec<u64>) {
    rows.iter_mut().zip(counts).for_each(|((_, sum), count)| *sum += count);
}

/// Which of these servers are archived.
pub async fn archived(db: &Db, ids: &[String]) -> Result<Vec<String>> {
    let ids = quoted(ids);
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let statement =
        Statement::from_string(db.read().get_database_backend(), format!("SELECT id FROM shadow_instances WHERE id IN ({ids})"));
    let rows = db.read().query_all_raw(statement).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<std::result::Result<_, _>>()?)
}
