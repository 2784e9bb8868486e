//! A volume taken from a server:
//!
//! ```text
//!   begin   -> cinder knows that it is about to go                       undo: it stays
//!   detach  -> the host takes it from the guest and ends its attachment
//!   forget  -> the server forgets it
//! ```

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::compute::{DetachVolume, compute_topic};
use sdk::Auth;
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{attach, reconcile};
use crate::instance_actions::record::Span;
use crate::servers::states::rules::VOLUMES_DETACH;
use crate::servers::{block_devices, store};
use crate::{Nova, instance_actions};

/// How long a guest may take to let go.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Detach {
    caller: Caller,
    instance_id: String,
    bdm_id: String,
    /// Cinder knows of it.
    #[serde(default)]
    begun: bool,
}

impl Flow for Detach {
    type App = Nova;
    const KIND: &'static str = "detach_volume";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: begin / keep, detach, forget]
    }
}

impl Detach {
    /// After so many steps the volume is about to go.
    pub const BEGUN: usize = 1;

    pub fn new(caller: Caller, instance_id: &str, bdm_id: &str) -> Detach {
        Detach { caller, instance_id: instance_id.to_owned(), bdm_id: bdm_id.to_owned(), begun: false }
    }

    async fn begin(&mut self, app: &Nova) -> Result<()> {
        let volume = self.device(app).await?.and_then(|row| row.volume_id);
        if let Some(volume) = &volume {
            begin_detaching::<Detach>(app, &app.session.on_behalf(&self.caller).await?, &self.instance_id, volume).await?;
            self.begun = true;
        }
        instance_actions::begun_once(app, &self.caller, &self.instance_id, VOLUMES_DETACH.record, json!({"volume_id": volume})).await
    }

    async fn detach(&mut self, app: &Nova) -> Result<()> {
        let Some(server) = store::load(app.db.read(), &self.instance_id).await? else { return Ok(()) };
        if let Some(host) = server.host {
            let message = DetachVolume { caller: self.caller.clone(), instance_id: self.instance_id.clone(), bdm_id: self.bdm_id.clone() };
            let span = Span::begin("compute_detach_volume", "nova-conductor", "nova-compute");
            let done = app.bus.call(&compute_topic(&host), message, DEADLINE).await;
            app.events.push(&self.instance_id, &self.caller.request_id, [span.ended(&done)]);
            return done;
        }
        // a server that is nowhere only has it reserved
        if let Some(attachment) = self.device(app).await?.and_then(|row| row.attachment_id) {
            sdk::found(app.cloud.volume.delete_attachment(&app.session.auth("").await?, &attachment).await)?;
        }
        Ok(())
    }

    /// The guest keeps the volume, and so does its record; one that it let go of already is gone all the same.
    async fn keep(&mut self, app: &Nova, _: &Error) -> Result<()> {
        if let Some(attachment) = self.device(app).await?.and_then(|row| row.attachment_id) {
            let service = app.session.auth(&self.caller.request_id).await?;
            if sdk::found(app.cloud.volume.show_attachment(&service, &attachment).await)?.is_none() {
                return attach::forget(app, &self.caller, &self.instance_id, &self.bdm_id, false).await;
            }
        }
        if let Some(volume) = self.device(app).await?.and_then(|row| row.volume_id).filter(|_| self.begun) {
            roll_detaching(app, &volume).await?;
        }
        instance_actions::ended(app, &self.caller, &self.instance_id, true).await
    }

    async fn device(&self, app: &Nova) -> Result<Option<block_devices::Model>> {
        Ok(block_devices::Entity::find_by_id(&self.bdm_id).one(app.db.read()).await?)
    }

    async fn forget(&mut self, app: &Nova) -> Result<()> {
        attach::forget(app, &self.caller, &self.instance_id, &self.bdm_id, false).await
    }
}

/// Tells cinder that a volume is about to go. The step of a process that died may have told already; then there is no other flow that did.
pub async fn begin_detaching<F: Flow<App = Nova>>(app: &Nova, user: &Auth, server_id: &str, volume: &str) -> Result<()> {
    let Err(error) = app.cloud.volume.begin_detaching(user, volume).await else { return Ok(()) };
    if !matches!(error.status, 400 | 409) {
        return Err(error.into());
    }
    let told = app.cloud.volume.show(user, volume).await?.status == DETACHING;
    if told && reconcile::flows_of::<F>(app, server_id).await? == 1 {
        return Ok(());
    }
    Err(Error::bad_request(format!("Invalid volume: {}", error.message)))
}

/// The status of a volume that is about to go.
pub const DETACHING: &str = "detaching";

/// Takes it back.
pub async fn roll_detaching(app: &Nova, volume: &str) -> Result<()> {
    if let Err(error) = app.cloud.volume.roll_detaching(&app.session.auth("").await?, volume).await {
        tracing::warn!(volume, %error, "the volume was not detaching any more");
    }
    Ok(())
}
