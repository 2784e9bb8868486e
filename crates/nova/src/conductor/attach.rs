//! A volume given to a server:
//!
//! ```text
//!   reserve -> the volume is the server's in cinder, and has a row here     undo: neither
//!   attach  -> the host gives it to the guest                               undo: the host takes it back
//!   finish  -> the action ends
//! ```

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Kind, Result, steps};
use rpc::Caller;
use rpc::compute::{AttachVolume, BlockDevice, DetachVolume, compute_topic};
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{alive, reconcile};
use crate::instance_actions::record::Span;
use crate::servers::block_devices::{self, ActiveModel, Column, Entity, Model};
use crate::servers::create::reserve;
use crate::servers::states::VmState;
use crate::servers::states::rules::VOLUMES;
use crate::{Nova, instance_actions, os_services};

/// How long the host may take to attach.
const DEADLINE: Duration = Duration::from_secs(60);
/// Where it stands among the server's devices: after those it was made with.
const LAST: usize = 1000;

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Attach {
    pub caller: Caller,
    pub instance_id: String,
    pub volume_id: String,
    /// The id of its row is chosen already.
    pub device: BlockDevice,
}

impl Flow for Attach {
    type App = Nova;
    const KIND: &'static str = "attach_volume";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: reserve / free, attach / take_back, finish]
    }
}

impl Attach {
    /// After so many steps nobody else can have the volume.
    pub const RESERVED: usize = 1;

    async fn reserve(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        if self.row(app).await?.is_some() {
            return Ok(());
        }
        let user = app.session.on_behalf(&self.caller).await?;
        let attachment = match unknown_attachment::<Attach>(app, &self.instance_id, &self.volume_id).await? {
            Some(attachment) => attachment,
            None => reserve(app, &user, &self.volume_id, &self.instance_id).await?,
        };
        self.device.attachment_id = Some(attachment);
        let told = json!({"volume_id": self.volume_id});
        let (row, caller, instance) =
            (block_devices::row(&self.instance_id, LAST, &self.device), self.caller.clone(), self.instance_id.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    Entity::insert(row).exec_without_returning(tx).await?;
                    instance_actions::begin_once(tx, &caller, &instance, VOLUMES.record, told).await
                })
            })
            .await
    }

    async fn free(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let attachment = match self.row(app).await?.and_then(|row| row.attachment_id).or_else(|| self.device.attachment_id.clone()) {
            Some(attachment) => Some(attachment),
            None => unknown_attachment::<Attach>(app, &self.instance_id, &self.volume_id).await?,
        };
        if let Some(attachment) = attachment {
            sdk::found(app.cloud.volume.delete_attachment(&app.session.auth(&self.caller.request_id).await?, &attachment).await)?;
        }
        forget(app, &self.caller, &self.instance_id, &self.device.bdm_id, true).await
    }

    async fn attach(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let Some(host) = server.host else {
            // it comes with the guest when that is unshelved
            let shelved = server.vm_state == VmState::ShelvedOffloaded.word();
            return if shelved { Ok(()) } else { Err(Error::conflict(format!("Instance {} is not ready", server.id))) };
        };
        let (caller, instance_id, bdm_id) = (self.caller.clone(), server.id.clone(), self.device.bdm_id.clone());
        let span = Span::begin("compute_attach_volume", "nova-conductor", "nova-compute");
        let name = app.bus.call(&compute_topic(&host), AttachVolume { caller, instance_id, bdm_id }, DEADLINE).await;
        app.events.push(&server.id, &self.caller.request_id, [span.ended(&name)]);
        let named = ActiveModel { device_name: Set(Some(name?)), ..Default::default() };
        block_devices::change(app, &self.device.bdm_id, named).await
    }

    /// A guest that got the volume gives it back; of a host that is down nothing can be asked.
    async fn take_back(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let server = crate::servers::store::load(app.db.read(), &self.instance_id).await?;
        let has = self.row(app).await?.is_some_and(|row| row.connection_info.is_some());
        let Some(host) = server.and_then(|server| server.host).filter(|_| has) else { return Ok(()) };
        if !os_services::is_up(app, &host).await? {
            return Ok(());
        }
        let (caller, instance_id, bdm_id) = (self.caller.clone(), self.instance_id.clone(), self.device.bdm_id.clone());
        match app.bus.call(&compute_topic(&host), DetachVolume { caller, instance_id, bdm_id }, DEADLINE).await {
            Err(error) if error.kind != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, false).await
    }

    async fn row(&self, app: &Nova) -> Result<Option<Model>> {
        Ok(Entity::find_by_id(&self.device.bdm_id).one(app.db.read()).await?)
    }
}

/// An attachment to a server that no row of it names: made by a step whose process died before it could say so. While another flow of the kind
/// is under way it may be that one's.
pub async fn unknown_attachment<F: Flow<App = Nova>>(app: &Nova, server_id: &str, volume: &str) -> Result<Option<String>> {
    if reconcile::flows_of::<F>(app, server_id).await? > 1 {
        return Ok(None);
    }
    let found = app.cloud.volume.attachments_of_volume(&app.session.auth("").await?, volume).await?;
    for attachment in found.into_iter().filter(|attachment| attachment.instance.as_deref() == Some(server_id)) {
        let known = Entity::find().filter(Column::InstanceId.eq(server_id)).filter(Column::AttachmentId.eq(&attachment.id));
        if known.count(app.db.read()).await? == 0 {
            return Ok(Some(attachment.id));
        }
    }
    Ok(None)
}

/// A server has a volume no more: its row goes, and the action ends.
pub async fn forget(app: &Nova, caller: &Caller, instance_id: &str, bdm_id: &str, failed: bool) -> Result<()> {
    let (bdm, instance, request) = (bdm_id.to_owned(), instance_id.to_owned(), caller.request_id.clone());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_by_id(bdm).exec(tx).await?;
                instance_actions::end(tx, &instance, &request, failed).await
            })
        })
        .await
}
