//! A volume grew under a guest:
//!
//! ```text
//!   show    -> the host shows the guest the new size     undo: the action ends as failed, the guest sees it at its next start
//!   finish  -> the action ends
//! ```

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::actions::ExtendVolume;
use rpc::compute::compute_topic;
use serde::{Deserialize, Serialize};

use super::alive;
use crate::servers::begin::host_of;
use crate::{Nova, instance_actions};

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Extend {
    pub caller: Caller,
    pub instance_id: String,
    pub volume_id: String,
}

impl Flow for Extend {
    type App = Nova;
    const KIND: &'static str = "extend_volume";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: show / fail, finish]
    }
}

impl Extend {
    async fn show(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let (caller, instance_id, volume_id) = (self.caller.clone(), self.instance_id.clone(), self.volume_id.clone());
        app.bus.call(&compute_topic(&host_of(&server)?), ExtendVolume { caller, instance_id, volume_id }, app.config.action_timeout).await
    }

    async fn fail(&mut self, app: &Nova, _: &Error) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, true).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, false).await
    }
}
