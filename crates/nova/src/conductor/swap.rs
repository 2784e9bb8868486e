//! One volume in place of another, under the guest:
//!
//! ```text
//!   reserve -> the old volume is about to go, the new one is the server's     undo: the old one stays, the new one is free
//!   swap    -> the host copies the volume and goes on with the new one        undo: cinder knows that the old one stays
//!   finish  -> the action ends
//! ```
//!
//! Once the guest has the new volume nothing is taken back any more.

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::SwapVolume;
use rpc::compute::compute_topic;
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{alive, attach, detach};
use crate::servers::begin::host_of;
use crate::servers::block_devices;
use crate::servers::create::reserve;
use crate::servers::states::rules::VOLUMES_SWAP;
use crate::{Nova, instance_actions};

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Swap {
    caller: Caller,
    instance_id: String,
    bdm_id: String,
    old_volume_id: String,
    new_volume_id: String,
    /// Cinder knows that the old one is about to go.
    #[serde(default)]
    begun: bool,
    /// Empty until it is reserved.
    new_attachment_id: String,
}

impl Flow for Swap {
    type App = Nova;
    const KIND: &'static str = "swap_volume";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: reserve / free, swap / stay, finish]
    }
}

impl Swap {
    /// After so many steps nobody else can have the new volume.
    pub const RESERVED: usize = 1;

    pub fn new(caller: Caller, row: block_devices::Model, new_volume_id: &str) -> Swap {
        Swap {
            caller,
            instance_id: row.instance_id,
            bdm_id: row.id,
            old_volume_id: row.volume_id.unwrap_or_default(),
            new_volume_id: new_volume_id.to_owned(),
            begun: false,
            new_attachment_id: String::new(),
        }
    }

    async fn reserve(&mut self, app: &Nova) -> Result<()> {
        let user = app.session.on_behalf(&self.caller).await?;
        detach::begin_detaching::<Swap>(app, &user, &self.instance_id, &self.old_volume_id).await?;
        self.begun = true;
        self.new_attachment_id = match attach::unknown_attachment::<Swap>(app, &self.instance_id, &self.new_volume_id).await? {
            Some(attachment) => attachment,
            None => reserve(app, &user, &self.new_volume_id, &self.instance_id).await?,
        };
        let told = json!({"old_volume_id": self.old_volume_id, "new_volume_id": self.new_volume_id});
        instance_actions::begun_once(app, &self.caller, &self.instance_id, VOLUMES_SWAP.record, told).await
    }

    async fn free(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let exchanged = self.is_exchanged(app).await?;
        if !exchanged {
            if !self.new_attachment_id.is_empty() {
                let service = app.session.auth(&self.caller.request_id).await?;
                sdk::found(app.cloud.volume.delete_attachment(&service, &self.new_attachment_id).await)?;
            }
            if self.begun {
                detach::roll_detaching(app, &self.old_volume_id).await?;
            }
        }
        instance_actions::ended(app, &self.caller, &self.instance_id, !exchanged).await
    }

    async fn swap(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        if self.is_exchanged(app).await? {
            return Ok(());
        }
        let message = SwapVolume {
            caller: self.caller.clone(),
            instance_id: self.instance_id.clone(),
            bdm_id: self.bdm_id.clone(),
            new_volume_id: self.new_volume_id.clone(),
            new_attachment_id: self.new_attachment_id.clone(),
        };
        app.bus.call(&compute_topic(&host_of(&server)?), message, app.config.transfer_timeout).await
    }

    async fn stay(&mut self, app: &Nova, _: &Error) -> Result<()> {
        if self.is_exchanged(app).await? {
            return Ok(());
        }
        let user = app.session.on_behalf(&self.caller).await?;
        if let Err(error) = app.cloud.volume.complete_migration(&user, &self.old_volume_id, &self.new_volume_id, true).await {
            tracing::warn!(volume = self.old_volume_id, %error, "cinder does not want to know that the volume stays");
        }
        Ok(())
    }

    /// Whether the guest has the new one, whatever cinder calls it by now.
    async fn is_exchanged(&self, app: &Nova) -> Result<bool> {
        let row = block_devices::Entity::find_by_id(&self.bdm_id).one(app.db.read()).await?;
        let now = row.and_then(|row| row.attachment_id).unwrap_or_default();
        Ok(!now.is_empty() && now == self.new_attachment_id)
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, false).await
    }
}
