//! The two ends of a resize or cold migration.
//!
//! ```text
//!   Confirm: forget  -> the source forgets the disks it set aside          undo: the server stays in VERIFY_RESIZE
//!            finish  -> the old allocations are given back; ACTIVE
//!   Revert:  remove  -> the destination ends the guest                     undo: ERROR, with a fault
//!            switch  -> the server belongs to the source, with its old flavor
//!            restore -> the source puts the disks back and starts it
//!            finish  -> it has its old allocations; as it was
//! ```

use kit::db::Json;
use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::{ConfirmResize, FinishRevertResize, RevertResize};
use rpc::compute::compute_topic;
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::{alive, place};
use crate::migrations::{self, Model as Migration};
use crate::servers::instance::ActiveModel;
use crate::servers::states::{TaskState, VmState, power};
use crate::servers::store::{self, Guard};
use crate::{Nova, quotas};

/// What is going on meanwhile.
const TASKS: &[TaskState] = &[TaskState::ResizeConfirming, TaskState::ResizeReverting];

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Confirm {
    caller: Caller,
    instance_id: String,
    migration_id: String,
}

impl Flow for Confirm {
    type App = Nova;
    const KIND: &'static str = "confirm_resize";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: forget / stay, finish]
    }
}

impl Confirm {
    pub fn new(caller: Caller, migration: &Migration) -> Confirm {
        Confirm { caller, instance_id: migration.instance_id.clone(), migration_id: migration.id.clone() }
    }

    async fn forget(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        let Some(migration) = migrations::load(app.db.read(), &self.migration_id).await? else { return Ok(()) };
        forget_source(app, &self.caller, &migration).await
    }

    async fn stay(&mut self, app: &Nova, error: &Error) -> Result<()> {
        super::settle(app, &self.caller, &self.instance_id, TASKS, error).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        super::claims::release(app, &self.migration_id).await?;
        let (id, migration) = (self.instance_id.clone(), self.migration_id.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    migrations::set_status(tx, &migration, "confirmed").await?;
                    let Some(server) = store::load(tx, &id).await? else { return Ok(()) };
                    quotas::settle(tx, &id, i64::from(server.flavor.0.vcpus), server.flavor.0.ram_mb as i64).await
                })
            })
            .await?;
        let server = store::load(app.db.read(), &self.instance_id).await?;
        let off = server.is_some_and(|s| s.power_state == i64::from(power::SHUTDOWN));
        let state = if off { VmState::Stopped } else { VmState::Active };
        let change = ActiveModel { vm_state: Set(state.word().into()), ..Default::default() };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, false).await
    }
}

/// The source of a move forgets what it set aside.
pub async fn forget_source(app: &Nova, caller: &Caller, migration: &Migration) -> Result<()> {
    let Some(source) = &migration.source_host else { return Ok(()) };
    let message = ConfirmResize { caller: caller.clone(), instance_id: migration.instance_id.clone() };
    app.bus.call(&compute_topic(source), message, app.config.action_timeout).await
}

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Revert {
    caller: Caller,
    instance_id: String,
    migration_id: String,
}

impl Flow for Revert {
    type App = Nova;
    const KIND: &'static str = "revert_resize";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: remove / give_up, switch, restore, finish]
    }
}

impl Revert {
    pub fn new(caller: Caller, migration: &Migration) -> Revert {
        Revert { caller, instance_id: migration.instance_id.clone(), migration_id: migration.id.clone() }
    }

    async fn remove(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let migration = self.migration(app).await?;
        // done before: the server is at its source again
        let Some(host) = server.host.filter(|_| server.flavor == migration.new_flavor) else { return Ok(()) };
        let message = RevertResize { caller: self.caller.clone(), instance_id: self.instance_id.clone() };
        app.bus.call(&compute_topic(&host), message, app.config.action_timeout).await
    }

    /// Neither here nor there: only an administrator or a deletion can help.
    async fn give_up(&mut self, app: &Nova, error: &Error) -> Result<()> {
        let migration = self.migration_id.clone();
        app.db.write(move |tx| Box::pin(async move { migrations::set_status(tx, &migration, "error").await })).await?;
        super::end_action(app, &self.caller, &self.instance_id, TASKS, store::failed(super::fault(error)), true).await
    }

    async fn switch(&mut self, app: &Nova) -> Result<()> {
        let migration = self.migration(app).await?;
        let zone = match &migration.source_host {
            Some(host) => Some(app.hosts.zone_of(app, host).await?),
            None => None,
        };
        let change = ActiveModel {
            host: Set(migration.source_host),
            node: Set(migration.source_node),
            availability_zone: Set(zone),
            flavor_id: Set(migration.old_flavor.0.id.clone()),
            flavor: Set(Json(migration.old_flavor.0)),
            ..Default::default()
        };
        if store::save(app, &self.instance_id, Guard::alive(), change).await? { Ok(()) } else { Err(super::gone()) }
    }

    async fn restore(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let migration = self.migration(app).await?;
        let host = server.host.ok_or_else(|| Error::internal("a server without a host is reverted"))?;
        let running = migration.old_vm_state == VmState::Active.word();
        let message = FinishRevertResize { caller: self.caller.clone(), instance_id: self.instance_id.clone(), running };
        app.bus.call(&compute_topic(&host), message, app.config.transfer_timeout).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        place::take_back(app, &self.migration_id, &self.instance_id).await?;
        let migration = self.migration(app).await?;
        let running = migration.old_vm_state == VmState::Active.word();
        let (id, migration_id, old) = (self.instance_id.clone(), self.migration_id.clone(), migration.old_flavor.0);
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    migrations::set_status(tx, &migration_id, "reverted").await?;
                    quotas::settle(tx, &id, i64::from(old.vcpus), old.ram_mb as i64).await
                })
            })
            .await?;
        let change = ActiveModel {
            vm_state: Set(migration.old_vm_state),
            power_state: Set(i64::from(if running { power::RUNNING } else { power::SHUTDOWN })),
            ..Default::default()
        };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, false).await
    }

    async fn migration(&self, app: &Nova) -> Result<Migration> {
        let found = migrations::load(app.db.read(), &self.migration_id).await?;
        found.ok_or_else(|| Error::internal(format!("there is no migration {}", self.migration_id)))
    }
}
