//! Statements for the small tables that are indexes rather than resources. `$1` is a parameter in both databases.

use kit::Result;
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};

/// Runs a statement; how many rows it touched.
pub async fn execute<C: ConnectionTrait>(db: &C, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<u64> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.execute_raw(statement).await?.rows_affected())
}

pub async fn query<C: ConnectionTrait>(db: &C, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<QueryResult>> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.query_all_raw(statement).await?)
}

/// The first column of every row, as text.
pub async fn texts<C: ConnectionTrait>(db: &C, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<String>> {
    let rows = query(db, sql, values).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index::<String>(0)).collect::<Result<_, _>>()?)
}

/// The first column of the first row, as a number; zero when there is none.
pub async fn number<C: ConnectionTrait>(db: &C, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<i64> {
    let rows = query(db, sql, values).await?;
    Ok(rows.first().map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten().unwrap_or_default())
}

pub async fn exists<C: ConnectionTrait>(db: &C, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<bool> {
    Ok(!query(db, sql, values).await?.is_empty())
}

/// So many parameters from this one on: `$2, $3, $4`.
pub fn parameters(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}
