//! What only one of several like processes may do at a time: a lease in the database they share, held by whoever renews it.
//!
//! A process that dies loses it within [`TERM`]. Clocks that differ by more than that let two hold it for a moment, so what is done under a
//! lease must bear that; it only should not go on.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::db::{Db, Migration};
use crate::{Result, ids};

/// How long a lease is held without a sign of life.
pub const TERM: Duration = Duration::from_secs(6);
/// How often the holder says that it lives, and others look whether it does.
const RENEW: Duration = Duration::from_secs(2);

/// The table; a service with leases puts this among its migrations under a number of its own.
pub const SCHEMA: &str = "CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, held_until BIGINT NOT NULL);";

/// The table as a migration.
pub const fn migration(version: i64) -> Migration {
    Migration { version, sql: SCHEMA }
}

/// A thing that one process does.
pub struct Lease {
    db: Db,
    name: &'static str,
    owner: String,
}

impl Lease {
    pub fn new(db: Db, name: &'static str) -> Lease {
        Lease { db, name, owner: ids::hex() }
    }

    /// Takes it, or keeps it; whether it is ours for another [`TERM`].
    pub async fn hold(&self) -> Result<bool> {
        let take = "INSERT INTO leases (name, owner, held_until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
                    SET owner = excluded.owner, held_until = excluded.held_until \
                    WHERE leases.owner = excluded.owner OR leases.held_until < $4";
        let now = Timestamp::now();
        let values = [self.name.into(), self.owner.as_str().into(), now.plus(TERM).0.into(), now.0.into()];
        self.execute(take, values).await
    }

    /// Leaves it to the next.
    pub async fn release(&self) -> Result<bool> {
        let values = [self.name.into(), self.owner.as_str().into()];
        self.execute("DELETE FROM leases WHERE name = $1 AND owner = $2", values).await
    }

    async fn execute<const N: usize>(&self, sql: &'static str, values: [sea_orm::Value; N]) -> Result<bool> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
                    Ok(tx.execute_raw(statement).await?.rows_affected() == 1)
                })
            })
            .await
    }
}

/// Does `leading` while the lease is ours and `waiting` while it is another's, until `stop`.
pub async fn alternate<L, W>(lease: Lease, stop: CancellationToken, leading: L, waiting: W)
where
    L: Fn() -> Vec<JoinHandle<()>>,
    W: Fn() -> Vec<JoinHandle<()>>,
{
    let mut ours = false;
    let mut renewed = tokio::time::Instant::now();
    let mut tasks = waiting();
    let mut ticks = tokio::time::interval(RENEW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let held = match tokio::time::timeout(RENEW, lease.hold()).await {
            Ok(Ok(held)) => held,
            // the database is away: what is ours stays so as long as nobody else can have taken it
            Ok(Err(_)) | Err(_) => ours && renewed.elapsed() < TERM - RENEW,
        };
        if held {
            renewed = tokio::time::Instant::now();
        }
        if held != ours {
            tracing::info!(lease = lease.name, held, "the lease changed hands");
            end(&mut tasks).await;
            tasks = if held { leading() } else { waiting() };
            ours = held;
        }
    }
    end(&mut tasks).await;
    if ours && let Err(error) = lease.release().await {
        tracing::warn!(lease = lease.name, %error, "a lease was not released; it ends by itself");
    }
}

async fn end(tasks: &mut Vec<JoinHandle<()>>) {
    for task in tasks.drain(..) {
        task.abort();
        // aborted, or it had ended by itself
        let _ = task.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Location;

    #[tokio::test]
    async fn one_holds_it_until_it_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(dir.path().join("l.sqlite")), &[migration(1)]).await.unwrap();
        let [first, second] = [(); 2].map(|()| Lease::new(db.clone(), "speaking"));
        assert!(first.hold().await.unwrap() && first.hold().await.unwrap());
        assert!(!second.hold().await.unwrap() && !second.release().await.unwrap());
        assert!(first.release().await.unwrap());
        assert!(second.hold().await.unwrap() && !first.hold().await.unwrap());
    }

    #[tokio::test]
    async fn a_silent_holder_loses_it() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::Sqlite(dir.path().join("l.sqlite")), &[migration(1)]).await.unwrap();
        let [first, second] = [(); 2].map(|()| Lease::new(db.clone(), "speaking"));
        first.hold().await.unwrap();
        db.write(|tx| Box::pin(async move { Ok(tx.execute_unprepared("UPDATE leases SET held_until = 1").await.map(drop)?) }))
            .await
            .unwrap();
        assert!(second.hold().await.unwrap());
    }
}
