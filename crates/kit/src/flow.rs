//! Durable flows: a long action as a list of steps, each with its undo, that survives a crash at any moment.
//!
//! A flow is written in the same transaction as the promise it fulfils. Before a step runs, the journal says which step it is; after a
//! crash the flow goes on with that step, so **steps can run twice** and must look before they act (ids are chosen before the first side
//! effect). When a step fails, the undos run from that step back to the first; an undo tolerates that there is nothing to undo and is
//! tried again until it succeeds. A finished flow leaves the journal, and what is to change with that ([`Flow::end`]) does so in the same
//! transaction; what happened is told elsewhere (events, faults).
//!
//! ```text
//!   insert -> step 0 -> step 1 -> ... -> (gone)
//!                 \ error
//!                  undo 1 -> undo 0 -> (gone)
//! ```

mod journal;
mod run;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryOrder, QuerySelect, Set};
use serde::{Serialize, de::DeserializeOwned};

pub use self::journal::{ActiveModel, Column, Entity, Model};
use crate::clock::Timestamp;
use crate::db::{Db, Migration};
use crate::{Error, Result, ids};

/// The journal; a service with flows puts this among its migrations under a number of its own.
pub const SCHEMA: &str = "CREATE TABLE flows (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, step BIGINT NOT NULL, backward BOOLEAN NOT NULL,
    state TEXT NOT NULL, error TEXT, owner TEXT NOT NULL, lease_until BIGINT NOT NULL, created_at BIGINT NOT NULL
); CREATE INDEX flows_subject ON flows (subject); CREATE INDEX flows_lease ON flows (lease_until);";

/// The journal as a migration.
pub const fn migration(version: i64) -> Migration {
    Migration { version, sql: SCHEMA }
}

/// How long a flow stays its owner's without a sign of life; then another process takes it over.
const LEASE: Duration = Duration::from_secs(30);
/// Pauses between tries of an undo.
const RETRY: [Duration; 4] = [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// A long action. The value itself is what the journal keeps between steps.
pub trait Flow: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What steps work with: the service.
    type App: Clone + Send + Sync + 'static;
    const KIND: &'static str;

    /// The steps in order.
    fn steps() -> Vec<Step<Self>>;

    /// After the last step, what changes in the transaction in which the flow leaves the journal. While it fails the flow stays there.
    fn end<'a>(&'a self, _: &'a Self::App, _: &'a DatabaseTransaction) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

type Run<F> = for<'a> fn(&'a mut F, &'a <F as Flow>::App) -> BoxFuture<'a, Result<()>>;
type UndoRun<F> = for<'a> fn(&'a mut F, &'a <F as Flow>::App, &'a Error) -> BoxFuture<'a, Result<()>>;

/// One step, and how to take it back.
pub struct Step<F: Flow> {
    pub name: &'static str,
    pub run: Run<F>,
    pub undo: Option<UndoRun<F>>,
}

/// Steps by the names of their methods, each undo beside its step: `steps![Self: claim / unclaim, build / destroy, announce]`. A step is
/// `async fn(&mut self, app: &App) -> Result<()>`, an undo also gets the error that led to it.
#[macro_export]
macro_rules! steps {
    ($flow:ty: $($run:ident $(/ $undo:ident)?),+ $(,)?) => {
        vec![$($crate::flow::Step::<$flow> {
            name: stringify!($run),
            run: |flow, app| Box::pin(flow.$run(app)),
            undo: $crate::steps!(@undo $($undo)?),
        }),+]
    };
    (@undo) => { None };
    (@undo $undo:ident) => { Some(|flow, app, error| Box::pin(flow.$undo(app, error))) };
}

/// Where a test may make a flow fail or stop dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Go,
    /// The step is done, and fails.
    Fail,
    /// The process dies after the step, before the journal knows.
    Crash,
}

/// Asked after each step with the flow's kind and the step's name.
pub type ProbeFn = Arc<dyn Fn(&str, &str) -> Probe + Send + Sync>;

/// Told of each flow that is to be run by another process.
pub type TellFn = Arc<dyn Fn(String) + Send + Sync>;

type Runner<A> = Arc<dyn Fn(Flows<A>, Model) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Runs the flows of a service.
pub struct Flows<A>(Arc<Inner<A>>);

impl<A> Clone for Flows<A> {
    fn clone(&self) -> Self {
        Flows(self.0.clone())
    }
}

struct Inner<A> {
    db: Db,
    app: A,
    owner: String,
    kinds: HashMap<&'static str, Runner<A>>,
    running: Mutex<HashMap<String, tokio::task::AbortHandle>>,
    probe: Option<ProbeFn>,
    elsewhere: Option<TellFn>,
    waiting: wait::Waiting,
}

/// The flows a service knows, before it starts.
pub struct Builder<A> {
    db: Db,
    app: A,
    kinds: HashMap<&'static str, Runner<A>>,
    probe: Option<ProbeFn>,
    elsewhere: Option<TellFn>,
}

impl<A: Clone + Send + Sync + 'static> Builder<A> {
    pub fn new(db: Db, app: A) -> Builder<A> {
        Builder { db, app, kinds: HashMap::new(), probe: None, elsewhere: None }
    }

    /// Knows how to run flows of type `F`.
    pub fn with<F: Flow<App = A>>(mut self) -> Builder<A> {
        self.kinds.insert(F::KIND, Arc::new(|flows, row| Box::pin(run::run::<F>(flows, row))));
        self
    }

    /// For tests that fail or crash flows at each step.
    pub fn probe(mut self, probe: Option<ProbeFn>) -> Builder<A> {
        self.probe = probe;
        self
    }

    /// Flows are only promised here, and run by another process: one that is told, or the next that looks for flows nobody works on.
    pub fn elsewhere(mut self, tell: Option<TellFn>) -> Builder<A> {
        self.elsewhere = tell;
        self
    }

    pub fn build(self) -> Flows<A> {
        Flows(Arc::new(Inner {
            db: self.db,
            app: self.app,
            owner: ids::hex(),
            kinds: self.kinds,
            running: Mutex::default(),
            probe: self.probe,
            elsewhere: self.elsewhere,
            waiting: wait::Waiting::default(),
        }))
    }
}

impl<A: Clone + Send + Sync + 'static> Flows<A> {
    /// Writes a flow into the journal as part of `tx`. Call [`Flows::start`] with the answered id once the transaction is committed.
    pub async fn insert<F: Flow<App = A>>(&self, tx: &impl ConnectionTrait, subject: &str, flow: &F) -> Result<String> {
        let id = ids::uuid();
        let now = Timestamp::now();
        // a flow that is not run here is nobody's until it is taken
        let (owner, lease_until) = match self.0.elsewhere {
            Some(_) => (String::new(), Timestamp::default()),
            None => (self.0.owner.clone(), now.plus(LEASE)),
        };
        let row = ActiveModel {
            id: Set(id.clone()),
            kind: Set(F::KIND.to_owned()),
            subject: Set(subject.to_owned()),
            step: Set(0),
            backward: Set(false),
            state: Set(serde_json::to_string(flow)?),
            error: Set(None),
            owner: Set(owner),
            lease_until: Set(lease_until),
            created_at: Set(now),
        };
        Entity::insert(row).exec_without_returning(tx).await?;
        Ok(id)
    }

    /// Begins, or goes on with, a flow of the journal. One that already runs here is left alone.
    pub fn start(&self, id: &str) {
        if let Some(tell) = &self.0.elsewhere {
            return tell(id.to_owned());
        }
        let (flows, flow_id) = (self.clone(), id.to_owned());
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(id) {
            return;
        }
        let task = tokio::spawn(async move {
            if let Err(error) = flows.run(&flow_id).await {
                tracing::error!(flow = flow_id, %error, "a flow stopped; it will be taken up again");
            }
            flows.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&flow_id);
            flows.0.waiting.stopped(&flow_id);
        });
        running.insert(id.to_owned(), task.abort_handle());
    }

    /// Makes a flow of the journal this process's own, if it is nobody's, and begins it.
    pub async fn take(&self, id: &str) -> Result<()> {
        if self.claim(id, Timestamp::now(), false).await? {
            self.start(id);
        }
        Ok(())
    }

    /// What this process is called in the journal.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// What a flow works on.
    pub async fn subject(&self, id: &str) -> Result<Option<String>> {
        let subject = Entity::find_by_id(id).select_only().column(Column::Subject).into_tuple();
        Ok(subject.one(self.0.db.read()).await?)
    }

    /// Takes up what other processes, or this one before it died, left behind. At start of a process that has its database to itself
    /// `alone` takes everything; else only flows whose lease has ended.
    pub async fn take_over(&self, alone: bool) -> Result<()> {
        let now = Timestamp::now();
        let mut query = Entity::find().select_only().column(Column::Id).filter(Column::Owner.ne(&self.0.owner));
        if !alone {
            query = query.filter(Column::LeaseUntil.lt(now));
        }
        let left: Vec<String> = query.order_by_asc(Column::CreatedAt).into_tuple().all(self.0.db.read()).await?;
        for id in left {
            if self.claim(&id, now, alone).await? {
                self.start(&id);
            }
        }
        Ok(())
    }

    /// Renews the lease of this process's flows, and starts again those of them that stopped.
    pub async fn keep_alive(&self) -> Result<()> {
        let owner = self.0.owner.clone();
        let until = Timestamp::now().plus(LEASE);
        self.0
            .db
            .write(move |tx| {
                Box::pin(async move {
                    let mine = Entity::update_many().filter(Column::Owner.eq(owner)).col_expr(Column::LeaseUntil, Expr::value(until));
                    mine.exec(tx).await?;
                    Ok(())
                })
            })
            .await?;
        let mine = Entity::find().select_only().column(Column::Id).filter(Column::Owner.eq(&self.0.owner));
        let ids: Vec<String> = mine.into_tuple().all(self.0.db.read()).await?;
        ids.iter().for_each(|id| self.start(id));
        Ok(())
    }

    /// The process ends: its flows stop where they are, and stay in the journal for whoever takes them up.
    pub fn halt(&self) {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).drain().for_each(|(id, task)| {
            task.abort();
            self.0.waiting.stopped(&id);
        });
    }

    /// Whether some flow works on `subject`.
    pub async fn busy(&self, subject: &str) -> Result<bool> {
        Ok(Entity::find().filter(Column::Subject.eq(subject)).count(self.0.db.read()).await? > 0)
    }

    /// Keeps the flow's present state, inside a step that must not forget what it decided.
    pub async fn save<F: Flow<App = A>>(&self, id: &str, flow: &F) -> Result<()> {
        let state = serde_json::to_string(flow)?;
        self.update(id, move |row| row.state = Set(state)).await
    }

    async fn claim(&self, id: &str, now: Timestamp, alone: bool) -> Result<bool> {
        let (id, owner) = (id.to_owned(), self.0.owner.clone());
        self.0
            .db
            .write(move |tx| {
                Box::pin(async move {
                    let mut update = Entity::update_many()
                        .filter(Column::Id.eq(id))
                        .col_expr(Column::Owner, Expr::value(owner))
                        .col_expr(Column::LeaseUntil, Expr::value(now.plus(LEASE)));
                    if !alone {
                        update = update.filter(Column::LeaseUntil.lt(now));
                    }
                    Ok(update.exec(tx).await?.rows_affected == 1)
                })
            })
            .await
    }

    async fn run(&self, id: &str) -> Result<()> {
        let Some(row) = Entity::find_by_id(id).one(self.0.db.read()).await? else { return Ok(()) };
        let runner = self.0.kinds.get(row.kind.as_str()).cloned();
        let runner = runner.ok_or_else(|| Error::internal(format!("nobody here runs flows of kind {}", row.kind)))?;
        runner(self.clone(), row).await
    }

    async fn update(&self, id: &str, change: impl FnOnce(&mut ActiveModel) + Send + 'static) -> Result<()> {
        let id = id.to_owned();
        let mut row = <ActiveModel as Default>::default();
        change(&mut row);
        self.0
            .db
            .write(move |tx| {
                Box::pin(async move {
                    Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn forget(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.0
            .db
            .write(move |tx| {
                Box::pin(async move {
                    Entity::delete_by_id(id).exec(tx).await?;
                    Ok(())
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    type Log = Arc<Mutex<Vec<String>>>;

    #[derive(Serialize, Deserialize)]
    struct Journey {
        legs: u32,
    }

    impl Journey {
        async fn pack(&mut self, log: &Log) -> Result<()> {
            self.legs += 1;
            log.lock().unwrap().push("pack".into());
            Ok(())
        }

        async fn unpack(&mut self, log: &Log, _: &Error) -> Result<()> {
            log.lock().unwrap().push("unpack".into());
            Ok(())
        }

        async fn travel(&mut self, log: &Log) -> Result<()> {
            log.lock().unwrap().push(format!("travel {}", self.legs));
            Ok(())
        }

        async fn return_home(&mut self, log: &Log, _: &Error) -> Result<()> {
            log.lock().unwrap().push("return".into());
            Ok(())
        }
    }

    impl Flow for Journey {
        type App = Log;
        const KIND: &'static str = "journey";

        fn steps() -> Vec<Step<Self>> {
            crate::steps![Self: pack / unpack, travel / return_home]
        }

        fn end<'a>(&'a self, log: &'a Log, tx: &'a DatabaseTransaction) -> BoxFuture<'a, Result<()>> {
            Box::pin(async move {
                let there = Entity::find().count(tx).await?;
                log.lock().unwrap().push(format!("home {there}"));
                Ok(())
            })
        }
    }

    async fn run_with(probe: fn(&str, &str) -> Probe) -> (Vec<String>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::Location::Sqlite(dir.path().join("f.sqlite")), &[migration(1)]).await.unwrap();
        let log = Log::default();
        let flows = Builder::new(db.clone(), log.clone()).with::<Journey>().probe(Some(Arc::new(probe))).build();
        let id = flows.insert(db.read(), "s1", &Journey { legs: 0 }).await.unwrap();
        let first = flows.run(&id).await;
        if first.is_err() {
            // the process died; another takes over
            let again = Builder::new(db.clone(), log.clone()).with::<Journey>().build();
            again.take_over(true).await.unwrap();
            while again.busy("s1").await.unwrap() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let left = Entity::find().count(db.read()).await.unwrap() as usize;
        let seen = log.lock().unwrap().clone();
        (seen, left)
    }

    #[tokio::test]
    async fn steps_run_in_order_and_leave_no_journal() {
        assert_eq!(run_with(|_, _| Probe::Go).await, (vec!["pack".into(), "travel 1".into(), "home 1".into()], 0));
    }

    #[tokio::test]
    async fn a_failed_step_and_those_before_it_are_undone() {
        let (seen, left) = run_with(|_, step| if step == "travel" { Probe::Fail } else { Probe::Go }).await;
        assert_eq!((seen.join(","), left), ("pack,travel 1,return,unpack".into(), 0));
    }

    #[tokio::test]
    async fn a_flow_promised_in_one_process_is_run_by_another_once() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::Location::Sqlite(dir.path().join("f.sqlite")), &[migration(1)]).await.unwrap();
        let (log, told) = (Log::default(), Log::default());
        let heard = told.clone();
        let tell: TellFn = Arc::new(move |id| heard.lock().unwrap().push(id));
        let promising = Builder::new(db.clone(), log.clone()).with::<Journey>().elsewhere(Some(tell)).build();
        let id = promising.insert(db.read(), "s1", &Journey { legs: 0 }).await.unwrap();
        promising.start(&id);
        assert_eq!(told.lock().unwrap().as_slice(), std::slice::from_ref(&id));
        assert_eq!(promising.subject(&id).await.unwrap().as_deref(), Some("s1"));
        let running = [(); 2].map(|()| Builder::new(db.clone(), log.clone()).with::<Journey>().build());
        for flows in &running {
            flows.take(&id).await.unwrap();
        }
        while running[0].busy("s1").await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(log.lock().unwrap().join(","), "pack,travel 1,home 1");
    }

    #[tokio::test]
    async fn whoever_waits_for_a_flow_is_told_how_far_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::Location::Sqlite(dir.path().join("f.sqlite")), &[migration(1)]).await.unwrap();
        for (fails, steps, failed) in [("", 1, false), ("", usize::MAX, false), ("pack", 1, true), ("travel", 2, true)] {
            let probe: ProbeFn = Arc::new(move |_, step| if step == fails { Probe::Fail } else { Probe::Go });
            let flows = Builder::new(db.clone(), Log::default()).with::<Journey>().probe(Some(probe)).build();
            let id = flows.insert(db.read(), "s1", &Journey { legs: 0 }).await.unwrap();
            assert_eq!(flows.reach(&id, steps).await.is_err(), failed, "{fails} {steps}");
        }
    }

    #[tokio::test]
    async fn a_crash_repeats_the_step_it_fell_in() {
        let (seen, left) = run_with(|_, step| if step == "travel" { Probe::Crash } else { Probe::Go }).await;
        assert_eq!((seen.join(","), left), ("pack,travel 1,travel 1,home 1".into(), 0));
    }
}
