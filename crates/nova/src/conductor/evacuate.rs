//! A server whose host is lost is made anew on another:
//!
//! ```text
//!   choose  -> the scheduler chooses and claims; what it had at the lost host is given back by that     undo: a fault, on the host it had
//!   switch  -> the server belongs to the new host                                                       undo: to the lost one
//!   build   -> the new host makes the guest from the image, or from its volume                          undo: it forgets it
//!   finish  -> as it was, or stopped
//! ```
//!
//! Should the lost host come back, it finds that the guest is not its own any more, and ends it; one that was only cut off hears so when it
//! reports (`fencing.rs`).

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::{ShelveOffloadInstance, UnshelveInstance};
use rpc::compute::{PowerAction, PowerInstance, compute_topic};
use rpc::scheduler::Destination;
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::host_task::until_idle;
use super::place::{self, Request};
use super::{alive, gone};
use crate::Nova;
use crate::migrations;
use crate::servers::instance::{ActiveModel, Model};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store::{self, Guard};

/// What is going on meanwhile.
const TASKS: &[TaskState] = &[
    TaskState::Rebuilding,
    TaskState::RebuildBlockDeviceMapping,
    TaskState::RebuildSpawning,
    TaskState::Networking,
    TaskState::BlockDeviceMapping,
    TaskState::Spawning,
    TaskState::PoweringOff,
];

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Evacuate {
    caller: Caller,
    instance_id: String,
    migration_id: String,
    source: String,
    source_node: Option<String>,
    forced_host: Option<String>,
    /// Whether it shall be stopped afterwards.
    stops: bool,
    was: String,
    destination: Option<Destination>,
}

impl Flow for Evacuate {
    type App = Nova;
    const KIND: &'static str = "evacuate";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: choose / give_up, switch / switch_back, build / remove, finish]
    }
}

impl Evacuate {
    pub fn new(caller: Caller, server: &Model, source: &str, migration_id: &str, host: Option<String>, stops: bool) -> Evacuate {
        Evacuate {
            caller,
            instance_id: server.id.clone(),
            migration_id: migration_id.to_owned(),
            source: source.to_owned(),
            source_node: server.node.clone(),
            forced_host: host,
            stops: stops || server.vm_state == VmState::Stopped.word(),
            was: server.vm_state.clone(),
            destination: None,
        }
    }

    async fn choose(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let request =
            Request { flavor: server.flavor.0.clone(), ignore_hosts: vec![self.source.clone()], forced_host: self.forced_host.clone() };
        self.destination = place::choose(app, &self.caller, &server, request).await?.into_iter().next();
        Ok(())
    }

    async fn give_up(&mut self, app: &Nova, error: &Error) -> Result<()> {
        let migration = self.migration_id.clone();
        app.db.write(move |tx| Box::pin(async move { migrations::set_status(tx, &migration, "failed").await })).await?;
        super::settle(app, &self.caller, &self.instance_id, TASKS, error).await
    }

    async fn switch(&mut self, app: &Nova) -> Result<()> {
        let to = self.destination.clone().ok_or_else(|| Error::internal("an evacuation without a destination"))?;
        let zone = app.hosts.zone_of(app, &to.host).await?;
        let (migration, dest) = (self.migration_id.clone(), to.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    let change = migrations::ActiveModel {
                        status: Set("migrating".to_owned()),
                        dest_host: Set(Some(dest.host)),
                        dest_node: Set(Some(dest.node)),
                        ..Default::default()
                    };
                    migrations::change(tx, &migration, change).await
                })
            })
            .await?;
        let change = ActiveModel {
            host: Set(Some(to.host)),
            node: Set(Some(to.node)),
            availability_zone: Set(Some(zone)),
            task_state: Set(Some(TaskState::RebuildSpawning.word().into())),
            ..Default::default()
        };
        if store::save(app, &self.instance_id, Guard::alive(), change).await? { Ok(()) } else { Err(gone()) }
    }

    async fn switch_back(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let change = ActiveModel {
            host: Set(Some(self.source.clone())),
            node: Set(self.source_node.clone()),
            vm_state: Set(self.was.clone()),
            ..Default::default()
        };
        store::save(app, &self.instance_id, Guard::default(), change).await.map(drop)
    }

    async fn build(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let (caller, instance_id, image_id) = (self.caller.clone(), server.id.clone(), server.image_id.clone());
        let message = UnshelveInstance { caller, instance_id, image_id, evacuated: true };
        app.bus.call(&self.topic()?, message, app.config.transfer_timeout).await
    }

    async fn remove(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let message = ShelveOffloadInstance { caller: self.caller.clone(), instance_id: self.instance_id.clone() };
        app.bus.call(&self.topic()?, message, app.config.action_timeout).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        let migration = self.migration_id.clone();
        app.db.write(move |tx| Box::pin(async move { migrations::set_status(tx, &migration, migrations::DONE).await })).await?;
        if self.stops {
            let (caller, instance_id) = (self.caller.clone(), self.instance_id.clone());
            let task = ActiveModel { task_state: Set(Some(TaskState::PoweringOff.word().into())), ..Default::default() };
            store::save(app, &self.instance_id, Guard::alive(), task).await?;
            app.bus.cast(&self.topic()?, PowerInstance { caller, instance_id, action: PowerAction::Stop }).await?;
            until_idle(app, &self.instance_id).await?;
        }
        super::end_action(app, &self.caller, &self.instance_id, TASKS, <ActiveModel as Default>::default(), false).await
    }

    fn topic(&self) -> Result<String> {
        let to = self.destination.as_ref().ok_or_else(|| Error::internal("an evacuation without a destination"))?;
        Ok(compute_topic(&to.host))
    }
}
