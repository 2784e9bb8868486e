//! What a host does with one guest, asked for by a cast whose end the host saves on the server: power, rescue, rebuild.
//!
//! ```text
//!   tell    -> the host is asked, unless it is down or does not suit a new image     undo: the task is over, with a fault
//!   wait    -> until the host has ended the task
//! ```

use std::time::Duration;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::flow::{Flow, Step};
use kit::{Error, Kind, Result, steps};
use rpc::Caller;
use rpc::actions::{RebuildInstance, RescueInstance, UnrescueInstance};
use rpc::compute::{PowerAction, PowerInstance, compute_topic};
use sea_orm::Set;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::alive;
use super::boot::no_valid_host;
use crate::servers::instance::{ActiveModel, Model, Spec};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store;
use crate::{Nova, instance_actions, os_services, scheduler};

/// Pauses between looks at the server: short at first.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct HostTask {
    caller: Caller,
    instance_id: String,
    work: Work,
    began: Timestamp,
}

/// What is to be done. Passwords are not in the journal: they are kept in memory, as those of new servers are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    Power(PowerAction),
    /// With an image of its own.
    Rescue(Option<String>),
    Unrescue,
    Rebuild {
        preserve_ephemeral: bool,
        /// What the volume it boots from is filled with.
        #[serde(default)]
        reimage: Option<String>,
        /// Where it gets another image: what it was made of before.
        #[serde(default)]
        former: Option<Box<Former>>,
    },
}

/// What a server was made of before a rebuild with another image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Former {
    pub image_id: Option<String>,
    pub spec: Spec,
}

/// The host of a server does not suit the image that it is to be rebuilt with.
const UNSUITABLE: &str = "NoValidHost";

impl Flow for HostTask {
    type App = Nova;
    const KIND: &'static str = "host_task";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: tell / settle, wait]
    }
}

impl HostTask {
    pub fn new(caller: Caller, instance_id: &str, work: Work) -> HostTask {
        HostTask { caller, instance_id: instance_id.to_owned(), work, began: Timestamp::now() }
    }

    async fn tell(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        // a host that was told already has ended the task
        if server.task_state.is_none() {
            return Ok(());
        }
        let host = server.host.clone().ok_or_else(|| Error::conflict(format!("Instance {} is not ready", server.id)))?;
        if !os_services::is_up(app, &host).await? {
            return Err(Error::unavailable(format!("The host of instance {} is down.", server.id)));
        }
        if matches!(self.work, Work::Rebuild { former: Some(_), .. }) {
            let filters = scheduler::on_rebuild(app, &server.to_rpc(Vec::new())).await?;
            if filters.iter().any(|filter| filter.end == 0) {
                return Err(Error::conflict(no_valid_host(&filters)).code(UNSUITABLE));
            }
        }
        self.cast(app, &compute_topic(&host)).await
    }

    async fn cast(&self, app: &Nova, topic: &str) -> Result<()> {
        let (caller, instance_id) = (self.caller.clone(), self.instance_id.clone());
        let admin_password = app.builds.password(&instance_id);
        match self.work.clone() {
            Work::Power(action) => app.bus.cast(topic, PowerInstance { caller, instance_id, action }).await,
            Work::Rescue(image_id) => app.bus.cast(topic, RescueInstance { caller, instance_id, image_id, admin_password }).await,
            Work::Unrescue => app.bus.cast(topic, UnrescueInstance { caller, instance_id }).await,
            Work::Rebuild { preserve_ephemeral, reimage, .. } => {
                let message = RebuildInstance { caller, instance_id, admin_password, preserve_ephemeral, reimage };
                app.bus.cast(topic, message).await
            }
        }
    }

    async fn wait(&mut self, app: &Nova) -> Result<()> {
        let server = until_idle(app, &self.instance_id).await?;
        app.builds.forget(&self.instance_id);
        let failed = server.is_some_and(|s| s.vm_state == VmState::Error.word() || s.fault.is_some_and(|f| f.0.created >= self.began));
        instance_actions::ended(app, &self.caller, &self.instance_id, failed).await
    }

    async fn settle(&mut self, app: &Nova, error: &Error) -> Result<()> {
        app.builds.forget(&self.instance_id);
        let mut change = ActiveModel { fault: Set(Some(Json(store::stored(super::fault(error))))), ..Default::default() };
        if let Work::Rebuild { former: Some(former), .. } = &self.work {
            (change.image_id, change.spec) = (Set(former.image_id.clone()), Set(Json(former.spec.clone())));
        }
        if error.code.as_deref() == Some(UNSUITABLE) {
            change.vm_state = Set(VmState::Error.word().into());
        }
        super::end_action(app, &self.caller, &self.instance_id, TaskState::ALL, change, true).await
    }
}

/// Waits until nothing is done with a server any more; `None` when it is gone or going.
pub async fn until_idle(app: &Nova, instance_id: &str) -> Result<Option<Model>> {
    let deadline = Instant::now() + app.config.action_timeout;
    let (mut pause, longest) = LOOKS;
    loop {
        let Some(server) = store::load(app.db.read(), instance_id).await? else { return Ok(None) };
        match server.task_state.as_deref() {
            None => return Ok(Some(server)),
            Some(task) if task == TaskState::Deleting.word() => return Ok(None),
            Some(task) if Instant::now() >= deadline => {
                return Err(Error::new(Kind::TimedOut, format!("The host did not end the task {task} in time.")));
            }
            Some(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
    }
}
