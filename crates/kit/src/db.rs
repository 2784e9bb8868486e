//! A service's database: SQLite in one file, or PostgreSQL.
//!
//! SQLite has one writer. What is acknowledged is on disk (`synchronous=FULL`), so the cost of a write is the sync of its commit; writes
//! that wait for each other are therefore grouped: each runs in a savepoint of one transaction, and all are acknowledged by one commit.
//! Readers have connections of their own and never wait for the writer (WAL).

use std::ffi::{c_char, c_int};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sea_orm::{
    ColIdx, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement,
    TransactionTrait, TryGetError, TryGetable,
    sea_query::{self, ExprTrait},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, Semaphore, oneshot};

use crate::{Error, Result};

/// Connections that read at once.
const READERS: u32 = 4;
/// Writes that share one commit, at most.
const GROUP: usize = 64;
/// Connections to PostgreSQL, and how many of them write at once. Writes that wait for each other's rows would otherwise hold them all, and
/// whoever reads would wait for all that is queued.
const CONNECTIONS: u32 = 8;
const WRITERS: usize = 6;

/// Where a service's data lives.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file, made when absent.
    Sqlite(PathBuf),
    /// `postgres://...` and the schema within it that is this service's.
    Postgres { url: String, schema: String },
}

/// A numbered step of a schema, in SQL that both databases read.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    pub version: i64,
    pub sql: &'static str,
}

/// A service's database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    readers: DatabaseConnection,
    writer: Arc<Writer>,
}

impl Db {
    /// Opens the database and brings its schema up to the newest of `migrations`.
    pub async fn open(location: &Location, migrations: &[Migration]) -> Result<Db> {
        let (readers, writer) = match location {
            Location::Sqlite(path) => {
                let url = format!("sqlite://{}?mode=rwc", path.display());
                let writer = connect(sqlite(&url, 1)).await?;
                (connect(sqlite(&url, READERS)).await?, Writer { conn: writer, grouped: true, ..Writer::default() })
            }
            Location::Postgres { url, schema } => {
                let bare = connect(ConnectOptions::new(url.clone()).max_connections(1).sqlx_logging(false).to_owned()).await?;
                // one at a time: two that find it missing would both make it
                bare.execute_unprepared(&format!("SELECT pg_advisory_xact_lock(0); CREATE SCHEMA IF NOT EXISTS \"{schema}\"")).await?;
                bare.close().await?;
                let options = ConnectOptions::new(url.clone())
                    .max_connections(CONNECTIONS)
                    .min_connections(1)
                    .connect_timeout(Duration::from_secs(10))
                    .acquire_timeout(Duration::from_secs(60))
                    .set_schema_search_path(schema.clone())
                    .sqlx_logging(false)
                    .to_owned();
                let pool = connect(options).await?;
                (pool.clone(), Writer { conn: pool, slots: Some(Semaphore::new(WRITERS)), ..Writer::default() })
            }
        };
        let db = Db { readers, writer: Arc::new(writer) };
        db.migrate(migrations).await?;
        Ok(db)
    }

    /// For queries that change nothing.
    pub fn read(&self) -> &DatabaseConnection {
        &self.readers
    }

    /// Runs `change` in a transaction; when this returns `Ok`, it is on disk. The change runs to its end even if the caller goes away, and
    /// an error of it takes back what it did.
    ///
    /// ```text
    /// db.write(move |tx| Box::pin(async move { server.insert(tx).await?; Ok(()) })).await
    /// ```
    pub async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        let writer = self.writer.clone();
        let task =
            tokio::spawn(async move { if writer.grouped { writer.write_grouped(change).await } else { writer.write_alone(change).await } });
        task.await.map_err(Error::internal)?
    }

    /// How many writes were committed since the database was opened; `None` where other processes write too.
    pub fn commits(&self) -> Option<u64> {
        self.writer.grouped.then(|| self.writer.commits.load(Ordering::SeqCst))
    }

    /// Applies the migrations that are not yet applied, each in a transaction with the record of it. Processes that start at once do so one
    /// after the other.
    async fn migrate(&self, migrations: &[Migration]) -> Result<()> {
        let conn = &self.writer.conn;
        let turn = match conn.get_database_backend() {
            DbBackend::Postgres => {
                let turn = conn.begin().await?;
                turn.execute_unprepared("SELECT pg_advisory_xact_lock(hashtext(current_schema()))").await?;
                Some(turn)
            }
            _ => None,
        };
        conn.execute_unprepared("CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")
            .await?;
        let backend = conn.get_database_backend();
        let rows = conn.query_all_raw(Statement::from_string(backend, "SELECT version FROM schema_migrations")).await?;
        let applied = rows.iter().map(|row| row.try_get::<i64>("", "version")).collect::<Result<Vec<_>, _>>()?;
        for migration in migrations.iter().filter(|m| !applied.contains(&m.version)) {
            let tx = conn.begin().await?;
            tx.execute_unprepared(migration.sql).await?;
            let now = crate::clock::Timestamp::now().0;
            tx.execute_unprepared(&format!("INSERT INTO schema_migrations (version, applied_at) VALUES ({}, {now})", migration.version))
                .await?;
            tx.commit().await?;
        }
        if let Some(turn) = turn {
            turn.commit().await?;
        }
        Ok(())
    }
}

/// What is said to SQLite once, before its first use. It counts its memory under one lock for the whole process unless told not to: nobody
/// reads the count, and every allocation of every service waits for it.
#[allow(unsafe_code)]
fn prepare_library() {
    static ONCE: Once = Once::new();
    // SAFETY: the first takes one int for this option, and refuses, changing nothing, when SQLite is in use already; the second keeps the
    // pointer to a function that lives as long as the process
    ONCE.call_once(|| unsafe {
        libsqlite3_sys::sqlite3_config(libsqlite3_sys::SQLITE_CONFIG_MEMSTATUS, 0);
        libsqlite3_sys::sqlite3_auto_extension(Some(keep_plans));
    });
}

/// Run by SQLite for each connection it opens: a statement keeps its plan. Else one with `LIMIT $1`, which is every look for one row, is
/// planned anew each time it runs, in case a plan for just this number were better.
#[allow(unsafe_code)]
unsafe extern "C" fn keep_plans(
    db: *mut libsqlite3_sys::sqlite3,
    _: *mut *mut c_char,
    _: *const libsqlite3_sys::sqlite3_api_routines,
) -> c_int {
    // SAFETY: the connection is the one being opened; the option takes an int and where to put the answer, which nobody wants
    unsafe { libsqlite3_sys::sqlite3_db_config(db, libsqlite3_sys::SQLITE_DBCONFIG_ENABLE_QPSG, 1 as c_int, std::ptr::null_mut::<c_int>()) }
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    prepare_library();
    ConnectOptions::new(url)
        .max_connections(connections)
        .min_connections(1)
        // a connection is a thread of this process: there is no wire that could have broken meanwhile
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(30))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", "FULL")
                .pragma("foreign_keys", "ON")
                .pragma("cache_size", "-1000")
                .busy_timeout(Duration::from_secs(30))
                .with_regexp()
        })
        .to_owned()
}

async fn connect(options: ConnectOptions) -> Result<DatabaseConnection> {
    let url = options.get_url().split('?').next().unwrap_or_default().to_owned();
    Database::connect(options)
        .await
        .map_err(|error| Error::unavailable(format!("The database {url} cannot be opened: {error}")).source(error))
}

/// Whether a text has a place that a regular expression fits, which the databases say differently.
pub fn fits(backend: DbBackend, text: sea_query::Expr, pattern: &str) -> sea_query::Expr {
    let operator = if backend == DbBackend::Postgres { "~" } else { "REGEXP" };
    text.binary(sea_query::BinOper::Custom(operator), pattern)
}

/// The one who writes.
#[derive(Default)]
struct Writer {
    conn: DatabaseConnection,
    grouped: bool,
    /// Where writes are not grouped: a place for each that runs.
    slots: Option<Semaphore>,
    group: Mutex<Group>,
    /// Writes that want to join the group.
    waiting: AtomicUsize,
    /// Counted after a commit and before anybody is told of it.
    commits: AtomicU64,
}

/// The transaction that is open, and who waits for its commit.
#[derive(Default)]
struct Group {
    tx: Option<DatabaseTransaction>,
    acks: Vec<oneshot::Sender<Result<()>>>,
}

impl Writer {
    async fn write_alone<T, F>(&self, change: F) -> Result<T>
    where
        F: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T>>,
    {
        let _slot = match &self.slots {
            Some(slots) => Some(slots.acquire().await.map_err(Error::internal)?),
            None => None,
        };
        let tx = self.conn.begin().await?;
        match guarded(change(&tx)).await {
            Ok(value) => {
                let outcome = tx.commit().await;
                // also when it failed: who knows how much of it happened
                self.commits.fetch_add(1, Ordering::SeqCst);
                outcome?;
                Ok(value)
            }
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        }
    }

    async fn write_grouped<T, F>(&self, change: F) -> Result<T>
    where
        F: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T>>,
    {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut group = self.group.lock().await;
        let others = self.waiting.fetch_sub(1, Ordering::SeqCst) > 1;
        if group.tx.is_none() && !others {
            return self.write_alone(change).await;
        }
        let outcome = self.join(&mut group, change).await;
        let wait = outcome.is_ok().then(|| {
            let (ack, wait) = oneshot::channel();
            group.acks.push(ack);
            wait
        });
        if self.waiting.load(Ordering::SeqCst) == 0 || group.acks.len() >= GROUP {
            group.commit(&self.commits).await;
        }
        drop(group);
        if let Some(wait) = wait {
            wait.await.map_err(Error::internal)??;
        }
        outcome
    }

    /// Runs one change in the group's transaction: the first opens it, and may end it as long as there is no other; each further one has a
    /// savepoint.
    async fn join<T, F>(&self, group: &mut Group, change: F) -> Result<T>
    where
        F: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T>>,
    {
        let Some(outer) = &group.tx else {
            let tx = self.conn.begin().await?;
            return match guarded(change(&tx)).await {
                Ok(value) => {
                    group.tx = Some(tx);
                    Ok(value)
                }
                Err(error) => {
                    tx.rollback().await?;
                    Err(error)
                }
            };
        };
        let savepoint = outer.begin().await?;
        match guarded(change(&savepoint)).await {
            Ok(value) => {
                savepoint.commit().await?;
                Ok(value)
            }
            Err(error) => {
                savepoint.rollback().await?;
                Err(error)
            }
        }
    }
}

impl Group {
    /// Commits what has gathered and tells everybody how it went.
    async fn commit(&mut self, commits: &AtomicU64) {
        let Some(tx) = self.tx.take() else { return };
        let outcome = tx.commit().await.map_err(Error::from);
        commits.fetch_add(1, Ordering::SeqCst);
        for ack in self.acks.drain(..) {
            // whoever no longer waits needs no answer
            let _ = ack.send(outcome.clone());
        }
    }
}

/// A panic in a change is that change's error, not the end of the group.
async fn guarded<T>(change: BoxFuture<'_, Result<T>>) -> Result<T> {
    AssertUnwindSafe(change).catch_unwind().await.unwrap_or_else(|_| Err(Error::internal("a database change panicked")))
}

/// Whether a statement failed because something with this key exists.
pub fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_)))
}

/// A column that holds JSON as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> From<Json<T>> for sea_query::Value {
    fn from(json: Json<T>) -> sea_query::Value {
        // our own types serialize; what could not would read back as null
        serde_json::to_string(&json.0).unwrap_or_else(|_| "null".into()).into()
    }
}

impl<T: DeserializeOwned> TryGetable for Json<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, index)?;
        let value = serde_json::from_str(&text).map_err(|error| TryGetError::DbErr(DbErr::Json(error.to_string())))?;
        Ok(Json(value))
    }
}

impl<T: DeserializeOwned> sea_query::ValueType for Json<T> {
    fn try_from(value: sea_query::Value) -> Result<Self, sea_query::ValueTypeErr> {
        let text = <String as sea_query::ValueType>::try_from(value)?;
        serde_json::from_str(&text).map(Json).map_err(|_| sea_query::ValueTypeErr)
    }

    fn type_name() -> String {
        "Json".into()
    }

    fn array_type() -> sea_query::ArrayType {
        sea_query::ArrayType::String
    }

    fn column_type() -> sea_query::ColumnType {
        sea_query::ColumnType::Text
    }
}

impl<T> sea_query::Nullable for Json<T> {
    fn null() -> sea_query::Value {
        sea_query::Value::String(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &[Migration] = &[Migration { version: 1, sql: "CREATE TABLE t (id BIGINT PRIMARY KEY)" }];

    async fn count(db: &Db) -> i64 {
        let statement = Statement::from_string(db.read().get_database_backend(), "SELECT COUNT(*) AS n FROM t");
        db.read().query_one_raw(statement).await.unwrap().unwrap().try_get("", "n").unwrap()
    }

    async fn insert(db: &Db, id: i64) -> Result<()> {
        db.write(move |tx| {
            Box::pin(async move {
                tx.execute_unprepared(&format!("INSERT INTO t (id) VALUES ({id})")).await?;
                assert!(id != 13, "unlucky");
                Ok(())
            })
        })
        .await
    }

    #[tokio::test]
    async fn writes_at_once_share_commits_and_fail_alone() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(dir.path().join("t.sqlite")), SCHEMA).await.unwrap();
        let writes = (0..200).map(|n| {
            let db = db.clone();
            // every tenth is a duplicate, and one panics
            async move { insert(&db, if n % 10 == 9 { 0 } else { n }).await.is_ok() }
        });
        let done = futures::future::join_all(writes).await.into_iter().filter(|ok| *ok).count();
        assert_eq!(done as i64, count(&db).await);
        assert_eq!(done, 179);
    }

    #[tokio::test]
    async fn migrations_run_once() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(dir.path().join("t.sqlite"));
        Db::open(&location, SCHEMA).await.unwrap();
        let more = [SCHEMA, &[Migration { version: 2, sql: "CREATE TABLE u (id BIGINT PRIMARY KEY)" }]].concat();
        let db = Db::open(&location, &more).await.unwrap();
        insert(&db, 1).await.unwrap();
        assert_eq!(count(&db).await, 1);
    }
}
