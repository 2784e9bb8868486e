//! One volume in place of another, under the guest:
//!
//! ```text
//!   swap    -> the host copies the volume and goes on with the new one     undo: the new one is free again, the old one stays
//!   finish  -> the action ends
//! ```

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::SwapVolume;
use rpc::compute::compute_topic;
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};

use super::alive;
use crate::servers::begin::host_of;
use crate::servers::block_devices;
use crate::{Nova, instance_actions};

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Swap {
    pub caller: Caller,
    pub instance_id: String,
    pub bdm_id: String,
    pub old_volume_id: String,
    pub new_volume_id: String,
    pub new_attachment_id: String,
}

impl Flow for Swap {
    type App = Nova;
    const KIND: &'static str = "swap_volume";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: swap / stay, finish]
    }
}

impl Swap {
    async fn swap(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let row = block_devices::Entity::find_by_id(&self.bdm_id).one(app.db.read()).await?;
        if row.is_some_and(|row| row.volume_id.as_ref() == Some(&self.new_volume_id)) {
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
        let auth = app.session.on_behalf(&self.caller).await?;
        sdk::found(app.cloud.volume.delete_attachment(&auth, &self.new_attachment_id).await)?;
        if let Err(error) = app.cloud.volume.roll_detaching(&auth, &self.old_volume_id).await {
            tracing::warn!(volume = self.old_volume_id, %error, "the volume was not detaching any more");
        }
        if let Err(error) = app.cloud.volume.complete_migration(&auth, &self.old_volume_id, &self.new_volume_id, true).await {
            tracing::warn!(volume = self.old_volume_id, %error, "cinder does not want to know that the volume stays");
        }
        instance_actions::ended(app, &self.caller, &self.instance_id, true).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, false).await
    }
}
