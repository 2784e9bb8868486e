//! A server set aside: its disk becomes an image ([`Shelve`]), then its guest leaves the host ([`Offload`]).
//!
//! ```text
//!   Shelve:  put_away -> the host ends the guest and uploads its disk     undo: the image goes, the server is as it was
//!            keep     -> SHELVED; the promise to offload it
//!   Offload: remove   -> the host forgets guest and disks                 undo: it stays SHELVED
//!            vacate   -> SHELVED_OFFLOADED, on no host, and the claim is given back
//! ```

use kit::clock::Timestamp;
use kit::db::Json;
use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::{ShelveInstance, ShelveOffloadInstance};
use rpc::compute::compute_topic;
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::{alive, claims, snapshot};
use crate::instance_actions;
use crate::servers::begin::host_of;
use crate::servers::instance::{ActiveModel, Model, Shelved};
use crate::servers::states::{TaskState, VmState, power};
use crate::servers::store::{self, Guard};
use crate::{Nova, os_services};

/// What is going on meanwhile.
const TASKS: &[TaskState] =
    &[TaskState::Shelving, TaskState::ShelvingImagePendingUpload, TaskState::ShelvingImageUploading, TaskState::ShelvingOffloading];

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Shelve {
    caller: Caller,
    instance_id: String,
    /// None for one that boots from a volume.
    image_id: Option<String>,
    /// The server's state before.
    was: String,
}

impl Flow for Shelve {
    type App = Nova;
    const KIND: &'static str = "shelve";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: put_away / take_back, keep]
    }
}

impl Shelve {
    pub fn new(caller: Caller, server: &Model, image_id: Option<String>) -> Shelve {
        Shelve { caller, instance_id: server.id.clone(), image_id, was: server.vm_state.clone() }
    }

    async fn put_away(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        if let Some(image) = &self.image_id
            && snapshot::is_active(app, &self.caller, image).await?
        {
            return Ok(());
        }
        let message = ShelveInstance { caller: self.caller.clone(), instance_id: server.id.clone(), image_id: self.image_id.clone() };
        app.bus.call(&compute_topic(&host_of(&server)?), message, app.config.transfer_timeout).await
    }

    /// The guest may be off by now; what it is the host tells with its next report.
    async fn take_back(&mut self, app: &Nova, error: &Error) -> Result<()> {
        if let Some(image) = &self.image_id {
            let auth = app.session.on_behalf(&self.caller).await?;
            sdk::found(app.cloud.image.delete(&auth, image).await)?;
        }
        super::settle(app, &self.caller, &self.instance_id, TASKS, error).await
    }

    async fn keep(&mut self, app: &Nova) -> Result<()> {
        let (id, request, image_id) = (self.instance_id.clone(), self.caller.request_id.clone(), self.image_id.clone());
        let offload = Offload::new(self.caller.clone(), &id);
        let (nova, at_once) = (app.clone(), app.config.shelved_offload_time.is_some_and(|time| time.is_zero()));
        let flow = app
            .db
            .write(move |tx| {
                Box::pin(async move {
                    let task = at_once.then(|| TaskState::ShelvingOffloading.word().to_owned());
                    let change = ActiveModel {
                        vm_state: Set(VmState::Shelved.word().into()),
                        task_state: Set(task),
                        power_state: Set(i64::from(power::SHUTDOWN)),
                        shelved: Set(Some(Json(Shelved { image_id, at: Timestamp::now() }))),
                        ..Default::default()
                    };
                    let kept = store::change(tx, &id, Guard::alive(), change).await?;
                    instance_actions::end(tx, &id, &request, false).await?;
                    if kept && at_once { nova.flows()?.insert(tx, &id, &offload).await.map(Some) } else { Ok(None) }
                })
            })
            .await?;
        if let Some(flow) = flow {
            app.flows()?.start(&flow);
        }
        Ok(())
    }
}

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Offload {
    caller: Caller,
    instance_id: String,
}

impl Flow for Offload {
    type App = Nova;
    const KIND: &'static str = "shelve_offload";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: remove / stay, vacate]
    }
}

impl Offload {
    pub fn new(caller: Caller, instance_id: &str) -> Offload {
        Offload { caller, instance_id: instance_id.to_owned() }
    }

    async fn remove(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let Some(host) = server.host else { return Ok(()) };
        if !os_services::is_up(app, &host).await? {
            return Err(Error::unavailable(format!("The host of instance {} is down.", server.id)));
        }
        let message = ShelveOffloadInstance { caller: self.caller.clone(), instance_id: server.id };
        app.bus.call(&compute_topic(&host), message, app.config.action_timeout).await
    }

    async fn stay(&mut self, app: &Nova, error: &Error) -> Result<()> {
        super::settle(app, &self.caller, &self.instance_id, TASKS, error).await
    }

    async fn vacate(&mut self, app: &Nova) -> Result<()> {
        claims::release(app, &self.instance_id).await?;
        let change = ActiveModel {
            vm_state: Set(VmState::ShelvedOffloaded.word().into()),
            power_state: Set(0),
            host: Set(None),
            node: Set(None),
            ..Default::default()
        };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, false).await
    }
}
