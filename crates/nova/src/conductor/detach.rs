//! A volume taken from a server: the host lets go of it and ends its attachment, then the server forgets it.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::compute::{DetachVolume, compute_topic};
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};

use crate::instance_actions::record::Span;
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
}

impl Flow for Detach {
    type App = Nova;
    const KIND: &'static str = "detach_volume";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: detach / keep, forget]
    }
}

impl Detach {
    pub fn new(caller: Caller, instance_id: &str, bdm_id: &str) -> Detach {
        Detach { caller, instance_id: instance_id.to_owned(), bdm_id: bdm_id.to_owned() }
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

    /// The guest keeps the volume, and so does its record.
    async fn keep(&mut self, app: &Nova, _: &Error) -> Result<()> {
        if let Some(volume) = self.device(app).await?.and_then(|row| row.volume_id)
            && let Err(error) = app.cloud.volume.roll_detaching(&app.session.auth("").await?, &volume).await
        {
            tracing::warn!(volume, %error, "the volume was not detaching any more");
        }
        instance_actions::ended(app, &self.caller, &self.instance_id, true).await
    }

    async fn device(&self, app: &Nova) -> Result<Option<block_devices::Model>> {
        Ok(block_devices::Entity::find_by_id(&self.bdm_id).one(app.db.read()).await?)
    }

    async fn forget(&mut self, app: &Nova) -> Result<()> {
        let (instance, request, bdm) = (self.instance_id.clone(), self.caller.request_id.clone(), self.bdm_id.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    block_devices::Entity::delete_by_id(bdm).exec(tx).await?;
                    instance_actions::end(tx, &instance, &request, false).await
                })
            })
            .await
    }
}
