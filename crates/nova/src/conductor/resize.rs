//! A server moves to another flavor, another host, or both (resize and cold migration), and waits there to be confirmed:
//!
//! ```text
//!   hold      -> what it has in placement is held by the migration          undo: it is given back; the server is as it was, with a fault
//!   choose    -> the scheduler chooses and claims
//!   prepare   -> the destination says whether it can; else the next one
//!   leave     -> the source ends the guest and offers its disks             undo: the source starts it again
//!   switch    -> the server belongs to the destination                      undo: to the source
//!   arrive    -> the destination takes the disks and starts the guest       undo: it forgets them
//!   finish    -> VERIFY_RESIZE
//! ```
//!
//! The columns `vcpus` and `ram_mb`, which quotas count, hold the larger of both flavors meanwhile.

use kit::clock::Timestamp;
use kit::db::Json;
use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::{FinishResize, FinishRevertResize, OfferedDisks, PrepResize, ResizeInstance, RevertResize};
use rpc::compute::{Flavor, compute_topic};
use rpc::scheduler::Destination;
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::place::{self, Request};
use super::{alive, claims, gone};
use crate::migrations;
use crate::servers::instance::{ActiveModel, Model};
use crate::servers::states::{TaskState, VmState, power};
use crate::servers::store::{self, Guard};
use crate::{Nova, numa, quotas};

/// What is going on meanwhile.
const TASKS: &[TaskState] = &[TaskState::ResizePrep, TaskState::ResizeMigrating, TaskState::ResizeMigrated, TaskState::ResizeFinish];

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Resize {
    caller: Caller,
    instance_id: String,
    migration_id: String,
    old_flavor: Flavor,
    new_flavor: Flavor,
    source: String,
    source_node: Option<String>,
    /// The server's state before.
    was: String,
    /// What an administrator asked for.
    forced_host: Option<String>,
    /// Not to the host it is on.
    elsewhere: bool,
    destinations: Vec<Destination>,
    offered: OfferedDisks,
}

impl Flow for Resize {
    type App = Nova;
    const KIND: &'static str = "resize";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: hold / give_back, choose, prepare, leave / come_back, switch / switch_back, arrive / depart, finish]
    }
}

impl Resize {
    /// To another flavor, on whichever host.
    pub fn new(caller: Caller, server: &Model, source: &str, migration_id: &str, new_flavor: Flavor) -> Resize {
        Resize {
            caller,
            instance_id: server.id.clone(),
            migration_id: migration_id.to_owned(),
            old_flavor: server.flavor.0.clone(),
            new_flavor,
            source: source.to_owned(),
            source_node: server.node.clone(),
            was: server.vm_state.clone(),
            forced_host: None,
            elsewhere: false,
            destinations: Vec::new(),
            offered: OfferedDisks { running: server.vm_state == VmState::Active.word(), disks: Vec::new() },
        }
    }

    /// To another host.
    pub fn elsewhere(self, host: Option<String>) -> Resize {
        Resize { forced_host: host, elsewhere: true, ..self }
    }

    async fn hold(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        place::hand_over(app, &self.instance_id, &self.migration_id, "MIGRATION").await
    }

    async fn give_back(&mut self, app: &Nova, error: &Error) -> Result<()> {
        place::take_back(app, &self.migration_id, &self.instance_id).await?;
        let (id, migration, old) = (self.instance_id.clone(), self.migration_id.clone(), self.old_flavor.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    migrations::set_status(tx, &migration, "error").await?;
                    quotas::settle(tx, &id, i64::from(old.vcpus), old.ram_mb as i64).await
                })
            })
            .await?;
        let change = ActiveModel {
            vm_state: Set(self.was.clone()),
            fault: Set(Some(Json(store::stored(super::fault(error))))),
            ..Default::default()
        };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, true).await
    }

    async fn choose(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let ignore_hosts = if self.elsewhere { vec![self.source.clone()] } else { Vec::new() };
        let request = Request { flavor: self.new_flavor.clone(), ignore_hosts, forced_host: self.forced_host.clone() };
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
            let flavor = self.new_flavor.clone();
            let numa = numa::of_server(&flavor, &server.spec.0.image_properties);
            let message = PrepResize { caller: self.caller.clone(), instance_id: self.instance_id.clone(), flavor, numa };
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
        let resources = claims::resources(&self.new_flavor, &server.spec.0.image_properties, &devices);
        claims::claim(app, &server.id, (&server.project_id, &server.user_id), destination, &resources).await
    }

    /// Where it goes, for those who look.
    async fn tell(&self, app: &Nova, destination: &Destination) -> Result<()> {
        let (id, to) = (self.migration_id.clone(), destination.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    let change = migrations::ActiveModel {
                        status: Set("migrating".to_owned()),
                        dest_host: Set(Some(to.host)),
                        dest_node: Set(Some(to.node)),
                        ..Default::default()
                    };
                    migrations::change(tx, &id, change).await
                })
            })
            .await?;
        self.task(app, TaskState::ResizeMigrating).await
    }

    async fn leave(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        let dest_host = self.destination()?.host.clone();
        let message = ResizeInstance { caller: self.caller.clone(), instance_id: self.instance_id.clone(), dest_host };
        self.offered = app.bus.call(&compute_topic(&self.source), message, app.config.transfer_timeout).await?;
        Ok(())
    }

    async fn come_back(&mut self, app: &Nova, _: &Error) -> Result<()> {
        // of a server that is to go, the disks go where they are
        if alive(app, &self.instance_id).await.is_err() {
            return Ok(());
        }
        let running = self.offered.running;
        let message = FinishRevertResize { caller: self.caller.clone(), instance_id: self.instance_id.clone(), running };
        app.bus.call(&compute_topic(&self.source), message, app.config.transfer_timeout).await
    }

    async fn switch(&mut self, app: &Nova) -> Result<()> {
        let destination = self.destination()?.clone();
        let zone = app.hosts.zone_of(app, &destination.host).await?;
        let change = ActiveModel {
            host: Set(Some(destination.host)),
            node: Set(Some(destination.node)),
            availability_zone: Set(Some(zone)),
            flavor_id: Set(self.new_flavor.id.clone()),
            flavor: Set(Json(self.new_flavor.clone())),
            task_state: Set(Some(TaskState::ResizeFinish.word().into())),
            ..Default::default()
        };
        if store::save(app, &self.instance_id, Guard::alive(), change).await? { Ok(()) } else { Err(gone()) }
    }

    /// Also of a server that is being deleted: its disks are at the source.
    async fn switch_back(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let change = ActiveModel {
            host: Set(Some(self.source.clone())),
            node: Set(self.source_node.clone()),
            flavor_id: Set(self.old_flavor.id.clone()),
            flavor: Set(Json(self.old_flavor.clone())),
            ..Default::default()
        };
        store::save(app, &self.instance_id, Guard::default(), change).await.map(drop)
    }

    async fn arrive(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        let message = FinishResize {
            caller: self.caller.clone(),
            instance_id: self.instance_id.clone(),
            source_host: self.source.clone(),
            offered: self.offered.clone(),
        };
        app.bus.call(&compute_topic(&self.destination()?.host), message, app.config.transfer_timeout).await
    }

    async fn depart(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let message = RevertResize { caller: self.caller.clone(), instance_id: self.instance_id.clone() };
        app.bus.call(&compute_topic(&self.destination()?.host), message, app.config.action_timeout).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        let migration = self.migration_id.clone();
        app.db.write(move |tx| Box::pin(async move { migrations::set_status(tx, &migration, "finished").await })).await?;
        let state = if self.offered.running { power::RUNNING } else { power::SHUTDOWN };
        let change = ActiveModel {
            vm_state: Set(VmState::Resized.word().into()),
            power_state: Set(i64::from(state)),
            launched_at: Set(Some(Timestamp::now())),
            ..Default::default()
        };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, false).await
    }

    fn destination(&self) -> Result<&Destination> {
        self.destinations.first().ok_or_else(|| Error::internal("a resize without a destination"))
    }

    async fn task(&self, app: &Nova, task: TaskState) -> Result<()> {
        let change = ActiveModel { task_state: Set(Some(task.word().into())), ..Default::default() };
        if store::save(app, &self.instance_id, Guard::alive(), change).await? { Ok(()) } else { Err(gone()) }
    }
}
