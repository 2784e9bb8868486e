//! A port taken from a server: the host unplugs it, and lets go of it in neutron.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::compute::{DetachInterface, compute_topic};
use serde::{Deserialize, Serialize};

use super::port_claims;
use crate::instance_actions::record::Span;
use crate::scheduler::bandwidth;
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
    /// Something was claimed for the port.
    #[serde(default)]
    claimed: bool,
}

impl Flow for Unplug {
    type App = Nova;
    const KIND: &'static str = "detach_interface";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: look / keep, unplug, finish]
    }
}

impl Unplug {
    pub fn new(caller: Caller, instance_id: &str, port_id: &str) -> Unplug {
        Unplug { caller, instance_id: instance_id.to_owned(), port_id: port_id.to_owned(), claimed: false }
    }

    /// A port that is let go of no longer knows what it was given.
    async fn look(&mut self, app: &Nova) -> Result<()> {
        let port = app.cloud.network.port(&app.session.auth(&self.caller.request_id).await?, &self.port_id).await?;
        self.claimed = port.is_some_and(|port| !bandwidth::given(&port).is_empty());
        Ok(())
    }

    async fn unplug(&mut self, app: &Nova) -> Result<()> {
        let span = Span::begin("compute_detach_interface", "nova-conductor", "nova-compute");
        let done = self.let_go(app).await;
        app.events.push(&self.instance_id, &self.caller.request_id, [span.ended(&done)]);
        done
    }

    async fn let_go(&self, app: &Nova) -> Result<()> {
        let Some(server) = store::load(app.db.read(), &self.instance_id).await? else { return Ok(()) };
        let has = server.network_info.0.iter().any(|nic| nic.port_id == self.port_id);
        if let (true, Some(host)) = (has, &server.host) {
            let message = DetachInterface { caller: self.caller.clone(), instance_id: server.id.clone(), port_id: self.port_id.clone() };
            app.bus.call(&compute_topic(host), message, DEADLINE).await?;
        }
        if self.claimed { port_claims::settle(app, &server).await } else { Ok(()) }
    }

    /// The guest keeps the port.
    async fn keep(&mut self, app: &Nova, _: &Error) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, true).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, false).await
    }
}
