//! A server moves to another host while it runs:
//!
//! ```text
//!   hold      -> what it has in placement is held by the migration       undo: it is given back; the server is as it was
//!   choose    -> the scheduler chooses and claims, or checks the host that was asked for
//!   prepare   -> the destination makes ready; else the next one          undo: it forgets what it made ready
//!   migrate   -> the guest leaves the source                             undo: the source has it again
//!   switch    -> the server belongs to the destination                   undo: to the source
//!   arrive    -> ports, volumes and guest are at the destination
//!   finish    -> as it was, elsewhere; the old allocations are given back
//! ```

use kit::db::Json;
use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::compute::compute_topic;
use rpc::live_migration::{ABORTED, LiveMigration, MigrationProgress, PostLiveMigration, PreLiveMigration, RollbackLiveMigration};
use rpc::scheduler::Destination;
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::place::{self, Request};
use super::{alive, claims, gone, leftovers};
use crate::Nova;
use crate::migrations;
use crate::servers::instance::{ActiveModel, Model};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store::{self, Guard};

/// What is going on meanwhile.
const TASKS: &[TaskState] = &[TaskState::Migrating];

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct LiveMigrate {
    caller: Caller,
    instance_id: String,
    migration_id: String,
    source: String,
    source_node: Option<String>,
    /// The server's state before, and after.
    was: String,
    forced_host: Option<String>,
    destinations: Vec<Destination>,
    /// The guest has left its source.
    left: bool,
}

impl Flow for LiveMigrate {
    type App = Nova;
    const KIND: &'static str = "live_migration";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: hold / give_back, choose, prepare / forget, migrate / come_back, switch / switch_back, arrive / depart, finish]
    }
}

impl LiveMigrate {
    pub fn new(caller: Caller, server: &Model, source: &str, migration_id: &str, host: Option<String>) -> LiveMigrate {
        LiveMigrate {
            caller,
            instance_id: server.id.clone(),
            migration_id: migration_id.to_owned(),
            source: source.to_owned(),
            source_node: server.node.clone(),
            was: server.vm_state.clone(),
            forced_host: host,
            destinations: Vec::new(),
            left: false,
        }
    }

    async fn hold(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        place::hand_over(app, &self.instance_id, &self.migration_id, "MIGRATION").await
    }

    async fn give_back(&mut self, app: &Nova, error: &Error) -> Result<()> {
        place::hand_over(app, &self.migration_id, &self.instance_id, "INSTANCE").await?;
        // an undo that was interrupted has only the words of what led to it
        let aborted = error.code.as_deref() == Some(ABORTED) || self.status(app).await?.as_deref() == Some("cancelled");
        let status = if aborted { "cancelled" } else { "error" };
        self.set_status(app, status).await?;
        let mut change = ActiveModel { vm_state: Set(self.was.clone()), ..Default::default() };
        if !aborted {
            change.fault = Set(Some(Json(store::stored(super::fault(error)))));
        }
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, true).await
    }

    async fn choose(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let ignore_hosts = vec![self.source.clone()];
        let request = Request { flavor: server.flavor.0.clone(), ignore_hosts, forced_host: self.forced_host.clone() };
        self.destinations = place::choose(app, &self.caller, &server, request).await?;
        Ok(())
    }

    async fn prepare(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let mut refusal = Error::conflict("No valid host was found.");
        for (attempt, destination) in self.destinations.clone().into_iter().take(app.config.max_attempts).enumerate() {
            if attempt > 0 && !self.claim(app, &server, &destination).await? {
                continue;
            }
            let (caller, instance_id, source_host) = (self.caller.clone(), self.instance_id.clone(), self.source.clone());
            let message = PreLiveMigration { caller, instance_id, source_host };
            match app.bus.call(&compute_topic(&destination.host), message, app.config.action_timeout).await {
                Ok(()) => {
                    self.destinations.drain(..attempt);
                    return self.tell(app, &destination).await;
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    async fn claim(&self, app: &Nova, server: &Model, destination: &Destination) -> Result<bool> {
        let devices = store::block_devices_of(app.db.read(), &server.id).await?;
        let resources = claims::resources(&server.flavor.0, &devices);
        claims::claim(app, &server.id, (&server.project_id, &server.user_id), destination, &resources).await
    }

    /// Where it goes, unless it was cancelled before it began.
    async fn tell(&self, app: &Nova, destination: &Destination) -> Result<()> {
        let (id, to) = (self.migration_id.clone(), destination.clone());
        let going = app.db.write(move |tx| {
            Box::pin(async move {
                let change = migrations::ActiveModel {
                    status: Set("preparing".to_owned()),
                    dest_host: Set(Some(to.host)),
                    dest_node: Set(Some(to.node)),
                    ..Default::default()
                };
                migrations::change_from(tx, &id, &["queued", "preparing"], change).await
            })
        });
        if going.await? { Ok(()) } else { Err(aborted()) }
    }

    async fn forget(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let Some(destination) = self.destinations.first() else { return Ok(()) };
        let message = RollbackLiveMigration { caller: self.caller.clone(), instance_id: self.instance_id.clone() };
        app.bus.call(&compute_topic(&destination.host), message, app.config.action_timeout).await
    }

    async fn migrate(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        let id = self.migration_id.clone();
        let running = migrations::ActiveModel { status: Set("running".to_owned()), ..Default::default() };
        let going =
            app.db.write(move |tx| Box::pin(async move { migrations::change_from(tx, &id, &["preparing", "running"], running).await }));
        if !going.await? {
            return Err(aborted());
        }
        let message = LiveMigration {
            caller: self.caller.clone(),
            instance_id: self.instance_id.clone(),
            migration_id: self.migration_id.clone(),
            dest_host: self.destination()?.host.clone(),
        };
        app.bus.call(&compute_topic(&self.source), message, app.config.transfer_timeout).await?;
        self.left = true;
        Ok(())
    }

    async fn come_back(&mut self, app: &Nova, _: &Error) -> Result<()> {
        // a guest that did not leave is there, and one that is to be deleted need not come back
        if !self.left || alive(app, &self.instance_id).await.is_err() {
            return Ok(());
        }
        let source_host = self.destination()?.host.clone();
        app.bus.call(&compute_topic(&self.source), self.arrival(source_host), app.config.transfer_timeout).await
    }

    async fn switch(&mut self, app: &Nova) -> Result<()> {
        let to = self.destination()?.clone();
        let zone = app.hosts.zone_of(app, &to.host).await?;
        let change =
            ActiveModel { host: Set(Some(to.host)), node: Set(Some(to.node)), availability_zone: Set(Some(zone)), ..Default::default() };
        if store::save(app, &self.instance_id, Guard::alive(), change).await? { Ok(()) } else { Err(gone()) }
    }

    async fn switch_back(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let change = ActiveModel { host: Set(Some(self.source.clone())), node: Set(self.source_node.clone()), ..Default::default() };
        store::save(app, &self.instance_id, Guard::default(), change).await.map(drop)
    }

    async fn arrive(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        let message = self.arrival(self.source.clone());
        app.bus.call(&compute_topic(&self.destination()?.host), message, app.config.transfer_timeout).await
    }

    async fn depart(&mut self, app: &Nova, error: &Error) -> Result<()> {
        self.forget(app, error).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        // the guest is there and stays: what placement does not hear of now is no reason to take it back
        if let Err(error) = claims::release(app, &self.migration_id).await {
            tracing::warn!(migration = self.migration_id, %error, "the allocations of a migration that is over are given back later");
            let id = self.migration_id.clone();
            app.db.write(move |tx| Box::pin(async move { leftovers::note(tx, &id).await })).await?;
        }
        self.set_status(app, "completed").await?;
        let change = ActiveModel { vm_state: Set(self.was.clone()), ..Default::default() };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, false).await
    }

    fn arrival(&self, source_host: String) -> PostLiveMigration {
        let paused = self.was == VmState::Paused.word();
        PostLiveMigration { caller: self.caller.clone(), instance_id: self.instance_id.clone(), source_host, paused }
    }

    fn destination(&self) -> Result<&Destination> {
        self.destinations.first().ok_or_else(|| Error::internal("a migration without a destination"))
    }

    async fn status(&self, app: &Nova) -> Result<Option<String>> {
        Ok(migrations::load(app.db.read(), &self.migration_id).await?.map(|row| row.status))
    }

    async fn set_status(&self, app: &Nova, status: &'static str) -> Result<()> {
        let id = self.migration_id.clone();
        app.db.write(move |tx| Box::pin(async move { migrations::set_status(tx, &id, status).await })).await
    }
}

fn aborted() -> Error {
    Error::conflict("The migration was aborted.").code(ABORTED)
}

/// The source says how far it is.
pub async fn progress(app: &Nova, message: MigrationProgress) -> Result<()> {
    let change = migrations::ActiveModel { progress: Set(Some(Json(message.progress))), ..Default::default() };
    let id = message.migration_id;
    app.db.write(move |tx| Box::pin(async move { migrations::change_from(tx, &id, &["running"], change).await })).await.map(drop)
}
