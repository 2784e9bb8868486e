//! One more port for a server:
//!
//! ```text
//!   claim   -> what the port asks for is the server's       undo: it has what its ports take
//!   plug    -> the host makes or takes the port, plugs it   undo: the host unplugs it
//!   finish  -> the action ends
//! ```
//!
//! The server's record says which request brought a port, so that a step that runs twice brings one.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result, steps};
use rpc::Caller;
use rpc::compute::{AttachInterface, DetachInterface, RequestedNetwork, compute_topic};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{alive, neighbours, port_claims, reconcile};
use crate::instance_actions::record::Span;
use crate::servers::begin::host_of;
use crate::servers::states::rules::INTERFACES;
use crate::servers::store;
use crate::{Nova, instance_actions, os_services};

/// How long the host may take to plug or unplug a port.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Plug {
    caller: Caller,
    instance_id: String,
    requested: RequestedNetwork,
    /// Something was claimed for the port.
    claimed: bool,
}

impl Flow for Plug {
    type App = Nova;
    const KIND: &'static str = "attach_interface";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: claim / settle, plug / unplug, finish]
    }
}

impl Plug {
    pub fn new(caller: Caller, instance_id: &str, requested: RequestedNetwork) -> Plug {
        Plug { caller, instance_id: instance_id.to_owned(), requested, claimed: false }
    }

    async fn claim(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        if let Some(id) = &self.requested.port_id {
            // what a port asks of its host is told to services only
            let port = app.cloud.network.port(&app.session.auth(&self.caller.request_id).await?, id).await?;
            if let Some(port) = port.filter(|port| port.resource_request.is_some()) {
                if !port_claims::add(app, &server, &port).await? {
                    return Err(Error::bad_request(format!(
                        "Failed to allocate additional resources to instance {} for the resource request of the port {id}.",
                        server.id
                    )));
                }
                self.claimed = true;
            }
        }
        instance_actions::begun_once(app, &self.caller, &self.instance_id, INTERFACES.record, Value::Null).await
    }

    async fn settle(&mut self, app: &Nova, _: &Error) -> Result<()> {
        if let Some(server) = store::load(app.db.read(), &self.instance_id).await?.filter(|_| self.claimed) {
            port_claims::settle(app, &server).await?;
        }
        instance_actions::ended(app, &self.caller, &self.instance_id, true).await
    }

    async fn plug(&mut self, app: &Nova) -> Result<()> {
        let host = host_of(&alive(app, &self.instance_id).await?)?;
        let message =
            AttachInterface { caller: self.caller.clone(), instance_id: self.instance_id.clone(), requested: self.requested.clone() };
        let span = Span::begin("compute_attach_interface", "nova-conductor", "nova-compute");
        let answer = app.bus.call(&compute_topic(&host), message, DEADLINE).await;
        app.events.push(&self.instance_id, &self.caller.request_id, [span.ended(&answer)]);
        answer.map(drop)
    }

    /// The guest gives the port back, if it got it; and a port that it did not get is let go of.
    async fn unplug(&mut self, app: &Nova, _: &Error) -> Result<()> {
        let Some(server) = store::load(app.db.read(), &self.instance_id).await? else { return Ok(()) };
        let brought = server.network_info.0.iter().find(|nic| nic.request_id.as_ref() == Some(&self.caller.request_id));
        match (brought, &server.host) {
            (Some(nic), Some(host)) if os_services::is_up(app, host).await? => {
                let (caller, instance_id, port_id) = (self.caller.clone(), server.id.clone(), nic.port_id.clone());
                app.bus.call(&compute_topic(host), DetachInterface { caller, instance_id, port_id }, DEADLINE).await
            }
            // it stays the server's, and goes with it
            (Some(_), _) => Ok(()),
            // what another one brings at this moment looks the same
            (None, _) if reconcile::flows_of::<Plug>(app, &server.id).await? > 1 => Ok(()),
            (None, _) => neighbours::release_unplugged(app, &server, self.requested.port_id.as_deref()).await,
        }
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        instance_actions::ended(app, &self.caller, &self.instance_id, false).await
    }
}
