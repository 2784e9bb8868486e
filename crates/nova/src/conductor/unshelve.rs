//! A shelved server comes back: on the host it is still on, or on one the scheduler chooses.
//!
//! ```text
//!   place   -> a host is chosen and claimed, unless there is one      undo: the claim and the host are given back, it stays offloaded
//!   build   -> the host makes the guest from the image                undo: the host ends it
//!   finish  -> ACTIVE, and the image goes
//! ```

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::{ShelveOffloadInstance, UnshelveInstance};
use rpc::compute::{PowerAction, PowerInstance, compute_topic};
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::host_task::until_idle;
use super::place::{self, Request};
use super::{alive, claims};
use crate::Nova;
use crate::servers::begin::host_of;
use crate::servers::instance::{ActiveModel, Model};
use crate::servers::states::{TaskState, VmState, power};
use crate::servers::store::{self, Guard};

/// What is going on meanwhile.
const TASKS: &[TaskState] = &[TaskState::Unshelving, TaskState::Networking, TaskState::BlockDeviceMapping, TaskState::Spawning];

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Unshelve {
    caller: Caller,
    instance_id: String,
    /// The host that an administrator asked for.
    host: Option<String>,
    /// It has no host.
    offloaded: bool,
    image_id: Option<String>,
}

impl Flow for Unshelve {
    type App = Nova;
    const KIND: &'static str = "unshelve";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: place / leave, build / remove, finish]
    }
}

impl Unshelve {
    pub fn new(caller: Caller, server: &Model, host: Option<String>) -> Unshelve {
        let image_id = server.shelved.as_ref().and_then(|shelved| shelved.0.image_id.clone());
        let offloaded = server.vm_state == VmState::ShelvedOffloaded.word();
        Unshelve { caller, instance_id: server.id.clone(), host, offloaded, image_id }
    }

    async fn place(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        if !self.offloaded || server.host.is_some() {
            return Ok(());
        }
        let request = Request { flavor: server.flavor.0.clone(), ignore_hosts: Vec::new(), forced_host: self.host.clone() };
        let destinations = place::choose(app, &self.caller, &server, request).await?;
        let first = destinations.first().ok_or_else(|| Error::internal("no destination"))?;
        let zone = app.hosts.zone_of(app, &first.host).await?;
        let change = ActiveModel {
            host: Set(Some(first.host.clone())),
            node: Set(Some(first.node.clone())),
            availability_zone: Set(Some(zone)),
            task_state: Set(Some(TaskState::Spawning.word().into())),
            ..Default::default()
        };
        if store::save(app, &server.id, Guard::alive(), change).await? { Ok(()) } else { Err(super::gone()) }
    }

    async fn leave(&mut self, app: &Nova, error: &Error) -> Result<()> {
        let mut change = ActiveModel { fault: Set(Some(kit::db::Json(store::stored(super::fault(error))))), ..Default::default() };
        if self.offloaded {
            claims::release(app, &self.instance_id).await?;
            change.vm_state = Set(VmState::ShelvedOffloaded.word().into());
            (change.host, change.node) = (Set(None), Set(None));
        }
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, true).await
    }

    async fn build(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let topic = compute_topic(&host_of(&server)?);
        let (caller, instance_id) = (self.caller.clone(), self.instance_id.clone());
        if !self.offloaded {
            app.bus.cast(&topic, PowerInstance { caller, instance_id, action: PowerAction::Start }).await?;
            return until_idle(app, &server.id).await.map(drop);
        }
        let message = UnshelveInstance { caller, instance_id, image_id: self.image_id.clone(), evacuated: false };
        app.bus.call(&topic, message, app.config.transfer_timeout).await
    }

    async fn remove(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let Some(server) = store::load(app.db.read(), &self.instance_id).await? else { return Ok(()) };
        let (true, Some(host)) = (self.offloaded, server.host) else { return Ok(()) };
        let message = ShelveOffloadInstance { caller: self.caller.clone(), instance_id: server.id };
        app.bus.call(&compute_topic(&host), message, app.config.action_timeout).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        if let Some(image) = &self.image_id {
            let auth = app.session.on_behalf(&self.caller).await?;
            if let Err(error) = sdk::found(app.cloud.image.delete(&auth, image).await) {
                tracing::warn!(image, %error, "the image of an unshelved server was left");
            }
        }
        let unshelved = ActiveModel { shelved: Set(None), ..Default::default() };
        store::save(app, &self.instance_id, Guard::default(), unshelved).await?;
        let change =
            ActiveModel { vm_state: Set(VmState::Active.word().into()), power_state: Set(i64::from(power::RUNNING)), ..Default::default() };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, false).await
    }
}
