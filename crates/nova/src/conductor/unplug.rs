//! A port taken from a server: the host unplugs it, and lets go of it in neutron.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::compute::{DetachInterface, compute_topic};
use serde::{Deserialize, Serialize};

use crate::instance_actions::record::Span;
use crate::servers::store;
use crate::{Nova, instance_actions};

/// How long a guest may take to let go.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Unplug {
    caller: Caller,
    instance_id: String,
    port_id: String,
}

impl Flow for Unplug {
    type App = Nova;
    const KIND: &'static str = "detach_interface";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: unplug / keep, finish]
    }
}

impl Unplug {
    pub fn new(caller: Caller, instance_id: &str, port_id: &str) -> Unplug {
        Unplug { caller, instance_id: instance_id.to_owned(), port_id: port_id.to_owned() }
    }

    async fn unplug(&mut self, app: &Nova) -> Result<()> {
        let Some(server) = store::load(app.db.read(), &self.instance_id).await? else { return Ok(()) };
        let has = server.network_info.0.iter().any(|nic| nic.port_id == self.port_id);
        let (true, Some(host)) = (has, server.host) else { return Ok(()) };
        let message = DetachInterface { caller: self.caller.clone(), instance_id: self.instance_id.clone(), port_id: self.port_id.clone() };
        let span = Span::begin("compute_detach_interface", "nova-conductor", "nova-compute");
        let done = app.bus.call(&compute_topic(&host), message, DEADLINE).await;
        app.events.push(&self.instance_id, &self.caller.request_id, [span.ended(&done)]);
        done
    }

    /// The guest keeps the port.
    async fn keep(&mut self, app: &Nova, _: &Error) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, true).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, false).await
    }
}
