//! A service's database as it lies there: rows as text, whatever the service's own types make of them.

use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use super::Outcome;

/// An open database.
pub struct Book(DatabaseConnection);

impl Book {
    /// The file of a service; none where the service has never been.
    pub async fn file(path: &Path) -> Outcome<Option<Book>> {
        if !path.exists() {
            return Ok(None);
        }
        // what the last process left in the log beside the file is read by writing it back
        let book = Book::connect(ConnectOptions::new(format!("sqlite://{}?mode=rw", path.display()))).await?;
        Ok(Some(book))
    }

    /// The schema of a service in PostgreSQL; none where the service has never been.
    pub async fn schema(url: &str, schema: &str) -> Outcome<Option<Book>> {
        let mut options = ConnectOptions::new(url);
        options.set_schema_search_path(schema);
        let book = Book::connect(options).await?;
        let there: Vec<[String; 1]> =
            book.rows(&format!("SELECT CAST(schema_name AS TEXT) FROM information_schema.schemata WHERE schema_name = '{schema}'")).await?;
        Ok((!there.is_empty()).then_some(book))
    }

    async fn connect(mut options: ConnectOptions) -> Outcome<Book> {
        options.max_connections(1).acquire_timeout(Duration::from_secs(20)).sqlx_logging(false);
        Ok(Book(Database::connect(options).await?))
    }

    /// The rows of a query whose columns are all text; what is NULL is empty.
    pub async fn rows<const N: usize>(&self, sql: &str) -> Outcome<Vec<[String; N]>> {
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        let mut rows = Vec::new();
        for row in self.0.query_all_raw(statement).await? {
            let mut texts: [String; N] = std::array::from_fn(|_| String::new());
            for (at, text) in texts.iter_mut().enumerate() {
                *text = row.try_get_by_index::<Option<String>>(at)?.unwrap_or_default();
            }
            rows.push(texts);
        }
        Ok(rows)
    }

    /// The only column of a query.
    pub async fn column<C: FromIterator<String>>(&self, sql: &str) -> Outcome<C> {
        Ok(self.rows::<1>(sql).await?.into_iter().map(|[text]| text).collect())
    }

    /// Changes something, though what refers to what then does not fit: for tests that make what must not be.
    pub async fn change(&self, sql: &str) -> Outcome<()> {
        let without_keys = match self.0.get_database_backend() {
            DbBackend::Postgres => "SET session_replication_role = replica",
            _ => "PRAGMA foreign_keys = OFF",
        };
        for statement in [without_keys, sql] {
            self.0.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// A number in a column.
pub fn number(text: &str) -> i64 {
    text.parse().unwrap_or_default()
}
